"""Tables of edges row by row: comments, quotes, directions, and the place of every fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gezhi.data.errors import fault, shown
from gezhi.data.formats.edge_columns import COMMENTS, MARK, Columns, like_a_row, tidied
from gezhi.data.formats.edge_list import EdgeList
from gezhi.data.formats.files import check_width, lines, records


def read_rows(path: Path, columns: Columns) -> EdgeList:
    """Every row as an edge, the header left out.

    Errors: DataError with line and column for a row of another width, an empty cell, a weight that is no number of at
        least 0, and, where the first row has one of Gephi's types, a type that is none.
    """
    edges = EdgeList(path)
    rows = Rows(path, columns)
    kept, typed = not columns.header, None
    for line, cells in rows:
        check_width(path, line, len(cells), columns.names)
        if not kept:
            kept = True
            continue
        source, target = (cells[i].strip() for i in (columns.source, columns.target))
        if not source or not target:
            at = f"line {line}, column {(columns.target if source else columns.source) + 1}"
            raise fault(path, "an empty cell", "a node", "Fill it or drop the line.", at=at)
        towards = columns.directed(cells)
        typed = towards is not None if typed is None else typed
        if typed and towards is None:
            found, at = shown(cells[columns.type or 0]), f"line {line}, column {(columns.type or 0) + 1}"
            raise fault(path, found, "Directed or Undirected", "Correct it or drop the column.", at=at)
        weight = "1" if columns.weight is None else cells[columns.weight].strip()
        at = f"line {line}, column {(columns.weight or 0) + 1}"
        edges.add(edges.node(source), edges.node(target), weight, bool(towards), at)
    return edges


class Rows:
    """The records of a table, without comments, each with the line it ends on."""

    def __init__(self, path: Path, columns: Columns) -> None:
        self.path, self.columns = path, columns
        self.fresh, self.begun, self.line = True, False, 0

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        for found in records(self.path, self.columns.separator, self.without_comments()):
            yield found
            self.fresh = self.begun = True

    def without_comments(self) -> Iterator[str]:
        """The lines of the file, empty where one is a comment; a line inside quotes is none."""
        for number, raw in enumerate(lines(self.path), 1):
            self.line = number
            if self.fresh and raw.lstrip().startswith(COMMENTS):
                self.check_comment(raw.strip())
                yield "\n"
            else:
                self.fresh = self.fresh and not raw.strip()
                yield tidied(raw, self.columns.separator) + "\n" * (self.columns.separator == " ")

    def check_comment(self, text: str) -> None:
        """Refuse a comment below the first row that may be an edge."""
        if self.begun and like_a_row(text, self.columns.separator, len(self.columns.names)):
            found, at = f"a line that begins with {text[0]}", f"line {self.line}"
            raise fault(self.path, found, "an edge or a comment", MARK, at=at)
