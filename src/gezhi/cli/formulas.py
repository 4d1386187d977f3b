"""Formulas of a page in Unicode, read by pylatexenc: what a terminal cannot stack stands in brackets, `e^(s−m)`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pylatexenc.latex2text import LatexNodes2Text, MacroTextSpec, get_default_latex_context_db
from pylatexenc.latexwalker import get_default_latex_context_db as default_syntax
from pylatexenc.macrospec import std_macro

INLINE = re.compile(r"\$([^$]+)\$")
TAG = re.compile(r"\s*\\tag\{([^}]*)\}")
FUNCTIONS = [
    "arccos",
    "arcsin",
    "arctan",
    "arg",
    "cos",
    "cosh",
    "cot",
    "det",
    "dim",
    "exp",
    "gcd",
    "inf",
    "ln",
    "log",
    "max",
    "min",
    "sin",
    "sinh",
    "sup",
    "tan",
    "tanh",
]
DONE = str.maketrans("{}_^", "\ue000\ue001\ue002\ue003")  # signs that are printed, while others still mark up
PRINTED = str.maketrans("\ue000\ue001\ue002\ue003", "{}_^")
RAISED = dict(zip("0123456789+−=()nijkabcdefghlmoprstuvwxyz", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱʲᵏᵃᵇᶜᵈᵉᶠᵍʰˡᵐᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True))
LOWERED = dict(zip("0123456789+−=()aehijklmnoprstuvxβγρφχ", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ", strict=True))
SCRIPT = re.compile(r"([_^])(?:\{([^{}]*)\}|([^\s{}]))")
GROUP = re.compile(r"\{([^{}]*)\}")
SCRIPTS = r"(?:[_^](?:\{[^{}]*\}|[^\s{}]))*"
ATOM = re.compile(rf"[-−]?(?:\d+(?:\.\d+)?|√\([^()]*\)|[∂∇]?\w[\u0300-\u036f]*){SCRIPTS}'*")
RELATIONS = "=<>≤≥≠≈∼∝∈→←↦⟺⟹"
ENVIRONMENT = re.compile(r"\\(?:begin|end)\{\w+\}")


def in_unicode(latex: str) -> list[str]:
    r"""A display formula as lines of text, its `\tag{3}` as `(3)` at the end of the first."""
    found = TAG.search(latex)
    body = ENVIRONMENT.sub(" ", TAG.sub("", latex)).replace("&", r"\qquad ")
    rows = [row for row in body.split(r"\\") if row.strip()]
    lines = [_line(row) for row in rows]
    lines[0] += f"   ({found[1]})" if found else ""
    return lines


def plain(text: str) -> str:
    """Prose with its inline formulas in Unicode."""
    return INLINE.sub(lambda found: _line(found[1]), text)


def _line(latex: str) -> str:
    escaped = latex.replace(r"\{", r"\lbrace ").replace(r"\}", r"\rbrace ")
    text = _converter().latex_to_text(escaped.replace(r"\,", " ").replace(r"\!", ""))
    text = _spaced(text.replace("-", "−"))
    while SCRIPT.search(text):
        text = SCRIPT.sub(_script, text)
    while GROUP.search(text):
        text = GROUP.sub(r"\1", text)
    text = re.sub(rf"(?<=[(\[⟨+−]) +|(?<![{RELATIONS}]) +(?=[+−])| +(?=[)\]⟩,.])", "", text.translate(PRINTED))
    text = re.sub(rf"(?<=[a-z]{{2}}) +(?=[(\[^_{''.join(RAISED.values())}{''.join(LOWERED.values())}])", "", text)
    return re.sub(r" {2,}", lambda run: " " if len(run[0]) < 4 else "    ", text).strip()


def _spaced(text: str) -> str:
    """Spaces around relations, outside groups."""
    return "".join(f" {sign} " if depth == 0 and sign in RELATIONS else sign for sign, depth in _with_depth(text))


def _with_depth(text: str) -> Iterator[tuple[str, int]]:
    depth = 0
    for sign in text:
        depth += (sign == "{") - (sign == "}")
        yield sign, depth


def _script(found: re.Match[str]) -> str:
    """A script in small characters where Unicode has them, else in brackets."""
    inner = (found[2] if found[3] is None else found[3]).strip()
    if inner in ("⊤", "′", "'", "*"):
        return "ᵀ" if inner == "⊤" else inner
    table = RAISED if found[1] == "^" else LOWERED
    if all(sign in table for sign in inner):
        return "".join(table[sign] for sign in inner)
    return (f"{found[1]}{inner}" if len(inner) == 1 else f"{found[1]}({inner})").translate(DONE)


@lru_cache(maxsize=1)
def _converter() -> LatexNodes2Text:
    """pylatexenc with brackets around the parts of fractions, spaces around functions, and groups kept as groups."""
    text, syntax = get_default_latex_context_db(), default_syntax()
    names = {name: f" {name} " for name in FUNCTIONS} | {
        "lbrace": "\ue000",
        "rbrace": "\ue001",
        "mid": " | ",
        "ne": "≠",
    }
    macros = [MacroTextSpec(name, shown) for name, shown in names.items()]
    macros += [MacroTextSpec(name, _fraction) for name in ("frac", "tfrac", "dfrac")]
    macros += [MacroTextSpec("operatorname", " %s "), MacroTextSpec("binom", "C(%s, %s)")]
    text.add_context_category("gezhi", macros=macros, prepend=True)
    two = [std_macro(name, None, 2) for name in ("tfrac", "dfrac", "binom")]
    syntax.add_context_category("gezhi", macros=[*two, std_macro("operatorname", None, 1)], prepend=True)
    return _Converter(syntax, latex_context=text, math_mode="text", keep_braced_groups=True,
                      keep_braced_groups_minlen=0)  # fmt: skip


class _Converter(LatexNodes2Text):
    """Reads with its own syntax."""

    def __init__(self, syntax: Any, **options: Any) -> None:
        super().__init__(**options)
        self.syntax = syntax

    def latex_to_text(self, latex: str, **_: Any) -> str:
        from pylatexenc.latexwalker import LatexWalker

        nodes, _pos, _length = LatexWalker(latex, latex_context=self.syntax).get_latex_nodes()
        return str(self.nodelist_to_text(nodes))


def _fraction(node: Any, l2tobj: LatexNodes2Text) -> str:
    above, below = (_bracketed(l2tobj.nodelist_to_text([part]).strip()) for part in node.nodeargd.argnlist[-2:])
    return f"{above}/{below} "


def _bracketed(text: str) -> str:
    inner = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    return inner if ATOM.fullmatch(inner.strip()) else f"({inner.strip()})"
