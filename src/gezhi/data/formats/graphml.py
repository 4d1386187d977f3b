"""GraphML as a stream of elements: no tree is built, and a document type, where XML bombs live, is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.parsers import expat

from gezhi.data.errors import fault
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
    """What is open at this point of the file: the graph, an edge, and its weight's text."""

    def __init__(self, path: Path, parser: expat.XMLParserType, add_node: AddNode, add_edge: AddEdge) -> None:
        self.path, self.parser, self.add_node, self.add_edge = path, parser, add_node, add_edge
        self.directed: bool | None = None
        self.weight_key: str | None = None
        self.edge: dict[str, str] | None = None
        self.weight = ""
        self.in_weight = False

    @property
    def at(self) -> str:
        return f"line {self.parser.CurrentLineNumber}"

    def doctype(self, *_: Any) -> None:
        raise fault(self.path, "a document type (<!DOCTYPE>)", "none", "Delete it; it may hide entities.", at=self.at)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.rpartition(":")[2]
        if tag == "key" and attributes.get("for") == "edge" and attributes.get("attr.name") == "weight":
            self.weight_key = attributes.get("id")
        elif tag == "graph":
            if self.directed is not None:
                raise fault(self.path, "a second graph", "one", "Split the file.", at=self.at)
            self.directed = attributes.get("edgedefault") == "directed"
        elif tag == "node":
            self.add_node(self.required(attributes, "id"))
        elif tag == "hyperedge":
            raise fault(self.path, "a hyperedge", "edges between two nodes", "Split it into edges.", at=self.at)
        elif tag == "edge":
            self.edge, self.weight = attributes, ""
        self.in_weight = tag == "data" and self.edge is not None and attributes.get("key") == self.weight_key

    def text(self, text: str) -> None:
        if self.in_weight:
            self.weight += text

    def end(self, tag: str) -> None:
        self.in_weight = False
        if tag.rpartition(":")[2] == "edge" and self.edge is not None:
            source, target = (self.required(self.edge, name) for name in ("source", "target"))
            self.add_edge(source, target, self.weight.strip() or "1", self.at)
            self.edge = None

    def required(self, attributes: dict[str, str], name: str) -> str:
        if not attributes.get(name):
            raise fault(self.path, f"no {name!r}", f"an element with {name!r}", "Export it again.", at=self.at)
        return attributes[name]
