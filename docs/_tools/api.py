"""A page a wing with every public name, from the docstrings; written before Sphinx reads, and not kept."""

from __future__ import annotations

import importlib
import inspect
from itertools import groupby
from pathlib import Path

from gezhi._catalogue import Method, methods

INDEX = """API
===

.. toctree::
   :maxdepth: 2

{pages}
"""


def write_pages(folder: Path) -> None:
    """`api/index.rst` and `api/<wing>.rst`; a page that is as it should be is left alone."""
    wings = {wing: list(found) for wing, found in groupby(methods().values(), key=lambda method: method.wing)}
    pages = {"index": INDEX.format(pages="\n".join(f"   {wing}" for wing in wings))}
    pages |= {wing: wing_page(wing, found) for wing, found in wings.items()}
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.rst"):
        if path.stem not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, encoding="utf-8")


def wing_page(wing: str, found: list[Method]) -> str:
    """The wing's methods, and what else it exports."""
    module = importlib.import_module(f"gezhi.{wing}")
    title = f"gezhi.{wing}"
    known = {name for method in found for name in method.public}
    blocks = [f"{title}\n{'=' * len(title)}", f".. currentmodule:: gezhi.{wing}"]
    for method in found:
        blocks += [f"{method.title}\n{'-' * 2 * len(method.title)}", *entries(wing, module, method.public)]
    shared = sorted(set(getattr(module, "__all__", ())) - known)
    if shared:
        blocks += ["Shared\n------", *entries(wing, module, tuple(shared))]
    return "\n\n".join(blocks) + "\n"


def entries(wing: str, module: object, names: tuple[str, ...]) -> list[str]:
    """A directive a name."""
    found = []
    for name in names:
        thing = getattr(module, name)
        if not callable(thing):
            found.append(f".. py:data:: {name}\n\n   A {type(thing).__name__}.")
            continue
        kind = "autoclass" if inspect.isclass(thing) else "autofunction"
        options = "\n   :members:" if kind == "autoclass" else ""
        found.append(f".. {kind}:: gezhi.{wing}.{name}{options}")
    return found
