"""Random projections: how many dimensions keep all distances, and the projections themselves."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammainc, gammaincc
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import DataDimensionalityWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from gezhi._checks import check_choice, invalid
from gezhi._numerics import real_array

BOUNDS = {
    "article": lambda N, eps: 24 * np.log(N) / eps**2,
    "existence": lambda N, eps: 16 * np.log(N) / eps**2,
    "dasgupta": lambda N, eps: 4 * np.log(N) / (eps**2 / 2 - eps**3 / 3),
}  # (9)


def jl_min_dim(
    N: ArrayLike,
    eps: ArrayLike,
    *,
    delta: ArrayLike | None = None,
    method: Literal["exact", "article", "existence", "dasgupta"] = "exact",
) -> NDArray[Any]:
    r"""Dimensions at which a Gaussian projection keeps every squared distance of N points within 1 ± ε.

    $$\tbinom N2\big[P(\chi^2_n>n(1+\varepsilon))+P(\chi^2_n<n(1-\varepsilon))\big]\le\delta \tag{8}$$

    Args:
        N: points, 2 to 1e100.
        eps: ε in (0, 1), the distortion of squared distances.
        delta: probability of failure allowed to `"exact"`, in (0, 1). None: 1/N, as in the article.
        method: `"exact"` solves (8), whose only loss is the union over pairs. `"article"` is 24 log N/ε² (failure at
            most 1/N), `"existence"` 16 log N/ε² and `"dasgupta"` 4 log N/(ε²/2 - ε³/3) (both: at most 1 - 1/N).
    Returns: `"exact"`: the smallest integer; else the real bound, whose ceiling is meant. A scalar for scalars.
    Use instead: PCA, when the points are known and pairs may be kept on average. The result may exceed the data's own
        dimension; then a projection only costs.
    Example:
        >>> int(jl_min_dim(1000, 0.5)), float(jl_min_dim(1000, 0.5, method="article").round(2))
        (364, 663.14)

    References: S. Dasgupta, A. Gupta, An elementary proof of a theorem of Johnson and Lindenstrauss, 2003; 苏剑林,
        让人惊叹的Johnson-Lindenstrauss引理:理论篇, 2021.
    """
    check_choice("method", method, ("exact", *BOUNDS))
    points = real_array("N", N, at_least=2, at_most=1e100)
    distortion = real_array("eps", eps, above=0, below=1)
    if method == "exact":
        allowed = 1 / points if delta is None else real_array("delta", delta, above=0, below=1)
        return _smallest_dim(*np.broadcast_arrays(points, distortion, allowed))
    if delta is not None:
        raise invalid("delta", f"be None for method {method!r}", delta, "Use method='exact', which takes delta.")
    return np.asarray(BOUNDS[method](points, distortion))[()]


def _failure(N: NDArray[np.float64], eps: NDArray[np.float64], n: NDArray[np.int64]) -> NDArray[np.float64]:
    """Left side of (8): upper bound on the probability that some pair is distorted by more than ε."""
    tails = gammaincc(n / 2, n / 2 * (1 + eps)) + gammainc(n / 2, n / 2 * (1 - eps))
    return np.asarray(N / 2 * (N - 1) * tails)  # (8)


def _smallest_dim(N: NDArray[np.float64], eps: NDArray[np.float64], delta: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bisection for (8) between 0 and a width that Chernoff's bound on both tails proves sufficient."""
    enough = 2 * np.log(N * (N - 1) / delta) / (eps**2 / 2 - eps**3 / 3)
    low, high = np.zeros(N.shape, dtype=np.int64), np.ceil(enough).astype(np.int64)
    while (high - low > 1).any():
        middle = np.maximum((low + high) // 2, 1)
        holds = _failure(N, eps, middle) <= delta
        low, high = np.where(holds, low, middle), np.where(holds, middle, high)
    return high[()]


class _Projection(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What the two transformers share: the drawn matrix and the product with it."""

    random_state: int | np.random.RandomState | None
    components_: NDArray[np.floating[Any]]

    def _checked(self, X: Any, *, first: bool, min_rows: int = 1) -> Any:
        accepted = (np.float64, np.float32)
        return validate_data(
            self, X, reset=first, accept_sparse=["csr", "csc"], dtype=accepted, ensure_min_samples=min_rows
        )

    def _draw(self, n_components: int, dtype: np.dtype[Any]) -> None:
        if not isinstance(n_components, Integral) or n_components < 1:
            raise invalid("n_components", "be a positive integer", repr(n_components))
        entries = check_random_state(self.random_state).standard_normal((n_components, self.n_features_in_))
        self.components_ = (entries / np.sqrt(n_components)).astype(dtype, copy=False)  # (7)

    def _project(self, X: Any) -> NDArray[np.floating[Any]]:
        check_is_fitted(self)
        return np.asarray(self._checked(X, first=False) @ self.components_.T)  # (7)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class GaussianRandomProjection(_Projection):
    r"""Multiply by a matrix of independent normal entries, which keeps squared distances within 1 ± ε.

    $$x\mapsto Ax,\qquad A_{ij}\sim\mathcal N(0,1/n) \tag{7}$$

    Args:
        n_components: n, the new width. None: the smallest that (8) allows for the rows seen in `fit`.
        eps: ε in (0, 1), read only when `n_components` is None; (8) then fails with probability at most 1 / rows.
        random_state: seed of the matrix.
    Attributes:
        components_: A, (n, columns), in the dtype of the rows.
    Errors: ValueError when `n_components` is no positive integer; `DataDimensionalityWarning` when n exceeds the
        columns.
    Cost: O(columns · n) numbers; a product with them for each row, sparse or dense.
    Use instead: `sklearn.random_projection.SparseRandomProjection` for very wide rows; PCA to fit given data.
    Example:
        >>> rows = np.random.default_rng(0).normal(size=(50, 2000))
        >>> GaussianRandomProjection(eps=0.5, random_state=0).fit_transform(rows).shape
        (50, 180)

    References: W. B. Johnson, J. Lindenstrauss, Extensions of Lipschitz mappings into a Hilbert space, 1984; 苏剑林,
        让人惊叹的Johnson-Lindenstrauss引理:应用篇, 2021.
    """

    def __init__(
        self,
        n_components: int | None = None,
        eps: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.eps = eps
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: None = None) -> Self:  # noqa: ARG002
        """Draw the matrix; of the rows only their number, width and dtype matter."""
        chosen = self.n_components
        rows = self._checked(X, first=True, min_rows=2 if chosen is None else 1)
        width = int(jl_min_dim(rows.shape[0], self.eps)) if chosen is None else chosen
        self._draw(width, rows.dtype)
        if width > rows.shape[1]:
            warnings.warn(
                f"projecting {rows.shape[1]} columns to {width} makes them more, not fewer. "
                "Pass a smaller n_components or a larger eps, or keep the rows as they are.",
                DataDimensionalityWarning,
                stacklevel=2,
            )
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.floating[Any]]:
        """Projected rows (rows, n)."""
        return self._project(X)


class SignHash(_Projection):
    r"""Signs of a random projection: the share of different signs measures the angle of two rows.

    $$P\big(\operatorname{sign}(Au)_i\ne\operatorname{sign}(Av)_i\big)=\theta/\pi,\qquad
      \mathbb E\cos(\operatorname{sign}Au,\operatorname{sign}Av)=1-2\theta/\pi \tag{10}$$

    Args:
        n_components: signs a row. The share of different ones has the standard deviation √(p(1 - p)/n), p = θ/π.
        random_state: seed of the matrix.
    Attributes:
        components_: A, (n, columns), in the dtype of the rows.
    Errors: ValueError when `n_components` is no positive integer.
    Use instead: `GaussianRandomProjection` where cosines themselves are wanted: 1 - 2θ/π is up to 0.21 away from cos θ.
    Example:
        >>> signs = SignHash(40_000, random_state=0).fit_transform([[1.0, 0.0], [1.0, 1.0]])
        >>> float((signs[0] != signs[1]).mean().round(2))  # 45° of 180°
        0.25

    References: M. Charikar, Similarity estimation techniques from rounding algorithms, 2002; 苏剑林,
        让人惊叹的Johnson-Lindenstrauss引理:应用篇, 2021.
    """

    def __init__(self, n_components: int = 256, random_state: int | np.random.RandomState | None = None) -> None:
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: None = None) -> Self:  # noqa: ARG002
        """Draw the matrix; of the rows only width and dtype matter."""
        self._draw(self.n_components, self._checked(X, first=True).dtype)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.floating[Any]]:
        """Signs ±1 (rows, n) in the dtype of the rows; a projection of exactly 0 counts as +1."""
        projected = self._project(X)
        return np.where(projected >= 0, 1, -1).astype(projected.dtype)  # (10)
