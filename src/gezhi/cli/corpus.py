"""The texts of `gezhi words`: which files, how they are read, and how far the work is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from gezhi._checks import invalid
from gezhi.cli.commands.words import Engine, Words
from gezhi.cli.output import console, note
from gezhi.data.raw_text import RawText, expand, open_text

STANDARD = "-"


@dataclass
class Bar:
    """A progress bar; while files are read it goes by their bytes, then by the characters of the text."""

    bars: Progress
    total: int | None = None
    before: int = 0
    now: RawText | None = None
    task: TaskID | None = None
    stage: str = field(default="", init=False)

    def told(self, stage: str, done: int, size: int | None) -> None:
        """What `WordDiscovery.fit` tells."""
        if self.task is None or stage != self.stage:
            if self.task is not None:
                self.bars.remove_task(self.task)
            self.task, self.stage = self.bars.add_task(stage, total=size or self.total), stage
        if size is None and self.total is not None:
            done = self.before + (self.now.done if self.now else 0)
        self.bars.update(self.task, completed=done)


@contextmanager
def progress(*, quiet: bool) -> Iterator[Bar]:
    """A bar on standard error, where that is a terminal."""
    out = console(err=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True, disable=quiet or not out.is_terminal) as bars:
        yield Bar(bars)


@dataclass(frozen=True)
class Corpus:
    """What was asked for: files on this machine, standard input (None among them), or paths for Spark."""

    asked: Words
    paths: list[Path | None]

    @classmethod
    def of(cls, asked: Words) -> Corpus:
        """DataError for a name of no file, ValueError for what Spark cannot do."""
        if asked.engine is not Engine.spark:
            paths = list[Path | None]()
            for name in asked.files:
                paths += [None] if name == STANDARD else expand([name])
            return cls(asked, list(dict.fromkeys(paths)))
        if STANDARD in asked.files:
            raise invalid("FILE", "be a path for Spark", "- (standard input)", "Or leave out --engine spark.")
        if "\n".encode(asked.encoding or "utf-8") != b"\n":
            raise invalid("--encoding", "end a line with the byte 0x0A for Spark", asked.encoding)
        return cls(asked, [])

    @property
    def name(self) -> str:
        """Of the corpus, for people."""
        if self.files > 1:
            return f"{self.files} files"
        path = self.paths[0] if self.paths else Path(self.asked.files[0])
        return "standard input" if path is None else path.name

    @property
    def files(self) -> int:
        return len(self.paths) or len(self.asked.files)

    def texts(self, bar: Bar) -> Any:
        """What `WordDiscovery.fit` takes."""
        asked = self.asked
        if asked.engine is Engine.spark:
            from gezhi.text.word_discovery.spark import lines_of

            return lines_of(asked.files, asked.encoding or "utf-8", asked.errors.value, asked.master)
        if None not in self.paths:
            bar.total = sum(path.stat().st_size for path in self.paths if path) or None
        return self._opened(bar)

    def _opened(self, bar: Bar) -> Iterator[RawText]:
        for path in self.paths:
            with open_text(path, self.asked.encoding, self.asked.errors.value) as text:
                bar.now = text
                yield text
                bar.before += text.done
                bar.now = None
            if text.replaced:
                places = "place" if text.replaced == 1 else "places"
                note(f"Note: {text.path}: {text.replaced} {places} could not be decoded and separate words.", err=True)
