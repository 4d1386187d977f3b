"""GraphML as networkx, igraph, Gephi, yEd and Cytoscape write it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gezhi.data.errors import shown
from gezhi.data.formats.edge_list import EdgeList
from gezhi.data.formats.xml import Elements

DIRECTIONS = {"directed": True, "undirected": False}
BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


@dataclass
class Key:
    """What `<data>` of this key mean: an attribute of nodes, of edges or of all, and its value where none is given."""

    owner: str
    name: str
    default: str | None = None


@dataclass
class Item:
    """An open node or edge, and the data it has had so far, by the id of their key."""

    tag: str
    attributes: dict[str, str]
    number: int = -1
    data: dict[str, str] = field(default_factory=dict)
    label: str = ""


def read_graphml(path: Path) -> EdgeList:
    """Every node and edge in the order of the file.

    A node's name is its attribute `name`, else `label`, else the text that yEd draws on it, else its id. The weight is
    the edge's attribute `weight`, else that key's default, else 1. Names of attributes are compared without regard to
    case. Nodes of a graph inside a node (yEd's groups) are nodes as any other.

    Errors: DataError with the line for broken XML, a document type, a second graph, a hyperedge, an edge without ends,
        a node listed twice, a datum without key or given twice, two weights, and a direction that is none.
    """
    reader = GraphML(path)
    reader.parse()
    return reader.edges


class GraphML(Elements):
    FORM, ROOT = "GraphML", "graphml"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.edges = EdgeList(path)
        self.keys: dict[str, list[Key]] = {}
        self.items: list[Item] = []
        self.graphs: list[bool] = []  # whether edges of each open graph are directed
        self.reading = ""

    def open_key(self, attributes: dict[str, str]) -> None:
        known = self.keys.setdefault(self.required(attributes, "id"), [])
        name = attributes.get("attr.name") or ("" if "yfiles.type" in attributes else attributes["id"])
        owner = attributes.get("for", "all")
        if any(key.owner == owner and key.name != name.strip().lower() for key in known):
            raise self.fault(f"the key {shown(attributes['id'])} again", "each key once", "Export it again.")
        known.append(Key(owner, name.strip().lower()))
        self.reading = attributes["id"]

    def close_default(self, text: str) -> None:
        if self.path[-2:-1] == ["key"]:
            self.keys[self.reading][-1].default = text

    def open_graph(self, attributes: dict[str, str]) -> None:
        if "node" not in self.path and self.graphs:
            raise self.fault("a second graph", "one", "Split the file.")
        self.graphs.append(self.chosen(attributes, "edgedefault", DIRECTIONS, False))

    def close_graph(self, _: str) -> None:
        if "node" in self.path:  # the outermost stays: there must be no second one
            self.graphs.pop()

    def open_node(self, attributes: dict[str, str]) -> None:
        number = self.edges.declare(self.required(attributes, "id"), self.at)
        self.items.append(Item("node", attributes, number))

    def open_edge(self, attributes: dict[str, str]) -> None:
        self.items.append(Item("edge", attributes))

    def open_hyperedge(self, _: dict[str, str]) -> None:
        raise self.fault("a hyperedge", "edges between two nodes", "Split it into edges.")

    def open_data(self, attributes: dict[str, str]) -> None:
        if self.holder():
            self.reading = self.required(attributes, "key")
            if self.reading not in self.keys:
                raise self.fault(f"data of the key {shown(self.reading)}", "a <key> of this id", "Export it again.")
            if self.reading in self.items[-1].data:
                raise self.fault(f"the data {shown(self.reading)} again", "each once in an element", "Delete one.")

    def close_data(self, text: str) -> None:
        if self.holder():
            self.items[-1].data[self.reading] = text

    def holder(self) -> bool:
        """Whether the innermost element above a `<data>` is the node or edge that is read."""
        return bool(self.items) and self.path[-2:-1] == [self.items[-1].tag]

    def close_NodeLabel(self, text: str) -> None:
        if self.items and self.items[-1].tag == "node":
            self.items[-1].label = self.items[-1].label or text

    def close_node(self, _: str) -> None:
        item = self.items.pop()
        name = next((text for wanted in ("name", "label") if (text := self.value(item, wanted))), item.label)
        self.edges.name(item.number, name or "")

    def close_edge(self, _: str) -> None:
        item = self.items.pop()
        source, target = (self.edges.node(self.required(item.attributes, end)) for end in ("source", "target"))
        directed = self.chosen(item.attributes, "directed", BOOLEANS, self.graphs[-1] if self.graphs else False)
        weight = self.value(item, "weight")
        self.edges.add(source, target, "1" if weight is None else weight, directed, self.at)

    def value(self, item: Item, name: str) -> str | None:
        """What an element says of the attribute: its own datum, else the default of a key."""
        said = [text for id_, text in item.data.items() if self.key(id_, item.tag).name == name]
        if not said:
            keys = (key for keys in self.keys.values() for key in keys)
            said = [key.default for key in keys if key.default is not None and key.name == name
                    and key.owner in (item.tag, "all")]  # fmt: skip
        if len(set(said)) > 1:
            raise self.fault(f"two values of {name!r} ({', '.join(map(shown, said))})", "one", "Delete one.")
        return said[0] if said else None

    def key(self, id_: str, tag: str) -> Key:
        """The key of this id: the one for such elements, where another element has a key of the same id."""
        return next((key for key in self.keys[id_] if key.owner in (tag, "all")), self.keys[id_][0])
