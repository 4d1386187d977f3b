"""Errors of one form: which argument and what it was, what must hold, what to do."""

from __future__ import annotations

import importlib
import math
from collections.abc import Collection
from types import ModuleType
from typing import Any


def invalid(argument: str, must: str, got: object, fix: str = "", *, kind: type[Exception] = ValueError) -> Exception:
    """Build (not raise) the error `{argument} must {must}: got {got}. {fix}`.

    Example:
        >>> str(invalid("scale", "be positive", -1.0, "Pass 1 / temperature."))
        'scale must be positive: got -1.0. Pass 1 / temperature.'
    """
    return kind(f"{argument} must {must}: got {got}." + (f" {fix}" if fix else ""))


def check_choice(argument: str, value: object, options: Collection[object]) -> None:
    """Raise ValueError unless `value` is one of `options`."""
    if value not in options:
        raise invalid(argument, "be one of " + ", ".join(map(repr, options)), repr(value))


def check_number(
    argument: str,
    value: Any,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
    fix: str = "",
) -> None:
    """Raise unless `value` is a Python number within the bounds (NaN never is)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(argument, "be a number", f"{value!r} ({type(value).__name__})", fix, kind=TypeError)
    if not (value > above or above == -math.inf) or not (value < below or below == math.inf):
        raise invalid(argument, f"lie strictly between {above:g} and {below:g}", value, fix)
    if not at_least <= value <= at_most:
        raise invalid(argument, f"lie between {at_least:g} and {at_most:g}", value, fix)


def check_same_length(**lengths: int) -> None:
    """Raise unless all named lengths agree: `check_same_length(X=len(X), y=len(y))`."""
    if len(set(lengths.values())) > 1:
        found = " and ".join(str(n) for n in lengths.values())
        raise ValueError(f"{' and '.join(lengths)} must have the same length: got {found}. Pass one entry per row.")


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise ModuleNotFoundError(
            f"{module} is not installed. Run: pip install 'gezhi[{extra}]'", name=module
        ) from None
