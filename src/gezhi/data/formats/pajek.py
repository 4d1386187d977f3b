"""Pajek: vertices by number, then arcs (directed) or edges (undirected), line by line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from gezhi.data.errors import DataError, fault, shown
from gezhi.data.formats.files import lines

AddNode = Callable[[str], int]
AddEdge = Callable[[str, str, str, str], None]
MAX_VERTICES = 20_000_000  # a header may claim any number
VERTEX = re.compile(r'(\d+)(?:\s+(?:"([^"]*)"|(\S+)))?')  # what follows (coordinates, shapes) is for drawing


def read_pajek(path: Path, add_node: AddNode, add_edge: AddEdge) -> bool:
    """Hand every vertex in the order of its number, then every edge (source, target, weight, place) on.

    Returns: whether the edges are arcs.
    Errors: DataError with the line for a section other than vertices, edges and arcs, for arcs beside edges, for a
        vertex out of range or named twice, and for a line that is not two vertices and perhaps a weight.
    """
    return Pajek(path, add_node, add_edge).read()


class Pajek:
    """What is known at this line of the file: the section, the number of vertices and their names."""

    def __init__(self, path: Path, add_node: AddNode, add_edge: AddEdge) -> None:
        self.path, self.add_node, self.add_edge = path, add_node, add_edge
        self.count, self.line, self.section = -1, 0, ""
        self.named: dict[int, str] = {}
        self.names: list[str] = []
        self.directed: bool | None = None

    def read(self) -> bool:
        for text in self.meaningful():
            if text.startswith("*"):
                self.open(text)
            elif self.section == "*vertices":
                self.vertex(text)
            else:
                self.edge(text)
        self.close_vertices()
        return bool(self.directed)

    def meaningful(self) -> Iterator[str]:
        """Lines without white space around them; empty ones and comments are skipped."""
        for number, raw in enumerate(lines(self.path), 1):
            self.line, text = number, raw.strip()
            if text and not text.startswith("%"):
                yield text

    def open(self, text: str) -> None:
        self.section, *rest = text.lower().split()
        if self.section == "*vertices":
            if self.count >= 0:
                raise self.fault("a second *Vertices", "one", "Split the file.")
            self.count = self.number(rest[0] if rest else "", MAX_VERTICES, "the number of vertices")
        elif self.section in ("*edges", "*arcs"):
            directed = self.section == "*arcs"
            if self.directed not in (None, directed):
                raise self.fault("*Arcs beside *Edges", "one sort of edges", "Write each edge as two arcs.")
            self.directed = directed
            self.close_vertices()
        else:
            raise self.fault(shown(self.section), "*Vertices, *Edges or *Arcs", "Export it as edges or arcs.")

    def vertex(self, text: str) -> None:
        found = VERTEX.match(text)
        if not found:
            raise self.fault(shown(text), "the number of a vertex and perhaps its name")
        number = self.number(found[1], self.count, "a vertex")
        if number in self.named or number == 0:
            raise self.fault(f"vertex {number}" + (" again" if number else ""), "each number from 1 on once")
        self.named[number] = found[2] or found[3] or str(number)

    def close_vertices(self) -> None:
        """Number the vertices, also those that no line names."""
        if self.count < 0:
            raise self.fault("no *Vertices", "their number before the edges", "Export it again.")
        if not self.names:
            self.names = [self.named.get(number, str(number)) for number in range(1, self.count + 1)]
            for number, name in enumerate(self.names):
                if self.add_node(name) != number:
                    raise self.fault(f"two vertices named {shown(name)}", "a name for each", "Rename one.")

    def edge(self, text: str) -> None:
        cells = text.split()
        if not self.section or len(cells) < 2:
            raise self.fault(shown(text), "two vertices and perhaps a weight" if self.section else "*Vertices")
        ends = [self.number(cell, self.count, "a vertex") for cell in cells[:2]]
        if 0 in ends:
            raise self.fault("vertex 0", f"1 to {self.count}", "Pajek counts from 1.")
        weight = cells[2] if len(cells) > 2 else "1"
        self.add_edge(self.names[ends[0] - 1], self.names[ends[1] - 1], weight, f"line {self.line}, column 3")

    def number(self, cell: str, most: int, what: str) -> int:
        if not (cell.isascii() and cell.isdigit() and len(cell) < 12 and int(cell) <= most):
            raise self.fault(shown(cell), f"{what} up to {most}")
        return int(cell)

    def fault(self, found: str, expected: str, fix: str = "") -> DataError:
        return fault(self.path, found, expected, fix, at=f"line {self.line}")
