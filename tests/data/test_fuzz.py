"""Every reader on thousands of files, sound ones and damaged ones, against an independent reading of the same bytes.

Whatever the bytes, a reader gives what the other reading gives, or a DataError that names the file; nothing else, and
soon. `GEZHI_FUZZ` is the number of files a reader is given (Parquet a tenth, since each costs a process).
"""

from __future__ import annotations

import csv
import html
import io
import math
import os
import re
import struct
import tempfile
import time
import warnings
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gezhi.data import DataError, load

FILES = int(os.environ.get("GEZHI_FUZZ", "300"))
SECONDS = 20  # on any of these files, of at most a few kB
MISSING = {"", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none", "?"}


def fuzz(*strategies, share=1.0):
    """A test of `FILES` examples."""
    quiet = settings(max_examples=max(10, int(FILES * share)), deadline=None, suppress_health_check=list(HealthCheck))
    return lambda test: quiet(given(*strategies)(test))


def read(kind: str, name: str, content: bytes, **options):
    """What the reader makes of the bytes: data, or None for a DataError that names the file."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        start, message = time.perf_counter(), folder
        try:
            found = load(kind, path, **options)
        except DataError as error:
            found, message = None, str(error)
        assert time.perf_counter() - start < SECONDS
        assert message.startswith(folder)
        return found


# ---- damage ---------------------------------------------------------------------------------------------------------

PIECES = st.one_of(
    st.binary(min_size=1, max_size=3),
    st.sampled_from([b"\0", b"\n", b"\r", b'"', b",", b"\t", b"#", b"*", b"[", b"]", b"<", b">", b"&lt;", b"-1", b"1e999",
                     b"nan", b"999999999999", b"\xff\xfe", b"\xef\xbb\xbf", b"_", b" "]),
)  # fmt: skip
DAMAGE = st.lists(
    st.tuples(st.sampled_from(["set", "insert", "delete", "repeat", "cut"]), st.floats(0, 1), st.floats(0, 1), PIECES),
    max_size=3,
)


def damaged(content: bytes, damage) -> bytes:
    """The bytes after some accidents."""
    for kind, first, second, piece in damage:
        a, b = sorted((int(first * len(content)), int(second * len(content))))
        if kind == "set":
            content = content[:a] + piece + content[a + len(piece) :]
        elif kind == "insert":
            content = content[:a] + piece + content[a:]
        elif kind == "delete":
            content = content[:a] + content[a + 1 + len(piece) :]
        elif kind == "repeat":
            content = content[:b] + content[a : min(b, a + 60)] + content[b:]
        else:
            content = content[:b]
    return content


# ---- graphs ---------------------------------------------------------------------------------------------------------

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


@fuzz(GRAPH, st.booleans(), st.sampled_from([",", "\t", ";"]), st.booleans(), st.sampled_from(["\n", "\r\n"]), DAMAGE)
def test_tables_of_edges(graph, weighted, separator, header, end, damage):
    names, edges = graph
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=end)
    if header:
        writer.writerow(["source", "target", "weight"][: 2 + weighted])
    writer.writerows([[names[a], names[b], repr(w)][: 2 + weighted] for a, b, w in edges])
    content = damaged(text.getvalue().encode(), damage)
    found = read("edges", "g.tsv" if separator == "\t" else "g.csv", content, header=header)
    marks = any(name.startswith(("#", "%")) for name in names)
    if not damage and not marks and not {",", ";", "\t"} & set("".join(names)):
        assert found is not None
    if found is None:
        return
    first = next(
        line for line in content.decode("utf-8-sig").split("\n") if line.strip() and line.lstrip()[0] not in "#%"
    )
    mark = next((mark for mark in ("\t" if separator == "\t" else ",;\t") if mark in first), " ")
    rows = table_of(content, mark)
    if not header or rows[0] in (["source", "target"], ["source", "target", "weight"]):
        rows = rows[header:]
        expected = [(row[0], row[1], number(row[2]) if len(row) > 2 else 1.0) for row in rows]
        assert listed(found)[1] == expected
        assert list(found.nodes) == list(dict.fromkeys(name for row in rows for name in row[:2]))


def local(element) -> str:
    return element.tag.rpartition("}")[2].rpartition(":")[2]


def graphml_of(content: bytes):
    """A document of the readers' GraphML as ElementTree has it: nodes, edges, direction."""
    keys: dict[str, list] = {}
    nodes, names, edges = [], {}, []
    root = ET.fromstring(content)
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
    root = ET.fromstring(content)
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
    return re.sub(r"&(#\d+|#[xX][\da-fA-F]+|[a-zA-Z]+\d*);", lambda found: html.unescape(found[0]), text)


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


# ---- tables ---------------------------------------------------------------------------------------------------------

CELL = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr), st.integers(-(2**60), 2**60).map(str),
    st.sampled_from(["", "NA", "null", "?", "red", "blue", "1_0", "007", "1e5", "inf", "green, dark"]),
)  # fmt: skip
ROWS = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=2, max_size=6)
)
LABEL = st.sampled_from(["p", "q", "7", "007", "9007199254740993", "9007199254740992", "1e5", "100000"])


def expect_features(found, cells, labels):
    """Cells and labels as texts."""
    assert [found.classes[code] for code in found.y] == labels
    for column in range(found.X.shape[1]):
        for row, value in zip(cells, found.X[:, column].tolist(), strict=True):
            cell = row[column].strip()
            if cell.lower() in MISSING:
                assert math.isnan(value)
            elif column in found.categories:
                assert found.categories[column][int(value)] == cell
            else:
                assert value == float(cell)
                assert not re.fullmatch(r"[+-]?\d+", cell) or int(cell) == int(value)


@fuzz(ROWS, st.lists(LABEL, min_size=6, max_size=6), st.booleans(), DAMAGE)
def test_features(rows, labels, header, damage):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow([f"c{i}" for i in range(len(rows[0]))] + ["y"])
    writer.writerows([*row, label] for row, label in zip(rows, labels, strict=False))
    content = damaged(text.getvalue().encode(), damage)
    found = read("features", "t.csv", content, header=header)
    if found is not None:
        table = pd.read_csv(io.BytesIO(content), header=None, dtype=str, keep_default_na=False, skip_blank_lines=True,
                            encoding="utf-8-sig", engine="python")  # fmt: skip
        cells = table.iloc[int(header) :].values.tolist()
        expect_features(found, [row[:-1] for row in cells], [row[-1].strip() for row in cells])


@fuzz(ROWS, st.lists(LABEL, min_size=6, max_size=6), st.sampled_from([pl.String, pl.Categorical]), DAMAGE, share=0.1)
def test_parquet(rows, labels, kind, damage):
    columns = {f"c{i}": [row[i] or None for row in rows] for i in range(len(rows[0]))} | {"y": labels[: len(rows)]}
    memory = io.BytesIO()
    pl.DataFrame(columns).with_columns(pl.all().cast(kind)).write_parquet(memory, compression="uncompressed")
    content = damaged(memory.getvalue(), damage)
    found = read("features", "t.parquet", content)
    if found is not None:
        cells = [
            ["" if cell is None else str(cell) for cell in row.values()]
            for row in pq.read_table(io.BytesIO(content)).to_pylist()
        ]
        expect_features(found, [row[:-1] for row in cells], [row[-1].strip() for row in cells])


# ---- texts ----------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\t"), min_size=1, max_size=6)


@fuzz(st.lists(TEXT, min_size=1, max_size=5), DAMAGE)
def test_texts(texts, damage):
    content = damaged("\n".join(texts).encode(), damage)
    found = read("texts", "t.txt", content)
    if found is not None:
        rows = content.decode("utf-8").removeprefix("\ufeff").split("\n")
        assert list(found.texts) == [row.rstrip("\r") for row in rows if row.strip()]


@fuzz(
    st.lists(st.tuples(TEXT, TEXT, st.floats().map(repr)), min_size=1, max_size=5),
    st.sampled_from([",", "\t"]),
    st.booleans(),
    DAMAGE,
)
def test_pairs(rows, separator, header, damage):
    text = io.StringIO()
    (csv.writer(text, lineterminator="\n") if separator == "," else csv.writer(text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE,
                                                                                 quotechar=None)).writerows([("a", "b", "c")] * header + rows)  # fmt: skip
    content = damaged(text.getvalue().encode(), damage)
    found = read("pairs", "p.csv" if separator == "," else "p.tsv", content, header=header)
    if found is not None:
        whole = content.decode("utf-8").removeprefix("\ufeff")
        table = list(csv.reader(io.StringIO(whole, newline=""))) if separator == "," else [
            line.rstrip("\r").split("\t") for line in whole.split("\n") if line.strip()
        ]  # fmt: skip
        table = [row for row in table if row][header:]
        assert list(zip(found.left, found.right, found.score.tolist(), strict=True)) == [
            (a, b, float(c)) for a, b, c in table
        ]
        assert all("_" not in c for *_, c in table)


@fuzz(st.lists(st.tuples(TEXT, LABEL), min_size=2, max_size=5), DAMAGE)
def test_labelled_texts(rows, damage):
    content = damaged("".join(f"{text}\t{label}\n" for text, label in rows).encode(), damage)
    found = read("labelled texts", "l.tsv", content, header=False)
    if found is not None:
        table = [
            line.rstrip("\r").split("\t")
            for line in content.decode("utf-8").removeprefix("\ufeff").split("\n")
            if line.strip()
        ]
        assert list(zip(found.texts, (found.classes[code] for code in found.labels), strict=True)) == [
            (a, b.strip()) for a, b in table
        ]


# ---- arrays ---------------------------------------------------------------------------------------------------------


def member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)


SHAPE = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
DTYPE = st.sampled_from(["u1", ">i2", "<f4", "f8", "f2", "?"])


@fuzz(SHAPE, DTYPE, st.booleans(), st.sampled_from(["i8", "f8", "U2", None]), DAMAGE)
def test_npz_of_images(shape, dtype, packed, labels, damage):
    memory = io.BytesIO()
    arrays = {"images": np.arange(math.prod(shape)).reshape(shape).astype(dtype)}
    if labels:
        arrays["labels"] = np.arange(shape[0]).astype(labels)
    (np.savez_compressed if packed else np.savez)(memory, **arrays)
    content = damaged(memory.getvalue(), damage)
    found = read("images", "a.npz", content)
    if found is not None:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            np.testing.assert_array_equal(found.images, member(archive, "images"))
            if found.labels is not None:
                names = [
                    str(int(x)) if member(archive, "labels").dtype.kind != "U" else str(x)
                    for x in member(archive, "labels")
                ]
                assert [found.classes[code] for code in found.labels] == names


@fuzz(st.integers(1, 4), st.integers(2, 5), st.sampled_from(["f2", "f4", "f8"]), st.booleans(), DAMAGE)
def test_npz_of_probabilities(rows, classes, dtype, named, damage):
    generator = np.random.default_rng(rows * classes)
    arrays = {}
    for part in ("reference", "test"):
        arrays[part] = generator.dirichlet(np.ones(classes), rows).astype(dtype)
        codes = generator.integers(classes, size=rows)
        arrays[f"{part}_labels"] = np.array([f"k{c}" for c in codes]) if named else codes
    arrays |= {"classes": np.array([f"k{c}" for c in range(classes)])} if named else {}
    memory = io.BytesIO()
    np.savez(memory, **arrays)
    content = damaged(memory.getvalue(), damage)
    found = read("probabilities", "a.npz", content)
    assert found is not None or damage
    if found is not None:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for part in ("reference", "test"):
                np.testing.assert_array_equal(getattr(found, part), member(archive, part).astype(float))
                codes, said = getattr(found, f"{part}_labels"), member(archive, f"{part}_labels")
                if "classes.npy" in archive.namelist():
                    assert [member(archive, "classes")[code] for code in codes] == list(said)
                elif said.dtype.kind not in "US":
                    assert codes.tolist() == said.tolist()


@fuzz(SHAPE, DAMAGE)
def test_idx(shape, damage):
    values = np.arange(math.prod(shape), dtype=np.uint8)
    content = damaged(bytes((0, 0, 8, 3)) + struct.pack(">3I", *shape) + values.tobytes(), damage)
    found = read("images", "a.idx", content)
    assert found is not None or damage
    if found is not None:
        sizes = struct.unpack(">3I", content[4:16])
        assert found.images.shape == sizes
        assert found.images.tobytes() == content[16:]


@fuzz(SHAPE, st.sampled_from(["PNG", "JPEG", "BMP"]), DAMAGE)
def test_pictures(shape, form, damage):
    memory = io.BytesIO()
    Image.fromarray(np.arange(math.prod(shape[:2]), dtype=np.uint8).reshape(shape[:2])).save(memory, form)
    content = damaged(memory.getvalue(), damage)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "a", "1.png")
        path.parent.mkdir()
        path.write_bytes(content)
        found, message = None, ""
        try:
            found = load("images", folder)
        except DataError as error:
            message = str(error)
        if found is None:
            assert damage
            assert message.startswith(str(path))
            return
        with Image.open(io.BytesIO(content)) as picture:
            np.testing.assert_array_equal(
                found.images[0], np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
            )


@fuzz(st.lists(st.tuples(TEXT, st.binary(max_size=40)), min_size=1, max_size=3), DAMAGE, share=0.5)
def test_archives_of_anything(members, damage):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(name.replace("\0", "0") + ".npy", content)
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + members[0][1])
    read("images", "a.npz", damaged(memory.getvalue(), damage))
