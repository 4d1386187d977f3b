"""`gezhi communities`: every format in and out, the drawing, and one sentence where the input is wrong."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import xml.etree.ElementTree as ET
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from typer.testing import CliRunner

from gezhi.cli import drawing
from gezhi.cli.app import app
from gezhi.cli.communities import Request, run_and_print
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
    "links.net": PAJEK.replace("*Edges", "*Links\n# source target [weight]"),
    "t.gexf": GRAPHML.replace("graphml>", "gexf>").replace("edgedefault", "defaultedgetype"),
    "t.gml": "graph ["
    + "".join(f' node [ id {i} label "{name}" ]' for i, name in enumerate("abcdef"))
    + "".join(f" edge [ source {'abcdef'.index(a)} target {'abcdef'.index(b)} ]" for a, b in EDGES)
    + " ]",
    "crawl.txt": "# FromNodeId\tToNodeId\n" + CSV.replace(",", "\t"),
    "blanks.edges": CSV.replace(",", "  "),
    "gephi.csv": "Source,Target,Type,Id,Label,timeset,Weight\n"
    + "".join(f"{a},{b},Undirected,{i},,,2.0\n" for i, (a, b) in enumerate(EDGES)),
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


@pytest.mark.parametrize(
    "content", [CSV, CSV.replace(",", "\t"), CSV.replace(",", " "), PAJEK], ids=["commas", "tabs", "blanks", "Pajek"]
)
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


@pytest.mark.parametrize("tree", [False, True])
@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_the_search_is_that_of_the_estimator(gezhi, tmp_path, seed, tree):
    graph = nx.les_miserables_graph()
    nx.write_graphml(graph, tmp_path / "g.graphml")
    edges = load("edges", tmp_path / "g.graphml")
    model = InfomapClustering("precomputed", two_level=not tree, n_trials=4, random_state=seed)
    model.fit((edges.source, edges.target, edges.weight))
    flags = ("--trials", "4", "--seed", str(seed), *(["--tree"] * tree))
    rows = list(csv.DictReader(io.StringIO(gezhi("communities", "g.graphml", *flags).stdout)))
    assert [row["node"] for row in rows] == list(edges.nodes)
    assert [row["module"] for row in rows] == [":".join(str(number + 1) for number in path) for path in model.tree_]
    found = json.loads(gezhi("communities", "g.graphml", *flags, "--json").stdout)
    assert found["codelength"] == model.codelength_.total


def test_a_search_is_one_search(gezhi, two_triangles, monkeypatch):
    fits, fit = [], InfomapClustering.fit
    monkeypatch.setattr(InfomapClustering, "fit", lambda model, graph: fits.append(model.n_trials) or fit(model, graph))
    gezhi("communities", "t.csv", "--trials", "5")
    assert fits == [5]


def test_two_forms_of_one_large_graph_have_the_same_modules(gezhi, tmp_path):
    graph = nx.gaussian_random_partition_graph(600, 20, 5, 0.3, 0.01, seed=1)
    rows = [(f"Ann & <{a}>", f"Ann & <{b}>") for a, b in graph.edges]
    written = nx.Graph(rows)
    nx.write_gexf(written, tmp_path / "g.gexf")
    (tmp_path / "g.csv").write_text("from,to\n" + "".join(f"{a},{b}\n" for a, b in rows))
    found = [dict(row for row in csv.reader(io.StringIO(gezhi("communities", name, "--trials", "2").stdout)))
             for name in ("g.gexf", "g.csv")]  # fmt: skip
    assert found[0] == found[1]
    assert len(found[0]) == 1 + len(written)


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


@pytest.fixture
def nested(tmp_path):
    """Triangles in triangles in triangles, of which the search keeps two levels."""
    rows = []
    for level in (1, 2, 3):
        inner, step = 3 ** (level - 1), (3 ** (level - 1) - 1) // 2
        for base in range(0, 27, 3 * inner):
            rows += [(base + a * inner + b * step, base + b * inner + a * step) for a, b in ((1, 0), (2, 0), (2, 1))]
    (tmp_path / "n.csv").write_text("".join(f"n{a},n{b}\n" for a, b in rows))
    return tmp_path


def test_a_tree_has_a_column_a_level(gezhi, nested):
    gezhi("communities", "n.csv", "--tree", "--trials", "20", "-o", "out.csv")
    rows = list(csv.DictReader(io.StringIO((nested / "out.csv").read_text())))
    assert list(rows[0]) == ["node", "module", "level_1", "level_2"]
    depths = {row["module"].count(":") for row in rows}
    assert depths == {0, 1}
    for row in rows:
        top, _, inner = row["module"].partition(":")
        assert row["level_1"] == top
        assert row["level_2"] == (row["module"] if inner else "")


ODD = ("=1+1", "+a", "-5", "-b", "@c", "x\ny", "x\ry", 'q"q', "back\\n", "a\u2028b", " d")


def test_names_cannot_run_in_a_spreadsheet_or_forge_a_line(gezhi, tmp_path):
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(pairwise(ODD))
    gezhi("communities", "t.csv", "-o", "out.csv")
    gezhi("communities", "t.csv", "-o", "out.tree")
    with (tmp_path / "out.csv").open(newline="") as file:
        names = [row[0] for row in csv.reader(file)][1:]
    assert names == ["'=1+1", "'+a", "-5", "'-b", "'@c", *(name.strip() for name in ODD[5:])]
    lines = (tmp_path / "out.tree").read_text("utf-8").splitlines()[2:]
    assert len(lines) == len(ODD)
    found = {int(line.rsplit(" ", 1)[1]): re.search(r'"(.*)" \d+$', line)[1] for line in lines}
    assert [found[i + 1] for i in range(len(ODD))] == [
        "=1+1", "+a", "-5", "-b", "@c", "x\\ny", "x\\ry", "q'q", "back\\\\n", "a\\u2028b", "d"
    ]  # fmt: skip


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


def classes(picture, tag):
    return [element for element in picture.iter(tag) if element.attrib.get("class")]


def test_the_drawing_of_a_tree_shows_its_levels(gezhi, nested):
    gezhi("communities", "n.csv", "--tree", "--trials", "20", "--plot", "n.html")
    picture = svg(nested / "n.html")
    shapes = [element.attrib["class"].split()[0] for element in classes(picture, "polygon")]
    assert (shapes.count("hull"), shapes.count("outline")) == (9, 2)
    assert sorted(text.text for text in classes(picture, "text") if text.attrib["class"].startswith("outer")) == [
        "1",
        "2",
    ]
    page = (nested / "n.html").read_text()
    listed = re.findall(r'<tr class="d(\d)"><th scope="row"><i class="b\d"></i>([\d:]+)</th>', page)
    assert listed[:5] == [("0", "1"), ("1", "1:1"), ("1", "1:2"), ("1", "1:3"), ("0", "2")]
    assert "Modules and those inside them by flow" in page


def test_the_modules_of_a_tree_are_drawn_in_their_groups(gezhi, nested, monkeypatch):
    monkeypatch.setattr(drawing, "MOST_NODES", 10)
    gezhi("communities", "n.csv", "--tree", "--trials", "20", "--plot", "n.html")
    picture = svg(nested / "n.html")
    assert len(list(picture.iter("circle"))) == 9
    assert [element.attrib["class"].split()[0] for element in classes(picture, "polygon")] == ["outline"] * 2


@pytest.mark.browser
@pytest.mark.parametrize("flags", [(), ("--tree",)], ids=["flat", "tree"])
def test_the_drawing_fits_a_narrow_screen(gezhi, nested, flags):
    sync_api, chromium = pytest.importorskip("playwright.sync_api"), shutil.which("chromium")
    if chromium is None:
        pytest.skip("Debian's chromium is not installed")
    gezhi("communities", "n.csv", *flags, "--trials", "20", "--plot", "n.html")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.goto((nested / "n.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert (
            page.evaluate("document.querySelector('figure').scrollWidth - document.querySelector('figure').clientWidth")
            == 0
        )
        shown = page.evaluate("[...document.querySelectorAll('svg text')].filter(t => getComputedStyle(t).display != 'none')"
                              ".map(t => t.getBoundingClientRect().height)")  # fmt: skip
        browser.close()
    assert len(shown) >= 2
    assert min(shown) >= 9


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


def test_what_could_be_either_is_a_note(gezhi, tmp_path):
    (tmp_path / "t.csv").write_text("person,friend\nann,bob\n")
    result = gezhi("communities", "t.csv")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0] == (
        "Note: t.csv, line 1: 'person' and 'friend' are read as an edge. Pass header=True (--header) if they name columns."
    )
    result = CliRunner().invoke(app, ["communities", "-"], input="person,friend\nann,bob\n")
    assert result.stderr.startswith("Note: standard input, line 1: 'person' and 'friend' are read as an edge.")


@pytest.mark.parametrize(("header", "nodes"), [(True, ["ann", "bob"]), (False, ["person", "friend", "ann", "bob"])])
def test_the_header_is_as_asked(gezhi, tmp_path, capsys, header, nodes):
    (tmp_path / "t.csv").write_text("person,friend\nann,bob\n")
    request = Request("t.csv", None, None, None, True, True, 1, 0, 1.0, 0.15, False, "links", header=header)
    run_and_print(request, as_json=False)
    out = capsys.readouterr()
    assert [row["node"] for row in csv.DictReader(io.StringIO(out.out))] == nodes
    assert "Note" not in out.err


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
        (("t.xyz",), "t.xyz: found the ending '.xyz', expected one of .csv, .tsv, .txt, .edges, .edgelist, .ncol, "
                     ".graphml, .gexf, .gml, .net. edges are a table of source, target and perhaps weight, GraphML, GEXF, "
                     "GML or Pajek."),
    ],
)  # fmt: skip
def test_wrong_options_end_with_one_sentence(gezhi, two_triangles, arguments, message):
    (two_triangles / "t.xyz").write_text(CSV)
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
