"""A graph from rows of numbers: each row points at those most like it."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.neighbors import NearestNeighbors

from gezhi._checks import check_integer, check_number, invalid


def knn_similarity_graph(X: Any, k: int = 50, min_sim: float = 0.6) -> Any:
    r"""Directed graph from each row to the k others of the largest cosine, where it reaches `min_sim`.

    Args:
        X: (n, features), dense or sparse. A row of zeros is like nothing and gets no edge.
        k: neighbours, ≥ 1; at most n − 1 are taken. 50 is the article's choice for word vectors.
        min_sim: least cosine of an edge, between 0 and 1. 0.6 is the article's choice.
    Returns: `scipy.sparse.csr_array` (n, n), the cosine from i to j at [i, j]; no diagonal.
    Errors: ValueError naming the argument.
    Cost: O(n² · features), in chunks of bounded memory.
    Example:
        >>> knn_similarity_graph([[1.0, 0.0], [4.0, 3.0], [0.0, 1.0]], k=1).toarray().round(2)
        array([[0. , 0.8, 0. ],
               [0.8, 0. , 0. ],
               [0. , 0.6, 0. ]])

    References: 苏剑林, 最小熵原理(五):"层层递进"之社区发现与聚类, 2019.
    """
    k = check_integer("k", k, at_least=1)
    min_sim = check_number("min_sim", min_sim, at_least=0, at_most=1)
    rows: Any = X if issparse(X) else np.asarray(X)
    if rows.ndim != 2 or rows.shape[0] < 1:
        raise invalid("X", "have shape (rows, features) with a row at least", rows.shape)
    n = rows.shape[0]
    if n == 1:
        return csr_array((1, 1))
    distance, target = NearestNeighbors(n_neighbors=min(k, n - 1), metric="cosine").fit(rows).kneighbors()
    source = np.repeat(np.arange(n), target.shape[1])
    cosine = np.clip(1 - distance.ravel().astype(np.float64), 0, 1)
    kept = (cosine >= min_sim - 1e-12) & (cosine > 0)
    graph = csr_array((cosine[kept], (source[kept], target.ravel()[kept])), shape=(n, n))
    graph.sort_indices()
    return graph
