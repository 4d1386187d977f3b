"""The house's docstrings as autodoc reads them: formulas between dollars, names in backticks, sections on one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

DISPLAY = re.compile(r"\$\$(.+?)\$\$", re.S)
SECTION = re.compile(
    r"^(Returns|Yields|Raises|Errors|Cost|Example|References|Use instead|Note|Warns|Gradient|Page): +(?=\S)"
)


def converted(_app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Change the docstring's lines in place, before Napoleon reads its sections."""
    text = DISPLAY.sub(_block, "\n".join(lines))
    lines[:] = list(_paragraphs(text.split("\n")))


def skipped(_app: Any, _what: str, _name: str, obj: Any, _skip: bool, _options: Any) -> bool | None:
    """The fields of a named tuple, which its own docstring explains."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """The lines in reStructuredText; a section with its text on one line becomes a paragraph of its own."""
    section: str | None = None  # the indent of the paragraph that is under way
    for line in lines:
        indent, words = line[: len(line) - len(line.lstrip())], line.lstrip()
        if section is not None and words and len(indent) > len(section):
            yield section + _inline(words)
            continue
        if section is not None:
            yield ""
        found = SECTION.match(words)
        section = indent if found else None
        if found:
            yield ""
            yield f"{indent}**{found[1]}**: {_inline(words[found.end() :])}"
        else:
            yield line if words.startswith((">>>", "...", ".. math::")) else indent + _inline(words)


def _block(found: re.Match[str]) -> str:
    start = found.string.rfind("\n", 0, found.start()) + 1
    indent = re.match(r" *", found.string[start:])[0]  # type: ignore[index]
    latex = " ".join(found[1].split())
    return f"\n{indent}.. math:: {latex}\n{indent}"


def _inline(text: str) -> str:
    """Code and formulas; what reStructuredText would take for markup is escaped, but for a name that Napoleon reads."""
    named = re.match(r"\w+_:", text)
    head = named[0] if named else ""
    return head + "".join(map(_part, re.split(r"(`[^`]+`|\$[^$]+\$)", text[len(head) :])))


def _part(part: str) -> str:
    if part.startswith("$"):
        return f":math:`{part[1:-1]}`"
    if part.startswith("`"):
        return f"`{part}`"
    return re.sub(r"[*|](?=\w)|(?<=\w)_(?!\w)", r"\\\g<0>", part)
