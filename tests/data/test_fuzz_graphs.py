"""Every reader of graphs on thousands of files, sound ones and damaged ones, against an independent reading.

Whatever the bytes, a reader gives what the other reading gives, or a DataError that names the file; nothing else, and
soon.
"""

from __future__ import annotations

import csv
import html
import io
import math
import re
import xml.etree.ElementTree as ET
from xml.parsers import expat

import networkx as nx
from fuzzing import DAMAGE, ENCODINGS, damaged, encoded, fuzz, read
from hypothesis import strategies as st

NAME = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5).filter(lambda t: t == t.strip())
WEIGHTS = st.one_of(st.integers(0, 9), st.floats(0, 1e300))
GRAPH = st.tuples(
    st.lists(NAME, min_size=2, max_size=5, unique=True), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), WEIGHTS), min_size=1, max_size=6)
).map(lambda drawn: (drawn[0], [(a % len(drawn[0]), b % len(drawn[0]), w) for a, b, w in drawn[1]]))  # fmt: skip


def number(text: str) -> float:
    """A weight as the readers should take it; ValueError for any other text."""
    value = float(text)
    if "_" in text or not text.isascii() or not math.isfinite(value) or value < 0:
        raise ValueError(text)
    return value


def listed(edges):
    """Edges by name, and all nodes."""
    ends = zip(edges.source.tolist(), edges.target.tolist(), edges.weight.tolist(), strict=True)
    return edges.nodes, [(edges.nodes[a], edges.nodes[b], w) for a, b, w in ends]


def expect_graph(found, nodes, edges, directed):
    """`edges` are (source, target, weight, directed); of a graph with both sorts, undirected ones stand twice."""
    if directed:
        edges = [*edges, *((b, a, w, False) for a, b, w, towards in edges if not towards and a != b)]
    assert sorted(found[0]) == sorted(nodes)
    assert sorted(found[1]) == sorted((a, b, float(w)) for a, b, w, _ in edges)


def table_of(content: bytes, separator: str):
    """Rows of a table of edges, by the csv module: stripped cells of the first three columns."""
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    rows = [row for row in csv.reader(text, delimiter=separator) if row]
    rows = [row for row in rows if not row[0].lstrip().startswith(("#", "%"))]
    return [[cell.strip() for cell in row] for row in rows]


@fuzz(GRAPH, st.booleans(), st.sampled_from([",", "\t", ";"]), st.booleans(), st.sampled_from(["\n", "\r\n"]), ENCODINGS, DAMAGE)  # fmt: skip
def test_tables_of_edges(graph, weighted, separator, header, end, encoding, damage):
    names, edges = graph
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=end)
    if header:
        writer.writerow(["source", "target", "weight"][: 2 + weighted])
    writer.writerows([[names[a], names[b], repr(w)][: 2 + weighted] for a, b, w in edges])
    content = damaged(encoded(text.getvalue(), encoding), damage)
    found = read("edges", "g.tsv" if separator == "\t" else "g.csv", content, header=header)
    marks = any(name.startswith(("#", "%")) for name in names)
    if not damage and not marks and encoding.startswith("utf-8") and not {",", ";", "\t"} & set("".join(names)):
        assert found is not None
    if found is None:
        return
    first = next(
        line for line in content.decode("utf-8-sig").split("\n") if line.strip() and line.lstrip()[0] not in "#%"
    )
    mark = next((mark for mark in ("\t" if separator == "\t" else ",;\t") if mark in first), " ")
    rows = table_of(content, mark)
    if not header or rows[0] in (["source", "target"], ["source", "target", "weight"]):
        expect_rows(found, rows[header:])


def expect_rows(found, rows):
    """Source, target and perhaps weight in each row; nodes in the order of their first appearance."""
    assert listed(found)[1] == [(row[0], row[1], number(row[2]) if len(row) > 2 else 1.0) for row in rows]
    assert list(found.nodes) == list(dict.fromkeys(name for row in rows for name in row[:2]))


WORD = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters='"#%*'), min_size=1, max_size=4)
LINKS = st.lists(st.tuples(WORD, WORD, WEIGHTS), min_size=1, max_size=6)


@fuzz(LINKS, st.booleans(), st.sampled_from([" ", "  ", " \t"]), st.sampled_from(["txt", "edges", "ncol"]), st.booleans(), ENCODINGS, DAMAGE)  # fmt: skip
def test_lists_of_links(links, weighted, blank, ending, section, encoding, damage):
    text = "*Links\n" * section + "# a comment\n"
    text += "".join(blank.join([a, b, repr(w)][: 2 + weighted]) + "\n" for a, b, w in links)
    content = damaged(encoded(text, encoding), damage)
    found = read("edges", f"g.{ending}", content, **({} if section else {"header": False}))
    plain = not {",", ";", "\t"} & set(text.replace(blank, " "))
    assert found is not None or damage or not encoding.startswith("utf-8") or not (plain or section)
    if found is None:
        return
    lines = [line.strip() for line in content.decode("utf-8-sig").split("\n")]
    rows = [line for line in lines if line and line[0] not in "#%"]
    if rows[0].lower() == "*links" and not any(row.startswith("*") for row in rows[1:]):
        expect_rows(found, [row.split() for row in rows[1:]])
    elif (
        not section
        and not rows[0].startswith("*")
        and not {",", ";", "\t", '"'} & set("".join(rows).replace(blank, " "))
    ):
        expect_rows(found, [[cell.strip() for cell in row.split("\t" if "\t" in rows[0] else None)] for row in rows])


def tree(content: bytes):
    """The elements of an XML file; prefixes stay in their names, and need not be declared."""
    builder, parser = ET.TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler = builder.data
    parser.Parse(content, True)
    return builder.close()


def local(element) -> str:
    return element.tag.rpartition("}")[2].rpartition(":")[2]


def graphml_of(content: bytes):
    """A document of the readers' GraphML as ElementTree has it: nodes, edges, direction."""
    keys: dict[str, list] = {}
    nodes, names, edges = [], {}, []
    root = tree(content)
    for key in root.iter():
        if local(key) == "key":
            keys.setdefault(key.get("id"), []).append(
                (key.get("for", "all"), (key.get("attr.name") or key.get("id")).strip().lower())
            )
    for graph in (g for g in root if local(g) == "graph"):
        towards = graph.get("edgedefault", "undirected") == "directed"
        for item in graph:
            data = {}
            for datum in (d for d in item if local(d) == "data"):
                owners = keys[datum.get("key")]
                name = next((n for o, n in owners if o in (local(item), "all")), owners[0][1])
                data[name] = (datum.text or "").strip() if len(datum) == 0 else None
            if local(item) == "node":
                nodes.append(item.get("id"))
                names[item.get("id")] = data.get("name") or data.get("label") or item.get("id")
            elif local(item) == "edge":
                own = item.get("directed")
                edges.append(
                    (
                        item.get("source"),
                        item.get("target"),
                        number(data.get("weight", "1")),
                        towards if own is None else own in ("true", "1"),
                    )
                )
    nodes += [end for edge in edges for end in edge[:2]]
    order = list(dict.fromkeys(nodes))
    call = {node: names.get(node, node) for node in order}
    return list(call.values()), [(call[a], call[b], w, d) for a, b, w, d in edges], any(d for *_, d in edges)


def written(graph, directed: bool, form: str) -> bytes:
    """The graph as networkx writes it; nodes are numbers with a name."""
    names, edges = graph
    made = (nx.MultiDiGraph if directed else nx.MultiGraph)()
    made.add_nodes_from((i, {"name" if form == "graphml" else "label": name}) for i, name in enumerate(names))
    made.add_weighted_edges_from(edges)
    if form == "graphml":
        return "\n".join(nx.generate_graphml(made, named_key_ids=bool(len(edges) % 2))).encode()
    return "\n".join(nx.generate_gexf(made)).encode()


@fuzz(GRAPH, st.booleans(), DAMAGE)
def test_graphml(graph, directed, damage):
    content = damaged(written(graph, directed, "graphml"), damage)
    found = read("edges", "g.graphml", content)
    if not damage:
        assert sorted(found.nodes) == sorted(graph[0])
        assert sorted(w for *_, w in listed(found)[1]) == sorted(float(w) for *_, w in graph[1])
    if found is not None:
        expect_graph(listed(found), *graphml_of(content))


def gexf_of(content: bytes):
    root = tree(content)
    kinds = {"directed": (True,), "undirected": (False,), "mutual": (True, None)}
    (graph,) = (g for g in root if local(g) == "graph")
    default = graph.get("defaultedgetype", "undirected")
    titles = {
        a.get("id"): a.get("title", "").strip().lower()
        for group in graph
        if group.get("class") == "edge"
        for a in group
    }
    call, edges = {}, []
    for item in graph.iter():
        if local(item) == "node":
            call[item.get("id")] = item.get("label", "").strip() or item.get("id")
    for item in (e for e in graph.iter() if local(e) == "edge"):
        values = [
            v.get("value")
            for v in item.iter()
            if local(v) == "attvalue" and titles.get(v.get("for") or v.get("id")) == "weight"
        ]
        weight = number(item.get("weight", values[0] if values else "1"))
        a, b = (call.setdefault(item.get(end), item.get(end)) for end in ("source", "target"))
        for way in kinds[item.get("type", default)]:
            if way is not None or a != b:
                edges.append((a, b, weight, way) if way is not None else (b, a, weight, True))
    return list(call.values()), edges, any(way for *_, way in edges)


@fuzz(GRAPH, st.booleans(), DAMAGE)
def test_gexf(graph, directed, damage):
    content = damaged(written(graph, directed, "gexf"), damage)
    found = read("edges", "g.gexf", content)
    assert found is not None or damage
    if found is not None:
        expect_graph(listed(found), *gexf_of(content))


def entities(text: str) -> str:
    """Characters for their names, and for the codes that are those of a character."""

    def character(found):
        try:
            code = int(found[1][1:], 16) if found[1][0] in "xX" else int(found[1])
            return chr(code) if chr(code).encode() and code else found[0]
        except (ValueError, OverflowError):
            return found[0]

    text = re.sub(r"&([a-zA-Z]+\d*);", lambda found: html.unescape(found[0]), text)
    return re.sub(r"&#([0-9]+|[xX][0-9a-fA-F]+);", character, text)


def gml_of(content: bytes):
    """A GML as nested lists of pairs."""
    rows = content.decode("utf-8-sig").split("\n")
    text, quoted = "", False
    for row in rows:
        if quoted or not row.lstrip().startswith("#"):
            text += row + "\n"
            quoted ^= row.count('"') % 2 == 1
    tokens = iter(re.findall(r'"[^"]*"|\[|\]|[^\s\[\]"]+', text))

    def pairs():
        found = []
        for token in tokens:
            if token == "]":
                break
            value = next(tokens)
            found.append((token.lower(), pairs() if value == "[" else value.strip('"')))
        return found

    (graph,) = (value for key, value in pairs() if key == "graph" and isinstance(value, list))
    towards = {key: value for key, value in graph if isinstance(value, str)}.get("directed") == "1"
    items = {
        kind: [dict(reversed(value)) for key, value in graph if key == kind and isinstance(value, list)]
        for kind in ("node", "edge")
    }

    def plain(value):
        return entities(value).strip() if isinstance(value, str) else ""

    call = {
        node["id"]: plain(node.get("label")) or plain(node.get("name")) or entities(node["id"])
        for node in items["node"]
    }
    edges = [
        (call[e["source"]], call[e["target"]], number(entities(e.get("weight", e.get("value", "1")))), towards)
        for e in items["edge"]
    ]
    return list(call.values()), edges, towards


@fuzz(GRAPH, st.booleans(), DAMAGE)
def test_gml(graph, directed, damage):
    names, edges = graph
    made = (nx.MultiDiGraph if directed else nx.MultiGraph)()
    made.add_nodes_from(names)
    made.add_weighted_edges_from((names[a], names[b], w) for a, b, w in edges)
    content = damaged("\n".join(nx.generate_gml(made)).encode(), damage)
    found = read("edges", "g.gml", content)
    assert found is not None or damage
    if found is not None:
        expect_graph(listed(found), *gml_of(content))


def pajek_of(content: bytes):
    section, names, edges, count = "", {}, [], 0
    for row in content.decode("utf-8-sig").split("\n"):
        row = row.strip()
        if not row or row[0] in "#%":
            continue
        if row[0] == "*":
            section = re.match(r"\*\w*", row.lower())[0]
            count = int(row.split()[1]) if section == "*vertices" else count
        elif section == "*vertices":
            names[int(re.match(r"\d+", row)[0])] = re.match(r'\d+(?:\s+(?:"([^"]*)"|(\S+)))?', row)
        else:
            cells = row.split()
            edges.append(
                (int(cells[0]), int(cells[1]), number(cells[2]) if len(cells) > 2 else 1.0, section == "*arcs")
            )
    call = {
        i: (((names[i][1] or names[i][2] or "").strip() if i in names else "") or str(i)) for i in range(1, count + 1)
    }
    return list(call.values()), [(call[a], call[b], w, d) for a, b, w, d in edges], any(d for *_, d in edges)


@fuzz(GRAPH, st.lists(st.booleans(), min_size=6, max_size=6), DAMAGE)
def test_pajek(graph, arcs, damage):
    names, edges = [name.replace('"', "'") for name in graph[0]], graph[1]
    text = f"*Vertices {len(names)}\n" + "".join(f'{i} "{name}"\n' for i, name in enumerate(names, 1))
    for (a, b, w), arc in zip(edges, arcs, strict=False):
        text += ("*Arcs\n" if arc else "*Edges\n") + f"{a + 1} {b + 1} {w!r}\n"
    content = damaged(text.encode(), damage)
    found = read("edges", "g.net", content)
    assert found is not None or damage
    if found is not None and content.lstrip(b"\xef\xbb\xbf \n")[:1] == b"*":
        expect_graph(listed(found), *pajek_of(content))
