"""Compile a function where numba is at hand; else the same body runs as plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gezhi._checks import require

Function = TypeVar("Function", bound=Callable[..., Any])


def _compiler(**options: bool) -> Callable[[Any], Any]:
    try:
        njit = require("numba", "graph").njit
    except ModuleNotFoundError:
        return lambda function: function
    return lambda function: njit(function, cache=True, nogil=True, **options)


_compile, _inline = _compiler(), _compiler(forceinline=True)


def compiled(function: Function) -> Function:
    """`numba.njit`, kept on disk after the first compilation.

    numba looks at the file of a function alone: after a change to what it calls in another file, delete `*.nbi`.
    """
    return _compile(function)  # type: ignore[no-any-return]


def inlined(function: Function) -> Function:
    """The same for a small function of an inner loop, put into its callers."""
    return _inline(function)  # type: ignore[no-any-return]
