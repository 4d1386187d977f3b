"""Pajek, and the sections of infomap's files that are like it: vertices by number, then arcs, edges or links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gezhi.data.errors import DataError, doubt, fault, shown
from gezhi.data.formats.edge_list import EdgeList
from gezhi.data.formats.files import lines

MANY_VERTICES = 2**20  # a header may claim as many; more only as the file has bytes to name them or their edges
VERTEX = re.compile(r'(\d+)(?:\s+(?:"([^"]*)"|(\S+)))?')  # what follows (coordinates, shapes) is for drawing
DIRECTED = {"*arcs": True, "*arcslist": True, "*edges": False, "*edgeslist": False, "*links": False}


def read_pajek(path: Path) -> EdgeList:
    """Every vertex in the order of its number, then every edge.

    Sections: `*Network` (a name), `*Vertices`, `*Arcs` (directed), `*Edges` and infomap's `*Links` (undirected),
    `*Arcslist`, `*Edgeslist`, in any order and number after the vertices. Where `*Links` stand alone, the numbers are
    names. Several relations (`*Arcs:1`, `*Arcs:2`) are read as one graph, with a DataWarning.

    Errors: DataError with the line for another section, a vertex out of range or listed twice, more vertices than the
        file can have, and a line that is not two vertices and perhaps a weight.
    """
    reader = Pajek(path)
    for line, text in reader.meaningful():
        reader.line = line
        reader.take(text)
    reader.close_vertices()
    return reader.edges


class Pajek:
    """What is known at this line of the file: the section, the number of vertices and their names."""

    def __init__(self, path: Path) -> None:
        self.path, self.edges = path, EdgeList(path)
        self.count, self.line, self.section, self.relation = -1, 0, "", ""
        self.named: dict[int, str] = {}
        self.closed = False

    def meaningful(self) -> Iterator[tuple[int, str]]:
        """Lines without white space around them; empty ones and comments are skipped."""
        for number, raw in enumerate(lines(self.path), 1):
            text = raw.strip()
            if text and text[0] not in "%#":
                yield number, text

    def take(self, text: str) -> None:
        if text.startswith("*"):
            self.open(text)
        elif self.section == "*vertices":
            self.vertex(text)
        elif self.section in DIRECTED:
            self.edge(text)
        else:
            raise self.fault(shown(text), "*Vertices", "Export it again.")

    def open(self, text: str) -> None:
        self.section, colon, rest = text.lower().partition(":")
        self.section, *words = self.section.split()
        if self.section == "*vertices":
            if self.count >= 0:
                raise self.fault("a second *Vertices", "one", "Split the file.")
            most = MANY_VERTICES + self.path.stat().st_size
            self.count = self.number(words[0] if words else "", most, "the number of vertices")
        elif self.section in DIRECTED:
            if self.count < 0 and self.section != "*links":
                raise self.fault("no *Vertices", "their number before the edges", "Export it again.")
            self.close_vertices()
            self.relate(rest if colon else "")
        elif self.section != "*network":
            fix = "Export it as edges or arcs."
            raise self.fault(shown(self.section), "*Vertices, *Edges, *Arcs or *Links", fix)

    def relate(self, relation: str) -> None:
        """Say once that several relations become one graph."""
        if self.relation and relation and relation.split() != self.relation.split():
            doubt(self.path, "several relations, read as one graph", "Split the file.", at=f"line {self.line}")
        self.relation = relation or self.relation

    def vertex(self, text: str) -> None:
        found = VERTEX.match(text)
        if not found:
            raise self.fault(shown(text), "the number of a vertex and perhaps its name")
        number = self.number(found[1], self.count, "a vertex")
        if number in self.named or number == 0:
            raise self.fault(f"vertex {number}" + (" again" if number else ""), "each number from 1 on once")
        self.named[number] = found[2] or found[3] or ""

    def close_vertices(self) -> None:
        """Number the vertices, also those that no line names."""
        if not self.closed:
            self.closed = True
            for number in range(1, self.count + 1):
                self.edges.name(self.edges.node(str(number)), self.named.get(number, ""))

    def edge(self, text: str) -> None:
        cells = text.split()
        if len(cells) < 2:
            raise self.fault(shown(text), "two vertices and perhaps a weight")
        many = self.section.endswith("list")
        source, *targets = (self.end(cell) for cell in (cells if many else cells[:2]))
        weight = cells[2] if len(cells) > 2 and not many else "1"
        for target in targets:
            self.edges.add(source, target, weight, DIRECTED[self.section], f"line {self.line}, column 3")

    def end(self, cell: str) -> int:
        """The number of a node from that of its vertex."""
        if self.count < 0:
            return self.edges.node(cell)
        number = self.number(cell, self.count, "a vertex")
        if number == 0:
            raise self.fault("vertex 0", f"1 to {self.count}", "Pajek counts from 1.")
        return number - 1

    def number(self, cell: str, most: int, what: str) -> int:
        if not (cell.isascii() and cell.isdigit() and len(cell) < 12 and int(cell) <= most):
            raise self.fault(shown(cell), f"{what} up to {most}")
        return int(cell)

    def fault(self, found: str, expected: str, fix: str = "") -> DataError:
        return fault(self.path, found, expected, fix, at=f"line {self.line}")
