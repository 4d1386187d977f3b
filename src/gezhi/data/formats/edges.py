"""Graphs: a table of edges (CSV, TSV), GraphML or Pajek."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gezhi.data.errors import fault
from gezhi.data.formats.files import check_width, finite, records
from gezhi.data.formats.graphml import read_graphml
from gezhi.data.formats.pajek import read_pajek
from gezhi.data.kinds import Edges

HEADS = {("source", "target"), ("from", "to"), ("src", "dst"), ("u", "v")}


class EdgeList:
    """Edges as they are read: nodes are numbered when first named, weights checked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.nodes: dict[str, int] = {}
        self.source, self.target, self.weight = array("q"), array("q"), array("d")

    def node(self, name: str) -> int:
        """The number of a node."""
        return self.nodes.setdefault(name, len(self.nodes))

    def add(self, source: str, target: str, weight: str, at: str) -> None:
        """Take in an edge whose weight is still text."""
        value = finite(self.path, weight, "the weight", at)
        if value < 0:
            raise fault(self.path, f"the weight {weight}", "0 or more", "Drop the edge or shift the weights.", at=at)
        self.source.append(self.node(source))
        self.target.append(self.node(target))
        self.weight.append(value)

    def finished(self, directed: bool) -> Edges:
        """The graph, if it has an edge."""
        if not self.source:
            raise fault(self.path, "no edge", "at least one", "Check how it was written.")
        return Edges(
            np.array(self.source), np.array(self.target), np.array(self.weight), directed, tuple(self.nodes),
            self.path.stem,
        )  # fmt: skip


def load_edges(path: Path) -> Edges:
    """GraphML and Pajek say whether they are directed; a table is undirected (`dataclasses.replace` turns it)."""
    edges = EdgeList(path)
    reader = {".graphml": read_graphml, ".net": read_pajek}.get(path.suffix.lower())
    if reader:
        return edges.finished(reader(path, edges.node, edges.add))
    read_table(path, edges, records(path, "\t" if path.suffix.lower() == ".tsv" else ","))
    return edges.finished(directed=False)


def read_table(path: Path, edges: EdgeList, rows: Iterable[tuple[int, list[str]]]) -> None:
    """Source, target and perhaps weight; a first line such as `source,target,weight` is a header."""
    columns: tuple[str, ...] = ()
    for line, cells in rows:
        if not columns:
            columns = ("source", "target", "weight")[: max(2, len(cells))]
            check_width(path, line, len(cells), columns)
            if tuple(cell.strip().lower() for cell in cells[:2]) in HEADS:
                continue
        check_width(path, line, len(cells), columns)
        source, target = (cell.strip() for cell in cells[:2])
        if not source or not target:
            at = f"line {line}, column {2 if source else 1}"
            raise fault(path, "an empty cell", "a node", "Fill it or drop the line.", at=at)
        edges.add(source, target, cells[2] if len(columns) == 3 else "1", f"line {line}, column 3")
