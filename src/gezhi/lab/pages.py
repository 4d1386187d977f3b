"""What the lab reads from a method's page: sections by order and formulas with a tag."""

from __future__ import annotations

import re

HEADINGS = ("Question", "Notation", "Derivation", "From formula to code", "Claims", "Result of the reference run",
            "When not to use it", "References")  # fmt: skip
STAMP = re.compile(r"<!-- en:\w+ -->\n?")
DISPLAY = re.compile(r"\$\$(.+?)\$\$", re.S)


def sections(text: str) -> list[tuple[str, str]]:
    """(heading line, body) of every heading of levels 1 to 3, in order; code blocks are not searched."""
    parts, current, fenced = [], ["", ""], False
    for line in text.splitlines(keepends=True):
        fenced ^= line.startswith("```")
        if not fenced and re.match(r"#{1,3} ", line):
            parts.append((current[0], current[1]))
            current = [line.strip(), ""]
        else:
            current[1] += line
    return [*parts, (current[0], current[1])][1:]


def section(text: str, number: int) -> str:
    """Body of the n-th section of level 2 (1 = Question), without the translation stamp."""
    bodies = [body for heading, body in sections(text) if heading.startswith("## ")]
    return STAMP.sub("", bodies[number - 1]).strip() if len(bodies) >= number else ""


def display_formulas(text: str) -> list[str]:
    r"""LaTeX of every display formula that carries a `\tag`, in order."""
    return [" ".join(formula.split()) for formula in DISPLAY.findall(text) if r"\tag{" in formula]
