"""What every reader of graphs fills: nodes with their names, edges with their weights and directions."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np

from gezhi.data.errors import fault, shown
from gezhi.data.formats.files import finite
from gezhi.data.kinds import Edges


class EdgeList:
    """A graph as it is read.

    A node has a key, by which edges name it and which is unique, and a name, which need not be: two nodes of one name
    stay two nodes. Without a name the key is the name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index: dict[str, int] = {}
        self.names: dict[int, str] = {}
        self.listed: set[int] = set()
        self.source, self.target, self.weight = array("q"), array("q"), array("d")
        self.directed = array("b")

    def node(self, key: str) -> int:
        """The number of a node, which is new unless its key is known."""
        return self.index.setdefault(key, len(self.index))

    def declare(self, key: str, at: str) -> int:
        """The number of a node that the file lists, each once; edges may have named it before."""
        number = self.node(key)
        if number in self.listed:
            raise fault(self.path, f"the node {shown(key)} again", "each node once", "Rename one.", at=at)
        self.listed.add(number)
        return number

    def known(self, key: str, at: str) -> int:
        """The number of a node that the file must have listed."""
        if key not in self.index:
            raise fault(self.path, f"an edge to {shown(key)}", "a node of the file", "List every node.", at=at)
        return self.index[key]

    def name(self, number: int, name: str) -> None:
        """Call a node by something else than its key."""
        if name.strip():
            self.names[number] = name.strip()

    def add(self, source: int, target: int, weight: str, directed: bool, at: str) -> None:
        """Take in an edge whose weight is still text."""
        value = finite(self.path, weight, "the weight", at)
        if value < 0:
            raise fault(self.path, f"the weight {weight}", "0 or more", "Drop the edge or shift the weights.", at=at)
        self.source.append(source)
        self.target.append(target)
        self.weight.append(value)
        self.directed.append(directed)

    def finished(self, directed: bool | None = None) -> Edges:
        """The graph, if it has an edge.

        Args:
            directed: the caller's word, by which every edge stands once, as written. None: the graph is directed if
                any of its edges is; then an undirected one stands twice, once each way.
        """
        if not self.source:
            raise fault(self.path, "no edge", "at least one", "Check how it was written.")
        source, target, weight = np.array(self.source), np.array(self.target), np.array(self.weight)
        arc = np.array(self.directed, dtype=bool)
        if directed is None and arc.any() and not arc.all():
            back = np.flatnonzero(~arc & (source != target))
            source, target = np.r_[source, target[back]], np.r_[target, source[back]]
            weight = np.r_[weight, weight[back]]
        nodes = tuple(self.names.get(number, key) for key, number in self.index.items())
        towards = bool(arc.any()) if directed is None else directed
        return Edges(source, target, weight, towards, nodes, self.path.stem)
