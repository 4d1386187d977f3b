"""Features: CSV and Parquet, and the place and words of every fault in them."""

from __future__ import annotations

import csv
import math
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gezhi.data import KINDS, DataError, DataWarning, Features, encoder, load
from gezhi.data.formats import files


@pytest.fixture
def table(tmp_path):
    def write(content: str | bytes, name: str = "t.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def said(kind, path, **options):
    """What `load` says against the file."""
    with pytest.raises(DataError) as error:
        load(kind, path, **options)
    return str(error.value)


# ---- round trips ----------------------------------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2), min_size=2),
    st.text(alphabet="ab,\"' 格\n", min_size=1).map(str.strip).filter(bool),
)
def test_csv_gives_back_what_was_written(rows, name):
    labels = [name if i % 2 else name + "!" for i in range(len(rows))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(
                [["x", "z", "y"], *([*map(repr, row), y] for row, y in zip(rows, labels, strict=True))]
            )
        data = load("features", path)
    np.testing.assert_array_equal(data.X, rows)
    assert [data.classes[code] for code in data.y] == labels
    assert (data.columns, data.name) == (("x", "z"), "t")


def test_parquet_gives_what_csv_gives(tmp_path):
    frame = pl.DataFrame({"a": [1.5, 2.0, 3.0], "b": [True, False, True], "y": [10, 9, 10], "n": [4, 5, 6]})
    frame.write_parquet(tmp_path / "t.parquet")
    frame.with_columns(pl.col("b").cast(int)).write_csv(tmp_path / "t.csv")
    for path in (tmp_path / "t.parquet", tmp_path / "t.csv"):
        data = load("features", path, label="y")
        assert isinstance(data, Features)
        np.testing.assert_array_equal(data.X, [[1.5, 1, 4], [2, 0, 5], [3, 1, 6]])
        assert (data.y.tolist(), data.classes, data.columns) == ([1, 0, 1], ("9", "10"), ("a", "b", "n"))
        assert (data.X.dtype, data.y.dtype) == (np.float64, np.int64)
        assert data.X.flags.writeable
        assert data.X.flags.c_contiguous


def test_one_column_of_a_parquet_can_be_written_to(tmp_path):
    pl.DataFrame({"a": [1.0, 2.0], "y": ["p", "q"]}).write_parquet(tmp_path / "t.parquet")
    assert load("features", tmp_path / "t.parquet").X.flags.writeable


def test_a_tsv_is_separated_by_tabs(table):
    assert load("features", table("a\ty\n1\tp\n2\tq\n", "t.tsv")).classes == ("p", "q")


def test_byte_order_mark_windows_lines_and_empty_lines(table):
    data = load("features", table(b"\xef\xbb\xbfa,y\r\n1,p\r\n\r\n2,q\r\n"))
    assert (data.columns, data.X.ravel().tolist()) == (("a",), [1, 2])


def test_whole_numbers_are_classes_in_the_order_of_their_values(table):
    data = load("features", table("a,y\n1,10\n2,9\n3,9\n4,-1\n"))
    assert (data.classes, data.y.tolist()) == (("-1", "9", "10"), [2, 1, 1, 0])


def test_a_header_that_counts_columns_is_a_header(table):
    assert load("features", table("0,1\n5,p\n6,q\n")).columns == ("0",)


# ---- gaps, categories, headers --------------------------------------------------------------------------------------

CENSUS = """age,work,hours,married,label
39,State-gov,40,yes,low
NA,?,13,no,high
38,Private,,no,low
53,State-gov,40,null,high
28,Private,nan,yes,low
"""


def test_gaps_and_categories_of_a_table(table):
    data = load("features", table(CENSUS))
    nan = np.nan
    np.testing.assert_array_equal(
        data.X, [[39, 1, 40, 1], [nan, nan, 13, 0], [38, 0, nan, 0], [53, 1, 40, nan], [28, 0, nan, 1]]
    )
    assert data.categories == {1: ("Private", "State-gov"), 3: ("no", "yes")}
    assert (data.columns, data.classes) == (("age", "work", "hours", "married"), ("high", "low"))
    assert not data.plain
    assert load("features", table("a,y\n1,p\n2,q\n")).plain


def test_parquet_has_the_gaps_and_categories_of_the_csv(table, tmp_path):
    frame = pl.read_csv(table(CENSUS), null_values=["NA", "null", "?", "nan", ""])
    for kind in (pl.String, pl.Categorical):
        frame.with_columns(pl.col("work", "married", "label").cast(kind)).write_parquet(tmp_path / "t.parquet")
        data, expected = load("features", tmp_path / "t.parquet"), load("features", table(CENSUS))
        np.testing.assert_array_equal(data.X, expected.X)
        assert (data.categories, data.classes) == (expected.categories, expected.classes)
        np.testing.assert_array_equal(data.y, expected.y)


def test_an_encoder_learns_from_its_rows_alone(table):
    data = load("features", table(CENSUS))
    fitted = encoder(data).fit(data.X[:3])
    found = fitted.transform(data.X)
    assert found.shape == (5, 2 + 3 + 2)  # two columns of numbers; Private, State-gov and missing; no and yes
    np.testing.assert_array_equal(found[:, 0], [39, 38.5, 38, 53, 28])
    np.testing.assert_array_equal(found[:, 1], [40, 13, 26.5, 40, 26.5])
    np.testing.assert_array_equal(found[:, 2:5], [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(found[:, 5:], [[0, 1], [1, 0], [1, 0], [0, 0], [0, 1]])  # missing was never seen


def test_an_encoder_of_many_categories_is_bounded(table):
    rows = "".join(f"{i},name{i},{'pq'[i % 2]}\n" for i in range(500))
    data = load("features", table("n,name,y\n" + rows))
    assert encoder(data).fit_transform(data.X).shape == (500, 1 + 100)
    assert encoder(load("features", table("a,y\n1,p\n2,q\n"))).fit_transform(np.eye(2)[:, :1]).tolist() == [[1], [0]]


def test_a_column_without_any_value_is_kept(table):
    data = load("features", table("a,b,y\n,1,p\n,2,q\n"))
    np.testing.assert_array_equal(encoder(data).fit_transform(data.X), [[0, 1], [0, 2]])


def test_a_first_row_of_data_is_a_row(table):
    data = load("features", table("5.1,3.5,setosa\n4.9,3.0,setosa\n7.0,,virginica\n"))
    np.testing.assert_array_equal(data.X, [[5.1, 3.5], [4.9, 3.0], [7.0, np.nan]])
    assert (data.columns, data.classes, data.y.tolist()) == (
        ("column 1", "column 2"),
        ("setosa", "virginica"),
        [0, 0, 1],
    )
    words = load("features", table("red,1,p\nblue,2,q\nred,3,p\n", "w.csv"), header=False)
    assert (words.categories, words.X[:, 0].tolist()) == ({0: ("blue", "red")}, [1, 0, 1])
    first = load("features", table("p,5.1,3.5\nq,4.9,3.0\n", "l.csv"), label="column 1")
    assert (first.classes, first.columns) == (("p", "q"), ("column 2", "column 3"))


def test_categories_that_recur_are_a_row_and_else_a_header_is_said(table):
    data = load("features", table("red,big,p\nblue,big,q\nred,small,p\n"))
    assert (len(data.X), data.columns) == (3, ("column 1", "column 2"))
    with pytest.warns(DataWarning, match="line 1: 'hue', 'size', 'y' are read as names of columns. Pass header=False"):
        assert load("features", table("hue,size,y\nred,big,p\nblue,small,q\n")).columns == ("hue", "size")


def test_the_caller_decides_on_the_header(table):
    years = table("2019,2020,place\n1,2,p\n3,4,q\n")
    assert load("features", years, header=True).columns == ("2019", "2020")
    assert load("features", years, label="place").columns == ("2019", "2020")
    assert load("features", years, header=False, label="column 1").classes == ("1", "3", "2019")


# ---- faults ---------------------------------------------------------------------------------------------------------

CSV_FAULTS = {
    "too few": ("a,b,y\n1,2,p\n3,q\n", "line 3, column 3: found 2 columns, expected 3 columns (a, b, y)."),
    "too many": ("a,y\n1,p\n3,q,r,s\n", "line 3, column 3: found 4 columns, expected 2 columns (a, y)."),
    "text": ("a,b,y\n1,2,p\n3,red,q\n", "line 3, column 2 (b): found 'red', expected a number. Encode it as numbers"),
    "infinity": ("a,y\n-inf,p\n3,q\n", "line 2, column 1 (a): found -inf, expected a finite number."),
    "no label": ("a,y\n1,p\n2,\n", "line 3, column 2 (y): found no label, expected a class. Fill it or drop the row."),
    "measured": ("a,y\n1,2\n2,0.5\n", "line 3, column 2 (y): found '0.5', expected a class, not a measured number."),
    "one word among numbers": (
        "a,y\n1,p\n2,q\n1_0,p\n",
        "line 4, column 1 (a): found '1_0', expected a number. Encode it",
    ),
    "rounded": (
        "a,y\n9007199254740992,p\n9007199254740993,q\n",
        "line 3, column 1 (a): found 9007199254740993, expected a whole",
    ),
    "all at once": (
        "a,b,c,y\n1,2,inf,p\n3,red,4,q\n1,5,6,p\n9007199254740993,1,2,q\n",
        "line 5, column 1 (a): found 90071"
        "99254740993; also 'red' in line 3, column 2 (b), inf in line 2, column 3 (c), expected a whole number",
    ),
    "missing label": (
        "a,y\n1,p\n2,null\n",
        "line 3, column 2 (y): found no label ('null'), expected a class. Fill it or",
    ),
    "one class": ("a,y\n1,p\n2,p\n", "found one class only ('p'), expected at least two. Add rows of another class."),
    "header only": ("a,y\n", "found column names and no rows, expected at least two rows."),
    "empty lines": ("\n\n", "line 1: found no column, expected two or more."),
    "empty": ("", "found an empty file, expected data."),
    "one column": ("a;y\n1;p\n", "line 1: found one column ('a;y'), expected two or more. Separate by commas"),
    "same name": ("a,a,y\n1,2,p\n", "line 1, column 2: found the name 'a' twice, expected one name a column."),
    "no name": (",a,y\n0,1,p\n", "line 1, column 1: found a column without a name, expected one name a column. If it"),
    "open quote": ('a,y\n1,"p\n2,q\n', "line 3: found broken CSV (unexpected end of data), expected CSV."),
    "not UTF-8": ("a,y\n1,p\n2,é\n".encode("latin-1"), "line 3, column 3: found byte 0xe9, expected UTF-8 text."),
    "UTF-16": ("a,y\n1,p\n".encode("utf-16"), "line 1, column 1: found byte 0xff, expected UTF-8 text."),
    "no header, one class": ("5.1,1\n4.9,1\n", "found one class only ('1'), expected at least two"),
    "wide cell": ("a,y\n1,p\n" + "9" * 140_000 + ",q\n", "line 3: found broken CSV (field larger than field limit"),
}


@pytest.mark.parametrize(("content", "message"), CSV_FAULTS.values(), ids=CSV_FAULTS)
def test_csv_faults_have_a_place(table, content, message):
    path = table(content)
    assert said("features", path).startswith(str(path))
    assert message in said("features", path)


PARQUET_FAULTS = {
    "text": (
        {"a": [1, 2], "b": ["x", "7"], "y": [0, 1]},
        "row 1, column 2 (b): found 'x', expected a number. Encode it",
    ),
    "infinity": ({"a": [1.0, -np.inf], "y": [0, 1]}, "row 2, column 1 (a): found -inf, expected a finite number."),
    "rounded": (
        {"a": [2**53, -(2**53) - 1], "y": [0, 1]},
        "row 2, column 1 (a): found -9007199254740993, expected a whole",
    ),
    "dates": (
        {"a": [date(2026, 1, 2)] * 2, "y": [0, 1]},
        "column 1 (a): found Date values, expected numbers. Encode it",
    ),
    "date label": (
        {"a": [1, 2], "y": [date(2026, 1, 2), date(2026, 1, 3)]},
        "column 2 (y): found Date values, expected lab",
    ),
    "all at once": (
        {"a": [[1], [2]], "b": ["x", "7"], "y": [0, 1]},
        "column 1 (a): found List(Int64) values; also 'x' in row 1, ",
    ),
    "no label": ({"a": [1.0, 2.0], "y": ["p", None]}, "row 2, column 2 (y): found no label, expected a class."),
    "one class": ({"a": [1.0, 2.0], "y": ["p", "p"]}, "found one class only ('p'), expected at least two."),
    "no rows": ({"a": np.zeros(0), "y": []}, "found column names and no rows, expected at least two rows."),
    "one column": ({"y": [0, 1]}, "the schema: found one column ('y'), expected two or more."),
    "list": ({"a": [[1], [2]], "y": [0, 1]}, "column 1 (a): found List(Int64) values, expected numbers."),
}


@pytest.mark.parametrize(("columns", "message"), PARQUET_FAULTS.values(), ids=PARQUET_FAULTS)
def test_parquet_faults_have_a_place(tmp_path, columns, message):
    path = tmp_path / "t.parquet"
    pl.DataFrame(columns).write_parquet(path)
    assert message in said("features", path)


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1 nothing here PAR1", b"a,y\n1,2\n"])
def test_broken_parquet(table, content):
    assert "found a file that cannot be read (" in said("features", table(content, "t.parquet"))


def test_label_is_not_a_column(table):
    message = "found no column 'z', expected one of a, y. Name the label's column."
    assert message in said("features", table("a,y\n1,p\n2,q\n"), label="z")


def test_large_files_are_refused_by_size_alone(table, monkeypatch):
    path = table("a,y\n1,p\n2,q\n")
    monkeypatch.setattr(files, "MAX_BYTES", 5)
    assert "found 12 bytes, expected at most 5. Take a sample of it." in said("features", path)


def test_a_table_that_unpacks_too_large_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"a": np.zeros(100_000), "y": np.arange(100_000) % 2}).write_parquet(path)
    monkeypatch.setattr(files, "MAX_BYTES", 500_000)
    assert "found 1,600,000 bytes in the table, expected at most 500,000" in said("features", path)


# ---- the door -------------------------------------------------------------------------------------------------------


def test_missing_file_and_folder(tmp_path):
    assert "none.csv: found no such file, expected a file. Check" in said("features", tmp_path / "none.csv")
    assert "found a folder, expected one of .csv, .tsv, .parquet. features are a table" in said("features", tmp_path)


def test_an_ending_of_another_kind_is_refused(table):
    assert "found the ending '.xlsx', expected one of .csv, .tsv" in said("features", table("PK", "t.xlsx"))


def test_unknown_kind_and_misplaced_label(table):
    with pytest.raises(
        ValueError, match="kind must be one of 'features', 'pairs', 'texts', 'labelled texts', 'images'"
    ):
        load("tables", table("a,y\n"))
    with pytest.raises(ValueError, match="label must be given for features alone: got 'y' for texts"):
        load("texts", table("a\n", "t.txt"), label="y")


def test_every_kind_says_which_files_fit(tmp_path):
    assert all(math.isfinite(len(kind.form)) and kind.endings for kind in KINDS.values())
    assert KINDS["images"].fits(tmp_path)
    assert KINDS["images"].fits("train-images-idx3-ubyte.gz")
    assert not KINDS["edges"].fits("t.npz")


@pytest.mark.parametrize("y", [[0, 2], [-1, 0]])
def test_codes_must_be_classes(y):
    with pytest.raises(ValueError, match="y must hold codes from 0 to 1: got"):
        Features(np.zeros((2, 1)), np.array(y), ("p", "q"), ("a",), "t")
