"""GraphML as a stream of elements: no tree is built, and a document type, where XML bombs live, is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.parsers import expat

from gezhi.data.errors import DataError, fault
from gezhi.data.formats.files import check_file

AddNode = Callable[[str], int]
AddEdge = Callable[[str, str, str, str], None]


def read_graphml(path: Path, add_node: AddNode, add_edge: AddEdge) -> bool:
    """Hand every node and edge (source, target, weight, place) on, in the order of the file.

    Returns: whether edges are directed by default.
    Errors: DataError with the line for broken XML, a document type, a second graph, a hyperedge, an edge without ends.
    """
    check_file(path)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    reader = GraphML(path, parser, add_node, add_edge)
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler = reader.start
    parser.CharacterDataHandler = reader.text
    parser.EndElementHandler = reader.end
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except expat.ExpatError as error:
        at = f"line {error.lineno}, column {error.offset + 1}"
        raise fault(path, expat.ErrorString(error.code), "GraphML", "Export it again.", at=at) from None
    if reader.directed is None:
        raise fault(path, "no graph", "GraphML with a <graph> element", "Export it again.")
    return reader.directed


class GraphML:
    """What is open at this point of the file: the weight's key, an edge, and the text of its weight."""

    def __init__(self, path: Path, parser: expat.XMLParserType, add_node: AddNode, add_edge: AddEdge) -> None:
        self.path, self.parser, self.add_node, self.add_edge = path, parser, add_node, add_edge
        self.directed: bool | None = None
        self.weight_key: str | None = None
        self.edge: dict[str, str] | None = None
        self.weight = ""
        self.in_key = self.in_weight = False
        self.openers = {"key": self.key, "default": self.default, "graph": self.graph, "node": self.node,
                        "edge": self.open_edge, "data": self.data, "hyperedge": self.hyperedge}  # fmt: skip

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if opener := self.openers.get(tag.rpartition(":")[2]):
            opener(attributes)

    def key(self, attributes: dict[str, str]) -> None:
        self.in_key = attributes.get("for") == "edge" and attributes.get("attr.name") == "weight"
        if self.in_key:
            self.weight_key = attributes.get("id")

    def default(self, _: dict[str, str]) -> None:
        if self.in_key:
            raise self.fault("a default weight", "a weight on each edge", "Write them out.")

    def graph(self, attributes: dict[str, str]) -> None:
        if self.directed is not None:
            raise self.fault("a second graph", "one", "Split the file.")
        self.directed = attributes.get("edgedefault") == "directed"

    def node(self, attributes: dict[str, str]) -> None:
        self.add_node(self.required(attributes, "id"))

    def open_edge(self, attributes: dict[str, str]) -> None:
        if attributes.get("directed") not in (None, str(self.directed).lower()):
            raise self.fault("directed and undirected edges", "one sort, that of the graph", "Split the file.")
        self.edge, self.weight = attributes, ""

    def data(self, attributes: dict[str, str]) -> None:
        self.in_weight = self.edge is not None and attributes.get("key") == self.weight_key

    def hyperedge(self, _: dict[str, str]) -> None:
        raise self.fault("a hyperedge", "edges between two nodes", "Split it into edges.")

    def doctype(self, *_: Any) -> None:
        raise self.fault("a document type (<!DOCTYPE>)", "none", "Delete it; it may hide entities.")

    def text(self, text: str) -> None:
        if self.in_weight:
            self.weight += text

    def end(self, tag: str) -> None:
        tag, self.in_weight = tag.rpartition(":")[2], False
        self.in_key = self.in_key and tag != "key"
        if tag == "edge" and self.edge is not None:
            source, target = (self.required(self.edge, name) for name in ("source", "target"))
            self.add_edge(source, target, self.weight.strip() or "1", f"line {self.parser.CurrentLineNumber}")
            self.edge = None

    def required(self, attributes: dict[str, str], name: str) -> str:
        if not attributes.get(name):
            raise self.fault(f"no {name!r}", f"an element with {name!r}", "Export it again.")
        return attributes[name]

    def fault(self, found: str, expected: str, fix: str) -> DataError:
        return fault(self.path, found, expected, fix, at=f"line {self.parser.CurrentLineNumber}")
