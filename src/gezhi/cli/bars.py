"""Progress bars on standard error, where that is a terminal, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gezhi.cli.output import console

Item = TypeVar("Item")
Move = Callable[[int, str], None]  # how much is done in all, and what there is to say of it


class Bars:
    """One bar at a time, each with its own words; gone when its work is done."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    @contextmanager
    def bar(self, words: str, total: int) -> Iterator[Move]:
        """A bar to move by hand."""
        task = self.progress.add_task(words, total=total)
        try:
            yield lambda done, more: self.progress.update(task, completed=done, description=f"{words} {more}".rstrip())
        finally:
            self.progress.remove_task(task)

    def over(self, items: Collection[Item], words: str) -> Iterator[Item]:
        """The items, and a bar that counts them."""
        with self.bar(words, len(items)) as move:
            for number, item in enumerate(items, 1):
                yield item
                move(number, "")


@contextmanager
def bars(*, quiet: bool = False) -> Iterator[Bars]:
    """A place for bars below what is printed."""
    out = console(err=True)
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=out, transient=True, disable=quiet or not out.is_terminal) as progress:
        yield Bars(progress)
