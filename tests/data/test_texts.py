"""Texts, labelled texts and pairs: lines with a place for every fault."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gezhi.data import DataError, DataWarning, load

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


PAIRS = {
    "commas": ("p.csv", 'a,"b, c",1\nd,e,0.5\n'),
    "known names": ("p.csv", 'score,id,sentence2,sentence1\n1,7,"b, c",a\n0.5,8,e,d\n'),
    "names of tabs": ("p.tsv", "Sentence_1\tSentence_2\tsimilarity\na\tb, c\t1\nd\te\t0.5\n"),
    "no header": ("p.tsv", "a\tb, c\t1\nd\te\t0.5\n"),
    "Windows": ("p.csv", '\ufeffa,"b, c",1\r\nd,e,0.5\r\n'),
}


@pytest.mark.parametrize(("name", "content"), PAIRS.values(), ids=PAIRS)
def test_pairs_between_commas_and_under_names(tmp_path, name, content):
    (tmp_path / name).write_text(content, "utf-8", newline="")
    data = load("pairs", tmp_path / name)
    assert (data.left, data.right, data.score.tolist()) == (("a", "d"), ("b, c", "e"), [1, 0.5])


def test_a_first_line_without_score_is_a_header_and_said_to_be_one(tmp_path):
    path = written(tmp_path, "p.tsv", ["one\tother\thow close", "a\tb\t1"])
    with pytest.warns(
        DataWarning, match=r"line 1: 'one', 'other', 'how close' are read as names of columns. Pass header="
    ):
        assert load("pairs", path).left == ("a",)
    assert "line 1, column 3: found 'how close', expected a number (the score)" in said("pairs", path, header=False)
    assert load("pairs", path, header=True).left == ("a",)
    assert load("pairs", written(tmp_path, "q.tsv", ["a\tb\t1", "c\td\t2"]), header=True).left == ("c",)


def test_a_label_of_one_row_may_be_a_header(tmp_path):
    path = written(tmp_path, "l.tsv", ["words\tkind", "a\tx", "b\tx", "c\ty", "d\ty"])
    with pytest.warns(DataWarning, match="line 1: 'words', 'kind' are read as a text and its label. Pass header=True"):
        assert load("labelled texts", path).classes == ("kind", "x", "y")
    assert load("labelled texts", path, header=True).classes == ("x", "y")
    assert load("labelled texts", path, header=False).classes == ("kind", "x", "y")


def test_labelled_texts_between_commas_need_names(tmp_path):
    data = load("labelled texts", written(tmp_path, "l.csv", ["id,label,text", '1,x,"a, b"', "2,y,c"]))
    assert (data.texts, data.classes) == (("a, b", "c"), ("x", "y"))
    message = "line 1: found 'a', 'x', expected columns named text and label. Name them, or separate by tabs"
    assert message in said("labelled texts", written(tmp_path, "l.csv", ["a,x", "b,y"]))


LABELS = {
    "beyond floats": (["9007199254740993", "9007199254740992", "10"], ("10", "9007199254740992", "9007199254740993")),
    "zeros": (["007", "7", "10"], ("007", "10", "7")),
    "underscore": (["10", "1_0", "9"], ("10", "1_0", "9")),
    "exponent": (["1e5", "100000"], ("100000", "1e5")),
    "written as floats": (["10.0", "9.0"], ("9.0", "10.0")),
    "other digits": (["\uff11", "1"], ("1", "\uff11")),
    "endless": (["inf", "1"], ("1", "inf")),
    "many digits": (["9" * 5000, "1"], ("1", "9" * 5000)),
}


@pytest.mark.parametrize(("labels", "classes"), LABELS.values(), ids=LABELS)
def test_labels_stay_apart_as_they_are_written(tmp_path, labels, classes):
    data = load("labelled texts", written(tmp_path, "l.tsv", [f"t\t{label}" for label in labels]))
    assert data.classes == classes
    assert [data.classes[code] for code in data.labels] == labels


@pytest.mark.parametrize("mark", ["NA", "null", "?", "NaN", "none", "N/A", "<NA>"])
def test_a_missing_label_is_no_class(tmp_path, mark):
    message = f"line 3, column 2: found no label ({mark!r}), expected a class. Fill it or drop the row."
    assert message in said("labelled texts", written(tmp_path, "l.tsv", ["a\tx", "b\ty", f"c\t{mark}"]))


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


# ---- encoders ------------------------------------------------------------------------------------------------------


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
