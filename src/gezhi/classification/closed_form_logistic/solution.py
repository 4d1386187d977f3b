"""From moments to weights, and the state of a model that threads share."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from gezhi._checks import check_choice, check_same_length, invalid
from gezhi.classification._by_class import by_class
from gezhi.classification.closed_form_logistic.moments import Array, ClassMoments, shrinkage_weight, solve_symmetric

_locks: WeakKeyDictionary[object, Any] = WeakKeyDictionary()
_locking = threading.Lock()


@dataclass(frozen=True, eq=False)
class Seen:
    """What a model has learned from. Never changed, only replaced, so that no thread meets half of an update.

    `fourth` is the sum that Ledoit-Wolf shrinkage needs; moments do not give it.
    """

    classes: NDArray[Any]
    moments: ClassMoments
    fourth: float | None = None


@dataclass(frozen=True, eq=False)
class Solution:
    """Weights (K, n) and offsets (K,) of the logits (x - center) wᵀ + b, and what they came from."""

    seen: Seen
    weights: Array
    offsets: Array
    center_weight: Array
    covariance: Array
    shrinkage: float

    @property
    def center(self) -> Array:
        return self.seen.moments.center


def lock_of(model: object) -> Any:
    """The lock of a model's updates. It lies outside the model, which can so be pickled, cloned and copied."""
    with _locking:
        return _locks.setdefault(model, threading.RLock())


def solve(seen: Seen, shrinkage: Any, priors: Any, solver: str) -> Solution:
    """Equation (2), solved in units in which every column has variance 1: unshrunk, the user's units do not matter."""
    check_choice("solver", solver, ("cholesky", "eigh"))
    moments = seen.moments
    gamma = shrinkage_weight(shrinkage, moments, seen.fourth)
    covariance, (unit, varies) = moments.shrunken(gamma), moments.scale()
    if gamma:
        unit, varies = np.sqrt(np.diagonal(covariance)), np.ones(len(unit), dtype=bool)
    correlation = covariance / unit / unit[:, None] * (varies & varies[:, None])
    centred = np.where(moments.weight[:, None] > 0, moments.means - moments.center, 0.0)
    solved = solve_symmetric(correlation, np.vstack([centred, moments.center]) / unit, solver) / unit
    weights = solved[:-1]  # (2), first half
    offsets = log_prior(seen, priors) - 0.5 * (weights * centred).sum(axis=1)  # (2), second half
    return Solution(seen, weights, offsets, solved[-1], correlation * unit * unit[:, None], gamma)


def log_prior(seen: Seen, priors: Any) -> Array:
    """Logarithm of the class frequencies, or of what the user puts in their place; -inf for a class without rows."""
    weight = seen.moments.weight
    frequency = weight / weight.sum() if priors is None else by_class("priors", priors, seen.classes)
    check_same_length(priors=len(frequency), classes=len(weight))
    if priors is not None and (not (frequency > 0).all() or abs(frequency.sum() - 1) > 1e-6):
        raise invalid("priors", "be positive and sum to 1", frequency.tolist())
    empty = weight == 0
    if empty.any():
        warnings.warn(f"no rows yet of class {seen.classes[empty].tolist()}: its probability is 0.", stacklevel=5)
    return np.asarray(np.log(frequency, out=np.full(len(frequency), -np.inf), where=~empty))
