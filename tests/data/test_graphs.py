"""Graphs as networkx, igraph, Gephi, yEd, Cytoscape, Pajek and infomap write them: names, weights, directions."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import igraph as ig
import networkx as nx
import pytest

from gezhi.data import DataError, DataWarning, load


def said(path, **options):
    """What `load` says against the file."""
    with pytest.raises(DataError) as error:
        load("edges", path, **options)
    return str(error.value)


def written(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, "utf-8")
    return path


def triples(edges):
    return [
        (edges.nodes[a], edges.nodes[b], w)
        for a, b, w in zip(edges.source.tolist(), edges.target.tolist(), edges.weight.tolist(), strict=True)
    ]


def unordered(edges):
    """Edges of an undirected graph, whichever way they are written."""
    return sorted((*sorted((a, b)), w) for a, b, w in triples(edges))


# ---- writers in the manner of programs ------------------------------------------------------------------------------

NODES = ("Ann & Co", "鲍勃", '"Cy" <c>')
ARCS = ((0, 1, 3.0), (1, 2, 2.5), (2, 2, 4.5))
EXPECTED = [(NODES[a], NODES[b], w) for a, b, w in ARCS]


def xml(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def gephi_graphml(directed: bool) -> str:
    """Ids are not names; attributes `Label` and `Weight` with a capital, every edge says its direction."""
    nodes = "".join(f'<node id="{i}"><data key="label">{xml(n)}</data></node>\n' for i, n in enumerate(NODES))
    edges = "".join(
        f'<edge id="{i}" source="{a}" target="{b}" directed="{str(directed).lower()}">'
        f'<data key="edgelabel"/><data key="weight">{w}</data></edge>\n'
        for i, (a, b, w) in enumerate(ARCS)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
        '<key attr.name="Label" attr.type="string" for="node" id="label"/>'
        '<key attr.name="Edge Label" attr.type="string" for="edge" id="edgelabel"/>'
        '<key attr.name="Weight" attr.type="double" for="edge" id="weight"/>'
        f'<graph edgedefault="undirected">{nodes}{edges}</graph></graphml>'
    )


def yed_graphml() -> str:
    """Names are labels of drawings, a group holds a graph, keys have no names, and a desc stands everywhere."""
    label = "<data key='d5'/><data key='d6'><y:ShapeNode><y:Geometry height='30'/><y:NodeLabel a='c'>{}<y:LabelModel>x" \
        "</y:LabelModel></y:NodeLabel><y:Shape/></y:ShapeNode></data>"  # fmt: skip
    group = "<data key='d6'><y:ProxyAutoBoundsNode><y:Realizers><y:GroupNode><y:NodeLabel>group</y:NodeLabel>" \
        "</y:GroupNode><y:GroupNode><y:NodeLabel>folder</y:NodeLabel></y:GroupNode></y:Realizers>" \
        "</y:ProxyAutoBoundsNode></data>"  # fmt: skip
    inner = f"<node id='n0::n0'>{label.format(xml(NODES[1]))}</node><edge id='n0::e0' source='n0::n0' target='n1'/>"
    return (
        "<graphml xmlns='http://graphml.graphdrawing.org/xmlns' xmlns:y='http://www.yworks.com/xml/graphml'>"
        "<key for='port' id='d0' yfiles.type='portgraphics'/><key attr.name='Beschreibung' for='graph' id='d2'/>"
        "<key attr.name='url' attr.type='string' for='node' id='d5'/><key for='node' id='d6' yfiles.type='nodegraphics'/>"
        "<key attr.name='weight' attr.type='int' for='edge' id='d9'><default>1</default></key>"
        "<key for='edge' id='d10' yfiles.type='edgegraphics'/>"
        f"<graph edgedefault='directed' id='G'><data key='d2'>about</data><node id='n0' yfiles.foldertype='group'>{group}"
        f"<graph edgedefault='directed' id='n0:'>{inner}</graph></node>"
        f"<node id='n1'>{label.format(xml(NODES[2]))}<port name='p'/></node>"
        "<edge id='e0' source='n0' target='n1'><data key='d9'>7</data><data key='d10'><y:Edge>1</y:Edge></data></edge>"
        "</graph><data key='d10'><y:Resources/></data></graphml>"
    )


def cytoscape_graphml() -> str:
    names = "".join(f'<node id="{90 + i}"><data key="shared name">{xml(n)}</data><data key="name">{xml(n)}</data></node>'
                    for i, n in enumerate(NODES))  # fmt: skip
    edges = "".join(f'<edge id="{i}" source="{90 + a}" target="{90 + b}"><data key="interaction">pp</data>'
                    f'<data key="name">x (pp) y</data><data key="weight">{w}</data></edge>'
                    for i, (a, b, w) in enumerate(ARCS))  # fmt: skip
    keys = "".join(f'<key id="{name}" for="{owner}" attr.name="{name}" attr.type="{kind}"/>' for name, owner, kind in (
        ("shared name", "node", "string"), ("name", "node", "string"), ("name", "edge", "string"),
        ("interaction", "edge", "string"), ("weight", "edge", "double"), ("weight", "node", "double")))  # fmt: skip
    return f'<graphml>{keys}<graph edgedefault="directed" id="net">{names}{edges}</graph></graphml>'


def gephi_gexf(kind: str = "undirected", weights: str = "attribute") -> str:
    nodes = "".join(f'<node id="{i}.0" label="{xml(n)}"><viz:size value="9"/><attvalues><attvalue for="0" value="x"/>'
                    "</attvalues></node>" for i, n in enumerate(NODES))  # fmt: skip
    edges = ""
    for i, (a, b, w) in enumerate(ARCS):
        own = f' weight="{w}"' if weights == "attribute" else ""
        value = f'<attvalues><attvalue for="w" value="{w}"></attvalue></attvalues>' if weights == "value" else ""
        edges += f'<edge id="{i}" source="{a}.0" target="{b}.0"{own}>{value}</edge>'
    return (
        '<gexf xmlns="http://www.gexf.net/1.3" version="1.3" xmlns:viz="http://www.gexf.net/1.3/viz"><meta><creator>Gephi'
        f'</creator></meta><graph defaultedgetype="{kind}" mode="static"><attributes class="node" mode="static">'
        '<attribute id="w" title="weight" type="float"/></attributes><attributes class="edge" mode="static">'
        f'<attribute id="w" title="Weight" type="float"/></attributes><nodes>{nodes}</nodes><edges>{edges}</edges>'
        "</graph></gexf>"
    )


def yed_gml() -> str:
    quoted = [name.replace("&", "&amp;").replace('"', "&quot;") for name in NODES]
    nodes = "".join(f'\tnode\n\t[\n\t\tid\t{i}\n\t\tlabel\t"{n}"\n\t\tgraphics\n\t\t[\n\t\t\tx\t1.5\n\t\t\tlabel "no"\n'
                    "\t\t]\n\t\tLabelGraphics\n\t\t[\n\t\t\ttext \"no\"\n\t\t]\n\t]\n"
                    for i, n in enumerate(quoted))  # fmt: skip
    edges = "".join(f"\tedge\n\t[\n\t\tsource\t{a}\n\t\ttarget\t{b}\n\t\tWeight {w}\n\t\tgraphics [ value 9 ]\n\t]\n"
                    for a, b, w in ARCS)  # fmt: skip
    return f'Creator\t"yFiles [x]"\nVersion\t"2.18"\n# a comment\ngraph\n[\n\thierarchic\t1\n\tdirected\t1\n{edges}{nodes}]\n'


def newman_gml() -> str:
    nodes = "".join(f'node [ id {i} label "n{i}" ] ' for i in range(2))
    return f"graph [ {nodes} edge [ source 0 target 1 value 2.5 ] ]"


@pytest.mark.parametrize("directed", [True, False])
def test_graphml_of_gephi(tmp_path, directed):
    edges = load("edges", written(tmp_path, "g.graphml", gephi_graphml(directed)))
    assert (edges.nodes, edges.directed, triples(edges)) == (NODES, directed, EXPECTED)


def test_graphml_of_yed(tmp_path):
    edges = load("edges", written(tmp_path, "g.graphml", yed_graphml()))
    assert (edges.nodes, edges.directed) == (("group", NODES[1], NODES[2]), True)
    assert triples(edges) == [(NODES[1], NODES[2], 1.0), ("group", NODES[2], 7.0)]


def test_graphml_of_cytoscape(tmp_path):
    edges = load("edges", written(tmp_path, "g.graphml", cytoscape_graphml()))
    assert (edges.nodes, edges.directed, triples(edges)) == (NODES, True, EXPECTED)


@pytest.mark.parametrize("weights", ["attribute", "value"])
@pytest.mark.parametrize("directed", [True, False])
def test_gexf_of_gephi(tmp_path, directed, weights):
    kind = "directed" if directed else "undirected"
    edges = load("edges", written(tmp_path, "g.gexf", gephi_gexf(kind, weights)))
    assert (edges.nodes, edges.directed, triples(edges)) == (NODES, directed, EXPECTED)


def test_gml_of_yed_and_of_data_sets(tmp_path):
    edges = load("edges", written(tmp_path, "g.gml", yed_gml()))
    assert (edges.nodes, edges.directed, triples(edges)) == (NODES, True, EXPECTED)
    edges = load("edges", written(tmp_path, "g.gml", newman_gml()))
    assert (edges.directed, triples(edges)) == (False, [("n0", "n1", 2.5)])


# ---- networkx and igraph --------------------------------------------------------------------------------------------

WRITERS = {
    "graphml": nx.write_graphml,
    "named.graphml": lambda graph, path: nx.write_graphml(graph, path, named_key_ids=True),
    "gexf": nx.write_gexf,
    "gml": nx.write_gml,
    "net": nx.write_pajek,
}


@pytest.mark.parametrize("kind", [nx.Graph, nx.DiGraph])
@pytest.mark.parametrize("form", WRITERS)
def test_what_networkx_writes(tmp_path, form, kind):
    graph = kind()
    graph.add_weighted_edges_from([("a b", "ç&<d>", 3), ("ç&<d>", "e", 2.5), ("e", "e", 4.5), ("e", "a b", 7)])
    graph.add_node("alone")
    WRITERS[form](graph, tmp_path / f"g.{form}")
    edges = load("edges", tmp_path / f"g.{form}")
    assert edges.nodes == tuple(graph)
    assert edges.directed is graph.is_directed()
    assert unordered(edges) == sorted((*sorted((a, b)), float(w)) for a, b, w in graph.edges(data="weight"))


@pytest.mark.parametrize("form", ["graphml", "gml", "gexf", "net"])
def test_parallel_edges_of_networkx_stay(tmp_path, form):
    graph = nx.MultiDiGraph()
    graph.add_weighted_edges_from([("a", "b", 1), ("a", "b", 2), ("b", "a", 3)])
    WRITERS[form](graph, tmp_path / f"g.{form}")
    assert triples(load("edges", tmp_path / f"g.{form}")) == [("a", "b", 1.0), ("a", "b", 2.0), ("b", "a", 3.0)]


@pytest.mark.parametrize("directed", [True, False])
@pytest.mark.parametrize("form", ["graphml", "gml", "net"])
def test_what_igraph_writes(tmp_path, form, directed):
    graph = ig.Graph([(0, 1), (1, 2), (2, 2)], directed=directed)
    graph.vs["name"], graph.es["weight"] = ["Ann Lee", "鲍勃", "c"], [3, 2.5, 4.5]
    getattr(graph, f"write_{form.replace('net', 'pajek')}")(str(tmp_path / f"g.{form}"))
    edges = load("edges", tmp_path / f"g.{form}")
    assert edges.directed is directed
    if form != "net":  # igraph gives Pajek no names but those of an attribute `id`
        assert edges.nodes == ("Ann Lee", "鲍勃", "c")
    names = edges.nodes
    assert unordered(edges) == sorted(
        (*sorted((names[a], names[b])), w) for a, b, w in ((0, 1, 3.0), (1, 2, 2.5), (2, 2, 4.5))
    )


# ---- GraphML --------------------------------------------------------------------------------------------------------

KEYS = {
    "whole and fractional": ("<key id='d0' for='edge' attr.name='weight' attr.type='long'/>"
                             "<key id='d1' for='edge' attr.name='weight' attr.type='double'/>", ("d0", "d1", "d1")),
    "one id, two types": ("<key id='weight' for='edge' attr.name='weight' attr.type='double'/>"
                          "<key id='weight' for='edge' attr.name='weight' attr.type='long'/>", ("weight",) * 3),
    "declared for nodes": ("<key id='d0' for='node' attr.name='weight' attr.type='double'/>", ("d0",) * 3),
    "one id for nodes and edges": ("<key id='d0' for='node' attr.name='size'/><key id='d0' for='edge' attr.name='weight'/>",
                                   ("d0",) * 3),
    "a capital": ("<key id='w' for='edge' attr.name='Weight' attr.type='double'/>", ("w",) * 3),
    "for all": ("<key id='w' for='all' attr.name='weight'/>", ("w",) * 3),
    "for nothing": ("<key id='w' attr.name='weight'/>", ("w",) * 3),
    "a key without name": ("<key id='weight' for='edge'/>", ("weight",) * 3),
}  # fmt: skip


def graph_of(keys: str, data: tuple[str, ...], graph: str = "edgedefault='undirected'") -> str:
    edges = "".join(
        f"<edge source='{a}' target='{b}'>\n{datum}</edge>"
        for (a, b), datum in zip(pairwise("abcd"), data, strict=False)
    )
    return f"<graphml>{keys}<graph {graph}>{edges}</graph></graphml>"


@pytest.mark.parametrize(("keys", "ids"), KEYS.values(), ids=KEYS)
def test_weights_are_found_by_the_name_of_their_key(tmp_path, keys, ids):
    data = tuple(f"<data key='{i}'> {w} </data>" for i, w in zip(ids, (3, 2.5, 4.5), strict=True))
    edges = load("edges", written(tmp_path, "g.graphml", graph_of(keys, data)))
    assert triples(edges) == [("a", "b", 3.0), ("b", "c", 2.5), ("c", "d", 4.5)]


def test_a_default_is_the_weight_of_edges_without_one(tmp_path):
    keys = "<key id='w' for='edge' attr.name='weight'><default>2.5</default></key>" \
        "<key id='v' for='node' attr.name='weight'><default>9</default></key>" \
        "<key id='n' for='node' attr.name='label'><default>all</default></key>"  # fmt: skip
    content = graph_of(keys, ("<data key='w'>4</data>", "")).replace("<edge", "<node id='a'/><edge", 1)
    edges = load("edges", written(tmp_path, "g.graphml", content))
    assert edges.weight.tolist() == [4, 2.5]
    assert edges.nodes == ("all", "b", "c")


def test_two_nodes_of_one_name_stay_two(tmp_path):
    nodes = "".join(
        f"<node id='n{i}'><data key='n'>{name}</data></node>" for i, name in enumerate(("x", "x", " ", "y"))
    )
    content = graph_of("<key id='n' for='node' attr.name='name'/>", ()).replace(
        "</graph>", nodes + "<edge source='n0' target='n1'/><edge source='n2' target='n3'/></graph>"
    )
    edges = load("edges", written(tmp_path, "g.graphml", content))
    assert (edges.nodes, edges.source.tolist(), edges.target.tolist()) == (("x", "x", "n2", "y"), [0, 2], [1, 3])


def test_directed_and_undirected_edges_of_one_file(tmp_path):
    content = "<graphml><graph edgedefault='directed'><edge source='a' target='b'/>" \
        "<edge source='b' target='c' directed='false'/></graph></graphml>"  # fmt: skip
    path = written(tmp_path, "g.graphml", content)
    assert triples(load("edges", path)) == [("a", "b", 1.0), ("b", "c", 1.0), ("c", "b", 1.0)]
    assert load("edges", path).directed is True
    assert triples(load("edges", path, directed=False)) == [("a", "b", 1.0), ("b", "c", 1.0)]


KEY = "<key id='w' for='edge' attr.name='weight'/>"
BOMB = '<!DOCTYPE g [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>\n'
GRAPHML_FAULTS = {
    "doctype": (BOMB + "<graphml>&b;</graphml>", "line 1: found a document type (<!DOCTYPE>), expected none"),
    "external": ('<!DOCTYPE g SYSTEM "file:///etc/passwd">\n<g/>', "line 1: found a document type"),
    "broken": ("<graphml>\n<graph>\n</graphml>", "line 3, column 3: found mismatched tag, expected GraphML"),
    "no graph": ("<graphml/>", "found no graph, expected GraphML with a <graph> element"),
    "another form": ("<gexf/>", "line 1: found <gexf>, expected <graphml>. Give the file the ending of its form."),
    "two graphs": ("<graphml><graph/>\n<graph/></graphml>", "line 2: found a second graph, expected one"),
    "no edge": ("<graphml><graph><node id='a'/></graph></graphml>", "found no edge, expected at least one"),
    "no target": ("<graphml><graph>\n<edge source='a'/></graph></graphml>", "line 2: found no 'target', expected"),
    "no id": ("<graphml><graph>\n<node/></graph></graphml>", "line 2: found no 'id', expected an element with 'id'"),
    "a node again": ("<graphml><graph><node id='a'/>\n<node id='a'/></graph></graphml>", "line 2: found the node 'a' again"),
    "hyperedge": ("<graphml><graph>\n<hyperedge/></graph></graphml>", "line 2: found a hyperedge, expected edges"),
    "weight": (graph_of(KEY, ("<data key='w'>x</data>",)), "line 2: found 'x', expected a number (the weight)"),
    "empty weight": (graph_of(KEY, ("<data key='w'/>",)), "line 2: found '', expected a number (the weight)"),
    "undeclared": (graph_of("", ("<data key='w'>3</data>",)), "line 2: found data of the key 'w', expected a <key> of"),
    "twice": (graph_of(KEY, ("<data key='w'>2</data><data key='w'>3</data>",)), "line 2: found the data 'w' again"),
    "two weights": (graph_of(KEY + KEY.replace("'w'", "'v'"), ("<data key='w'>2</data><data key='v'>3</data>",)),
                    "line 2: found two values of 'weight' ('2', '3'), expected one"),
    "one key, two names": (KEY + "\n" + KEY.replace("weight", "size"), ""),
    "capital": (graph_of("", (), "edgedefault='Directed'"), "line 1: found edgedefault='Directed', expected 'directed' or"),
    "direction": ("<graphml><graph>\n<edge source='a' target='b' directed='yes'/></graph></graphml>", "line 2: found directed='yes'"),
    "encoding": ('<?xml version="1.0" encoding="foo"?>\n<graphml/>', "found an encoding that cannot be read (unknown encoding: foo"),
    "wide encoding": ('<?xml version="1.0" encoding="shift_jis"?>\n<graphml/>', "found an encoding that cannot be read"),
    "deep": ("<graphml>" + "<graph>" * 1001, "found elements 1000 deep, expected fewer"),
    "empty": ("", "found an empty file"),
}  # fmt: skip
GRAPHML_FAULTS["one key, two names"] = (
    f"<graphml>{GRAPHML_FAULTS['one key, two names'][0]}</graphml>",
    "line 2: found the key 'w' again, expected each key once",
)
GRAPHML_FAULTS["deep"] = ("<graphml>" + "<desc>" * 1001, GRAPHML_FAULTS["deep"][1])


@pytest.mark.parametrize(("content", "message"), GRAPHML_FAULTS.values(), ids=GRAPHML_FAULTS)
def test_graphml_faults_have_a_place(tmp_path, content, message):
    assert message in said(written(tmp_path, "g.graphml", content))


def test_other_data_of_a_graphml_edge_are_not_its_weight(tmp_path):
    keys = '<key id="c" for="edge" attr.name="colour"><default>red</default></key>'
    edges = load("edges", written(tmp_path, "g.graphml", graph_of(keys, ("<data key='c'>5</data>",))))
    assert edges.weight.tolist() == [1]


def test_a_long_weight_takes_linear_time(tmp_path):
    content = graph_of(KEY, ("<data key='w'>" + " \n" * 8_000_000 + "3</data>",))
    start = time.perf_counter()
    assert load("edges", written(tmp_path, "g.graphml", content)).weight.tolist() == [3]
    assert time.perf_counter() - start < 20  # 49 s where each piece is added to a text


# ---- GEXF and GML ---------------------------------------------------------------------------------------------------


def gexf(edges: str, graph: str = "", before: str = "") -> str:
    return f"<gexf>\n<graph {graph}>{before}<nodes><node id='a'/><node id='b' label=''/></nodes><edges>{edges}</edges></graph></gexf>"


def test_types_of_gexf_edges(tmp_path):
    two = "<edge source='a' target='b' type='{}' weight='2'/><edge source='b' target='a' weight='3'/>"
    for kind, default, expected in (
        ("mutual", "directed", [("a", "b", 2.0), ("b", "a", 2.0), ("b", "a", 3.0)]),
        ("undirected", "directed", [("a", "b", 2.0), ("b", "a", 3.0), ("b", "a", 2.0)]),
        ("undirected", "undirected", [("a", "b", 2.0), ("b", "a", 3.0)]),
    ):
        content = gexf(two.format(kind), f"defaultedgetype='{default}'")
        edges = load("edges", written(tmp_path, "g.gexf", content))
        assert (edges.directed, triples(edges)) == (default == "directed", expected)


def test_times_of_a_gexf_are_left_out_and_that_is_said(tmp_path):
    path = written(tmp_path, "g.gexf", gexf("<edge source='a' target='b' start='1'/>", "mode='dynamic'"))
    with pytest.warns(DataWarning, match="line 2: a dynamic graph, read without its times. Export one moment of it."):
        assert len(load("edges", path).source) == 1


ATTRIBUTE = "<attributes class='edge'><attribute id='0' title='weight'/></attributes>"
TWICE = "<edge source='a' target='b'{}><attvalues><attvalue for='0' value='2'/>\n<attvalue for='{}' value='3'/></attvalues></edge>"
GEXF_FAULTS = {
    "type": (gexf("\n<edge source='a' target='b' type='Directed'/>"), "line 3: found type='Directed', expected 'directed'"),
    "graph type": (gexf("", "defaultedgetype='both'"), "line 2: found defaultedgetype='both', expected 'directed' or"),
    "weight": (gexf("\n<edge source='a' target='b' weight='x'/>"), "line 3: found 'x', expected a number (the weight)"),
    "no source": (gexf("\n<edge target='b'/>"), "line 3: found no 'source', expected an element with 'source'"),
    "a node again": ("<gexf><graph><nodes><node id='a'/>\n<node id='a'/></nodes></graph></gexf>", "line 2: found the node 'a' again"),
    "a value again": (gexf(TWICE.format("", "0"), "", ATTRIBUTE), "line 3: found the value '0' again"),
    "two weights": (gexf(TWICE.format(" weight='5'", "1"), "", ATTRIBUTE), "found two weights ('2', '5'), expected one"),
    "two graphs": ("<gexf><graph/>\n<graph/></gexf>", "line 2: found a second graph, expected one"),
    "no graph": ("<gexf/>", "found no graph, expected GEXF with a <graph> element"),
    "doctype": ("<!DOCTYPE gexf>\n<gexf/>", "line 1: found a document type"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), GEXF_FAULTS.values(), ids=GEXF_FAULTS)
def test_gexf_faults_have_a_place(tmp_path, content, message):
    assert message in said(written(tmp_path, "g.gexf", content))


TWO = "graph [ node [ id 0 ] node [ id 1 ]\n"
GML_FAULTS = {
    "direction": (TWO + "directed 2 ]", "line 2: found directed 2, expected directed 0 or directed 1, once"),
    "two graphs": ("graph [ ]\ngraph [ ]", "line 2: found a second graph, expected one"),
    "no graph": ("Version 1", "found no graph, expected graph [ … ]"),
    "a node again": (TWO + "node [ id 0 ] ]", "line 2: found the node '0' again, expected each node once"),
    "no id": ('graph [\nnode [ label "a" ] ]', "line 2: found no 'id', expected a node with 'id'"),
    "two labels": ('graph [\nnode [ id 0 label "a" label "b" ] ]', "line 2: found a second label, expected one"),
    "no target": (TWO + "edge [ source 0 ] ]", "line 2: found no 'target', expected a edge with 'target'"),
    "unknown node": (TWO + "edge [ source 0 target 7 ] ]", "line 2: found an edge to '7', expected a node of the file"),
    "weight": (TWO + 'edge [ source 0 target 1 weight "x" ] ]', "line 2: found 'x', expected a number (the weight)"),
    "open list": (TWO + "edge [ source 0\n", "line 2: found the end of the file, expected a closing quote or bracket"),
    "open text": (TWO + 'label "x', "line 2: found the end of the file, expected a closing quote or bracket"),
    "key without value": (TWO + "label ]", "line 2: found ']', expected a value"),
    "too many brackets": ("graph [ ]\n]", "line 2: found ']', expected a key"),
    "value without key": ('"x" 1', "line 1: found 'x', expected a key"),
    "deep": ("a [ " * 1001, "line 1: found lists 1000 deep, expected fewer"),
    "XML": ("<graphml/>", "line 1: found '<graphml/>', expected a key"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), GML_FAULTS.values(), ids=GML_FAULTS)
def test_gml_faults_have_a_place(tmp_path, content, message):
    assert message in said(written(tmp_path, "g.gml", content))


def test_codes_of_characters_in_gml_are_those_of_networkx(tmp_path):
    names = ["\x96", "\x01a", "é", "\U0001f600", "&#9999999;", "&#55296;", "&#00;"]
    edges = "".join(f"edge [ source 0 target {i} ]" for i in range(1, len(names)))
    written_names = ["&#150;", "&#1;a", "&#xe9;", "&#128512;", *names[4:]]
    nodes = "".join(f'node [ id {i} label "{name}" ]' for i, name in enumerate(written_names))
    (tmp_path / "g.gml").write_text(f"graph [ {nodes} {edges} ]")
    assert list(load("edges", tmp_path / "g.gml").nodes) == names


def test_a_text_of_gml_may_go_on_over_lines(tmp_path):
    content = TWO.replace("id 0", 'id 0 label "a\n# b ]&#233;&lt;&nothing;"') + "edge [ source 0 target 1 ] ]"
    assert load("edges", written(tmp_path, "g.gml", content)).nodes == ("a\n# b ]é<&nothing;", "1")


# ---- Pajek and infomap ----------------------------------------------------------------------------------------------

MIXED = """% drawn by hand
# and by another
*Network "A network"
*Vertices 4

1 "the one" 0.1 0.2 ellipse
3 three
*Arcs :1 "likes"
1 2 3 l "label"
*EDGES
2 3 2.5
3 3 4.5
"""


def test_pajek_with_arcs_and_edges(tmp_path):
    edges = load("edges", written(tmp_path, "g.net", MIXED))
    assert (edges.nodes, edges.directed) == (("the one", "2", "three", "4"), True)
    assert triples(edges) == [("the one", "2", 3.0), ("2", "three", 2.5), ("three", "three", 4.5), ("three", "2", 2.5)]


PAJEK = {
    "links": ("*Vertices 3\n1 \"a\"\n2 \"b\"\n3 \"c\"\n*Links\n# source target weight\n1 2 3\n2 3\n", False, ("a", "b", "c")),
    "edges with a count": ("*Vertices 3\n1 a\n2 b\n3 c\n*Edges 2\n1 2 3\n2 3\n", False, ("a", "b", "c")),
    "links alone": ("*Links\n7 9 3\n9 4\n", False, ("7", "9", "4")),
    "lists": ("*Vertices 3\n*Arcslist\n1 2\n1 3\n", True, ("1", "2", "3")),
    "edges before arcs": ("*Vertices 3\n*Edges\n*Arcs\n1 2 3\n2 3 1\n", True, ("1", "2", "3")),
    "one name": ("*Vertices 3\n1 x\n2 x\n3 x\n*Arcs\n1 2 3\n2 3 1\n", True, ("x", "x", "x")),
}  # fmt: skip


@pytest.mark.parametrize(("content", "directed", "nodes"), PAJEK.values(), ids=PAJEK)
def test_sections_of_pajek_and_infomap(tmp_path, content, directed, nodes):
    edges = load("edges", written(tmp_path, "g.net", content))
    assert (edges.directed, edges.nodes) == (directed, nodes)
    assert list(zip(edges.source.tolist(), edges.target.tolist(), strict=True)) == (
        [(0, 1), (0, 2)] if "list" in content else [(0, 1), (1, 2)]
    )
    if "list" not in content:
        assert edges.weight.tolist() == [3, 1]
    assert load("edges", written(tmp_path, "g.txt", content)).nodes == nodes


def test_several_relations_become_one_graph_and_that_is_said(tmp_path):
    path = written(tmp_path, "g.net", "*Vertices 2\n*Arcs:1\n1 2\n*Arcs:2\n2 1\n")
    with pytest.warns(DataWarning, match="line 4: several relations, read as one graph. Split the file."):
        assert len(load("edges", path).source) == 2


PAJEK_FAULTS = {
    "no vertices": ("*Edges\n1 2\n", "line 1: found no *Vertices, expected their number before the edges"),
    "nothing before": ("*Network\n1 2\n", "line 2: found '1 2', expected *Vertices"),
    "two counts": ("*Vertices 2\n*Vertices 2\n", "line 2: found a second *Vertices, expected one"),
    "no count": ("*Vertices\n", "line 1: found '', expected the number of vertices up to"),
    "huge": ("*Vertices 99999999999\n", "line 1: found '99999999999', expected the number of vertices"),
    "more than bytes": (
        "*Vertices 20000000\n*Edges\n1 2\n",
        "line 1: found '20000000', expected the number of vertices up to",
    ),
    "zero": ("*Vertices 2\n0 a\n", "line 2: found vertex 0, expected each number from 1 on once"),
    "again": ("*Vertices 2\n1 a\n1 b\n", "line 3: found vertex 1 again, expected each number from 1 on once"),
    "matrix": ("*Vertices 2\n*Matrix\n0 1\n", "line 2: found '*matrix', expected *Vertices, *Edges, *Arcs or *Links"),
    "multilayer": ("*Vertices 2\n*Multilayer\n0 1\n", "line 2: found '*multilayer', expected"),
    "out of range": ("*Vertices 2\n*Edges\n1 3\n", "line 3: found '3', expected a vertex up to 2"),
    "edge to 0": ("*Vertices 2\n*Edges\n1 0\n", "line 3: found vertex 0, expected 1 to 2"),
    "truncated": ("*Vertices 2\n*Edges\n1\n", "line 3: found '1', expected two vertices and perhaps a weight"),
    "weight": ("*Vertices 2\n*Edges\n1 2 x\n", "line 3, column 3: found 'x', expected a number (the weight)"),
    "no edge": ("*Vertices 2\n", "found no edge, expected at least one"),
}


@pytest.mark.parametrize(("content", "message"), PAJEK_FAULTS.values(), ids=PAJEK_FAULTS)
def test_pajek_faults_have_a_place(tmp_path, content, message):
    assert message in said(written(tmp_path, "g.net", content))


def test_a_million_vertices_without_a_line_are_a_graph(tmp_path):
    edges = load("edges", written(tmp_path, "g.net", "*Vertices 1000000\n*Edges\n1 2\n"))
    assert (len(edges.nodes), edges.nodes[-1]) == (1_000_000, "1000000")
