"""The files that the tools read and write, and how a fault in one is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gezhi._catalogue import Method, methods
from gezhi.lab.pages import Lang
from gezhi.lab.study import Experiment, load_experiment

LANGS: tuple[tuple[Lang, str], ...] = (("en", ".md"), ("zh", ".zh.md"))


@dataclass(frozen=True)
class Problem:
    """A fault with its place: `docs/methods/cosent.md:12: …`."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass(frozen=True)
class House:
    """A repository's root; tests build small ones."""

    root: Path

    @property
    def docs(self) -> Path:
        return self.root / "docs"

    @property
    def results(self) -> Path:
        return self.docs / "results"

    @property
    def names(self) -> Path:
        return self.docs / "names.zh.toml"

    def page(self, stem: str, suffix: str = ".md") -> Path:
        return self.docs / "methods" / f"{stem}{suffix}"

    def drafts(self) -> Iterator[Method]:
        """Methods whose page has no Chinese yet."""
        for method in methods().values():
            if self.page(method.stem).exists() and not self.page(method.stem, ".zh.md").exists():
                yield method

    def is_draft(self, method: Method) -> bool:
        return not self.page(method.stem, ".zh.md").exists()

    def problem(self, path: Path, line: int, text: str) -> Problem:
        return Problem(path.relative_to(self.root), line, text)


def experiment_of(stem: str) -> Experiment | None:
    """The method's experiment, None while it is missing or cannot be imported, which `experiment_fault` tells."""
    return None if experiment_fault(stem) else load_experiment(stem)


def experiment_fault(stem: str) -> str:
    """Why an experiment cannot be used; empty where it can."""
    try:
        load_experiment(stem)
    except (ImportError, ValueError, SyntaxError) as error:
        return f"cannot be imported: {error}"
    return ""


def line_of(text: str, part: str) -> int:
    """The line in which a part of a text begins, 1 where it does not occur."""
    place = text.find(part)
    return text.count("\n", 0, place) + 1 if place >= 0 else 1
