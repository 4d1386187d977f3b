"""The scikit-learn classifier: moments in, weights out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from gezhi._checks import invalid
from gezhi.classification.closed_form_logistic.moments import Array, ClassMoments, refuse_bad_values
from gezhi.classification.closed_form_logistic.solution import Seen, Solution, lock_of, solve


class ClosedFormLogisticRegression(ClassifierMixin, BaseEstimator):
    r"""Softmax classifier whose weights are a formula of the first two moments, not the end of an iteration.

    $$w_i=\mu_i\Sigma^{-1},\qquad b_i=\ln p_i-\tfrac12\mu_i\Sigma^{-1}\mu_i^\top \tag{2}$$

    The maximum likelihood solution when the classes are Gaussian with one covariance (linear discriminant
    analysis), written as the weights of a logistic model.

    Args:
        shrinkage: pull Σ towards tr(Σ)/n · I. A number in [0, 1] is the weight of the target; `"oas"` and
            `"ledoit_wolf"` estimate it; the latter needs the rows themselves, so only `fit` has it. None (the
            article's choice) does not shrink. Columns in different units are standardised first, else the largest
            unit decides.
        priors: class probabilities put into $\ln p_i$ alone, positive, summing to 1; Σ stays pooled by the data's
            frequencies. An array in the order of `classes_`, or a dict or pandas Series by class. None: the
            frequencies.
        solver: `"cholesky"` solves, and falls back on eigenvectors where Σ is singular; `"eigh"` always uses them.

    Attributes:
        coef_: (1, n) for two classes (second minus first), else (K, n). intercept_: (1,) or (K,).
        classes_, means_ (K, n), covariance_ (n, n, after shrinkage), class_weight_sum_ (K,), shrinkage_.

    Without shrinkage units do not matter: Σ is inverted, and its rank judged, as a correlation matrix. Threads may
    share a model, also while it learns.

    Errors: ValueError for NaN or numbers above 1e150 (naming the column), one class, negative weights, bad priors.
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

    _seen: Seen
    _solution: Solution | None = None

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
        with lock_of(self):
            rows, labels, weights = self._checked(X, y, sample_weight, first=True)
            classes, codes = np.unique(labels, return_inverse=True)
            moments = self._empty(classes)
            moments.add(rows, codes, weights)
            ledoit_wolf = isinstance(self.shrinkage, str) and self.shrinkage == "ledoit_wolf"
            fourth = moments.fourth(rows, codes, weights) if ledoit_wolf else None
            self._solution = self._solve(Seen(classes, moments, fourth))
            self._seen = self._solution.seen
        return self

    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Add rows to those seen so far; any batching gives what `fit` gives on all of them.

        Calls from several threads are taken one after another.

        Args:
            classes: every class that will ever occur; needed at the first call.
        """
        self._refuse_ledoit_wolf("partial_fit")
        with lock_of(self):
            first = not self.__sklearn_is_fitted__()
            if first and classes is None:
                raise invalid("classes", "be given at the first partial_fit", None, "Pass np.unique(all_labels).")
            rows, labels, weights = self._checked(X, y, sample_weight, first=first)
            known = np.unique(np.asarray(classes)) if first else self.classes_
            unknown = np.setdiff1d(labels, known)
            if len(unknown):
                raise invalid("y", f"contain only the classes {known.tolist()}", unknown.tolist())
            moments = self._empty(known) if first else replace(self._seen.moments)
            moments.add(rows, np.searchsorted(known, labels), weights)
            self._seen = Seen(known, moments)
        return self

    def merge(self, other: ClosedFormLogisticRegression) -> Self:
        """Add the moments that `other` has seen, as if its rows had come here (same classes, same columns)."""
        self._refuse_ledoit_wolf("merge")
        check_is_fitted(self)
        check_is_fitted(other)
        theirs = other._seen
        with lock_of(self):
            mine = self._seen
            if (
                not np.array_equal(mine.classes, theirs.classes)
                or mine.moments.means.shape != theirs.moments.means.shape
            ):
                found = f"{theirs.classes.tolist()} and {other.n_features_in_}"
                raise invalid("other", f"have classes {mine.classes.tolist()} and {self.n_features_in_} columns", found)
            moments = replace(mine.moments)
            moments.merge(theirs.moments)
            self._seen = Seen(mine.classes, moments)
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Logits (N, K); for two classes their difference (N,)."""
        logits, _ = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X: ArrayLike) -> Array:
        """Class probabilities (N, K): softmax of the logits."""
        return np.asarray(softmax(self._logits(X)[0], axis=1))

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Logarithm of `predict_proba`, without underflow."""
        return np.asarray(log_softmax(self._logits(X)[0], axis=1))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable class of each row."""
        logits, classes = self._logits(X)
        return np.asarray(classes[logits.argmax(axis=1)])

    @property
    def classes_(self) -> NDArray[Any]:
        return self._seen.classes

    @property
    def means_(self) -> Array:
        return self._seen.moments.means

    @property
    def class_weight_sum_(self) -> Array:
        return self._seen.moments.weight

    @property
    def covariance_(self) -> Array:
        return self._solved().covariance

    @property
    def shrinkage_(self) -> float:
        return self._solved().shrinkage

    @property
    def coef_(self) -> Array:
        found = self._solved()
        weights = np.asarray(found.weights + found.center_weight)
        return weights[1:] - weights[:1] if len(weights) == 2 else weights

    @property
    def intercept_(self) -> Array:
        found = self._solved()
        offsets = found.offsets - found.weights @ found.center - 0.5 * found.center_weight @ found.center
        return np.asarray(offsets[1:] - offsets[:1] if len(offsets) == 2 else offsets)

    def _empty(self, classes: NDArray[Any]) -> ClassMoments:
        if len(classes) < 2:
            raise invalid("y", "contain at least two classes", f"{len(classes)} class: {classes.tolist()}")
        return ClassMoments.empty(len(classes), self.n_features_in_)

    def _checked(self, X: ArrayLike, y: ArrayLike, weight: ArrayLike | None, *, first: bool) -> tuple[Any, Any, Array]:
        rows, labels = validate_data(
            self, X, y, reset=first, dtype=(np.float64, np.float32), ensure_all_finite=False, ensure_min_samples=1
        )
        refuse_bad_values(rows)
        check_classification_targets(labels)
        weights = np.asarray(_check_sample_weight(weight, rows, dtype=np.float64))
        if (weights < 0).any():
            raise invalid("sample_weight", "be non-negative", f"minimum {weights.min():g}")
        return rows, labels, weights

    def _refuse_ledoit_wolf(self, where: str) -> None:
        if isinstance(self.shrinkage, str) and self.shrinkage == "ledoit_wolf":
            raise invalid("shrinkage", f"be known from moments for {where}", "'ledoit_wolf'", "Use 'oas', or fit.")

    def _logits(self, X: ArrayLike) -> tuple[Array, NDArray[Any]]:
        """The logits (1) and the classes that they stand for, both of one state."""
        check_is_fitted(self)
        rows = validate_data(self, X, reset=False, dtype=(np.float64, np.float32), ensure_all_finite=False)
        refuse_bad_values(rows)
        found = self._solved()
        return np.asarray((rows - found.center) @ found.weights.T + found.offsets), found.seen.classes  # (1)

    def _solved(self) -> Solution:
        """The weights for all that was seen; computed when first asked for, by each thread that asks meanwhile."""
        check_is_fitted(self)
        seen, found = self._seen, self._solution
        if found is None or found.seen is not seen:
            found = self._solution = self._solve(seen)
        return found

    def _solve(self, seen: Seen) -> Solution:
        return solve(seen, self.shrinkage, self.priors, self.solver)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_seen")
