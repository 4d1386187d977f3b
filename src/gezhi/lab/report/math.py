"""LaTeX to MathML, with the spaces and break points that the converter leaves out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from xml.etree import ElementTree as ET

from latex2mathml.converter import convert
from markupsafe import Markup, escape

TAG = re.compile(r"\\tag\{([^}]*)\}")
FUNCTIONS = {"arccos", "arcsin", "cos", "det", "exp", "lg", "ln", "log", "sin", "tan", "tanh", "tr"}
ACCENTS = {"~", "^", "¯", "˙", "→"}
RELATIONS = {"=", "≤", "≥", "<", ">", "≈", "∝", "→", "≠", "∼", "⟺", "⟹"}
BREAKS = RELATIONS | {"+", "−"}  # outside brackets
OPENING, CLOSING = {"(", "[", "{"}, {")", "]", "}"}
LONG = 16  # characters of an inline formula that may have to break


@lru_cache(maxsize=4096)
def math(latex: str, *, display: bool = False) -> Markup:
    """MathML of a formula, without its tag.

    A display formula keeps its source as alternative text. A long inline formula becomes several elements, one after
    the other, since browsers do not break inside one.
    """
    source = " ".join(TAG.sub("", latex).split())
    element = convert(source, display="block" if display else "inline")
    root = ET.fromstring(element.replace(' xmlns="http://www.w3.org/1998/Math/MathML"', ""))
    for row in list(root.iter()):
        _space(row)
        if row.tag == "mover" and row[-1].text in ACCENTS:
            row.set("accent", "true")
    if display:
        return Markup(f'<math display="block" alttext="{escape(source)}">') + _inside(list(root)) + Markup("</math>")
    content = list(root[0]) if len(root) == 1 and root[0].tag == "mrow" else list(root)
    parts = pieces(content) if len("".join(root.itertext())) > LONG else [content]
    return Markup("").join(Markup("<math>") + _inside(part) + Markup("</math>") for part in parts)


def _inside(elements: list[ET.Element]) -> Markup:
    return Markup("".join(ET.tostring(element, encoding="unicode", short_empty_elements=False) for element in elements))


def _space(row: ET.Element) -> None:
    """A thin space behind the name of a function, unless a bracket or another operator follows."""
    if row.tag not in ("mrow", "mstyle", "math"):
        return
    named = [
        child for child, after in pairwise(row) if child.text in FUNCTIONS and child.tag == "mi" and after.tag != "mo"
    ]
    for child in named:
        row.insert(list(row).index(child) + 1, ET.Element("mspace", width=".17em"))


def pieces(content: list[ET.Element]) -> Iterator[list[ET.Element]]:
    """The parts of a formula between which a line may end: before relations and sums outside brackets."""
    piece: list[ET.Element] = []
    depth = 0
    for element in content:
        sign = _sign(element)
        depth += (sign in OPENING) - (sign in CLOSING)
        if piece and sign in BREAKS and depth == 0 and element.tag == "mo":
            yield piece
            piece = []
            element.set("form", "infix")
        piece.append(element)
    yield piece


def _sign(element: ET.Element) -> str:
    """The operator that an element is, or that an index hangs on; else nothing."""
    while element.tag in ("msub", "msup", "msubsup"):
        element = element[0]
    return (element.text or "").strip() if element.tag == "mo" else ""
