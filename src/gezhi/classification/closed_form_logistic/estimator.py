"""The scikit-learn classifier: moments in, weights out."""

from __future__ import annotations

import warnings
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from gezhi._checks import check_choice, check_same_length, invalid
from gezhi.classification.closed_form_logistic.moments import (
    Array,
    ClassMoments,
    refuse_not_finite,
    shrinkage_weight,
    solve_symmetric,
)


class ClosedFormLogisticRegression(ClassifierMixin, BaseEstimator):
    r"""Softmax classifier whose weights are a formula of the first two moments, not the end of an iteration.

    $$w_i=\mu_i\Sigma^{-1},\qquad b_i=\ln p_i-\tfrac12\mu_i\Sigma^{-1}\mu_i^\top \tag{2}$$

    The maximum likelihood solution when the classes are Gaussian with one covariance (linear discriminant
    analysis), written as the weights of a logistic model.

    Args:
        shrinkage: pull Σ towards tr(Σ)/n·I. A number in [0, 1] is the weight of the target; `"oas"` and
            `"ledoit_wolf"` estimate it; the latter needs the rows themselves, so only `fit` has it.
            None (the article's choice) does not shrink.
        priors: class probabilities put into $\ln p_i$ alone, positive, summing to 1; Σ stays pooled by the data's
            frequencies. None: the frequencies.
        solver: `"cholesky"` solves, and falls back on eigenvectors where Σ is singular; `"eigh"` always uses them.

    Attributes:
        coef_: (1, n) for two classes (second minus first), else (K, n). intercept_: (1,) or (K,).
        classes_, means_ (K, n), covariance_ (n, n, after shrinkage), class_weight_sum_ (K,), shrinkage_.

    Errors: ValueError for NaN (naming the column), one class, negative weights, bad priors.
    Cost: O(N n²) time in one pass and O(n³) to solve; O(n² + K n) memory beside the rows.
    Use instead: `LogisticRegression(C=1)` when the score matters more than the fitting time; see the page.
    Example:
        >>> X = [[1, 2], [2, 1], [1.5, 3], [3, 3.5], [4, 2.5], [5, 4], [4.5, 5]]
        >>> model = ClosedFormLogisticRegression().fit(X, [0, 0, 0, 1, 1, 1, 1])
        >>> model.coef_.round(4), model.intercept_.round(4)
        (array([[6.4738, 1.5626]]), array([-22.4125]))

    References: R. A. Fisher, The use of multiple measurements in taxonomic problems, 1936; 苏剑林,
        概率视角下的线性模型:逻辑回归有解析解吗?, 2021.
    """

    _weights: Array | None
    _offsets: Array
    _fourth: float = 0.0

    def __init__(
        self,
        shrinkage: float | Literal["oas", "ledoit_wolf"] | None = None,
        priors: ArrayLike | None = None,
        solver: Literal["cholesky", "eigh"] = "cholesky",
    ) -> None:
        self.shrinkage = shrinkage
        self.priors = priors
        self.solver = solver

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit on all rows; earlier ones are forgotten."""
        rows, labels, weights = self._checked(X, y, sample_weight, first=True)
        self._start(np.unique(labels))
        codes = np.searchsorted(self.classes_, labels)
        self._moments.add(rows, codes, weights)
        if self.shrinkage == "ledoit_wolf":
            self._fourth = float(weights @ ((rows - self.means_[codes]) ** 2).sum(axis=1) ** 2)
        self._solve()
        return self

    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Add rows to those seen so far; any batching gives what `fit` gives on all of them.

        Args:
            classes: every class that will ever occur; needed at the first call.
        """
        self._refuse_ledoit_wolf("partial_fit")
        first = not hasattr(self, "classes_")
        if first and classes is None:
            raise invalid("classes", "be given at the first partial_fit", None, "Pass np.unique(all_labels).")
        rows, labels, weights = self._checked(X, y, sample_weight, first=first)
        if first:
            self._start(np.unique(np.asarray(classes)))
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise invalid("y", f"contain only the classes {self.classes_.tolist()}", unknown.tolist())
        self._moments.add(rows, np.searchsorted(self.classes_, labels), weights)
        self._weights = None
        return self

    def merge(self, other: ClosedFormLogisticRegression) -> Self:
        """Add the moments that `other` has seen, as if its rows had come here (same classes, same columns)."""
        self._refuse_ledoit_wolf("merge")
        check_is_fitted(self, "classes_")
        check_is_fitted(other, "classes_")
        if not np.array_equal(self.classes_, other.classes_) or self.means_.shape != other.means_.shape:
            found = f"{other.classes_.tolist()} and {other.n_features_in_}"
            raise invalid("other", f"have classes {self.classes_.tolist()} and {self.n_features_in_} columns", found)
        self._moments.merge(other._moments)
        self._weights = None
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Logits (N, K); for two classes their difference (N,)."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X: ArrayLike) -> Array:
        """Class probabilities (N, K): softmax of the logits."""
        return np.asarray(softmax(self._logits(X), axis=1))

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Logarithm of `predict_proba`, without underflow."""
        return np.asarray(log_softmax(self._logits(X), axis=1))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable class of each row."""
        best = self._logits(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    @property
    def means_(self) -> Array:
        return self._moments.means

    @property
    def class_weight_sum_(self) -> Array:
        return self._moments.weight

    @property
    def coef_(self) -> Array:
        weights = np.asarray(self._solved()[0] + self._center_weight)
        return weights[1:] - weights[:1] if len(weights) == 2 else weights

    @property
    def intercept_(self) -> Array:
        weights, offsets = self._solved()
        offsets = np.asarray(offsets - weights @ self._center - 0.5 * self._center_weight @ self._center)
        return offsets[1:] - offsets[:1] if len(offsets) == 2 else offsets

    def _start(self, classes: NDArray[Any]) -> None:
        if len(classes) < 2:
            raise invalid("y", "contain at least two classes", f"{len(classes)} class: {classes.tolist()}")
        self.classes_ = classes
        self._moments = ClassMoments.empty(len(classes), self.n_features_in_)
        self._weights = None

    def _checked(self, X: ArrayLike, y: ArrayLike, weight: ArrayLike | None, *, first: bool) -> tuple[Any, Any, Array]:
        rows, labels = validate_data(
            self, X, y, reset=first, dtype=(np.float64, np.float32), ensure_all_finite=False, ensure_min_samples=1
        )
        refuse_not_finite(rows)
        check_classification_targets(labels)
        weights = np.asarray(_check_sample_weight(weight, rows, dtype=np.float64))
        if (weights < 0).any():
            raise invalid("sample_weight", "be non-negative", f"minimum {weights.min():g}")
        return rows, labels, weights

    def _refuse_ledoit_wolf(self, where: str) -> None:
        if self.shrinkage == "ledoit_wolf":
            raise invalid("shrinkage", f"be known from moments for {where}", "'ledoit_wolf'", "Use 'oas', or fit.")

    def _logits(self, X: ArrayLike) -> Array:
        check_is_fitted(self, "classes_")
        rows = validate_data(self, X, reset=False, dtype=(np.float64, np.float32), ensure_all_finite=False)
        refuse_not_finite(rows)
        weights, offsets = self._solved()
        return np.asarray((rows - self._center) @ weights.T + offsets)  # (1)

    def _solved(self) -> tuple[Array, Array]:
        check_is_fitted(self, "classes_")
        return (self._weights, self._offsets) if self._weights is not None else self._solve()

    def _solve(self) -> tuple[Array, Array]:
        check_choice("solver", self.solver, ("cholesky", "eigh"))
        weight, covariance = self.class_weight_sum_, self._moments.covariance
        self.shrinkage_ = shrinkage_weight(self.shrinkage, covariance, weight.sum(), self._fourth)
        target = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        self.covariance_ = (1 - self.shrinkage_) * covariance + self.shrinkage_ * target
        self._center = weight @ self.means_ / weight.sum()
        centred = np.where(weight[:, None] > 0, self.means_ - self._center, 0.0)
        solved = solve_symmetric(self.covariance_, np.vstack([centred, self._center]), self.solver)
        self._weights, self._center_weight = solved[:-1], solved[-1]  # (2), first half
        self._offsets = self._log_prior() - 0.5 * (self._weights * centred).sum(axis=1)  # (2), second half
        return self._weights, self._offsets

    def _log_prior(self) -> Array:
        weight = self.class_weight_sum_
        frequency = weight / weight.sum() if self.priors is None else np.asarray(self.priors, dtype=np.float64)
        check_same_length(priors=len(frequency), classes=len(self.classes_))
        if self.priors is not None and (not (frequency > 0).all() or abs(frequency.sum() - 1) > 1e-6):
            raise invalid("priors", "be positive and sum to 1", frequency.tolist())
        empty = weight == 0
        if empty.any():
            warnings.warn(f"no rows yet of class {self.classes_[empty].tolist()}: its probability is 0.", stacklevel=4)
        return np.asarray(np.log(frequency, out=np.full(len(frequency), -np.inf), where=~empty))
