"""Formulas as MathML, which browsers draw without a script, a font or a network."""

from __future__ import annotations

from typing import Any

from docutils import nodes

from gezhi.lab.report.math import TAG, math


def inline(self: Any, node: nodes.Element) -> None:
    self.body.append(str(math(node.astext())))
    raise nodes.SkipNode


def display(self: Any, node: nodes.Element) -> None:
    r"""A block with its `\tag` on the right."""
    latex = node.astext()
    found = TAG.search(latex)
    number = f'<span class="number">({found[1]})</span>' if found else ""
    self.body.append(f'<div class="formula">{math(latex, display=True)}{number}</div>\n')
    raise nodes.SkipNode
