"""Exact distances between two documents, or between many pairs of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gezhi._checks import check_choice, check_same_length, invalid
from gezhi._numerics import exact_transport
from gezhi.text.word_mover.costs import Array, Cost, cosine, euclidean, norms, read_vectors, read_weights, unit_vectors


class Bag(NamedTuple):
    """Distinct vectors in a fixed order, and their weights, which sum to 1."""

    points: Array
    weights: Array


def emd(p: Any, q: Any, cost: Any, *, return_plan: bool = False) -> Any:
    r"""Earth mover's distance: what the cheapest plan costs that moves weights p to weights q.

    $$\mathrm{EMD}(p,q,D)=\min_{\gamma\ge0}\sum_{ij}\gamma_{ij}D_{ij},\qquad
      \sum_j\gamma_{ij}=p_i,\quad \sum_i\gamma_{ij}=q_j \tag{1}$$

    Args:
        p, q: weights ≥ 0, (n,) and (m,), each divided by its sum; None: uniform.
        cost: D, (n, m), finite.
        return_plan: give γ, (n, m), besides. It need not be the only one.
    Returns: the distance as a float, or the pair of distance and plan; the plan's marginals hold to 1e-12.
    Errors: ValueError naming the argument.
    Cost: O(n³) for equal numbers of equal weights, else about O(n³ log n) with POT (`pip install 'gezhi[ot]'`); the
        same value by HiGHS without it, ten times slower. Use instead: `ot.sinkhorn2`, where a blurred value will do.
    Example:
        >>> emd([1, 1], [1, 3], [[0.0, 1.0], [1.0, 0.0]])
        0.25

    References: 苏剑林, 从EMD、WMD到WRD:文本向量序列的相似度计算, 2020.
    """
    costs = np.asarray(cost, dtype=np.float64)
    if costs.ndim != 2 or not costs.size:
        raise invalid("cost", "be a matrix with a row and a column at least", f"shape {costs.shape}")
    p, q = read_weights("p", p, costs.shape[0]), read_weights("q", q, costs.shape[1])
    value, plan = exact_transport(costs, *(None, None) if _equal(p, q) else (p, q))
    return (value, plan) if return_plan else value


def word_movers_distance(x: Any, y: Any, p: Any = None, q: Any = None, *, cost: Cost = "euclidean") -> Any:
    r"""Word mover's distance: how far the words of one document must travel to become those of another.

    $$\mathrm{WMD}=\mathrm{EMD}(p,q,D),\qquad D_{ij}=\lVert x_i-y_j\rVert \tag{2}$$

    Args:
        x, y: vectors of the words, (n, d) and (m, d), arrays or tensors; or two lists of as many such documents, of any
            lengths, whose distances are wanted pair by pair.
        p, q: weights of the words, as in `emd`; uniform by default, so that a word that stands twice weighs twice.
            For lists of documents: lists of weights.
        cost: `"euclidean"`; `"rms"`, the same over √d, as the article's code computes it; `"cosine"`, 1 − cos(x, y).
    Returns: a float ≥ 0, without upper bound except 2 for `"cosine"`; for lists an array, (pairs,). Computed in
        float64 whatever is given; documents of equal words and weights have distance exactly 0.
    Errors: ValueError naming the argument: an empty document, NaN or infinity, other dimensions, a zero vector where
        the cost is the cosine's.
    Cost: as `emd`. Use instead: `WordMoverIndex` to find the nearest of many documents.
    Example:
        >>> word_movers_distance([[1, 0], [0, 2], [-1, 1]], [[1, 1], [0, -1]])
        1.61912944...

    References: Kusner et al., From Word Embeddings To Document Distances, 2015; 苏剑林, 2020, as in `emd`.
    """
    check_choice("cost", cost, ("euclidean", "cosine", "rms"))
    return paired(lambda *pair: _transported(*bags(*pair, cost=cost), cost), {"x": x, "y": y, "p": p, "q": q})


def word_rotators_distance(x: Any, y: Any, counts_x: Any = None, counts_y: Any = None) -> Any:
    r"""Word rotator's distance: angles between words, weighted by the lengths of their vectors.

    $$\mathrm{WRD}=\mathrm{EMD}(p,q,D),\quad p_i=\frac{c_i\lVert x_i\rVert}{\sum_kc_k\lVert x_k\rVert},\quad
      D_{ij}=1-\cos(x_i,y_j) \tag{3}$$

    Args:
        x, y: vectors of the words, or lists of documents, as in `word_movers_distance`. Zero vectors weigh nothing.
        counts_x, counts_y: c, how often each word stands, ≥ 0; 1 by default.
    Returns: a float in [0, 2], or an array of them; 1 − WRD is a similarity. A factor on either side changes nothing.
    Errors: ValueError naming the argument; a document of zero vectors alone is empty.
    Cost: as `emd`.
    Example:
        >>> word_rotators_distance([[1, 0], [0, 2], [-1, 1]], [[1, 1], [0, -1]])
        0.81232735...

    References: Yokoi et al., Word Rotator's Distance, 2020 (arXiv 2004.15003); 苏剑林, 2020, as in `emd`.
    """
    named = {"x": x, "y": y, "counts_x": counts_x, "counts_y": counts_y}
    return paired(lambda *pair: _transported(*rotator_bags(*pair), "cosine"), named)


def paired(function: Callable[..., float], named: dict[str, Any]) -> Any:
    """The function of two documents and two weights, or of each pair in two lists of them."""
    (x, y, p, q), names = named.values(), list(named)
    if not (_is_list(x) or _is_list(y)):
        return function(x, y, p, q)
    for name, value in zip(names[:2], (x, y), strict=True):
        if not _is_list(value):
            raise invalid(name, "be a list of documents where the other is one", f"shape {np.shape(value)}")
    check_same_length(**{name: len(value) for name, value in named.items() if value is not None})
    p, q = (weights if weights is not None else [None] * len(x) for weights in (p, q))
    values = []
    for i, pair in enumerate(zip(x, y, p, q, strict=True)):
        try:
            values.append(function(*pair))
        except ValueError as error:
            raise ValueError(f"pair {i}: {error}") from None
    return np.array(values, dtype=np.float64)


def _is_list(value: Any) -> bool:
    if getattr(value, "ndim", 0) == 3:
        return True
    if not isinstance(value, Sequence) or isinstance(value, str) or not len(value):
        return False
    first = value[0]
    return bool(getattr(first, "ndim", None) == 2 or (isinstance(first, Sequence) and first and np.ndim(first[0]) > 0))


def bags(x: Any, y: Any, p: Any, q: Any, *, cost: Cost) -> tuple[Bag, Bag]:
    """Both documents, checked and merged; unit vectors where the cost is the cosine's."""
    points = _matching(x, y)
    weights = [read_weights(name, w, len(v)) for name, w, v in zip("pq", (p, q), points, strict=True)]
    if cost == "cosine":
        points = [unit_vectors(name, v) for name, v in zip("xy", points, strict=True)]
    first, second = (merged(v, w) for v, w in zip(points, weights, strict=True))
    return first, second


def rotator_bags(x: Any, y: Any, counts_x: Any, counts_y: Any) -> tuple[Bag, Bag]:
    """Unit vectors, weighted by counts times lengths."""
    first, second = _matching(x, y)
    return _rotated("x", first, "counts_x", counts_x), _rotated("y", second, "counts_y", counts_y)


def _rotated(name: str, vectors: Array, of_counts: str, counts: Any) -> Bag:
    lengths = norms(vectors)
    weights = read_weights(of_counts, counts, len(vectors)) * (lengths / (lengths.max() or 1))
    kept = weights > 0
    if not kept.any():
        raise invalid(name, "hold a vector that is not 0", "zero vectors alone", "The document has no distance.")
    return merged(vectors[kept] / lengths[kept, None], weights[kept] / weights.sum())


def _matching(x: Any, y: Any) -> list[Array]:
    first, second = read_vectors("x", x), read_vectors("y", y)
    if first.shape[1] != second.shape[1]:
        raise invalid("x and y", "have vectors of one length", f"shapes {first.shape} and {second.shape}")
    return [first, second]


def merged(points: Array, weights: Array) -> Bag:
    """Equal vectors as one, and none of weight 0."""
    distinct, place = np.unique(points[weights > 0], axis=0, return_inverse=True)
    summed = np.bincount(place.reshape(-1), weights[weights > 0], len(distinct))
    return Bag(distinct, summed.astype(np.float64))


def cost_matrix(x: Array, y: Array, cost: Cost) -> Array:
    """D of two merged documents."""
    if cost == "cosine":
        return cosine(x, y)
    return euclidean(x, y) / (np.sqrt(x.shape[1]) if cost == "rms" else 1.0)


def _transported(x: Bag, y: Bag, cost: Cost) -> float:
    if x.points.shape == y.points.shape and all(np.array_equal(a, b) for a, b in zip(x, y, strict=True)):
        return 0.0
    return solved(cost_matrix(x.points, y.points, cost), x.weights, y.weights)


def solved(costs: Array, p: Array, q: Array) -> float:
    """(1) of checked arguments; where a document is one word there is only one plan."""
    if 1 in costs.shape:
        return float(p @ costs @ q)
    return exact_transport(costs, *(None, None) if _equal(p, q) else (p, q))[0]


def _equal(p: Array, q: Array) -> bool:
    """Whether it is an assignment: as many weights on both sides, all equal."""
    return len(p) == len(q) and bool((p == p[0]).all() and (q == p[0]).all())
