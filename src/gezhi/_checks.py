"""Errors of one form: which argument and what it was, what must hold, what to do."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from numbers import Integral, Real
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
    below: float | None = None,
    at_most: float = math.inf,
    fix: str = "",
) -> float:
    """`value` as a Python number; raise unless it is one, NumPy's scalars included, within the bounds (NaN never is).

    Infinity passes where no bound refuses it; `below=math.inf` asks for a finite number.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise invalid(argument, "be a number", f"{value!r} ({type(value).__name__})", fix, kind=TypeError)
    number = value if isinstance(value, int | float) else int(value) if isinstance(value, Integral) else float(value)
    if not (number > above or above == -math.inf) or not (below is None or number < below):
        raise invalid(
            argument, f"lie strictly between {above:g} and {math.inf if below is None else below:g}", value, fix
        )
    if not at_least <= number <= at_most:
        raise invalid(argument, f"lie between {at_least:g} and {at_most:g}", value, fix)
    return number


def check_integer(
    argument: str, value: Any, *, at_least: float = -math.inf, at_most: float = math.inf, fix: str = ""
) -> int:
    """`value` as a Python integer; raise unless it is one, NumPy's scalars included, within the bounds.

    Example:
        >>> check_integer("n_trials", 1.5)
        Traceback (most recent call last):
        TypeError: n_trials must be an integer: got 1.5 (float).
    """
    if isinstance(value, Real) and not isinstance(value, bool | Integral):
        raise invalid(argument, "be an integer", f"{value!r} ({type(value).__name__})", fix, kind=TypeError)
    return int(check_number(argument, value, at_least=at_least, at_most=at_most, fix=fix))


def entries_by_name(argument: str, value: Any) -> dict[Hashable, Any] | None:
    """What a mapping or a pandas Series holds, by name; None for values without names. A name twice: ValueError."""
    series = getattr(value, "ndim", 0) == 1 and hasattr(value, "index") and hasattr(value, "items")
    if not isinstance(value, Mapping) and not series:
        return None
    named = dict(value.items())
    if len(named) < len(value):
        twice = next(name for name, count in Counter(name for name, _ in value.items()).items() if count > 1)
        raise invalid(argument, "have one entry a name", f"several named {twice!r}")
    return named


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
