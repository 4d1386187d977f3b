"""What the distances are for: ranking by nearness to a topic, and a summary made of the sentences nearest to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, clone

from gezhi._checks import check_number, check_same_length, invalid
from gezhi.text.geodesic.estimator import GeodesicDistance
from gezhi.text.geodesic.lengths import Array, Ints, prepared

EPSILON = 1e-9


class Ranking(NamedTuple):
    """Rows, nearest to the topic first (ties: the lower number); the distance and the relevance of every row."""

    indices: Ints
    distances: Array
    relevance: Array


class Summary(NamedTuple):
    """The sentences taken, most relevant first, and their numbers."""

    sentences: list[str]
    indices: list[int]


def rank_by_topic(X: Any, topic: Any, *, geodesic: GeodesicDistance | None = None) -> Ranking:
    r"""Rows by their geodesic distance to a topic.

    $$s(c)=\frac1{\epsilon+\bar g(c)},\qquad \bar g(c)=\frac1T\sum_{t=1}^{T}g(t,c) \tag{3}$$

    Args:
        X: the rows, (n, d).
        topic: a vector, (d,), or examples of the topic, (T, d), over which the distance is averaged; they need not be
            among the rows.
        geodesic: how distances are computed; None: `GeodesicDistance()`. A copy is fitted to X.
    Returns: the order, the distances $\bar g$ and the relevance s, which is 0 at infinite distance; ε = 1e-9.
    Errors: as `GeodesicDistance`, and ValueError for a topic of another width.
    Cost: the graph, and one search for each example.
    Example:
        >>> points = np.array([[0.0, 0], [1, 0], [2, 0.5], [3, 0.2], [3.2, 1.4], [2.2, 2.1], [1, 2], [0.1, 1.8]])
        >>> rank_by_topic(points, [2, 1], geodesic=GeodesicDistance(2, metric="euclidean")).indices
        array([2, 5, 3, 1, 6, 4, 0, 7])

    References: as in `GeodesicDistance`.
    """
    model = clone(GeodesicDistance() if geodesic is None else geodesic).fit(X)
    examples = np.atleast_2d(np.asarray(topic, dtype=np.float64))
    if examples.ndim != 2 or not len(examples) or examples.shape[1] != model.n_features_in_:
        must = f"be vectors of length {model.n_features_in_}, as the rows, one at least"
        raise invalid("topic", must, f"shape {np.shape(topic)}")
    found = model.query(examples).mean(axis=0)
    return Ranking(np.argsort(found, kind="stable"), found, 1 / (EPSILON + found))  # (3)


class GeodesicSummarizer(BaseEstimator):
    """An extractive summary: sentences in the order of their relevance to a topic, none twice over.

    Sentences are taken from the most relevant on. One is passed over if its cosine with one already taken exceeds
    `max_similarity`, or if it does not fit into what is left of the budget.

    Args:
        geodesic: how distances are computed, as in `rank_by_topic`.
        max_similarity: cosine above which two sentences say the same, −1 … 1. 0.9 is our choice.

    Example:
        >>> words = ["good food", "good food!", "friendly staff", "far away", "fine meals"]
        >>> vectors = np.array([[1.0, 0.1], [1.0, 0.12], [0.8, 0.6], [0.0, 1.0], [1.0, 0.5]])
        >>> model = GeodesicSummarizer(GeodesicDistance(1, connect="nearest"), max_similarity=0.99)
        >>> model.summarize(words, vectors, topic=[1.0, 0.0], budget=25).sentences
        ['good food', 'fine meals']

    References: as in `GeodesicDistance`.
    """

    def __init__(self, geodesic: GeodesicDistance | None = None, *, max_similarity: float = 0.9) -> None:
        self.geodesic = geodesic
        self.max_similarity = max_similarity

    def summarize(
        self,
        sentences: Sequence[str],
        vectors: Any,
        topic: Any = None,
        *,
        budget: float,
        length: Callable[[str], float] = len,
    ) -> Summary:
        """The summary.

        Args:
            sentences: n strings.
            vectors: of the sentences, (n, d), none of them 0.
            topic: as in `rank_by_topic`; None: the mean of the vectors, for the summary of all.
            budget: the lengths of the sentences taken add to this at most, > 0.
            length: of a sentence; by default its characters.
        Returns: sentences and their numbers; none where nothing fits.
        Errors: ValueError naming the argument.
        """
        limit = check_number("max_similarity", self.max_similarity, at_least=-1, at_most=1)
        room = check_number("budget", budget, above=0)
        check_same_length(sentences=len(sentences), vectors=len(vectors))
        rows = np.asarray(vectors, dtype=np.float64)
        middle = rows.mean(axis=0) if topic is None else topic
        ranking = rank_by_topic(rows, middle, geodesic=self.geodesic)
        unit = prepared("vectors", rows, "angular")
        taken: list[int] = []
        for i in ranking.indices.tolist():
            size = length(sentences[i])
            if size <= room and not (taken and (unit[taken] @ unit[i]).max() > limit):
                taken.append(i)
                room -= size
        return Summary([sentences[i] for i in taken], taken)
