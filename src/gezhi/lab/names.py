"""Chinese names of studies, arms, cases and metrics, from `docs/names.zh.toml`."""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache

from gezhi import _catalogue

NUMBER = re.compile(r"\d+(?:[ .,]\d+)*")
ENGLISH = re.compile(r"[a-z]{2,}")
KEPT = {"cos", "erf", "exp", "lbfgs", "log", "max", "min", "relu", "sin", "softmax", "tanh"}  # the same in any language


def needs_name(name: str) -> bool:
    """Whether a reader of Chinese would meet an English word: Louvain, GELU and L2 are names, tanh is a symbol."""
    return any(word not in KEPT for word in ENGLISH.findall(re.sub(r"[A-Z]\w*", "", name)))


def chinese(name: str, stem: str) -> str:
    """The Chinese name; names of the method go before common ones, and `{}` in a name stands for any number."""
    found = lookup(name, stem)
    return name if found is None else found


def lookup(name: str, stem: str) -> str | None:
    """The entry's text with its numbers filled in, or None where there is no entry."""
    for table in (tables().get(stem, {}), tables().get("common", {})):
        if name in table:
            return table[name]
        numbers = NUMBER.findall(name)
        template = table.get(NUMBER.sub("{}", name)) if numbers else None
        if template is not None:
            return template.format(*numbers)
    return None


def entry(name: str, stem: str) -> tuple[str, str] | None:
    """(table, key) of the entry that names it."""
    for where in (stem, "common"):
        for key in (name, NUMBER.sub("{}", name)):
            if key in tables().get(where, {}):
                return where, key
    return None


@lru_cache(maxsize=1)
def tables() -> dict[str, dict[str, str]]:
    """The file's tables: `common`, and one a method."""
    path = _catalogue.names()
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
