"""First and second moments by class, in one pass over any stream, and what is solved with them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from gezhi._checks import check_choice, check_number, invalid

Array = NDArray[np.float64]
ROWS_AT_ONCE = 2048  # a chunk and its product stay in the processor's cache
LARGEST = 1e150
CONSTANT = 1e-13  # a spread below this share of a column's mean is rounding, which leaves up to 2e-14
ROUNDING = 8  # in n · eps of the largest eigenvalue; sums over rows leave up to 0.6 where a column depends on others


class SingularCovarianceWarning(UserWarning):
    """The pooled covariance has no inverse; directions without variance were cut off. Remedy: `shrinkage="oas"`."""


@dataclass
class ClassMoments:
    """Weight (K,), mean (K, n) and pooled within-class scatter (n, n) of the rows seen so far, in float64."""

    weight: Array
    means: Array
    scatter: Array

    @classmethod
    def empty(cls, n_classes: int, n_columns: int) -> ClassMoments:
        """Moments of no row."""
        return cls(np.zeros(n_classes), np.zeros((n_classes, n_columns)), np.zeros((n_columns, n_columns)))

    def add(self, rows: NDArray[Any], codes: NDArray[np.int64], weights: Array) -> None:
        """Take in rows, chunk by chunk; `codes` are class numbers."""
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            chunk = rows[part].astype(np.float64, copy=False)
            self.merge(chunk_moments(chunk, codes[part], weights[part], len(self.weight)))

    def merge(self, other: ClassMoments) -> None:
        """Pairwise update (Chan, Golub, LeVeque): no large numbers are subtracted, whatever the means."""
        total = self.weight + other.weight
        share = np.divide(other.weight, total, out=np.zeros_like(total), where=total > 0)
        step = other.means - self.means
        self.scatter = self.scatter + other.scatter + (step * (share * self.weight)[:, None]).T @ step
        self.means = self.means + share[:, None] * step
        self.weight = total

    @property
    def covariance(self) -> Array:
        """Pooled within-class covariance, divided by the total weight (ddof = 0)."""
        return np.asarray(self.scatter / self.weight.sum())  # (3)

    @property
    def center(self) -> Array:
        """Mean of all rows."""
        return np.asarray(self.weight @ self.means / self.weight.sum())

    def fourth(self, rows: NDArray[Any], codes: NDArray[np.int64], weights: Array) -> float:
        r"""$\sum_iw_i\|z_i\|^4$ over rows already taken in; z: about the class mean, over the root of Σ's trace."""
        centred = (rows - self.means[codes]) / (np.sqrt(np.trace(self.covariance)) or 1.0)
        return float(weights @ (centred**2).sum(axis=1) ** 2)

    def shrunken(self, weight: float) -> Array:
        """Σ pulled towards the multiple of the identity that has its trace."""
        n = len(self.covariance)
        return np.asarray((1 - weight) * self.covariance + weight * np.trace(self.covariance) / n * np.eye(n))

    def scale(self) -> tuple[Array, NDArray[np.bool_]]:
        """The unit of each column, > 0, and whether it varies inside the classes.

        That is its standard deviation inside the classes; where it has none, that between them; else 1.
        """
        inside = np.diagonal(self.covariance)
        varies = np.sqrt(inside) > CONSTANT * np.abs(self.means).max(axis=0)
        between = self.weight @ (self.means - self.center) ** 2 / self.weight.sum()
        unit = np.sqrt(np.where(varies, inside, between))
        return np.where(unit > 0, unit, 1.0), varies


def chunk_moments(rows: Array, codes: NDArray[np.int64], weights: Array, n_classes: int) -> ClassMoments:
    """Moments of one chunk: class means first, then the scatter about them."""
    member = sparse.csr_matrix((weights, (codes, np.arange(len(rows)))), shape=(n_classes, len(rows)))
    total = np.asarray(member.sum(axis=1)).ravel()
    means = np.asarray(member @ rows) / np.where(total > 0, total, 1.0)[:, None]
    centred = means[codes]
    np.subtract(rows, centred, out=centred)
    centred *= np.sqrt(weights)[:, None]
    return ClassMoments(total, means, centred.T @ centred)


def oas_weight(covariance: Array, total: float) -> float:
    """Shrinkage weight of Chen, Wiesel, Eldar and Hero (2010); 1 where the covariance is a multiple of I."""
    trace, square = np.trace(covariance), (covariance**2).sum()
    spread = square - trace**2 / len(covariance)
    return 1.0 if spread <= 0 else float(min(1.0, (square + trace**2) / ((total + 1) * spread)))


def ledoit_wolf_weight(covariance: Array, total: float, fourth_moment: float) -> float:
    r"""Shrinkage weight of Ledoit and Wolf (2004); `fourth_moment` is $\sum_iw_i\|z_i\|^4$."""
    trace, square = np.trace(covariance), (covariance**2).sum()
    spread = square - trace**2 / len(covariance)
    return 0.0 if spread <= 0 else float(np.clip((fourth_moment / total - square) / total / spread, 0, 1))


def shrinkage_weight(choice: float | str | None, moments: ClassMoments, fourth_moment: float | None) -> float:
    """The weight that a `shrinkage` argument means for these moments."""
    if choice is None:
        return 0.0
    total = float(moments.weight.sum())
    unit_trace = moments.covariance / (np.trace(moments.covariance) or 1.0)  # the estimates do not see a common factor
    if choice == "oas":
        return oas_weight(unit_trace, total)
    if choice == "ledoit_wolf":
        if fourth_moment is None:
            raise invalid("shrinkage", "be known from moments", "'ledoit_wolf'", "Use 'oas', or fit on all rows.")
        return ledoit_wolf_weight(unit_trace, total, fourth_moment)
    if isinstance(choice, str):
        check_choice("shrinkage", choice, (None, "oas", "ledoit_wolf", "a number in [0, 1]"))
    return check_number("shrinkage", choice, at_least=0, at_most=1)


def solve_symmetric(correlation: Array, rows: Array, solver: str) -> Array:
    """`rows` times the inverse of `correlation`; a direction without variance counts as absent."""
    values = linalg.eigvalsh(correlation)
    cut = values[-1] * ROUNDING * len(values) * np.finfo(float).eps
    singular = values[0] <= cut  # Cholesky alone does not notice this reliably
    if singular:
        warnings.warn(
            f"singular covariance: {(values <= cut).sum()} of {len(values)} directions have no variance and were "
            'cut off. Drop constant columns, add rows, or pass shrinkage="oas".',
            SingularCovarianceWarning,
            stacklevel=4,
        )
    if not singular and solver == "cholesky":
        return np.asarray(linalg.cho_solve(linalg.cho_factor(correlation), rows.T).T)
    values, vectors = linalg.eigh(correlation)
    inverse = np.divide(1.0, values, out=np.zeros_like(values), where=values > cut)
    return np.asarray((rows @ vectors * inverse) @ vectors.T)


def refuse_bad_values(rows: NDArray[np.floating[Any]]) -> None:
    """Raise ValueError naming the first column that holds NaN, infinity, or a number whose square has no float."""
    if not rows.size or -LARGEST < float(rows.min()) <= float(rows.max()) < LARGEST:  # NaN fails too
        return
    row, column = np.argwhere(~(np.abs(rows.astype(np.float64)) < LARGEST))[0]
    value = rows[row, column]
    if np.isfinite(value):
        raise invalid("X", f"stay below {LARGEST:g} in size", f"{value:g} in column {column}, row {row}", "Rescale it.")
    found = "NaN" if np.isnan(value) else "infinity (inf)"
    raise invalid("X", "be finite", f"{found} in column {column}, row {row}", "Impute or drop it first.")
