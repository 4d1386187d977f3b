"""Many documents as one: the distinct vectors they use, and how much each document has of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gezhi._checks import check_choice, invalid
from gezhi.text.word_mover.costs import Array, norms, read_vectors, unit_vectors

Metric = Literal["wmd", "wrd", "cosine"]
METRICS = ("wmd", "wrd", "cosine")


class Documents(NamedTuple):
    """Distinct vectors, (V, d), and a weight ≥ 0 of each in each document, (documents, V), rows summing to 1."""

    points: Array
    weights: Any

    def of(self, i: int) -> tuple[NDArray[Any], Array]:
        """Which vectors the document has, and their weights."""
        row = slice(self.weights.indptr[i], self.weights.indptr[i + 1])
        return self.weights.indices[row], self.weights.data[row]


def read_documents(X: Any, vectors: Any, metric: Metric) -> Documents:
    """Documents in any of the three forms, weighted as the metric asks; ValueError names those that have no word."""
    check_choice("metric", metric, METRICS)
    if vectors is None:
        points, counts = _from_arrays(X)
    elif isinstance(vectors, Mapping) or hasattr(vectors, "key_to_index"):
        points, counts = _from_words(X, vectors)
    else:
        points, counts = _from_counts(X, vectors)
    return _weighted(points, counts, metric)


def _from_arrays(X: Any) -> tuple[Array, Any]:
    """Each document its own vectors, one a token."""
    if isinstance(X, str) or not hasattr(X, "__len__") or sparse.issparse(X) or getattr(X, "ndim", 3) < 3:
        fix = "Pass vectors=, or a list with the matrix of each document's token vectors."
        raise invalid("X", "be a list of matrices where vectors is None", type(X).__name__, fix)
    parts = [read_vectors(f"document {i}", document) for i, document in enumerate(X)]
    if not parts:
        raise invalid("X", "hold a document at least", "none")
    widths = {part.shape[1] for part in parts}
    if len(widths) > 1:
        raise invalid("X", "have vectors of one length", f"lengths {sorted(widths)}")
    found = [np.unique(part, axis=0, return_counts=True) for part in parts]
    ends = np.cumsum([0, *(len(count) for _, count in found)])
    data = np.concatenate([count for _, count in found]).astype(np.float64)
    counts = sparse.csr_array((data, np.arange(ends[-1]), ends), shape=(len(parts), ends[-1]))
    return np.concatenate([part for part, _ in found]), counts


def _from_words(X: Any, vectors: Any) -> tuple[Array, Any]:
    """Lists of words; those without a vector are left out."""
    known = getattr(vectors, "key_to_index", vectors)
    documents, rows, words = list(X), [], []
    for i, document in enumerate(documents):
        if isinstance(document, str) or not isinstance(document, Sequence):
            raise invalid(f"document {i}", "be a list of words", type(document).__name__, "Split texts into words.")
        here = [word for word in document if word in known]
        rows += [i] * len(here)
        words += here
    names = sorted(set(words), key=str)
    place = {word: i for i, word in enumerate(names)}
    table = (np.ones(len(rows)), (rows, [place[word] for word in words]))
    counts = sparse.coo_array(table, shape=(len(documents), len(names))).tocsr()
    _refuse_empty(counts)
    return read_vectors("vectors", np.stack([np.asarray(vectors[word]) for word in names])), counts


def _from_counts(X: Any, vectors: Any) -> tuple[Array, Any]:
    """Counts or weights of each word in each document."""
    if not sparse.issparse(X) and np.ndim(X) != 2:
        fix = "Lists of words need vectors by word: a mapping."
        raise invalid("X", "be a matrix of counts, documents × words", f"{type(X).__name__}", fix)
    counts = sparse.csr_array(X, dtype=np.float64, copy=True)
    if counts.shape[1] != len(vectors):
        raise invalid("X", f"have a column a vector, {len(vectors)}", f"{counts.shape[1]} columns")
    if not ((counts.data >= 0) & (counts.data < np.inf)).all():
        raise invalid("X", "be finite and at least 0", counts.data[~((counts.data >= 0) & (counts.data < np.inf))][0])
    counts.sum_duplicates()
    counts.eliminate_zeros()
    _refuse_empty(counts)
    used, place = np.unique(counts.indices, return_inverse=True)
    rows = vectors.detach().cpu().double() if hasattr(vectors, "detach") else vectors
    points = read_vectors(f"vectors of words {used[0]} … {used[-1]}", np.asarray(rows)[used])
    return points, sparse.csr_array((counts.data, place, counts.indptr), shape=(counts.shape[0], len(used)))


def _weighted(points: Array, counts: Any, metric: Metric) -> Documents:
    if metric == "wrd":
        lengths = norms(points)
        counts = sparse.csr_array(counts * (lengths / (lengths.max() or 1)))
        counts.eliminate_zeros()
        _refuse_empty(counts)
        points = points / np.where(lengths > 0, lengths, 1)[:, None]
    elif metric == "cosine":
        points = unit_vectors("vectors", points)
    sizes = np.diff(counts.indptr)
    counts.data = counts.data / np.repeat(counts.sum(axis=1), sizes)
    return Documents(points, counts)


def _refuse_empty(counts: Any) -> None:
    empty = np.flatnonzero(np.diff(counts.indptr) == 0).tolist()
    if not counts.shape[0]:
        raise invalid("X", "hold a document at least", "none")
    if empty:
        named = ", ".join(map(str, empty[:5])) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        fix = "A document without words has no distance: leave it out."
        raise invalid("X", "have a word with a vector (not 0, for WRD) in each document", f"none in {named}", fix)
