"""The scikit-learn form: a classifier around a classifier."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.model_selection import cross_val_predict
from sklearn.utils import column_or_1d, get_tags
from sklearn.utils.validation import check_is_fitted, validate_data

from gezhi._checks import check_choice, check_number
from gezhi.classification.alternating_normalization.formula import Array, checked_prior, normalize_alternately, warn


class AlternatingNormalizer(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Classifier that post-processes another one's probabilities by `normalize_alternately`.

    Args:
        estimator: any classifier with `predict_proba`.
        prior: `"train"` (class frequencies of the training labels) or an array in the order of `classes_`.
        reference: `"fit"`: confident rows come from out-of-fold predictions on the training rows, so each new row
            is adjusted by itself; `"batch"`: from the rows passed together to `predict_proba` (the article's form).
        k: `"auto"` is min(3, number of classes).
        threshold, alpha, iterations: as in `normalize_alternately`.
        smoothing: rows added to every class before frequencies are taken, ≥ 0 (1: add-one). Frequencies counted on
            a few hundred rows are too noisy a prior for many classes.
        cv: folds of the out-of-fold predictions.

    Attributes: estimator_, classes_, prior_ (m,), reference_ (n, m) or None.
    Errors: as in `normalize_alternately`.
    Cost: `cv` extra fits with `reference="fit"`.
    Example:
        >>> from sklearn.datasets import load_wine
        >>> from sklearn.naive_bayes import GaussianNB
        >>> X, y = load_wine(return_X_y=True)
        >>> AlternatingNormalizer(GaussianNB(), prior=[1, 1, 1]).fit(X, y).predict(X[:3])
        array([0, 0, 0])

    References: as in `normalize_alternately`.
    """

    def __init__(
        self,
        estimator: Any,
        prior: Literal["train"] | ArrayLike = "train",
        reference: Literal["fit", "batch"] = "fit",
        k: Literal["auto"] | int = "auto",
        threshold: float = 0.9,
        alpha: float = 1.0,
        iterations: int = 1,
        smoothing: float = 0.0,
        cv: int = 5,
    ) -> None:
        self.estimator = estimator
        self.prior = prior
        self.reference = reference
        self.k = k
        self.threshold = threshold
        self.alpha = alpha
        self.iterations = iterations
        self.smoothing = smoothing
        self.cv = cv

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the estimator, count the prior, and keep out-of-fold predictions as reference."""
        check_choice("reference", self.reference, ("fit", "batch"))
        check_number("smoothing", self.smoothing, at_least=0)
        validate_data(self, X, y, skip_check_array=True)
        labels = column_or_1d(y, warn=True)
        self.estimator_ = clone(self.estimator).fit(X, labels)
        self.classes_, count = np.unique(labels, return_counts=True)
        given = not (isinstance(self.prior, str) and self.prior == "train")
        self.prior_ = checked_prior(self.prior if given else count + self.smoothing, len(self.classes_))
        self.reference_ = self._out_of_fold(X, labels, int(count.min())) if self.reference == "fit" else None
        return self

    def _out_of_fold(self, X: ArrayLike, y: ArrayLike, rarest: int) -> Array:
        if rarest < self.cv:
            warn(f"the rarest class has {rarest} rows for {self.cv} folds: the reference is in-sample.")
            return np.asarray(self.estimator_.predict_proba(X))
        return np.asarray(cross_val_predict(clone(self.estimator), X, y, cv=self.cv, method="predict_proba"))

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Adjusted probabilities (N, m)."""
        check_is_fitted(self)
        return normalize_alternately(
            self.estimator_.predict_proba(X),
            self.prior_,
            k=min(3, len(self.classes_)) if self.k == "auto" else self.k,
            threshold=self.threshold,
            alpha=self.alpha,
            iterations=self.iterations,
            reference=self.reference_,
        )

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable class after adjustment."""
        check_is_fitted(self)
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = get_tags(self.estimator).input_tags.sparse
        return tags
