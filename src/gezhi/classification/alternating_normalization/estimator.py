"""The scikit-learn form: a classifier around a classifier."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.model_selection import check_cv
from sklearn.utils import Bunch, _safe_indexing, get_tags, indexable
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_method_params,
    _check_sample_weight,
    _check_y,
    check_is_fitted,
    has_fit_parameter,
    validate_data,
)

from gezhi._checks import check_choice, check_integer, check_number, invalid
from gezhi.classification.alternating_normalization.formula import (
    Array,
    checked_prior,
    checked_settings,
    normalize_alternately,
    warn,
)


class AlternatingNormalizer(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Classifier that post-processes another one's probabilities by `normalize_alternately`.

    Args:
        estimator: any classifier with `predict_proba`.
        prior: `"train"` (class frequencies of the training labels), an array in the order of `classes_`, or a dict or
            pandas Series by class.
        reference: `"fit"`: confident rows come from out-of-fold predictions on the training rows, so each new row
            is adjusted by itself; `"batch"`: from the rows passed together to `predict_proba` (the article's form).
        k, threshold, alpha, iterations: as in `normalize_alternately`.
        smoothing: rows added to every class before frequencies are taken, ≥ 0 (1: add-one). Frequencies counted on
            a few hundred rows are too noisy a prior for many classes.
        cv: who predicts whom for the reference: a number of stratified folds (None: 5), a splitter, or an iterable of
            pairs of training and test rows.

    Attributes: estimator_, classes_, prior_ (m,), reference_ (n, m) or None.
    Errors: ValueError for one class, and as in `normalize_alternately`; TypeError for weights that the estimator does
        not take. Warns `UnadjustedWarning` where a class has fewer rows than there are folds.
    Cost: a fit for each split with `reference="fit"`.
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
        cv: Any = 5,
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

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, **params: Any) -> Self:
        """Fit the estimator, count the prior, and keep out-of-fold predictions as reference.

        Args:
            sample_weight: one a row, ≥ 0. They go to the estimator and count in `prior="train"`; a row of weight 0
                is no reference.
            params: further metadata of the estimator and the splitter, as routed by scikit-learn.
        """
        check_choice("reference", self.reference, ("fit", "batch"))
        validate_data(self, X, y, skip_check_array=True)
        X, labels = indexable(X, _check_y(y, estimator=self))
        check_classification_targets(labels)
        classes, codes = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise invalid("y", "contain at least two classes", f"{len(classes)} class: {classes.tolist()}")
        checked_settings(self.k, self.threshold, self.alpha, self.iterations, len(classes))
        weights = None if sample_weight is None else checked_weights(sample_weight, X)
        prior = self._prior(classes, np.bincount(codes, weights))
        routed = self._routed(sample_weight, params)
        model = clone(self.estimator).fit(X, labels, **routed.estimator.fit)
        reference = None
        if self.reference == "fit":
            rows, reference = self._out_of_fold(model, X, labels, routed)
            reference = reference if weights is None else reference[weights[rows] > 0]
        self.estimator_, self.classes_, self.prior_, self.reference_ = model, classes, prior, reference
        return self

    def _prior(self, classes: NDArray[Any], count: NDArray[Any]) -> Array:
        smoothing = check_number("smoothing", self.smoothing, at_least=0, below=np.inf)
        if isinstance(self.prior, str):
            check_choice("prior", self.prior, ("train", "one number a class"))
            return checked_prior(count + smoothing, classes)
        return checked_prior(self.prior, classes)

    def _out_of_fold(self, model: Any, X: Any, y: NDArray[Any], routed: Any) -> tuple[NDArray[np.intp], Array]:
        """Predictions for rows by a model that has not seen them, and which rows these are."""
        folds = 5 if self.cv is None else self.cv
        names, count = np.unique(y, return_counts=True)
        if isinstance(folds, Integral) and count.min() < check_integer("cv", folds, at_least=2):
            warn(f"the rarest class has {count.min()} rows for {folds} folds ({names.tolist()[count.argmin()]!r}): the "
                 "reference is in-sample. Pass more of its rows, or fewer folds by cv.")  # fmt: skip
            return np.arange(len(y)), np.asarray(model.predict_proba(X))
        splits = check_cv(self.cv, y, classifier=True).split(X, y, **routed.splitter.split)
        found = [(test, self._predicted(X, y, train, test, names, routed)) for train, test in splits]
        if not found:
            raise invalid("cv", "give at least one split", "none")
        rows = np.concatenate([np.arange(len(y))[test] for test, _ in found])
        order = rows.argsort(kind="stable")
        return rows[order], np.concatenate([probs for _, probs in found])[order]

    def _predicted(self, X: Any, y: Any, train: Any, test: Any, classes: NDArray[Any], routed: Any) -> Array:
        """Probabilities of all classes; 0 for one that the training rows of the fold lack."""
        metadata = _check_method_params(X, routed.estimator.fit, train)
        model = clone(self.estimator).fit(_safe_indexing(X, train), y[train], **metadata)
        found = np.asarray(model.predict_proba(_safe_indexing(X, test)))
        probs = np.zeros((len(found), len(classes)))
        probs[:, np.searchsorted(classes, model.classes_)] = found
        return probs

    def _routed(self, sample_weight: Any, params: dict[str, Any]) -> Any:
        """What goes to the estimator's `fit` and to the splitter's `split`."""
        given = params if sample_weight is None else {**params, "sample_weight": sample_weight}
        if get_config()["enable_metadata_routing"]:
            return process_routing(self, "fit", sample_weight=sample_weight, **params)
        if sample_weight is not None and not has_fit_parameter(self.estimator, "sample_weight"):
            raise invalid("estimator", "take sample_weight in fit", type(self.estimator).__name__,
                          "Route it: sklearn.set_config(enable_metadata_routing=True).", kind=TypeError)  # fmt: skip
        return Bunch(estimator=Bunch(fit=given), splitter=Bunch(split={}))

    def get_metadata_routing(self) -> MetadataRouter:
        """What `fit` hands on: to the estimator's `fit` and to the splitter's `split`."""
        fit, split = MethodMapping().add(caller="fit", callee="fit"), MethodMapping().add(caller="fit", callee="split")
        router = MetadataRouter(owner=self).add_self_request(self)
        router.add(estimator=self.estimator, method_mapping=fit).add(splitter=self.cv, method_mapping=split)
        return router

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Adjusted probabilities (N, m)."""
        check_is_fitted(self)
        return normalize_alternately(
            self.estimator_.predict_proba(X),
            self.prior_,
            k=self.k,
            threshold=self.threshold,
            alpha=self.alpha,
            iterations=self.iterations,
            reference=self.reference_,
        )

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable class after adjustment."""
        check_is_fitted(self)
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = get_tags(self.estimator).input_tags.sparse
        return tags


def checked_weights(sample_weight: ArrayLike, X: Any) -> Array:
    """One finite weight ≥ 0 a row."""
    weights = np.asarray(_check_sample_weight(sample_weight, X, dtype=np.float64))
    if (weights < 0).any():
        raise invalid("sample_weight", "be non-negative", f"minimum {weights.min():g}")
    return weights
