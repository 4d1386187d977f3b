"""GML as networkx, igraph, Gephi and yEd write it: keys with numbers, strings or lists in brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.entities import html5
from pathlib import Path

from gezhi.data.errors import DataError, fault, shown
from gezhi.data.formats.edge_list import EdgeList
from gezhi.data.formats.files import lines

TOKEN = re.compile(r'\s*(?:(?P<word>[^\s"\[\]]+)|(?P<bracket>[\[\]])|(?P<quote>"))')
ENTITY = re.compile(r"&(?:#[0-9]{1,20}|#[xX][0-9a-fA-F]{1,20}|\w{1,32});")
KEY = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)
MAX_DEPTH = 1000
NODE, EDGE = ["graph", "node"], ["graph", "edge"]
NAMES, WEIGHTS = ("label", "name"), ("weight", "value")  # the first that a node or edge has
READ = {"node": ("id", *NAMES), "edge": ("source", "target", *WEIGHTS)}


def read_gml(path: Path) -> EdgeList:
    """Every node in the order of the file, then every edge.

    A node's name is its `label`, else its `name`, else its id; the weight is the edge's `weight`, else its `value`,
    else 1; the graph is undirected unless it says `directed 1`.

    Errors: DataError with the line for text that is no GML, a second graph, a node without id or listed twice, an edge
        without ends or to a node that is not there, and a value given twice.
    """
    reader = GML(path)
    for _ in reader.tokens():
        pass
    return reader.finished()


class GML:
    """The keys that are open at this point of the file, and the node or edge among them."""

    def __init__(self, path: Path) -> None:
        self.file, self.line = path, 0
        self.edges = EdgeList(path)
        self.path: list[str] = []
        self.key = ""
        self.graphs = 0
        self.directed: str | None = None
        self.item: dict[str, str] = {}
        self.found: list[tuple[dict[str, str], str]] = []  # edges wait until every node is known

    def tokens(self) -> Iterator[None]:
        """Hand each token to `take`; a string may go on over lines."""
        text: list[str] | None = None
        for number, row in enumerate(lines(self.file), 1):
            self.line = number
            if text is None and row.lstrip().startswith("#"):
                continue
            at = 0
            while at < len(row):
                if text is not None:
                    end = row.find('"', at)
                    text.append(row[at:] if end < 0 else row[at:end])
                    at = len(row) if end < 0 else end + 1
                    if end >= 0:
                        self.take(unescaped("".join(text)), string=True)
                        text = None
                    continue
                token = TOKEN.match(row, at)
                if token is None:
                    break  # white space alone is left
                at = token.end()
                if token["quote"]:
                    text = []
                else:
                    self.take(token["word"] or token["bracket"], string=False)
            yield
        if text is not None or self.path or self.key:
            raise self.fault("the end of the file", "a closing quote or bracket", "Export it again.")

    def take(self, token: str, string: bool) -> None:
        if not string and token == "]":
            self.close()
        elif not self.key:
            if string or not KEY.match(token):
                raise self.fault(shown(token), "a key", "Export it again.")
            self.key = token
        elif not string and token == "[":
            self.open()
        else:
            self.value(token)
            self.key = ""

    def open(self) -> None:
        self.path.append(self.key.lower())
        self.key = ""
        if len(self.path) > MAX_DEPTH:
            raise self.fault(f"lists {MAX_DEPTH} deep", "fewer", "Export it again.")
        if self.path == ["graph"]:
            self.graphs += 1
            if self.graphs > 1:
                raise self.fault("a second graph", "one", "Split the file.")
        elif self.path in (NODE, EDGE):
            self.item = {}

    def close(self) -> None:
        if self.key or not self.path:
            raise self.fault("']'", "a value" if self.key else "a key", "Export it again.")
        if self.path == NODE:
            number = self.edges.declare(self.required("id"), self.at)
            self.edges.name(number, next((self.item[name] for name in NAMES if self.item.get(name)), ""))
        elif self.path == EDGE:
            self.required("source")
            self.required("target")
            self.found.append((self.item, self.at))
        self.path.pop()

    def value(self, text: str) -> None:
        name = self.key.lower()
        if self.path == ["graph"] and name == "directed":
            if text not in ("0", "1") or self.directed is not None:
                raise self.fault(f"directed {text}", "directed 0 or directed 1, once", "Export it again.")
            self.directed = text
        elif self.path in (NODE, EDGE) and name in READ[self.path[-1]]:
            if name in self.item:
                raise self.fault(f"a second {name}", "one", "Delete one.")
            self.item[name] = text

    def finished(self) -> EdgeList:
        if not self.graphs:
            raise self.fault("no graph", "graph [ … ]", "Export it again.")
        for item, at in self.found:
            source, target = (self.edges.known(item[end], at) for end in ("source", "target"))
            weight = next((item[name] for name in WEIGHTS if name in item), "1")
            self.edges.add(source, target, weight, self.directed == "1", at)
        return self.edges

    def required(self, name: str) -> str:
        if not self.item.get(name):
            raise self.fault(f"no {name!r}", f"a {self.path[-1]} with {name!r}", "Export it again.")
        return self.item[name]

    @property
    def at(self) -> str:
        return f"line {self.line}"

    def fault(self, found: str, expected: str, fix: str) -> DataError:
        return fault(self.file, found, expected, fix, at=self.at)


def unescaped(text: str) -> str:
    """A string with its entities (`&quot;`, `&#233;`) resolved; what is none stays."""
    return ENTITY.sub(resolved, text) if "&" in text else text


def resolved(entity: re.Match[str]) -> str:
    """The character of a name or of a code; what is neither stays. HTML's own table of codes is not that of GML."""
    name = entity[0][1:]
    if name[0] != "#":
        return html5.get(name, entity[0])
    code = int(name[2:-1], 16) if name[1] in "xX" else int(name[1:-1])
    return chr(code) if 0 < code < 0xD800 or 0xDFFF < code < 0x110000 else entity[0]
