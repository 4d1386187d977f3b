"""`gezhi communities`: every format in and out, the drawing, and one sentence where the input is wrong."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET

import networkx as nx
import numpy as np
import pytest
from typer.testing import CliRunner

from gezhi.cli import drawing
from gezhi.cli.app import app
from gezhi.data import load
from gezhi.graph.infomap import InfomapClustering, map_equation

EDGES = (("a", "b"), ("b", "c"), ("a", "c"), ("d", "e"), ("e", "f"), ("d", "f"), ("c", "d"))
TWO = "node,module\na,1\nb,1\nc,1\nd,2\ne,2\nf,2\n"
CSV = "".join(f"{a},{b}\n" for a, b in EDGES)
GRAPHML = (
    '<graphml><graph edgedefault="undirected">'
    + "".join(f'<node id="{name}"/>' for name in "abcdef")
    + "".join(f'<edge source="{a}" target="{b}"/>' for a, b in EDGES)
    + "</graph></graphml>"
)
PAJEK = (
    "*Vertices 6\n"
    + "".join(f'{i} "{name}"\n' for i, name in enumerate("abcdef", 1))
    + "*Edges\n"
    + "".join(f"{'abcdef'.index(a) + 1} {'abcdef'.index(b) + 1}\n" for a, b in EDGES)
)
FORMS = {
    "t.csv": CSV,
    "head.csv": "source,target,weight\n" + "".join(f"{a}, {b} ,2.5\n" for a, b in EDGES),
    "quoted.csv": "".join(f'"{a}",{b}\n' for a, b in EDGES),
    "t.tsv": CSV.replace(",", "\t"),
    "t.graphml": GRAPHML,
    "t.net": PAJEK,
}


def sentence(result):
    """The one sentence of a refused command."""
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line.removeprefix("gezhi: ")


@pytest.fixture
def two_triangles(tmp_path):
    (tmp_path / "t.csv").write_text(CSV)
    return tmp_path


@pytest.fixture
def ring(tmp_path):
    """Sixty cliques of three in cliques of twenty: a graph that has levels."""
    graph = nx.relabel_nodes(nx.connected_caveman_graph(12, 5), str)
    (tmp_path / "ring.csv").write_text("".join(f"{a},{b}\n" for a, b in graph.edges))
    return graph


# ---- in -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_read_and_a_table_goes_to_standard_output(gezhi, tmp_path, name):
    (tmp_path / name).write_text(FORMS[name])
    result = gezhi("communities", name)
    assert result.exit_code == 0
    assert result.stdout == TWO
    assert re.fullmatch(
        r"2 modules, 2\.320730 bits \(one module: 2\.556657\); 6 nodes, 7 edges, \d+\.\d s\n", result.stderr
    )


@pytest.mark.parametrize("content", [CSV, CSV.replace(",", "\t")], ids=["commas", "tabs"])
def test_a_table_comes_from_standard_input(content):
    result = CliRunner().invoke(app, ["communities", "-"], input=content)
    assert (result.exit_code, result.stdout) == (0, TWO)


def best(edges, **settings):
    return InfomapClustering("precomputed", **settings).fit(edges).codelength_.total


def test_direction_and_weights_are_as_asked(gezhi, tmp_path):
    rows = [(0, 1, 2), (1, 2, 1), (2, 0, 3), (2, 3, 1), (3, 4, 2), (4, 5, 1), (5, 3, 1), (5, 0, 0.5), (1, 0, 1)]
    (tmp_path / "six.csv").write_text("".join(f"{a},{b},{w}\n" for a, b, w in rows))
    source, target, weight = (np.array(column) for column in zip(*rows, strict=True))
    for flags, expected in {
        ("--directed",): 2.002653878720436,
        ("--directed", "--recorded", "--teleport-to", "nodes"): 2.304238187301809,
        ("--directed", "--recorded"): 2.233820312428885,
        ("--directed", "--teleport-to", "nodes"): 2.006118456060768,
        ("--unweighted",): best((source, target)),
        ("--directed", "--teleportation", "0.3"): best((source, target, weight), directed=True, teleportation=0.3),
        ("--markov-time", "0.5"): best((source, target, weight), markov_time=0.5),
    }.items():
        found = json.loads(gezhi("communities", "six.csv", *flags, "--json").stdout)
        assert found["codelength"] == pytest.approx(expected, abs=1e-9)
        assert found["directed"] == ("--directed" in flags)


def test_a_file_says_itself_whether_it_is_directed(gezhi, tmp_path):
    (tmp_path / "t.graphml").write_text(GRAPHML.replace("undirected", "directed"))
    assert json.loads(gezhi("communities", "t.graphml", "--json").stdout)["directed"] is True
    assert json.loads(gezhi("communities", "t.graphml", "--undirected", "--json").stdout)["directed"] is False


# ---- search ---------------------------------------------------------------------------------------------------------


def test_the_search_is_that_of_the_estimator(gezhi, tmp_path):
    graph = nx.les_miserables_graph()
    nx.write_graphml(graph, tmp_path / "g.graphml")
    edges = load("edges", tmp_path / "g.graphml")
    model = InfomapClustering("precomputed", n_trials=4, random_state=7).fit((edges.source, edges.target, edges.weight))
    result = gezhi("communities", "g.graphml", "--trials", "4", "--seed", "7")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["node"] for row in rows] == list(edges.nodes)
    assert [int(row["module"]) - 1 for row in rows] == model.labels_.tolist()


def test_a_summary_for_programs(gezhi, two_triangles):
    found = json.loads(gezhi("communities", "t.csv", "--json").stdout)
    assert found.pop("seconds") >= 0
    assert found == pytest.approx(
        {
            "name": "t", "nodes": 6, "edges": 7, "directed": False, "codelength": 2.32073035683379,
            "index_codelength": 0.142857142857143, "module_codelength": 2.177873213976647,
            "one_level_codelength": 2.556656707462823, "modules": 2, "top_modules": 2, "levels": 2, "trials": 10,
        }
    )  # fmt: skip


# ---- out ------------------------------------------------------------------------------------------------------------


def test_the_ending_says_the_form_of_the_output(gezhi, two_triangles):
    for name in ("out.csv", "out.json", "out.tree"):
        result = gezhi("communities", "t.csv", "-o", name)
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr.endswith(f"\n{name}\n")
    assert (two_triangles / "out.csv").read_text() == TWO
    whole = json.loads((two_triangles / "out.json").read_text())
    assert [(row["node"], row["module"]) for row in whole["communities"]] == [(n, "12"[n > "c"]) for n in "abcdef"]
    assert sum(row["flow"] for row in whole["communities"]) == pytest.approx(1)
    head, columns, *lines = (two_triangles / "out.tree").read_text().splitlines()
    assert head.endswith("2 modules, codelength 2.320730357 bits")
    assert columns == "# path flow name node_id"
    assert lines == [
        '1:1 0.214285714 "c" 3', '1:2 0.142857143 "a" 1', '1:3 0.142857143 "b" 2',
        '2:1 0.214285714 "d" 4', '2:2 0.142857143 "e" 5', '2:3 0.142857143 "f" 6',
    ]  # fmt: skip
    assert sorted(path.name for path in two_triangles.iterdir()) == ["out.csv", "out.json", "out.tree", "t.csv"]


def test_a_tree_read_back_has_the_same_code(gezhi, tmp_path):
    triangles = []
    for level in (1, 2, 3):
        inner, step = 3 ** (level - 1), (3 ** (level - 1) - 1) // 2
        for base in range(0, 27, 3 * inner):
            triangles += [
                (base + a * inner + b * step, base + b * inner + a * step) for a, b in ((1, 0), (2, 0), (2, 1))
            ]
    (tmp_path / "t.csv").write_text("".join(f"n{a},n{b}\n" for a, b in triangles))
    found = json.loads(gezhi("communities", "t.csv", "--tree", "--trials", "20", "-o", "t.tree", "--json").stdout)
    assert found["codelength"] == pytest.approx(3.462273137526415, abs=1e-9)
    assert (found["levels"], found["top_modules"], found["modules"]) == (3, 5, 9)
    path = {}
    for line in (tmp_path / "t.tree").read_text().splitlines()[2:]:
        where, _, name, number = line.split()
        path[name.strip('"')] = tuple(where.split(":")[:-1])
        assert where.split(":")[-1].isdigit()
        assert number.isdigit()
    edges = load("edges", tmp_path / "t.csv")
    bits = map_equation((edges.source, edges.target), [path[name] for name in edges.nodes]).total
    assert bits == pytest.approx(found["codelength"], abs=1e-12)


def test_names_with_commas_and_quotes_survive(gezhi, tmp_path):
    (tmp_path / "t.csv").write_text(CSV.replace("a,", '"x, ""y""",'))
    rows = list(csv.reader(io.StringIO(gezhi("communities", "t.csv").stdout)))
    assert rows[1] == ['x, "y"', "1"]
    gezhi("communities", "t.csv", "-o", "t.tree", "--plot", "t.html")
    assert "\"x, 'y'\"" in (tmp_path / "t.tree").read_text()
    assert "x, &#34;y&#34;" in (tmp_path / "t.html").read_text()


# ---- drawing --------------------------------------------------------------------------------------------------------


def svg(path):
    """The picture of a page, which must be well-formed by itself."""
    text = path.read_text("utf-8")
    assert "http" not in text.replace("http-equiv", "")
    assert "<script" not in text
    return ET.fromstring(re.search(r"<svg.*?</svg>", text, re.S)[0])


def test_a_drawing_shows_every_node_and_module(gezhi, tmp_path, ring):
    assert gezhi("communities", "ring.csv", "--plot", "ring.html", "-o", "ring.csv.json").exit_code == 0
    picture = svg(tmp_path / "ring.html")
    titles = [circle.find("title").text for circle in picture.iter("circle")]
    assert sorted(title.split(":")[0] for title in titles) == sorted(ring)
    assert len(list(picture.iter("polygon"))) == 12
    width, height = map(float, picture.attrib["viewBox"].split()[2:])
    for circle in picture.iter("circle"):
        assert 0 < float(circle.attrib["cx"]) < width
        assert 0 < float(circle.attrib["cy"]) < height
    drawn = sum(path.attrib["d"].count("M") for path in picture.iter("path"))
    assert drawn == ring.number_of_edges()
    again = (tmp_path / "ring.html").read_text()
    gezhi("communities", "ring.csv", "--plot", "ring.html")
    assert (tmp_path / "ring.html").read_text() == again


def test_too_many_nodes_are_drawn_as_modules(gezhi, tmp_path, ring, monkeypatch):
    monkeypatch.setattr(drawing, "MOST_NODES", 50)
    monkeypatch.setattr(drawing, "MOST_BUBBLES", 10)
    gezhi("communities", "ring.csv", "--plot", "ring.html")
    titles = [circle.find("title").text for circle in svg(tmp_path / "ring.html").iter("circle")]
    assert sorted(titles, key=lambda title: int(title.split()[1][:-1]))[0].startswith("module 1: 5 nodes, 8.3 %")
    assert "60 nodes are too many to draw; each disc is a module, the 2 smallest left out." in " ".join(
        (tmp_path / "ring.html").read_text().split()
    )


@pytest.mark.parametrize("content", ["a,a\n", "a,b\n", "a,b,0\nc,d,1\n"], ids=["loop", "edge", "isolated"])
def test_the_smallest_graphs_are_drawn(gezhi, tmp_path, content):
    (tmp_path / "t.csv").write_text(content)
    assert gezhi("communities", "t.csv", "--plot", "t.html").exit_code == 0
    assert len(list(svg(tmp_path / "t.html").iter("circle"))) == len(set(re.findall("[abcd]", content)))


# ---- what is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "t.csv: found an empty file, expected data. Check how it was written."),
        ("a,b\nb\n", "t.csv, line 2, column 2: found 1 column, expected 2 columns (source, target). Look for a missing "
                     "or extra separator."),
        ("a,b,1\nb,c,-2\n", "t.csv, line 2, column 3: found the weight -2, expected 0 or more. Drop the edge or shift "
                            "the weights."),
        ("a,b,1\nb,c,nan\n", "t.csv, line 2, column 3: found 'nan', expected a number (the weight)."),
        ("a,b\nb,\n", "t.csv, line 2, column 2: found an empty cell, expected a node. Fill it or drop the line."),
        ("source,target\n", "t.csv: found no edge, expected at least one. Check how it was written."),
    ],
)  # fmt: skip
def test_a_fault_in_the_file_is_placed(gezhi, tmp_path, content, message):
    (tmp_path / "t.csv").write_text(content)
    assert sentence(gezhi("communities", "t.csv")) == message
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_fault_in_standard_input_is_placed():
    result = CliRunner().invoke(app, ["communities", "-"], input="a,b\nb\n")
    assert sentence(result).startswith("standard input, line 2, column 2: found 1 column, expected 2 columns")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.csv",), "FILE must be an existing file, or - for standard input: got nowhere.csv."),
        (("t.csv", "-o", "x.png"), "--output must end in .csv, .json, .tree: got x.png."),
        (("t.csv", "--plot", "x.svg"), "--plot must end in .html: got x.svg."),
        (("t.csv", "--trials", "0"), "--trials must lie between 1 and inf: got 0."),
        (("t.csv", "--seed", "-1"), "--seed must lie between 0 and 4.29497e+09: got -1."),
        (("t.csv", "--markov-time", "0"), "--markov-time must lie strictly between 0 and inf: got 0.0."),
        (("t.csv", "--teleportation", "1"), "--teleportation must lie strictly between -inf and 1: got 1.0."),
        (
            ("t.csv", "--directed", "--teleportation", "0"),
            "graph must be strongly connected when teleportation=0: got 6 strong components. Pass teleportation > 0.",
        ),
        (("t.txt",), "t.txt: found the ending '.txt', expected one of .csv, .tsv, .graphml, .net. edges are source, "
                     "target and perhaps weight, or GraphML, or Pajek."),
    ],
)  # fmt: skip
def test_wrong_options_end_with_one_sentence(gezhi, two_triangles, arguments, message):
    (two_triangles / "t.txt").write_text(CSV)
    assert sentence(gezhi("communities", *arguments)) == message


def test_an_interrupt_leaves_nothing_half_written(gezhi, two_triangles, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(drawing, "page", interrupted)
    result = gezhi("communities", "t.csv", "--plot", "t.html")
    assert result.exit_code == 130
    assert [path.name for path in two_triangles.iterdir()] == ["t.csv"]


def test_help_has_an_example_and_stands_among_the_tools(gezhi):
    text = gezhi("--help").stdout
    assert text.index(" The tools ") < text.index("│ communities ")
    assert "Example: gezhi communities edges.csv -o communities.csv" in " ".join(
        gezhi("communities", "--help").stdout.split()
    )
