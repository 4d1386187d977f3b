"""What a distance between two documents is at least, without solving for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from gezhi._checks import check_choice, invalid
from gezhi.text.word_mover.costs import Array, Cost, read_weights
from gezhi.text.word_mover.distances import Bag, bags, cost_matrix, paired, rotator_bags


def relaxed_emd(p: Any, q: Any, cost: Any) -> float:
    r"""Every unit goes to its nearest place, whatever room there is: a lower bound of `emd` for any cost.

    $$\max\Big(\sum_ip_i\min_jD_{ij},\ \sum_jq_j\min_iD_{ij}\Big)\le\mathrm{EMD}(p,q,D) \tag{4}$$

    Args:
        p, q, cost: as in `emd`.
    Returns: a float. Cost: O(nm).
    """
    return _relaxed(*_checked(p, q, cost))


def reduced_emd(p: Any, q: Any, cost: Any) -> float:
    r"""The relaxed bound, and what its other side still adds: never below (4), never above `emd`.

    With $u_i=\min_jD_{ij}$ and $v_j=\min_i(D_{ij}-u_i)\ge0$, so that $u_i+v_j\le D_{ij}$,

    $$\sum_ip_iu_i+\sum_jq_jv_j\le\sum_{ij}\gamma_{ij}(u_i+v_j)\le\mathrm{EMD}(p,q,D) \tag{5}$$

    or the same begun at the other side, whichever is larger. These are the first two steps of the Hungarian method.

    Args:
        p, q, cost: as in `emd`.
    Returns: a float. Cost: O(nm).
    """
    p, q, costs = _checked(p, q, cost)
    return max(_reduced(p, q, costs), _reduced(q, p, costs.T))


def wcd(x: Any, y: Any, p: Any = None, q: Any = None) -> Any:
    r"""Word centroid distance, $\lVert\sum_ip_ix_i-\sum_jq_jy_j\rVert\le\mathrm{WMD}$.

    Args:
        x, y, p, q: documents or lists of them, as in `word_movers_distance`.
    Returns: a float, or an array. Cost: O((n + m) d).
    """

    def one(*pair: Any) -> float:
        first, second = bags(*pair, cost="euclidean")
        return float(np.linalg.norm(_mean(first) - _mean(second)))

    return paired(one, {"x": x, "y": y, "p": p, "q": q})


def rwmd(x: Any, y: Any, p: Any = None, q: Any = None, *, cost: Cost = "euclidean") -> Any:
    """Relaxed word mover's distance: (4) at the cost of `word_movers_distance`, with its arguments."""
    check_choice("cost", cost, ("euclidean", "cosine", "rms"))

    def one(*pair: Any) -> float:
        first, second = bags(*pair, cost=cost)
        return _relaxed(first.weights, second.weights, cost_matrix(first.points, second.points, cost))

    return paired(one, {"x": x, "y": y, "p": p, "q": q})


def wrd_relaxed_bound(x: Any, y: Any, counts_x: Any = None, counts_y: Any = None) -> Any:
    """(4) at the weights and the cost of `word_rotators_distance`, with its arguments."""
    return _of_rotated(
        lambda u, v: _relaxed(u.weights, v.weights, cost_matrix(u.points, v.points, "cosine")), x, y, counts_x, counts_y
    )


def wrd_centroid_bound(x: Any, y: Any, counts_x: Any = None, counts_y: Any = None) -> Any:
    r"""Half the squared distance of the mean directions, the article's bound.

    $$\tfrac12\Big\lVert\sum_ip_iu_i-\sum_jq_jv_j\Big\rVert^2\le\mathrm{WRD},\qquad
      u_i=\frac{x_i}{\lVert x_i\rVert},\ v_j=\frac{y_j}{\lVert y_j\rVert} \tag{6}$$

    Args:
        x, y, counts_x, counts_y: as in `word_rotators_distance`.
    Returns: a float, or an array. Cost: O((n + m) d).
    """
    return _of_rotated(lambda u, v: float(((_mean(u) - _mean(v)) ** 2).sum()) / 2, x, y, counts_x, counts_y)


def wrd_gelbrich_bound(x: Any, y: Any, counts_x: Any = None, counts_y: Any = None) -> Any:
    r"""Gelbrich's inequality on the sphere, where 2 WRD is a squared Wasserstein distance: means and spreads.

    $$1-m_1\cdot m_2-\lVert XY^\top\rVert_*\le\mathrm{WRD},\quad
      X=\mathrm{diag}(\sqrt p)(U-m_1),\ Y=\mathrm{diag}(\sqrt q)(V-m_2) \tag{7}$$

    with $m_1=\sum p_iu_i$, $m_2=\sum q_jv_j$ and the nuclear norm. Never below (6); neither above nor below (4).

    Args:
        x, y, counts_x, counts_y: as in `word_rotators_distance`.
    Returns: a float, or an array.
    Cost: a singular value decomposition of n × m, about that of the distance itself: no search uses it.
    """
    return _of_rotated(_gelbrich, x, y, counts_x, counts_y)


def _of_rotated(bound: Any, x: Any, y: Any, counts_x: Any, counts_y: Any) -> Any:
    named = {"x": x, "y": y, "counts_x": counts_x, "counts_y": counts_y}
    return paired(lambda *pair: bound(*rotator_bags(*pair)), named)


def _gelbrich(u: Bag, v: Bag) -> float:
    means = _mean(u), _mean(v)
    x, y = (np.sqrt(bag.weights)[:, None] * (bag.points - m) for bag, m in zip((u, v), means, strict=True))
    return max(0.0, float(1 - means[0] @ means[1] - np.linalg.svd(x @ y.T, compute_uv=False).sum()))  # (7)


def _mean(bag: Bag) -> Array:
    return np.asarray(bag.weights @ bag.points)


def _relaxed(p: Array, q: Array, costs: Array) -> float:
    return max(float(p @ costs.min(axis=1)), float(q @ costs.min(axis=0)))  # (4)


def _reduced(p: Array, q: Array, costs: Array) -> float:
    u = costs.min(axis=1)
    return float(p @ u + q @ (costs - u[:, None]).min(axis=0))  # (5)


def _checked(p: Any, q: Any, cost: Any) -> tuple[Array, Array, Array]:
    """Both normalised, and words of weight 0 left out: they bind nothing, and would only loosen the bound."""
    costs = np.asarray(cost, dtype=np.float64)
    if costs.ndim != 2 or not costs.size or not np.isfinite(costs).all():
        raise invalid("cost", "be a finite matrix with a row and a column at least", f"shape {costs.shape}")
    p, q = read_weights("p", p, costs.shape[0]), read_weights("q", q, costs.shape[1])
    return p[p > 0], q[q > 0], costs[np.ix_(p > 0, q > 0)]
