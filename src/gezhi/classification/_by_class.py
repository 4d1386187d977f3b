"""Numbers for classes, such as a prior, whatever holds them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gezhi._checks import entries_by_name, invalid


def by_class(argument: str, value: Any, classes: Iterable[Any]) -> NDArray[np.float64]:
    """One number a class, in the order of `classes`: a dict or a pandas Series by name, an array as it stands."""
    named = entries_by_name(argument, value)
    if named is not None:
        order = np.asarray(classes).tolist()
        if set(named) != set(order):
            raise invalid(argument, f"name each of the classes {order}", list(named))
        value = [named[label] for label in order]
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise invalid(argument, "hold one number a class", repr(value), kind=TypeError) from None
