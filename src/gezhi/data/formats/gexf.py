"""GEXF as Gephi and networkx write it."""

from __future__ import annotations

from pathlib import Path

from gezhi.data.errors import doubt, shown
from gezhi.data.formats.edge_list import EdgeList
from gezhi.data.formats.files import as_number
from gezhi.data.formats.xml import Elements

TYPES = {"directed": True, "undirected": False, "mutual": None}  # None: an edge each way


def read_gexf(path: Path) -> EdgeList:
    """Every node and edge in the order of the file.

    A node's name is its label, else its id. The weight is the edge's attribute `weight`, else its value of an
    attribute titled so, else 1. A mutual edge is two directed ones. Times of a dynamic graph are not read, with a
    DataWarning.

    Errors: DataError with the line for broken XML, a document type, a second graph, an edge without ends, a node
        listed twice, a value given twice, two weights, and a type of edge that is none.
    """
    reader = GEXF(path)
    reader.parse()
    return reader.edges


class GEXF(Elements):
    FORM, ROOT = "GEXF", "gexf"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.edges = EdgeList(path)
        self.begun = False
        self.default: bool | None = False
        self.owner = ""
        self.titles: dict[str, str] = {}  # of the attributes of edges, by id
        self.edge: dict[str, str] | None = None
        self.values: dict[str, str] = {}

    def open_graph(self, attributes: dict[str, str]) -> None:
        if self.begun:
            raise self.fault("a second graph", "one", "Split the file.")
        self.begun = True
        self.default = self.chosen(attributes, "defaultedgetype", TYPES, False)
        if attributes.get("mode") == "dynamic":
            doubt(self.file, "a dynamic graph, read without its times", "Export one moment of it.", at=self.at)

    def open_attributes(self, attributes: dict[str, str]) -> None:
        self.owner = attributes.get("class", "")

    def open_attribute(self, attributes: dict[str, str]) -> None:
        if self.owner == "edge":
            self.titles[self.required(attributes, "id")] = attributes.get("title", "").strip().lower()

    def open_node(self, attributes: dict[str, str]) -> None:
        number = self.edges.declare(self.required(attributes, "id"), self.at)
        self.edges.name(number, attributes.get("label", ""))

    def open_edge(self, attributes: dict[str, str]) -> None:
        self.edge, self.values = attributes, {}

    def open_attvalue(self, attributes: dict[str, str]) -> None:
        if self.edge is not None:
            key = attributes.get("for") or self.required(attributes, "id")
            if key in self.values:
                raise self.fault(f"the value {shown(key)} again", "each once in an edge", "Delete one.")
            self.values[key] = attributes.get("value", "")

    def close_edge(self, _: str) -> None:
        attributes, self.edge = self.edge or {}, None
        source, target = (self.edges.node(self.required(attributes, end)) for end in ("source", "target"))
        directed = self.chosen(attributes, "type", TYPES, self.default)
        weight = self.weight(attributes)
        self.edges.add(source, target, weight, directed is not False, self.at)
        if directed is None and source != target:
            self.edges.add(target, source, weight, True, self.at)

    def weight(self, attributes: dict[str, str]) -> str:
        said = [value for key, value in self.values.items() if self.titles.get(key) == "weight"]
        said += [attributes["weight"]] if "weight" in attributes else []
        if len({as_number(value) for value in said}) > 1:
            raise self.fault(f"two weights ({', '.join(map(shown, said))})", "one", "Delete one.")
        return said[-1] if said else "1"
