"""The two steps of alternating normalisation, and their closed form for one iteration."""

from __future__ import annotations

import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gezhi._checks import check_choice, check_integer, check_number, invalid
from gezhi.classification._by_class import by_class

Array = NDArray[np.float64]
ELEMENTS_AT_ONCE = 2**22
FOURTH_DECIMAL = 0.5e-4  # what rounding to four decimals may change in each entry


class Settings(NamedTuple):
    """What the formulas need beside the tables."""

    k: int
    threshold: float
    alpha: float
    iterations: int


class UnadjustedWarning(UserWarning):
    """Some rows could not be adjusted and stay as they were. Remedy: a lower bar, another reference or prior."""


def top_k_uncertainty(probs: ArrayLike, k: int | Literal["auto"] = "auto") -> Array:
    r"""Entropy of the k largest entries of each row, renormalised, in units of log k.

    $$H=-\frac1{\ln k}\sum_{i\le k}\tilde p_{(i)}\ln\tilde p_{(i)} \tag{1}$$

    Args:
        probs: (N, m), rows are distributions, up to the rounding of their dtype or to four decimals.
        k: entries to keep, 2 ≤ k ≤ m. `"auto"` is min(3, m); 3 is the article's choice.
    Returns: (N,), 0 for a certain row, 1 for k equal leaders.
    Errors: ValueError for rows that are no distribution (naming the row) and for k out of range.
    Cost: O(N m).
    Example:
        >>> top_k_uncertainty([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0]], k=2).round(4)
        array([0.9183, 1.    ])

    References: 苏剑林, CAN:借助先验分布提升分类性能的简单后处理技巧, 2021.
    """
    rows = checked_probs("probs", probs)
    return _uncertainty(rows, entries(k, rows.shape[1]))


def normalize_alternately(
    probs: ArrayLike,
    prior: ArrayLike,
    *,
    k: int | Literal["auto"] = "auto",
    threshold: float = 0.9,
    alpha: float = 1.0,
    iterations: int = 1,
    reference: ArrayLike | None = None,
) -> NDArray[Any]:
    r"""Re-weight uncertain rows so that, with the confident ones, the average prediction nears the prior.

    $$p_j'\ \propto\ \pi\odot\frac{p_j^\alpha}{S+p_j^\alpha},\qquad S=\sum_{i\in A}p_i^\alpha \tag{3}$$

    Args:
        probs: (N, m) predicted probabilities. Rows with uncertainty below `threshold` are returned as they are.
            A row may miss the sum 1 by what rounding to four decimals, or to the array's dtype, leaves.
        prior: (m,) class frequencies expected where the model is used, ≥ 0, any scale; 0 excludes a class. A dict or
            pandas Series is taken by name: by the columns of a DataFrame `probs`, else by the numbers 0 … m − 1.
        k, threshold: confident means `top_k_uncertainty(row, k) < threshold`. 3 (`"auto"`: min(3, m)) and 0.9 are the
            article's choice.
        alpha: exponent on the probabilities, > 0; 1 is the article's choice.
        iterations: alternations of column and row steps, ≥ 1; 1 is the article's choice and has the closed form (3).
        reference: rows whose confident ones form A, (n, m). None: the confident rows of `probs` (the article).
    Returns: (N, m) in the dtype of `probs` (integers become float64); rows sum to 1.
    Errors: ValueError naming the row or argument. Warns `UnadjustedWarning` when no row is confident, or where a
        row would lose all its mass; such rows stay as they were.
    Cost: O(N m) for one iteration; O(N_low · n · m · d) for d of them, in chunks of bounded memory.
    Use instead: logit adjustment by prior / training prior when all rows shall move; see the page for the comparison.
    Example:
        >>> normalize_alternately([[0.05, 0.95], [0.5, 0.5]], [0.5, 0.5], k=2)
        array([[0.05 , 0.95 ],
               [0.725, 0.275]])

    References: M. Jia, A. Reiter, S.-N. Lim, Y. Artzi, C. Cardie, When in doubt: improving classification
        performance with alternating normalization, 2021; 苏剑林, CAN:借助先验分布提升分类性能的简单后处理技巧, 2021.
    """
    rows = checked_probs("probs", probs)
    others = rows if reference is None else checked_probs("reference", reference)
    weights = checked_prior(prior, getattr(probs, "columns", range(rows.shape[1])))
    settings = checked_settings(k, threshold, alpha, iterations, rows.shape[1])
    if others.shape[1] != rows.shape[1]:
        raise invalid("reference", f"have {rows.shape[1]} columns like probs", others.shape[1])
    tables: list[Any] = [probs, reference]
    names = [list(table.columns) for table in tables if hasattr(table, "columns")]
    if len(names) == 2 and names[0] != names[1]:
        raise invalid("reference", f"have the columns {names[0]} of probs", names[1])
    adjusted = _adjusted(rows, others, weights, settings)
    dtype = np.asarray(probs).dtype
    return adjusted.astype(dtype if dtype.kind == "f" else np.float64)


def _adjusted(rows: Array, others: Array, prior: Array, settings: Settings) -> Array:
    k, threshold, alpha, iterations = settings
    low = _uncertainty(rows, k) >= threshold
    confident = others[_uncertainty(others, k) < threshold] if others is not rows else rows[~low]
    result = rows.copy()
    if not low.any():
        return result
    if not len(confident):
        warn(f"none of {len(others)} rows is confident (uncertainty below {threshold:g}). Raise threshold or pass "
             "reference=np.eye(m).")  # fmt: skip
        return result
    step = _closed_form if iterations == 1 else _alternated
    new = step(rows[low], confident, prior, alpha, iterations)
    vanished = new.sum(axis=1) == 0
    if vanished.any():
        warn(f"{vanished.sum()} rows have no mass on a class with a positive prior.")
    result[low] = np.where(vanished[:, None], rows[low], new)
    return result


def _closed_form(low: Array, confident: Array, prior: Array, alpha: float, _: int) -> Array:
    total, power = (confident**alpha).sum(axis=0), low**alpha
    return _share(prior * _quotient(power, total + power), axis=1)  # (3)


def _alternated(low: Array, confident: Array, prior: Array, alpha: float, iterations: int) -> Array:
    """The two steps as they are defined: every uncertain row is the last of a table that starts with A."""
    at_once = max(1, ELEMENTS_AT_ONCE // confident.size)
    parts = []
    for start in range(0, len(low), at_once):
        chunk = low[start : start + at_once]
        table = np.empty((len(chunk), len(confident) + 1, low.shape[1]))
        table[:, :-1], table[:, -1] = confident, chunk
        for _ in range(iterations):
            table = _share(_share(table**alpha, axis=1) * prior, axis=2)  # (2)
        parts.append(table[:, -1])
    return np.concatenate(parts)


def _share(table: Array, axis: int) -> Array:
    return _quotient(table, table.sum(axis=axis, keepdims=True))


def _quotient(a: Array, b: Array) -> Array:
    """a / b with 0 / 0 = 0: a class that nobody predicts contributes nothing."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b > 0)


def entries(k: Any, classes: int) -> int:
    """How many of the largest entries count: `"auto"` is min(3, classes)."""
    if isinstance(k, str):
        check_choice("k", k, ("auto", "an integer"))
        return min(3, classes)
    return check_integer("k", k, at_least=2, at_most=classes)


def checked_settings(k: Any, threshold: float, alpha: float, iterations: int, classes: int) -> Settings:
    """The settings as Python numbers, or the error that names one."""
    check_number("threshold", threshold, above=0)
    check_number("alpha", alpha, above=0, below=np.inf)
    iterations = check_integer("iterations", iterations, at_least=1)
    return Settings(entries(k, classes), float(threshold), float(alpha), iterations)


def _uncertainty(probs: Array, k: int) -> Array:
    top = np.partition(probs, -k, axis=1)[:, -k:]
    top = top / top.sum(axis=1, keepdims=True)
    return np.asarray(-(top * np.log(np.where(top > 0, top, 1.0))).sum(axis=1) / np.log(k))  # (1)


def checked_probs(argument: str, probs: ArrayLike) -> Array:
    """Probabilities as float64; ValueError names the first row that is no distribution."""
    given = np.asarray(probs)
    rows = given.astype(np.float64)
    if rows.ndim != 2 or rows.shape[1] < 2:
        raise invalid(argument, "have shape (rows, classes) with two classes at least", rows.shape)
    dtype_error = float(np.finfo(given.dtype).eps) if given.dtype.kind == "f" else 0.0
    tolerance = max(2, rows.shape[1]) * FOURTH_DECIMAL + dtype_error
    with np.errstate(invalid="ignore"):
        bad = ~((rows >= 0).all(axis=1) & (abs(rows.sum(axis=1) - 1) <= tolerance))
    if bad.any():
        row = int(bad.argmax())
        found = f"row {row}: {rows[row, :8].tolist()}"
        fix = f"Its sum is {rows[row].sum():.6g}; a gap of {tolerance:.2g} is left to rounding."
        raise invalid(argument, "have non-negative rows that sum to 1", found, fix)
    return rows


def checked_prior(prior: ArrayLike, classes: Any) -> Array:
    """The prior in the order of `classes`, scaled to sum 1."""
    weights = by_class("prior", prior, classes)
    if weights.shape != (len(classes),):
        raise invalid("prior", f"have one entry a class, shape ({len(classes)},)", weights.shape)
    if not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise invalid("prior", "be non-negative with a positive sum", weights.tolist())
    return np.asarray(weights / weights.sum())


def warn(text: str) -> None:
    warnings.warn(text, UnadjustedWarning, stacklevel=4)
