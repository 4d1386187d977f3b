"""Compile a function where numba is at hand; else the same body runs as plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gezhi._checks import require

Function = TypeVar("Function", bound=Callable[..., Any])


def _compiler(**options: bool) -> Callable[[Any], Any]:
    try:
        njit = require("numba", "all").njit
    except ModuleNotFoundError:
        return lambda function: function

    def compile_function(function: Any) -> Any:
        try:
            return njit(function, cache=True, nogil=True, **options)
        except RuntimeError:  # no folder to write to: the package's, the user's and NUMBA_CACHE_DIR are read-only
            return njit(function, nogil=True, **options)

    return compile_function


def is_compiled(function: Any) -> bool:
    """Whether numba is at hand."""
    return hasattr(function, "py_func")


def is_kept(function: Any) -> bool:
    """Whether numba found a folder that keeps the compiled function for the next process."""
    return function.stats.cache_path is not None


_compile, _inline = _compiler(), _compiler(forceinline=True)


def compiled(function: Function) -> Function:
    """`numba.njit`, kept on disk after the first compilation where there is a folder to write to.

    numba looks at the file of a function alone: after a change to what it calls in another file, delete `*.nbi`.
    """
    return _compile(function)  # type: ignore[no-any-return]


def inlined(function: Function) -> Function:
    """The same for a small function of an inner loop, put into its callers."""
    return _inline(function)  # type: ignore[no-any-return]
