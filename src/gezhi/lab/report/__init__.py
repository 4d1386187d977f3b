"""The report: one offline HTML file in two languages, made of a record and the reference run beside it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["render", "write_report"]


def __getattr__(name: str) -> Any:
    """Templates and drawing load when a report is written; numbers, words and formulas are used without them."""
    if name in __all__:
        module = import_module("gezhi.lab.report.render")
        globals().update({name: getattr(module, name) for name in __all__})  # the module took the name of its function
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
