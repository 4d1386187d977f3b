"""Which methods there are: read from the headers of the wings' modules, without importing them."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from gezhi._checks import invalid

PACKAGE = Path(__file__).parent
FIELD = re.compile(r"^(Title|Also|Tags|Articles|Page|Notation): +(.+?)$(?=\n[A-Z][a-z]+:|\Z|\n\n)", re.M | re.S)
NOT_WINGS = {"adapters", "cli", "data", "experiments", "lab"}


@dataclass(frozen=True)
class Method:
    """A method as its module's header declares it."""

    stem: str
    wing: str
    summary: str
    title: str
    title_zh: str
    tags: tuple[str, ...]
    articles: tuple[str, ...]
    notation: str
    public: tuple[str, ...]
    aliases: tuple[str, ...] = ()

    @property
    def page(self) -> str:
        return f"docs/methods/{self.stem}.md"

    @property
    def module(self) -> str:
        return f"gezhi.{self.wing}.{self.stem}"


def methods(package: Path = PACKAGE) -> dict[str, Method]:
    """All methods by stem, in the order of wings and stems."""
    return {method.stem: method for method in _discovered(package)}


@lru_cache(maxsize=4)
def _discovered(package: Path) -> tuple[Method, ...]:
    found = []
    for wing in sorted(path.parent for path in package.glob("*/__init__.py")):
        if wing.name not in NOT_WINGS and not wing.name.startswith("_"):
            found += [_method(path, wing.name) for path in _modules(wing) if _has_header(path)]
    return tuple(found)


def _modules(wing: Path) -> Iterator[Path]:
    candidates = [p for p in wing.glob("*.py") if p.stem != "__init__"] + list(wing.glob("*/__init__.py"))
    yield from sorted(candidates, key=_stem)


def _stem(path: Path) -> str:
    return path.parent.name if path.stem == "__init__" else path.stem


def _has_header(path: Path) -> bool:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return bool(docstring and re.search(r"^Tags:", docstring, re.M))


def _method(path: Path, wing: str) -> Method:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree) or ""
    fields = dict(FIELD.findall(docstring))
    missing = {"Title", "Tags", "Articles", "Page"} - set(fields)
    if missing:
        raise invalid(f"header of {wing}/{path.name}", "have Title, Tags, Articles and Page", f"no {sorted(missing)}")
    title, bar, title_zh = fields["Title"].partition(" | ")
    if not bar:
        raise invalid(f"Title of {wing}/{path.name}", "be 'English | 中文'", repr(title))
    return Method(
        stem=_stem(path),
        wing=wing,
        summary=docstring.partition("\n")[0],
        title=title.strip(),
        title_zh=title_zh.strip(),
        tags=tuple(tag.strip(" .\n") for tag in fields["Tags"].split(",")),
        articles=tuple(article.strip() for article in re.split(r";\s+|\n", fields["Articles"]) if article.strip()),
        notation=" ".join(fields.get("Notation", "").split()),
        public=tuple(sorted(_all(tree))),
        aliases=tuple(alias.strip(" .\n") for alias in fields.get("Also", "").split(",") if alias.strip()),
    )


def _all(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def find(name: str) -> Method:
    """The method of this stem or alias, however it is spelt; ValueError suggests the nearest one."""
    known = methods()
    asked = _spelt(name)
    for method in known.values():
        if asked in map(_spelt, (method.stem, *method.aliases)):
            return method
    names = {_spelt(alias): alias for method in known.values() for alias in (method.stem, *method.aliases)}
    near = difflib.get_close_matches(asked, names, n=1, cutoff=0.4)
    hint = f"Did you mean {names[near[0]]!r}?" if near else "`gezhi list` shows all."
    raise invalid("METHOD", "be a known method", repr(name), hint)


def _spelt(name: str) -> str:
    """A name without what people spell in several ways."""
    return re.sub(r"[-_ ]", "", name.casefold())


def pages() -> Path:
    """Folder of the methods' pages: in the wheel, or in the repository."""
    return _shipped("_pages", "docs/methods")


def reference() -> Path:
    """Folder of the committed reference run: in the wheel, or in the repository."""
    return _shipped("_reference", "docs/results")


def names() -> Path:
    """The file of Chinese names of arms, cases and metrics: in the wheel, or in the repository."""
    return _shipped("_names.zh.toml", "docs/names.zh.toml")


def _shipped(inside: str, outside: str) -> Path:
    packed = PACKAGE / inside
    return packed if packed.exists() else PACKAGE.parents[1] / outside
