"""Text and tables at any width: lines end between words or Chinese characters, and nothing is cut short by `…`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.table import Table

HAN = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\u201c\u201d"
CLOSING = "，。；：？！、）》”」』…"  # never begins a line
OPENING = "（《“「『"  # never ends one
TOKEN = re.compile(rf"[^\S\u00a0]+|[{OPENING}]*(?:[{HAN}]|(?:(?![{HAN}])[\S\u00a0])+)[{CLOSING}]*")


class Flow:
    """A paragraph in one style; a line ends where a person would end it.

    A word longer than the line is folded; a no-break space holds its neighbours together while they fit.
    """

    def __init__(self, text: str, style: str = "") -> None:
        self.paragraphs = text.split("\n")
        self.style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        style = console.get_style(self.style) if self.style else Style.null()
        for paragraph in self.paragraphs:
            for line in lines_of(paragraph, options.max_width):
                yield Segment(line.replace("\u00a0", " "), style)
                yield Segment.line()

    def __rich_measure__(self, _console: Console, options: ConsoleOptions) -> Measurement:
        longest = max((cell_len(token) for text in self.paragraphs for token in TOKEN.findall(text)), default=0)
        return Measurement(longest, self.widest).with_maximum(options.max_width)

    @property
    def widest(self) -> int:
        """Cells of its longest line, if none has to end early."""
        return max(map(cell_len, self.paragraphs))


def lines_of(text: str, width: int) -> list[str]:
    """The text in lines of at most so many cells."""
    lines, line = [], ""
    for token in TOKEN.findall(text):
        if cell_len(line + token.rstrip(" ")) <= width:
            line += token
            continue
        if line.strip():
            lines.append(line.rstrip(" "))
        *folded, line = folds(token.lstrip(" "), width)
        lines += folded
    return [*lines, line.rstrip(" ")] if line.strip() or not lines else lines


def folds(token: str, width: int) -> list[str]:
    """A word that may be longer than a line, in pieces."""
    pieces = []
    while cell_len(token) > width:
        piece = set_cell_size(token, width).rstrip(" ") or token[:1]
        pieces.append(piece)
        token = token[len(piece) :]
    return [*pieces, token]


def grid(rows: Sequence[Sequence[Flow]], *, fixed: Sequence[int] = (), heads: Sequence[str] = ()) -> Table:
    """A table without lines; columns in `fixed` are as wide as what they hold, the others share what is left."""
    table = Table(box=None, pad_edge=False, show_header=bool(heads))
    for column in range(max(map(len, rows), default=len(heads))):
        head = Flow(heads[column], "bold") if heads else Flow("")
        widest = max([head.widest, *(row[column].widest for row in rows)])
        table.add_column(head, overflow="fold", width=widest if column in fixed else None)
    for row in rows:
        table.add_row(*row)
    return table
