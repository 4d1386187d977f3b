"""Word discovery against dictionaries and loops, the sheet's values, and what no division of the text may change."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import math
import pickle
import random
import subprocess
import sys
import tempfile
from collections import Counter

import numpy as np
import pytest
from contract import Sample, estimator_checks
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.utils import estimator_checks as common
from text.word_discovery_reference import random_texts, reference

from gezhi.text import WordDiscovery
from gezhi.text.word_discovery import local
from gezhi.text.word_discovery.characters import KEEP, alphabet
from gezhi.text.word_discovery.counting import Settings
from gezhi.text.word_discovery.kernels import hashed
from gezhi.text.word_discovery.scratch import Scratch
from gezhi.text.word_discovery.tally import Tally

TEXT = "各项目共和国/共和国各项/项目各项/项目共和国人/人共和国项目/各项目/各项目/目人/人各国/和人/国项"
LOGS = {2: 0.7, 3: 1.3, 4: 1.5}
LEAST = 2**20  # bytes of memory at which everything is spilled


def fitted(texts, **options):
    return WordDiscovery(**options).fit(texts)


def counts_of(texts, **options):
    return fitted(texts, **options).words_


SAMPLES = [
    Sample(counts_of, ([TEXT],), {"min_count": 2, "thresholds": LOGS}, compiles=False, differentiable=False,
           reason="it works on strings"),
]  # fmt: skip


def outcome(model):
    """All that a model found, in order."""
    return list(model.words_.items()), model.strong_ngrams_, model.total_, model.n_characters_, model.n_segments_


def check(texts, min_count, thresholds, kind="log", backtrack="ngram", **means):
    """The model is the reference; returns it."""
    model = WordDiscovery(max(thresholds), min_count=min_count, thresholds=thresholds, threshold_kind=kind,
                          backtrack=backtrack, **means).fit(texts)  # fmt: skip
    words, strong, total, tokens = reference(texts, min_count, thresholds, kind, backtrack)
    assert list(model.words_.items()) == words
    assert [tuple(ngram) for ngram in model.strong_ngrams_] == strong
    assert model.total_ == total
    assert model.n_segments_ == len(tokens)
    assert model.n_characters_ == sum(map(len, (word for cut in tokens for word in cut)))
    assert [word for text in texts for word in model.segment(text)] == [word for cut in tokens for word in cut]
    return model


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["log", "ratio"])
@pytest.mark.parametrize("backtrack", ["ngram", "strict"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("thresholds", [(0.5,), (0.5, 1.0), (0.3, 0.7, 1.1), (0.4, 0.4, 0.4, 0.4, 0.4)])
def test_equals_the_loops(thresholds, seed, backtrack, kind):
    given = {size: math.exp(value) if kind == "ratio" else value for size, value in enumerate(thresholds, 2)}
    for min_count in (1, 2, 5):
        check(random_texts(seed), min_count, given, kind, backtrack)


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("window", [1, 2, 3, 7, 64])
def test_no_division_into_windows_changes_anything(monkeypatch, window, jobs):
    """Windows of a few characters cut every token and every n-gram somewhere."""
    monkeypatch.setattr(local, "SHORTEST", window)
    monkeypatch.setattr(local, "LONGEST", window)
    check(random_texts(9, texts=8), 2, LOGS, n_jobs=jobs)


@pytest.mark.parametrize("part", [2**5, 2**18])
def test_nothing_changes_where_counts_are_spilled(monkeypatch, part):
    """One byte of memory for counts: every window's tables go to disk, in few parts or in many."""
    monkeypatch.setattr(local, "LONGEST", 128)
    monkeypatch.setattr(local, "PART", part)
    appended = Counter()
    append = Scratch.append
    monkeypatch.setattr(
        Scratch, "append", lambda self, array: appended.update([array.dtype.name]) or append(self, array)
    )
    monkeypatch.setattr(local, "Tally", lambda bits, memory, *rest: Tally(bits, 1, *rest))
    check(random_texts(5), 2, LOGS)
    assert appended["int64"] > 10
    assert appended["int32"] > 10


# ---- the sheet's values ---------------------------------------------------------------------------------------------


def test_check_value_a():
    model = fitted([TEXT], min_count=2, thresholds=LOGS)
    assert model.total_ == 42
    assert model.words_ == {"共和国": 2, "各项": 2, "项目": 2, "人": 5, "国": 2}
    assert {ngram.text: round(ngram.solidity, 10) for ngram in model.strong_ngrams_} == {
        "共和": 2.1282317058, "各项": 1.3581234842, "和国": 1.7227665977, "目共": 1.0986122887, "项目": 1.3862943611,
        "共和国": 1.9459101491,
    }  # fmt: skip
    cuts = [model.segment(part) for part in TEXT.split("/")]
    assert cuts == [
        ["各项目共和国"], ["共和国", "各项"], ["项目", "各项"], ["项目共和国", "人"], ["人", "共和国", "项目"], ["各项目"],
        ["各项目"], ["目", "人"], ["人", "各", "国"], ["和", "人"], ["国", "项"],
    ]  # fmt: skip


def test_all_frequent_ngrams_of_check_value_a():
    """With thresholds that all pass, the strong n-grams are the frequent ones."""
    model = fitted([TEXT], min_count=2, thresholds=dict.fromkeys((2, 3, 4), -100))
    assert {ngram.text: ngram.count for ngram in model.strong_ngrams_} == {
        "共和": 4, "各项": 5, "和国": 4, "国项": 2, "目共": 2, "项目": 6, "共和国": 4, "各项目": 3, "目共和": 2,
        "项目共": 2, "目共和国": 2, "项目共和": 2,
    }  # fmt: skip
    solid = {ngram.text: ngram.solidity for ngram in model.strong_ngrams_}
    for text, value in {"国项": 0.4418327523, "各项目": 1.2527629685, "目共和": 1.0986122887, "项目共": 1.2527629685,
                        "目共和国": 1.0986122887, "项目共和": 1.2527629685}.items():  # fmt: skip
        assert solid[text] == pytest.approx(value, abs=1e-10)


@pytest.mark.parametrize(("backtrack", "more"), [("strict", {}), ("ngram", {"各项目共和国": 1, "项目共和国": 1})])
def test_check_value_a_of_the_two_rules(backtrack, more):
    model = fitted([TEXT], min_count=1, thresholds={**LOGS, 4: 1.0}, backtrack=backtrack)
    few = {"共和国": 1, "各项": 2, "项目": 2, "人": 3, "目": 1, "人各国": 1, "和": 1, "国": 1, "项": 1}
    assert model.words_ == {**few, **more}
    assert model.total_ == 42


def test_check_value_b(reviews):
    model = fitted(reviews, min_count=10, n_jobs=2)
    assert (model.n_segments_, model.n_characters_, model.total_) == (142_922, 1_216_867, 1_210_840)
    assert Counter(len(ngram.text) for ngram in model.strong_ngrams_) == {2: 6631, 3: 2104, 4: 467}
    assert sorted(Counter(map(len, model.words_)).items()) == [
        (1, 2182), (2, 3900), (3, 530), (4, 193), (5, 25), (6, 4), (7, 3), (8, 3)
    ]  # fmt: skip
    assert [pair for pair in model.words_.items() if len(pair[0]) > 1][:10] == [
        ("不错", 5038), ("酒店", 3330), ("房间", 2366), ("还是", 2362), ("我们", 2247), ("可以", 2226), ("感觉", 2147),
        ("自己", 2122), ("就是", 2108), ("这本书", 2089),
    ]  # fmt: skip
    assert "thinkpad" in model.words_
    lines = "\n".join(sorted(f"{word}\t{count}" for word, count in model.words_.items()))
    known = "511c3d77bb5d0ea32cad5a2cfd78328c3578965622da66c237be96e76eb74b48"
    assert hashlib.sha256(lines.encode()).hexdigest() == known
    assert outcome(fitted(reviews, min_count=10, memory=LEAST)) == outcome(model)


# ---- theorems -------------------------------------------------------------------------------------------------------

SMALL = st.lists(st.text("ab国人的，", max_size=12), max_size=8)
TWO = {"order": 3, "min_count": 2, "thresholds": {2: 0.2, 3: 0.5}}


@given(texts=SMALL, jobs=st.integers(1, 2), min_count=st.integers(1, 4), memory=st.integers(LEAST, 2**22))
def test_any_small_corpus_is_as_the_loops(texts, jobs, min_count, memory):
    check(texts, min_count, {2: 0.2, 3: 0.5, 4: 0.8}, n_jobs=jobs, memory=memory)


@given(texts=SMALL, seed=st.integers(0, 99))
def test_order_and_joining_of_documents_change_nothing(texts, seed):
    shuffled = random.Random(seed).sample(texts, len(texts))
    expected = outcome(fitted(texts, **TWO))
    assert outcome(fitted(shuffled, **TWO)) == expected
    assert outcome(fitted(["，".join(texts)], **TWO)) == expected
    assert outcome(fitted([io.StringIO("\n".join(texts))], **TWO)) == expected


@given(texts=SMALL)
def test_the_tokens_of_a_text_are_its_kept_characters(texts):
    model = fitted(texts, **TWO)
    for text in texts:
        assert "".join(model.segment(text)) == text.replace("，", "")


@given(texts=SMALL, raised=st.sampled_from([2, 3]), by=st.floats(0, 2))
def test_a_higher_threshold_never_adds_a_strong_ngram(texts, raised, by):
    higher = {**TWO, "thresholds": {**TWO["thresholds"], raised: TWO["thresholds"][raised] + by}}
    assert set(fitted(texts, **higher).strong_ngrams_) <= set(fitted(texts, **TWO).strong_ngrams_)


@given(texts=SMALL)
def test_the_rule_of_2019_keeps_whatever_that_of_2017_keeps(texts):
    strict, ngram = (fitted(texts, **TWO, backtrack=rule).words_ for rule in ("strict", "ngram"))
    assert strict.items() <= ngram.items()


def test_large_counts_are_exact():
    """Characters beyond one window and counts beyond one byte and two."""
    texts = ["国人" * 100_000, "的" * 70_000]
    check(texts, 3, {2: 0.1, 3: 0.2})


# ---- the tables of counts -------------------------------------------------------------------------------------------


@given(
    keys=st.lists(st.integers(1, 2**50) | st.integers(1, 40), max_size=200),
    bits=st.integers(0, 3),
    memory=st.sampled_from([1, 2**30]),
)
def test_a_tally_counts_like_a_dictionary(keys, bits, memory):
    with Scratch(None, 1) as scratch:
        tally = Tally(bits, memory, scratch, np.int32)
        for part in np.array_split(np.array(keys, np.int64), 3):
            parts = np.array([int(hashed(int(key))) >> (31 - bits) for key in part], int)
            order = np.argsort(parts, kind="stable")
            tally.add([(part[order], np.searchsorted(parts[order], np.arange(2**bits + 1)))])
        found = tally.frequent(2)
    expected = sorted((key, count) for key, count in Counter(keys).items() if count >= 2)
    assert list(zip(*(side.tolist() for side in found), strict=True)) == expected


def test_a_tally_grows_and_keeps_every_key():
    keys = np.random.default_rng(0).integers(1, 2**52, 50_000)
    with Scratch(None, 1) as scratch:
        tally = Tally(0, 2**30, scratch, np.int64)
        tally.add([(np.repeat(keys, 2), np.array([0, 100_000]))])
        assert len(tally.frequent(2)[0]) == len(np.unique(keys))


# ---- scikit-learn ---------------------------------------------------------------------------------------------------

CONVENTIONS = (
    "check_do_not_raise_errors_in_init_or_set_params", "check_estimator_cloneable", "check_estimator_repr",
    "check_estimator_tags_renamed", "check_get_params_invariance", "check_mixin_order", "check_no_attributes_set_in_init",
    "check_parameters_default_constructible", "check_set_params", "check_valid_tag_types",
)  # fmt: skip


@pytest.mark.parametrize("name", CONVENTIONS)
def test_conventions_of_scikit_learn(name):
    getattr(common, name)("WordDiscovery", WordDiscovery())


def test_common_checks_of_scikit_learn_do_not_feed_texts():
    with pytest.warns(match="Can't test estimator WordDiscovery which requires input"):
        count, skipped = estimator_checks(WordDiscovery())
    assert (count, skipped) == (Counter(passed=1), set())


def test_a_model_is_cloned_copied_and_pickled():
    model = fitted([TEXT], min_count=2, thresholds=LOGS, tmp_dir=tempfile.gettempdir())
    model.segment(TEXT)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), clone(model).fit([TEXT])):
        assert outcome(other) == outcome(model)
        assert other.segment("共和国项目") == ["共和国", "项目"]
    assert len(pickle.dumps(model)) < 10_000
    with pytest.raises(NotFittedError):
        clone(model).segment("国")


def test_fitting_again_forgets():
    model = fitted([TEXT], min_count=2, thresholds=LOGS)
    assert model.segment("共和国") == ["共和国"]
    assert model.fit(["国"]).segment("共和国") == ["共", "和", "国"]
    assert model.words_ == {}


def test_segment_is_an_analyzer_of_scikit_learn():
    model = fitted([TEXT], min_count=2, thresholds=LOGS)
    vectors = CountVectorizer(analyzer=model.segment).fit(TEXT.split("/"))
    assert "共和国" in vectors.vocabulary_


def test_presets_are_those_of_the_articles():
    of_2017, of_2019 = (WordDiscovery.preset(year).settings() for year in ("2017", "2019"))
    assert of_2017 == Settings(128, (5.0, 25.0, 125.0), ratio=True, strict=True)
    assert of_2019 == Settings(32, (2.0, 4.0, 6.0), ratio=False, strict=False)
    assert WordDiscovery.preset("2017", min_count=5, order=5).settings().thresholds[-1] == 625


def test_a_saved_model_is_the_same(tmp_path):
    model = fitted([TEXT, "😀国"], min_count=1, thresholds=LOGS, keep=f"{KEEP}😀")
    model.save(tmp_path / "words.json")
    other = WordDiscovery.load(tmp_path / "words.json")
    assert outcome(other) == outcome(model)
    assert other.get_params() == model.get_params()
    assert other.segment(TEXT) == model.segment(TEXT)
    assert [path.name for path in tmp_path.iterdir()] == ["words.json"]


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": "gezhi.words/2"}', "[" * 5000, "\\ud800"])
def test_another_file_is_no_model(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=r"path must be a file that WordDiscovery.save wrote: got .*x.json"):
        WordDiscovery.load(tmp_path / "x.json")


def test_progress_is_told():
    told = []
    WordDiscovery(min_count=1).fit([TEXT], on_progress=lambda *event: told.append(event))
    size = len(TEXT) + 1
    assert told == [
        ("reading", size, None),
        *((f"counting {k}", size, size) for k in (2, 3, 4)),
        ("cutting", size, size),
    ]


# ---- edges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("texts", [[], [""], ["，。！", " "], ["国"], iter(["国"]), [io.StringIO("")]])
def test_little_or_nothing_gives_an_empty_lexicon(texts):
    model = fitted(texts)
    assert (model.words_, model.strong_ngrams_, model.total_) == ({}, [], 0)
    assert model.segment("国，") == ["国"]
    assert model.segment("") == []


def test_segments_shorter_than_the_order():
    check(["国人", "国", "国人"], 1, {2: 0.1, 3: 0.1, 4: 0.1})


def test_characters_beyond_the_first_plane():
    texts = ["𠀀𠀁国", "𠀀𠀁", "𠀀𠀁人😀", "国人国"] * 3
    kept = "[\U00020000-\U0002a6df\u4e00-\u9fa5]+"
    model = WordDiscovery(2, min_count=2, thresholds={2: 0.3}, keep=kept[1:-2]).fit(texts)
    words, strong, *_ = reference(texts, 2, {2: 0.3}, kept=kept)
    assert list(model.words_.items()) == words
    assert ("𠀀𠀁", 6) in words
    assert [tuple(ngram) for ngram in model.strong_ngrams_] == strong


def test_more_characters_than_two_bytes_can_number():
    everything = WordDiscovery(2, min_count=1, thresholds={2: 0.0}, keep=str.isprintable)
    assert alphabet(str.isprintable).number.dtype == np.uint32
    assert everything.fit(["a😀b😀b"]).segment("😀b\n") == ["😀b"]


def test_a_function_keeps_what_its_class_keeps():
    by_function = fitted([TEXT], min_count=2, thresholds=LOGS, keep=lambda c: "\u4e00" <= c <= "\u9fa5")
    assert outcome(by_function) == outcome(fitted([TEXT], min_count=2, thresholds=LOGS, keep="\u4e00-\u9fa5"))
    assert by_function.segment("a共和国b") == ["共和国"]


def test_case_and_width_are_kept_apart():
    model = fitted(["GPU gpu ＧＰＵ Gpu"], min_count=1, thresholds=dict.fromkeys((2, 3, 4), 100))
    assert model.words_ == {"u": 2, "p": 2, "G": 2, "P": 1, "U": 1, "g": 1}


def test_a_token_longer_than_many_windows(monkeypatch):
    """Every gap of a period of 300 characters closes: one token of 3000, in windows of 16."""
    monkeypatch.setattr(local, "SHORTEST", 16)
    monkeypatch.setattr(local, "LONGEST", 16)
    line = "".join(map(chr, range(0x4E00, 0x4E00 + 300))) * 10
    check([f"国{line}人，{line}"], 2, {2: 2.0, 3: 4.0, 4: 6.0})
    assert fitted([line, line], min_count=2, thresholds={2: 2, 3: 4, 4: 5}).words_ == {line: 2}


def test_open_files_are_read_in_pieces(monkeypatch, tmp_path):
    from gezhi.text.word_discovery import characters

    monkeypatch.setattr(characters, "PIECE", 7)
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    with (tmp_path / "a.txt").open(encoding="utf-8") as one, (tmp_path / "a.txt").open(encoding="utf-8") as other:
        in_pieces = fitted([one], min_count=2, thresholds=LOGS)
        by_line = fitted(other, min_count=2, thresholds=LOGS)
    assert outcome(in_pieces) == outcome(by_line) == outcome(fitted([TEXT], min_count=2, thresholds=LOGS))


def test_numpy_numbers_are_numbers():
    model = WordDiscovery(
        np.int64(3), min_count=np.int32(2), thresholds={np.int64(2): np.float32(0.5), 3: 1}, memory=np.int64(LEAST)
    )
    assert model.fit([TEXT]).words_


# ---- trouble --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("国人", TypeError, r"texts must be an iterable of texts: got str. Pass \[text\]"),
        (b"abc", TypeError, "texts must be an iterable of texts: got bytes"),
        (None, TypeError, "texts must be an iterable of texts: got NoneType"),
        (["国", b"ab"], TypeError, r"texts\[1\] must be a string or an open text file: got bytes. Decode it"),
        (["国", None], TypeError, r"texts\[1\] must be a string or an open text file: got NoneType"),
        ([io.BytesIO(b"ab")], TypeError, r"what texts\[0\] reads must be a string or an open text file: got bytes"),
        (["国", "人\ud800"], ValueError, r"texts\[1\] must hold characters alone: got the surrogate '\\ud800', character 1"),
        (["国" * 2**21 + "\udfff"], ValueError, r"texts\[0\] .* character 2097152"),
    ],
)  # fmt: skip
def test_wrong_texts_are_named(texts, error, message):
    with pytest.raises(error, match=message):
        fitted(texts)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"order": 1}, ValueError, "order must lie between 2 and 16: got 1"),
        ({"order": 17}, ValueError, "order must lie between 2 and 16: got 17"),
        ({"order": 2.5}, TypeError, "order must be an integer"),
        ({"min_count": 0}, ValueError, "min_count must lie between 1 and inf: got 0"),
        ({"thresholds": {2: 1, 4: 2}}, ValueError, "thresholds must have one for 3 characters: got"),
        ({"thresholds": {2: 1, 3: math.nan, 4: 2}}, ValueError, r"thresholds\[3\] must"),
        ({"thresholds": [1, 2, 3]}, TypeError, "thresholds must be a mapping"),
        ({"threshold_kind": "bits"}, ValueError, "threshold_kind must be one of 'log', 'ratio'"),
        ({"backtrack": None}, ValueError, "backtrack must be one of"),
        ({"engine": "dask"}, ValueError, "engine must be one of"),
        ({"keep": "z-a"}, ValueError, "keep must be a regular-expression class without its brackets"),
        ({"keep": "a]+[b"}, ValueError, "keep must be one regular-expression class"),
        ({"keep": "\x00"}, ValueError, "keep must keep a character at least"),
        ({"keep": 3}, TypeError, "keep must be a regular-expression class or a function"),
        ({"memory": 1000}, ValueError, "memory must lie between"),
        ({"tmp_dir": "/nowhere"}, ValueError, "tmp_dir must be an existing folder: got /nowhere"),
    ],
)  # fmt: skip
@pytest.mark.wrong_types
def test_wrong_settings_are_named(options, error, message):
    with pytest.raises(error, match=message):
        fitted(["aaabbb"], **options)


def test_wrong_calls_are_named():
    with pytest.raises(ValueError, match="year must be one of '2017', '2019'"):
        WordDiscovery.preset("2018")
    model = fitted([TEXT])
    with pytest.raises(TypeError, match="text must be a string: got bytes"):
        model.segment(b"abc")
    with pytest.raises(ValueError, match="text must hold characters alone: got the surrogate"):
        model.segment("a\ud800")
    with pytest.raises(ValueError, match="keep must be a class of characters, for a file"):
        fitted([TEXT], keep=str.isalpha).save("x")


FULL_DISK = """
import resource, signal, sys
from gezhi.text import WordDiscovery
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))  # a file that wants more finds no room
texts = (chr(0x4E00 + (i * 7919) % 20000) * 3 + chr(0x4E00 + i % 20000) for i in range(1_000_000))
try:
    WordDiscovery(memory=2**20, tmp_dir=sys.argv[1]).fit(texts)
except OSError as error:
    print(error.filename, "|", error.strerror)
"""


def test_a_full_disk_is_told_and_nothing_is_left(tmp_path):
    call = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    result = subprocess.run(call, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    folder, text = result.stdout.strip().split(" | ")
    assert folder == str(tmp_path)
    assert text == "no room for temporary files beyond 2 MB; make room, or name another folder"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["reading", "counting 3", "cutting"])
def test_an_interrupt_leaves_no_file(tmp_path, stage):
    def interrupted(at, _done, _size):
        if at == stage:
            raise KeyboardInterrupt

    model = WordDiscovery(min_count=1, memory=LEAST, n_jobs=2, tmp_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        model.fit([TEXT] * 10_000, on_progress=interrupted)
    assert list(tmp_path.iterdir()) == []
    assert not hasattr(model, "words_")


def test_memory_is_bounded_whatever_the_text():
    """Ten times the text, the same memory: what lies in Python's and NumPy's hands, as tracemalloc sees it."""
    import tracemalloc

    rng = random.Random(0)
    phrases = ["".join(chr(0x4E00 + rng.randrange(300)) for _ in range(5)) for _ in range(200)]

    def texts(many):
        return ("".join(rng.choices(phrases, k=200)) for _ in range(many))

    peaks = []
    for many in (500, 5000):
        tracemalloc.start()
        fitted(texts(many), memory=LEAST, min_count=many)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 8 * LEAST


# ---- without numba --------------------------------------------------------------------------------------------------

PLAIN = """
import sys, warnings
sys.modules["numba"] = None
warnings.simplefilter("error")
import json
from gezhi.text import SlowDiscoveryWarning, WordDiscovery
model = WordDiscovery(min_count=2, thresholds={2: 0.3, 3: 0.7, 4: 1.1}, memory=2**20)
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    model.fit(json.loads(sys.argv[1]))
(told,) = found
assert told.category is SlowDiscoveryWarning and "pip install 'gezhi[text]'" in str(told.message), told.message
warnings.simplefilter("error")
print(json.dumps([list(model.words_.items()), model.strong_ngrams_, model.total_, model.segment("国人的一GPU2，了")]))
"""


def test_plain_python_finds_the_same():
    texts = random_texts(3)
    call = [sys.executable, "-c", PLAIN, json.dumps(texts)]
    result = subprocess.run(call, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    model = fitted(texts, min_count=2, thresholds={2: 0.3, 3: 0.7, 4: 1.1})
    words, strong, total, cut = json.loads(result.stdout)
    assert [tuple(pair) for pair in words] == list(model.words_.items())
    assert [tuple(ngram) for ngram in strong] == [tuple(ngram) for ngram in model.strong_ngrams_]
    assert (total, cut) == (model.total_, model.segment("国人的一GPU2，了"))
