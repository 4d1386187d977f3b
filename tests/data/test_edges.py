"""Graphs as tables of edges: separators, comments, headers, columns by name, and the place of every fault."""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gezhi.data import DataError, DataWarning, load
from gezhi.data.formats import edge_blocks
from gezhi.data.formats.edge_columns import find_columns
from gezhi.data.formats.edge_rows import read_rows


def written(folder: str | Path, name: str, content: str) -> Path:
    path = Path(folder, name)
    path.write_bytes(content.encode())
    return path


def said(path, **options):
    """What `load` says against the file."""
    with pytest.raises(DataError) as error:
        load("edges", path, **options)
    return str(error.value)


def triples(edges):
    return [
        (edges.nodes[a], edges.nodes[b], w)
        for a, b, w in zip(edges.source.tolist(), edges.target.tolist(), edges.weight.tolist(), strict=True)
    ]


# ---- what programs write --------------------------------------------------------------------------------------------

THREE = [("1", "2", 3.0), ("2", "3", 2.5), ("3", "3", 4.5)]
SAME = {
    "plain": ("g.csv", "1,2,3\n2,3,2.5\n3,3,4.5\n"),
    "known names": ("g.csv", "source,target,weight\n1,2,3\n2,3,2.5\n3,3,4.5\n"),
    "names in another order": ("g.csv", "weight,target,source\n3,2,1\n2.5,3,2\n4.5,3,3\n"),
    "a table of Gephi": (
        "g.csv",
        "Source,Target,Type,Id,Label,timeset,Weight\n1,2,Undirected,0,,,3.0\n2,3,Undirected,1,,,2.5\n3,3,Undirected,2,,,4.5\n",
    ),
    "a web crawl": ("g.txt", "# Nodes: 3 Edges: 3\n# FromNodeId\tToNodeId\tWeight\n1\t2\t3\n2\t3\t2.5\n3\t3\t4.5\n"),
    "percent": ("g.tsv", "% sym weighted\n% 3 3 3\n1 2 3\n2 3 2.5\n3 3 4.5\n"),
    "id_1": ("g.csv", "id_1,id_2,w\n1,2,3\n2,3,2.5\n3,3,4.5\n"),
    "node_1": ("g.csv", "node_1,node_2,weight\n1,2,3\n2,3,2.5\n3,3,4.5\n"),
    "V1": ("g.csv", '"V1","V2","value"\n1,2,3\n2,3,2.5\n3,3,4.5\n'),
    "letters over numbers": ("g.csv", "A,B,C\n1,2,3\n2,3,2.5\n3,3,4.5\n"),
    "semicolons": ("g.csv", "1;2;3\n2;3;2.5\n3;3;4.5\n"),
    "blanks": ("g.edges", " 1 2  3\n2\t3 2.5 \n\n3   3 4.5\n"),
    "infomap's link list": ("g.net", "# source target weight\n1 2 3\n2 3 2.5\n3 3 4.5\n"),
    "comment in the middle": ("g.csv", "1,2,3\n# half\n2,3,2.5\n%\n3,3,4.5\n"),
    "comment at the end": ("g.csv", "1,2,3\n2,3,2.5\n3,3,4.5\n# end"),
    "names in a comment": ("g.txt", "# target source weight\n2 1 3\n3 2 2.5\n3 3 4.5\n"),
    "Windows": ("g.csv", "\ufeffsource,target,weight\r\n1,2,3\r\n2,3,2.5\r\n3,3,4.5\r\n"),
    "other columns": ("g.tsv", "year\tfrom\tto\tweight\n9\t1\t2\t3\n8\t2\t3\t2.5\n7\t3\t3\t4.5\n"),
    "blanks around": ("g.csv", " Source , Target , Weight \n 1, 2 , 3\n2,3, 2.5\n3,3,4.5\n"),
}


@pytest.mark.parametrize(("name", "content"), SAME.values(), ids=SAME)
def test_tables_as_programs_write_them(tmp_path, name, content):
    edges = load("edges", written(tmp_path, name, content))
    assert triples(edges) == THREE
    assert (edges.directed, edges.name, edges.groups) == (False, "g", None)


@pytest.mark.parametrize("head", ["A,B\n", "id_1,id_2\n", "node_1,node_2\n", "V1,V2\n", "target,source\n", "from,to\n"])
def test_a_header_is_no_edge(tmp_path, head):
    edges = load("edges", written(tmp_path, "g.csv", head + "1,2\n2,3\n"))
    assert edges.nodes == (("2", "1", "3") if head == "target,source\n" else ("1", "2", "3"))
    assert len(edges.source) == 2
    if head == "target,source\n":
        assert triples(edges) == [("2", "1", 1.0), ("3", "2", 1.0)]


def test_names_stay_text(tmp_path):
    edges = load("edges", written(tmp_path, "g.csv", "007,7\n7,1_0\n1_0,1e5\n1e5,100000\n100000,007\n"))
    assert edges.nodes == ("007", "7", "1_0", "1e5", "100000")


def test_a_comment_may_begin_inside_quotes(tmp_path):
    edges = load("edges", written(tmp_path, "g.csv", '"#a","b\n#c"\n"b\n#c","#a"\n'))
    assert edges.nodes == ("#a", "b\n#c")


# ---- directions -----------------------------------------------------------------------------------------------------

TYPED = "Source,Target,Type,Weight\na,b,Directed,2\nb,c,{},1\nc,c,{},1\n"


def test_the_type_of_gephi_directs_edges(tmp_path):
    arcs = load("edges", written(tmp_path, "g.csv", TYPED.format("Directed", "directed")))
    assert (arcs.directed, triples(arcs)) == (True, [("a", "b", 2.0), ("b", "c", 1.0), ("c", "c", 1.0)])
    mixed = load("edges", written(tmp_path, "g.csv", TYPED.format("Undirected", "Undirected")))
    assert mixed.directed is True
    assert triples(mixed) == [("a", "b", 2.0), ("b", "c", 1.0), ("c", "c", 1.0), ("c", "b", 1.0)]


def test_the_callers_word_on_directions_leaves_each_edge_once(tmp_path):
    path = written(tmp_path, "g.csv", TYPED.format("Undirected", "Undirected"))
    for directed in (True, False):
        edges = load("edges", path, directed=directed)
        assert edges.directed is directed
        assert triples(edges) == [("a", "b", 2.0), ("b", "c", 1.0), ("c", "c", 1.0)]


def test_a_type_of_another_program_directs_nothing(tmp_path):
    edges = load("edges", written(tmp_path, "g.csv", "Source,Target,Type\na,b,friend\nb,c,foe\n"))
    assert (edges.directed, len(edges.source)) == (False, 2)


# ---- what could be either -------------------------------------------------------------------------------------------

DOUBTS = {
    "names of people": ("person,friend\nann,bob\n", "line 1: 'person' and 'friend' are read as an edge. Pass header=True", 2),
    "counted columns": ("0,1\n5,6\n6,7\n", "line 1: '0' and '1' are read as an edge. Pass header=True (--header)", 3),
    "unknown names": ("a,b,strength\nann,bob,2\n", "line 1: 'a' and 'b' are read as names of columns. Pass header=False", 1),
    "words named so": ("from,to\nto,the\n", "line 1: 'from' and 'to' are read as names of columns. Pass header=False", 1),
    "a column that may be a weight": ("source,target,year\na,b,1999\n", "line 1: the columns year are not read. Name the", 1),
    "hashtags": ("#cats,#dogs\ncats,dogs\ndogs,mice\ncats,mice\n", "line 1: a line that begins with # is read as a comment", 3),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message", "count"), DOUBTS.values(), ids=DOUBTS)
def test_what_could_be_either_is_said(tmp_path, content, message, count):
    with pytest.warns(DataWarning) as caught:
        edges = load("edges", written(tmp_path, "g.csv", content))
    assert message in str(caught[0].message)
    assert len(edges.source) == count


def test_the_caller_decides_on_the_header(tmp_path):
    people = written(tmp_path, "g.csv", "person,friend\nann,bob\n")
    assert load("edges", people, header=True).nodes == ("ann", "bob")
    assert load("edges", people, header=False).nodes == ("person", "friend", "ann", "bob")
    words = written(tmp_path, "h.csv", "from,to\nto,the\n")
    assert load("edges", words, header=False).nodes == ("from", "to", "the")
    numbers = written(tmp_path, "i.csv", "1,2\n2,3\n")
    assert load("edges", numbers, header=True).nodes == ("2", "3")
    assert load("edges", written(tmp_path, "j.csv", "a,b,c\n1,2,3\n"), header=True).weight.tolist() == [3]


def test_a_graph_has_no_header(tmp_path):
    path = written(tmp_path, "g.gml", "graph [ ]")
    with pytest.raises(ValueError, match=r"^header must be given for tables of text alone: got True for .gml\.$"):
        load("edges", path, header=True)
    with pytest.raises(ValueError, match="directed must be given for edges alone: got True for texts"):
        load("texts", path, directed=True)


# ---- faults ---------------------------------------------------------------------------------------------------------

FAULTS = {
    "one column": ("a\n", "line 1, column 2: found 1 column, expected 2 columns (source, target)"),
    "four columns": ("a,b,1,2\n", "line 1, column 4: found 4 columns, expected 3 columns (source, target, weight)"),
    "uneven": ("a,b\nc,d,1\n", "line 2, column 3: found 3 columns, expected 2 columns"),
    "no node": ("a,b,1\nc,,1\n", "line 2, column 2: found an empty cell, expected a node"),
    "weight": ("a,b,1\nc,d,heavy\n", "line 2, column 3: found 'heavy', expected a number (the weight)"),
    "no weight": ("source,target,weight\na,b,\n", "line 2, column 3: found '', expected a number (the weight)"),
    "grouped digits": ("a,b,1\nc,d,1_0\n", "line 2, column 3: found '1_0', expected a number (the weight)"),
    "infinite": ("a,b,inf\n", "line 1, column 3: found 'inf', expected a number (the weight)"),
    "negative": ("a,b,1\nc,d,-2\n", "line 2, column 3: found the weight -2, expected 0 or more"),
    "negative by name": ("weight,to,from\n-2,a,b\n", "line 2, column 1: found the weight -2, expected 0 or more"),
    "vast weights": ("1,2,1.7e308\n2,3,1.7e308\n", "found weights whose sum is beyond the largest float, expected a smaller"),
    "header only": ("source,target\n", "found no edge, expected at least one"),
    "comments only": ("#a,b\n#b,c\n", "found only comments, expected edges. A line that begins with # or % is a comment: quote"),
    "empty lines": ("\n\n", "found only empty lines, expected edges"),
    "a name like a comment": ("a,b\n#c,d\n", "line 2: found a line that begins with #, expected an edge or a comment. A line"),
    "a type": ("source,target,type\na,b,Directed\na,c,x\n", "line 3, column 3: found 'x', expected Directed or Undirected."),
    "one column of words": ("New York\nSan Francisco\n", "line 1, column 2: found 1 column, expected 2 columns"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), FAULTS.values(), ids=FAULTS)
def test_faults_have_a_place(tmp_path, content, message):
    assert message in said(written(tmp_path, "g.csv", content))


# ---- large tables ---------------------------------------------------------------------------------------------------


def both(path, header=None):
    """What the reader in blocks finds, which may be nothing, and the reader row by row."""
    columns = find_columns(path, header)
    return edge_blocks.read_blocks(path, columns), read_rows(path, columns)


def assert_same(found, expected):
    for name in ("source", "target", "weight"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert (found.nodes, found.directed, found.name) == (expected.nodes, expected.directed, expected.name)


CELL = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    st.text("ab0123456789 .-+_#%é\ufeff\u00a0", max_size=4),
    st.integers(-3, 30).map(str),
)
WEIGHT = st.one_of(st.floats(min_value=0).map(repr), st.text("0123456789.eE+-_ naif", max_size=6), st.just("1"))


@given(st.lists(st.tuples(CELL, CELL, WEIGHT), min_size=1, max_size=8), st.sampled_from([2, 3]), st.sampled_from(["\n", "\r\n"]),
       st.sampled_from([1, 9, 2**20]), st.sampled_from([None, False, True]))  # fmt: skip
def test_blocks_are_another_way_to_the_same_graph(rows, width, end, block, header):
    content = "".join(",".join(row[:width]) + end for row in rows)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(edge_blocks, "BLOCK", block)
        path = written(folder, "g.csv", content)
        try:
            found, expected = both(path, header)
        except DataError:
            return
        if found is not None:
            assert_same(found, expected.finished())


@pytest.mark.parametrize("block", [1, 20, 2**20])
def test_whole_numbers_are_numbered_by_first_appearance(tmp_path, monkeypatch, block):
    monkeypatch.setattr(edge_blocks, "BLOCK", block)
    rows = np.random.default_rng(0).integers(40, size=(60, 2))
    content = "# a comment\nfrom,what,to,weight\n" + "".join(f"{a},x,{b},{(a + b) / 7}\n" for a, b in rows.tolist())
    found, expected = both(written(tmp_path, "n.csv", content))
    assert_same(found, expected.finished())


@pytest.mark.parametrize("content", ["1,2\n02,1\n", "1,2\nx,1\n", "5,-1\n", "1,99999999999\n", "+1,1\n"])
def test_what_looks_like_a_number_stays_a_name(tmp_path, content):
    found, expected = both(written(tmp_path, "n.csv", content))
    assert_same(found, expected.finished())


@pytest.mark.parametrize(
    "content", ['"a",b\n', "a,b\n\nb,c\n", "a,b\nc\n", "a,b,1\nb,c,-1\n", "a,\n", "a\n", "a,b,1_0\n", "a,b\n# c\n"]
)
def test_anything_unusual_goes_row_by_row(tmp_path, content):
    path = written(tmp_path, "n.csv", content)
    assert edge_blocks.read_blocks(path, find_columns(path, False)) is None


def test_tables_are_read_without_polars(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    assert triples(load("edges", written(tmp_path, "g.csv", SAME["plain"][1]))) == THREE
