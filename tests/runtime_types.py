"""The checker behind `--jaxtyping-packages`: shapes and dtypes of annotations hold at run time, in tests alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException

check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def typechecker(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check calls of a function; those with `Self` or a private protocol in the signature cannot be, and stay bare."""
    try:
        return check(function)
    except BeartypeDecorHintException:
        return function
