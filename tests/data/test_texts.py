"""Texts, labelled texts, pairs and edges: lines with a place for every fault."""

from __future__ import annotations

import tempfile
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gezhi.data import DataError, load

SENTENCE = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text.strip() and not text.startswith("\ufeff")
)


def written(folder: str | Path, name: str, lines: list[str]) -> Path:
    path = Path(folder, name)
    path.write_bytes("".join(line + "\n" for line in lines).encode())
    return path


def said(kind, path, **options):
    """What `load` says against the file."""
    with pytest.raises(DataError) as error:
        load(kind, path, **options)
    return str(error.value)


# ---- round trips ----------------------------------------------------------------------------------------------------


@given(st.lists(SENTENCE, min_size=1))
def test_texts_come_back(texts):
    with tempfile.TemporaryDirectory() as folder:
        assert load("texts", written(folder, "t.txt", texts)).texts == tuple(texts)


@given(st.lists(st.tuples(SENTENCE, SENTENCE, st.floats(allow_nan=False, allow_infinity=False)), min_size=1))
def test_pairs_come_back(rows):
    with tempfile.TemporaryDirectory() as folder:
        data = load("pairs", written(folder, "t.tsv", [f"{a}\t{b}\t{score!r}" for a, b, score in rows]))
    assert list(zip(data.left, data.right, data.score.tolist(), strict=True)) == rows


@given(st.lists(SENTENCE, min_size=2))
def test_labelled_texts_come_back(texts):
    labels = ["新闻" if i % 2 else "news" for i in range(len(texts))]
    with tempfile.TemporaryDirectory() as folder:
        rows = [f"{text}\t{label}" for text, label in zip(texts, labels, strict=True)]
        data = load("labelled texts", written(folder, "t.tsv", rows))
    assert (data.texts, data.classes) == (tuple(texts), ("news", "新闻"))
    assert [data.classes[code] for code in data.labels] == labels


def test_headers_are_passed_over(tmp_path):
    pairs = load("pairs", written(tmp_path, "p.tsv", ["left\tright\tscore", "a\tb\t1", "", "c\td\t-0.5"]))
    assert (pairs.left, pairs.score.tolist()) == (("a", "c"), [1, -0.5])
    labelled = load("labelled texts", written(tmp_path, "l.tsv", ["Text\tLabel", "a\tx", "b\ty"]))
    assert labelled.texts == ("a", "b")


def test_a_text_keeps_its_quotes_and_spaces(tmp_path):
    assert load("texts", written(tmp_path, "t.txt", ['  "a, b" ', "   ", "c"])).texts == ('  "a, b" ', "c")


# ---- faults ---------------------------------------------------------------------------------------------------------

FAULTS = [
    ("texts", b"a\n\xb5\xc4\n", "line 2, column 1: found byte 0xb5, expected UTF-8 text. Convert it"),
    ("texts", "格a\xe9".encode("latin-1", "ignore"), "line 1, column 2: found byte 0xe9, expected UTF-8 text"),
    ("texts", b" \n\n", "found only empty lines, expected one text a line"),
    ("texts", b"", "found an empty file, expected data"),
    ("pairs", b"a\tb\t1\nc\td\n", "line 2, column 3: found 2 columns, expected 3 columns (text, text, score)"),
    ("pairs", b"a\tb\t1\nc\td\te\t2\n", "line 2, column 4: found 4 columns, expected 3 columns"),
    ("pairs", b"a\tb\t1\n\t b\t2\n", "line 2, column 1: found an empty cell, expected a text. Fill it or drop"),
    ("pairs", b"a\tb\t1\nc\td\thigh\n", "line 2, column 3: found 'high', expected a number (the score)"),
    ("pairs", b"a\tb\tnan\n", "line 1, column 3: found 'nan', expected a number (the score)"),
    ("pairs", b"a\tb\tscore\n", "found no pair, expected text, text and score between tabs on each line"),
    ("labelled texts", b"a\tx\nb\n", "line 2, column 2: found 1 column, expected 2 columns (text, label)"),
    ("labelled texts", b"a\tx\nb\t \n", "line 2, column 2: found an empty cell, expected a label"),
    ("labelled texts", b"a\tx\nb\tx\n", "found one class only ('x'), expected at least two"),
    ("labelled texts", b"a\t1\nb\t0.5\n", "line 2, column 2: found '0.5', expected a class, not a measured number"),
    ("labelled texts", b"text\tlabel\n", "found no text, expected a text, a tab and its label on each line"),
]


@pytest.mark.parametrize(("kind", "content", "message"), FAULTS)
def test_faults_have_a_place(tmp_path, kind, content, message):
    path = tmp_path / ("t.txt" if kind == "texts" else "t.tsv")
    path.write_bytes(content)
    assert said(kind, path).startswith(f"{path}")
    assert message in said(kind, path)


# ---- edges ----------------------------------------------------------------------------------------------------------


def as_set(edges):
    return {
        (edges.nodes[a], edges.nodes[b], w) for a, b, w in zip(edges.source, edges.target, edges.weight, strict=True)
    }


@pytest.mark.parametrize("head", [[], ["source,target,weight"], ["From,To,w"]])
def test_weighted_csv_with_and_without_header(tmp_path, head):
    edges = load("edges", written(tmp_path, "g.csv", [*head, "a,b,2", "b,c,0.5", "a,a,1"]))
    assert as_set(edges) == {("a", "b", 2.0), ("b", "c", 0.5), ("a", "a", 1.0)}
    assert (edges.directed, edges.nodes, edges.name, edges.groups) == (False, ("a", "b", "c"), "g", None)


def test_tsv_without_weights(tmp_path):
    edges = load("edges", written(tmp_path, "g.tsv", ["1\t2", "2\t3"]))
    assert as_set(edges) == {("1", "2", 1.0), ("2", "3", 1.0)}


@pytest.mark.parametrize("kind", [nx.Graph, nx.DiGraph])
def test_graphml_of_networkx(tmp_path, kind):
    graph = nx.les_miserables_graph().to_directed() if kind is nx.DiGraph else nx.les_miserables_graph()
    graph.add_node("alone & <odd>")
    nx.write_graphml(graph, tmp_path / "g.graphml", named_key_ids=True)
    edges = load("edges", tmp_path / "g.graphml")
    assert edges.nodes == tuple(graph)
    assert edges.directed is graph.is_directed()
    assert as_set(edges) == {(a, b, float(w)) for a, b, w in graph.edges(data="weight")}


EDGE_FAULTS = {
    "one column": ("a\n", "line 1, column 2: found 1 column, expected 2 columns (source, target)"),
    "four columns": ("a,b,1,2\n", "line 1, column 4: found 4 columns, expected 3 columns (source, target, weight)"),
    "uneven": ("a,b\nc,d,1\n", "line 2, column 3: found 3 columns, expected 2 columns"),
    "no node": ("a,b,1\nc,,1\n", "line 2, column 2: found an empty cell, expected a node"),
    "weight": ("a,b,1\nc,d,heavy\n", "line 2, column 3: found 'heavy', expected a number (the weight)"),
    "infinite": ("a,b,inf\n", "line 1, column 3: found 'inf', expected a number (the weight)"),
    "negative": ("a,b,1\nc,d,-2\n", "line 2, column 3: found the weight -2, expected 0 or more"),
    "header only": ("source,target\n", "found no edge, expected at least one"),
}


@pytest.mark.parametrize(("content", "message"), EDGE_FAULTS.values(), ids=EDGE_FAULTS)
def test_edge_faults_have_a_place(tmp_path, content, message):
    assert message in said("edges", written(tmp_path, "g.csv", [content.rstrip("\n")]))


KEY = '<key id="w" for="edge" attr.name="weight" attr.type="double">'
BOMB = '<!DOCTYPE g [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>\n'
GRAPHML_FAULTS = {
    "doctype": (BOMB + "<graphml>&b;</graphml>", "line 1: found a document type (<!DOCTYPE>), expected none"),
    "external": ('<!DOCTYPE g SYSTEM "file:///etc/passwd">\n<g/>', "line 1: found a document type"),
    "broken": ("<graphml>\n<graph>\n</graphml>", "line 3, column 3: found mismatched tag, expected GraphML"),
    "no graph": ("<graphml/>", "found no graph, expected GraphML with a <graph> element"),
    "two graphs": ("<graphml><graph/>\n<graph/></graphml>", "line 2: found a second graph, expected one"),
    "no edge": ("<graphml><graph><node id='a'/></graph></graphml>", "found no edge, expected at least one"),
    "no target": ("<graphml><graph>\n<edge source='a'/></graph></graphml>", "line 2: found no 'target', expected"),
    "no id": ("<graphml><graph>\n<node/></graph></graphml>", "line 2: found no 'id', expected an element with 'id'"),
    "hyperedge": ("<graphml><graph>\n<hyperedge/></graph></graphml>", "line 2: found a hyperedge, expected edges"),
    "default": (KEY + "\n<default>1</default></key>", "line 2: found a default weight, expected a weight on each edge"),
    "mixed": (
        "<graphml><graph edgedefault='directed'>\n<edge source='a' target='b' directed='false'/></graph></graphml>",
        "line 2: found directed and undirected edges, expected one sort",
    ),
    "weight": (
        f"<graphml>{KEY}</key><graph><edge source='a' target='b'>\n<data key='w'>x</data></edge></graph></graphml>",
        "line 2: found 'x', expected a number (the weight)",
    ),
    "empty": ("", "found an empty file"),
}


@pytest.mark.parametrize(("content", "message"), GRAPHML_FAULTS.values(), ids=GRAPHML_FAULTS)
def test_graphml_faults_have_a_place(tmp_path, content, message):
    path = tmp_path / "g.graphml"
    path.write_text(content, "utf-8")
    assert message in said("edges", path)


@pytest.mark.parametrize("kind", [nx.Graph, nx.DiGraph])
def test_pajek_of_networkx(tmp_path, kind):
    graph = kind()
    graph.add_weighted_edges_from([("a b", "c", 2.5), ("c", "d", 1.0), ("d", "d", 0.5), ("d", "a b", 3.0)])
    graph.add_node("alone")
    nx.write_pajek(graph, tmp_path / "g.net")
    edges = load("edges", tmp_path / "g.net")
    assert edges.nodes == tuple(graph)
    assert edges.directed is graph.is_directed()
    assert as_set(edges) == {(a, b, w) for a, b, w in graph.edges(data="weight")}


def test_pajek_vertices_need_no_line_of_their_own(tmp_path):
    lines = ["% drawn by hand", "*Vertices 4", '2 "two" 0.1 0.2 ellipse', "", "*EDGES", "1 2", "2 4 0.5"]
    edges = load("edges", written(tmp_path, "g.net", lines))
    assert edges.nodes == ("1", "two", "3", "4")
    assert as_set(edges) == {("1", "two", 1.0), ("two", "4", 0.5)}


PAJEK_FAULTS = {
    "no vertices": ("*Edges\n1 2\n", "line 1: found no *Vertices, expected their number before the edges"),
    "nothing before": ("1 2\n", "line 1: found '1 2', expected *Vertices"),
    "two counts": ("*Vertices 2\n*Vertices 2\n", "line 2: found a second *Vertices, expected one"),
    "no count": ("*Vertices\n", "line 1: found '', expected the number of vertices up to 20000000"),
    "huge": ("*Vertices 99999999999\n", "line 1: found '99999999999', expected the number of vertices"),
    "zero": ("*Vertices 2\n0 a\n", "line 2: found vertex 0, expected each number from 1 on once"),
    "again": ("*Vertices 2\n1 a\n1 b\n", "line 3: found vertex 1 again, expected each number from 1 on once"),
    "same name": ("*Vertices 2\n1 a\n2 a\n*Edges\n1 2\n", "line 4: found two vertices named 'a', expected a name"),
    "mixed": ("*Vertices 2\n*Edges\n1 2\n*Arcs\n2 1\n", "line 4: found *Arcs beside *Edges, expected one sort"),
    "lists": ("*Vertices 2\n*Arcslist\n1 2\n", "line 2: found '*arcslist', expected *Vertices, *Edges or *Arcs"),
    "out of range": ("*Vertices 2\n*Edges\n1 3\n", "line 3: found '3', expected a vertex up to 2"),
    "edge to 0": ("*Vertices 2\n*Edges\n1 0\n", "line 3: found vertex 0, expected 1 to 2"),
    "truncated": ("*Vertices 2\n*Edges\n1\n", "line 3: found '1', expected two vertices and perhaps a weight"),
    "weight": ("*Vertices 2\n*Edges\n1 2 x\n", "line 3, column 3: found 'x', expected a number (the weight)"),
    "no edge": ("*Vertices 2\n", "found no edge, expected at least one"),
}


@pytest.mark.parametrize(("content", "message"), PAJEK_FAULTS.values(), ids=PAJEK_FAULTS)
def test_pajek_faults_have_a_place(tmp_path, content, message):
    assert message in said("edges", written(tmp_path, "g.net", [content.rstrip("\n")]))


@pytest.fixture
def encoder(tmp_path):
    folder = tmp_path / "encoder"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).touch()
    return folder


def test_the_named_encoder_travels_with_the_texts(tmp_path, encoder):
    pairs = written(tmp_path, "p.tsv", ["a\tb\t1"])
    assert load("pairs", pairs).encoder is None
    assert load("pairs", pairs, encoder=encoder).encoder == encoder
    assert load("texts", written(tmp_path, "t.txt", ["a"]), encoder=encoder).encoder == encoder


def test_encoders_that_cannot_be_used(tmp_path, encoder):
    edges = written(tmp_path, "g.csv", ["a,b"])
    with pytest.raises(ValueError, match="encoder must be given for pairs and texts alone: got one for edges"):
        load("edges", edges, encoder=encoder)
    (encoder / "model.safetensors").rename(encoder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"config.json and \*.safetensors: got no \*.safetensors in .*save_pretrained"):
        load("texts", written(tmp_path, "t.txt", ["a"]), encoder=encoder)


def test_other_data_of_a_graphml_edge_are_not_its_weight(tmp_path):
    other = '<key id="c" for="edge" attr.name="colour"><default>red</default></key>'
    edge = '<edge source="a" target="b"><data key="c">5</data></edge>'
    (tmp_path / "g.graphml").write_text(f"<graphml>{other}<graph>{edge}</graph></graphml>", "utf-8")
    edges = load("edges", tmp_path / "g.graphml")
    np.testing.assert_array_equal(edges.weight, [1.0])
