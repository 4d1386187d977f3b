"""Every reader of tables and texts on thousands of files, against an independent reading of the same bytes."""

from __future__ import annotations

import csv
import io
import math
import re

import forked
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from fuzzing import DAMAGE, ENCODINGS, damaged, encoded, fuzz, read
from hypothesis import strategies as st

from gezhi.data.formats import parquet

MISSING = {"", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none", "?"}

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


@fuzz(ROWS, st.lists(LABEL, min_size=6, max_size=6), st.booleans(), st.sampled_from([",", "\t"]), ENCODINGS, DAMAGE)
def test_tables_of_features(rows, labels, header, separator, encoding, damage):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", delimiter=separator)
    if header:
        writer.writerow([f"c{i}" for i in range(len(rows[0]))] + ["y"])
    writer.writerows([*row, label] for row, label in zip(rows, labels, strict=False))
    content = damaged(encoded(text.getvalue(), encoding), damage)
    found = read("features", "t.csv" if separator == "," else "t.tsv", content, header=header)
    if found is not None:
        table = pd.read_csv(io.BytesIO(content), header=None, dtype=str, keep_default_na=False, skip_blank_lines=True,
                            encoding="utf-8-sig", engine="python", sep=separator)  # fmt: skip
        cells = table.iloc[int(header) :].values.tolist()
        expect_features(found, [row[:-1] for row in cells], [row[-1].strip() for row in cells])


KINDS = {
    "texts": (CELL.map(lambda cell: cell or None), pl.String),
    "categories": (CELL.map(lambda cell: cell or None), pl.Categorical),
    "integers": (st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-9, 9)), pl.Int64),
    "small": (st.one_of(st.none(), st.integers(0, 255)), pl.UInt8),
    "floats": (st.one_of(st.none(), st.floats()), pl.Float64),
    "halves": (st.one_of(st.none(), st.floats(width=32)), pl.Float32),
    "truths": (st.one_of(st.none(), st.booleans()), pl.Boolean),
    "days": (st.one_of(st.none(), st.dates()), pl.Date),
}
COLUMN = st.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(KINDS[kind][0], min_size=6, max_size=6))
)
PACKING = st.sampled_from(["uncompressed", "zstd", "snappy", "gzip", "lz4"])


@pytest.fixture(scope="module", autouse=True)
def _trials_are_forked():
    """A file costs a fork then, and no start of Python; what is run is the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet.subprocess, "Popen", forked.Popen)
        yield


@fuzz(st.lists(COLUMN, min_size=1, max_size=3), st.lists(LABEL, min_size=6, max_size=6), st.integers(2, 6), PACKING, DAMAGE)  # fmt: skip
def test_parquet(columns, labels, height, packing, damage):
    table = {f"c{i}": pl.Series(values[:height], dtype=KINDS[kind][1]) for i, (kind, values) in enumerate(columns)}
    memory = io.BytesIO()
    written = pl.DataFrame(table | {"y": labels[:height]})
    written.write_parquet(memory, compression=packing)
    content = damaged(memory.getvalue(), damage)
    found = read("features", "t.parquet", content)
    if found is not None:
        *features, names = by_pyarrow(content) or [column.to_list() for column in written]
        cells = [["" if cell is None else spelled(cell) for cell in row] for row in zip(*features, strict=True)]
        expect_features(found, cells, [spelled(name).strip() for name in names])


def by_pyarrow(content):
    """The columns; None where the footer states a type twice and differently, which is read by its schema."""
    try:
        return [column.to_pylist() for column in pq.read_table(io.BytesIO(content)).columns]
    except OSError as error:
        assert "type does not match ColumnDescriptor" in str(error)  # noqa: PT017
        return None


def spelled(cell):
    """A value as a cell of a CSV has it; a truth value is a number, and bytes that nothing calls text are read as text."""
    if isinstance(cell, bytes):
        return cell.decode()
    return str(int(cell)) if isinstance(cell, bool) else str(cell)


# ---- texts ----------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\t"), min_size=1, max_size=6)


@fuzz(st.lists(TEXT, min_size=1, max_size=5), ENCODINGS, DAMAGE)
def test_texts(texts, encoding, damage):
    content = damaged(encoded("\n".join(texts), encoding), damage)
    found = read("texts", "t.txt", content)
    if found is not None:
        rows = content.decode("utf-8").removeprefix("\ufeff").split("\n")
        assert list(found.texts) == [row.rstrip("\r") for row in rows if row.strip()]


@fuzz(
    st.lists(st.tuples(TEXT, TEXT, st.floats().map(repr)), min_size=1, max_size=5),
    st.sampled_from([",", "\t"]),
    st.booleans(),
    ENCODINGS,
    DAMAGE,
)
def test_pairs(rows, separator, header, encoding, damage):
    content = damaged(encoded(tabled([("a", "b", "c")] * header + rows, separator), encoding), damage)
    found = read("pairs", "p.csv" if separator == "," else "p.tsv", content, header=header)
    if found is not None:
        table = split(content, separator)
        if header and re.sub(r"[\s_.\-]", "", "".join(table[0]).lower()) != "abc":
            return  # damaged names may be other names that are known
        table = table[header:]
        assert list(zip(found.left, found.right, found.score.tolist(), strict=True)) == [
            (a, b, float(c)) for a, b, c in table
        ]
        assert all("_" not in c for *_, c in table)


def tabled(rows, separator):
    """Rows between commas with quotes where they are needed, or between tabs without any."""
    if separator == "\t":
        return "".join("\t".join(row) + "\n" for row in rows)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def split(content, separator):
    """The rows of such a table, empty ones left out."""
    whole = content.decode("utf-8").removeprefix("\ufeff")
    if separator == ",":
        return [row for row in csv.reader(io.StringIO(whole, newline="")) if row]
    return [line.rstrip("\r").split("\t") for line in whole.split("\n") if line.strip()]


@fuzz(st.lists(st.tuples(TEXT, LABEL), min_size=2, max_size=5), st.sampled_from([",", "\t"]), st.booleans(), ENCODINGS, DAMAGE)  # fmt: skip
def test_labelled_texts(rows, separator, header, encoding, damage):
    content = damaged(encoded(tabled([("text", "label")] * header + rows, separator), encoding), damage)
    found = read("labelled texts", "l.csv" if separator == "," else "l.tsv", content, header=header)
    if found is not None:
        table = split(content, separator)
        if not header or table[0] == ["text", "label"]:
            named = zip(found.texts, (found.classes[code] for code in found.labels), strict=True)
            assert list(named) == [(text, label.strip()) for text, label in table[header:]]
