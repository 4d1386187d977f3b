"""Centres that minimise plain distances: the points nearest to a batch in the Wasserstein sense."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from gezhi._checks import check_integer, check_number, invalid

Array = NDArray[np.float64]
NEAR = 1e-12  # a distance below which a point counts as met


def geometric_median(x: ArrayLike, *, tol: float | None = None, max_iter: int = 2000) -> Array:
    r"""The point with the least sum of distances to all others, by Weiszfeld's iteration.

    $$m=\arg\min_v\sum_i\lVert x_i-v\rVert_2,\qquad
      v\leftarrow\frac{\sum_ix_i/d_i}{\sum_i1/d_i},\quad d_i=\lVert x_i-v\rVert_2 \tag{8}$$

    Args:
        x: (n, d), finite.
        tol: stop once a step is below this share of the mean distance; 1e-13 by default, 1e-6 for float32.
        max_iter: steps at most; `ConvergenceWarning` where they do not suffice.
    Returns: (d,), in the precision of x. At a data point the rule of Vardi and Zhang decides whether to stay.
    Cost: O(nd) a step; convergence is linear.
    References: Vardi and Zhang 2000, The multivariate L1-median and associated data depth.
    """
    given = np.asarray(x)
    points = np.asarray(x, dtype=np.float64)
    if points.ndim != 2 or not points.size or not np.isfinite(points).all():
        raise invalid("x", "be a finite matrix of at least one point", f"shape {points.shape}")
    tol = (1e-6 if given.dtype == np.float32 else 1e-13) if tol is None else check_number("tol", tol, at_least=0)
    median = points.mean(0)
    for _ in range(check_integer("max_iter", max_iter, at_least=1)):
        moved, mean = _weiszfeld(points, median)
        step = float(np.linalg.norm(moved - median))
        median = moved
        if step <= tol * mean:
            break
    else:
        message = f"no geometric median within {max_iter} steps: got a last step of {step:.3g}. Raise max_iter or tol."
        warnings.warn(message, ConvergenceWarning, stacklevel=2)
    found: Array = median.astype(given.dtype if given.dtype == np.float32 else np.float64)
    return found


def _weiszfeld(points: Array, median: Array) -> tuple[Array, float]:
    """The next point, and the mean distance from this one."""
    distances = np.linalg.norm(points - median, axis=1)
    met = distances < NEAR
    if met.all():
        return median, 0.0
    weights = 1 / distances[~met]
    pulled: Array = weights @ points[~met] / weights.sum()  # (8)
    if met.any():
        force = float(np.linalg.norm(weights @ (points[~met] - median)))
        stay = min(1.0, met.sum() / force) if force else 1.0
        pulled = (1 - stay) * pulled + stay * median
    return pulled, float(distances.mean())


class KMedians(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """Centres with the least sum of plain distances: Lloyd's rounds with geometric medians instead of means.

    Args:
        n_clusters: ≥ 1, at most the number of rows.
        max_iter: rounds at most; they end where no row changes its centre.
        random_state: draws the rows to start from.
    Attributes:
        cluster_centers_ (n_clusters, n_features), labels_ (n_rows,), inertia_: the sum of distances, n_iter_.
    Cost: a round is n × n_clusters distances and one geometric median a cluster.
    Example:
        >>> KMedians(2, random_state=0).fit([[0.0], [1.0], [9.0], [10.0], [11.0]]).cluster_centers_.round(3).tolist()
        [[10.0], [0.5]]
    """

    def __init__(self, n_clusters: int = 8, *, max_iter: int = 30, random_state: Any = None) -> None:
        self.n_clusters = n_clusters
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> KMedians:  # noqa: ARG002
        X = validate_data(self, X, dtype=(np.float64, np.float32), ensure_min_samples=1)
        clusters = check_integer("n_clusters", self.n_clusters, at_least=1)
        rounds = check_integer("max_iter", self.max_iter, at_least=1)
        if clusters > len(X):
            raise invalid("n_clusters", f"be at most the number of rows ({len(X)})", clusters)
        draw = check_random_state(self.random_state)
        centers = np.array(X[draw.choice(len(X), clusters, replace=False)], dtype=np.float64)
        labels = None
        for self.n_iter_ in range(1, rounds + 1):
            nearest = cdist(X, centers).argmin(1)
            if labels is not None and (nearest == labels).all():
                break
            labels = nearest
            for k in np.unique(labels):  # an empty cluster keeps its centre
                centers[k] = geometric_median(X[labels == k], tol=1e-9)
        distances = cdist(X, centers)
        self.cluster_centers_, self.labels_ = centers, distances.argmin(1)
        self.inertia_ = float(distances.min(1).sum())
        return self

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def predict(self, X: Any) -> NDArray[np.intp]:
        """The nearest centre of each row."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        found: NDArray[np.intp] = cdist(X, self.cluster_centers_).argmin(1)
        return found

    def transform(self, X: Any) -> Array:
        """Distances to all centres."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return np.asarray(cdist(X, self.cluster_centers_))
