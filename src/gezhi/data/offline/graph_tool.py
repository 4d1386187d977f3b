"""Graphs in graph-tool's binary form (.gt.gz), read without graph-tool."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gezhi.data.errors import fault
from gezhi.data.formats.files import MAX_BYTES, check_size
from gezhi.data.kinds import Edges

MAGIC = "⛾ gt".encode()
SCALARS = ("u1", "i2", "i4", "i8", "f8", "V16")  # property types 0 to 5; 16 bytes of long double are passed over
STRING, VECTORS, OBJECT = 6, 7, 14  # types 7 to 13 are vectors of types 0 to 6; objects are never unpickled


@dataclass
class Cursor:
    """A place in the bytes of a file; every count is compared with what is left before it is believed."""

    path: Path
    data: bytes
    order: Literal["<", ">"] = "<"
    position: int = 0

    def array(self, kind: str, count: int) -> NDArray[Any]:
        """The next `count` numbers."""
        dtype = np.dtype(kind).newbyteorder(self.order)
        size = count * dtype.itemsize
        if size > len(self.data) - self.position:
            at = f"byte {self.position}"
            raise fault(self.path, "the end of the file", f"{size:,} more bytes", "Copy it again.", at=at)
        self.position += size
        return np.frombuffer(self.data, dtype, count, self.position - size)

    def number(self, kind: str = "u8") -> int:
        """The next whole number."""
        return int(self.array(kind, 1)[0])

    def text(self) -> str:
        """The next string: its length, then its bytes."""
        return self.array("u1", self.number()).tobytes().decode("utf-8", "replace")

    def values(self, kind: int, count: int) -> Any:
        """The next `count` values of a property."""
        if kind < STRING:
            return self.array(SCALARS[kind], count)
        if kind in (STRING, OBJECT):
            return [self.text() for _ in range(count)]
        return [self.values(kind - VECTORS, self.number()) for _ in range(count)]


@dataclass
class Graph:
    """Edges (edges, 2) in the order of the file, and the properties of nodes and edges by name."""

    directed: bool
    count: int
    edges: NDArray[np.int64]
    properties: dict[tuple[str, str], Any] = field(default_factory=dict)


def read_graph(path: Path) -> Graph:
    """Read head, adjacency and properties."""
    with gzip.open(path) as file:
        data = file.read(MAX_BYTES + 1)
    check_size(path, len(data), "the unpacked file")
    if data[:6] != MAGIC:
        raise fault(path, f"first bytes {data[:6].hex(' ')}", "a graph of graph-tool", "Copy it again.")
    cursor = Cursor(path, data, ">" if data[7] else "<", 8)
    cursor.text()  # a comment
    directed, count = bool(cursor.number("u1")), cursor.number()
    kind = next(name for name in ("u1", "u2", "u4", "u8") if count < 256 ** int(name[1]))
    lists = [cursor.array(kind, cursor.number()) for _ in range(count)]
    source = np.repeat(np.arange(count), [len(targets) for targets in lists])
    graph = Graph(directed, count, np.column_stack([source, np.concatenate(lists)]).astype(np.int64))
    for _ in range(cursor.number()):
        owner = ("graph", "node", "edge")[cursor.number("u1")]
        name, size = cursor.text(), {"graph": 1, "node": count, "edge": len(graph.edges)}[owner]
        graph.properties[owner, name] = cursor.values(cursor.number("u1"), size)
    return graph


def graph_tool(name: str, path: Path, *, groups: str = "", weight: str = "") -> Edges:
    """The graph as edges; `groups` and `weight` name the properties that hold them."""
    graph = read_graph(path)
    source, target = graph.edges.T
    labels = graph.properties.get(("node", "label"), [str(node) for node in range(graph.count)])
    weights = graph.properties["edge", weight] if weight else np.ones(len(source))
    codes = np.unique(graph.properties["node", groups], return_inverse=True)[1] if groups else None
    return Edges(source, target, np.array(weights, dtype=np.float64), graph.directed, tuple(labels), name, codes)
