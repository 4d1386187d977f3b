"""Word lists of the experiment, and the segmenter that judges them: against loops over all cuts, and hand-made cases."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from text.word_discovery_reference import random_texts
from text.word_discovery_reference import reference as literal

from gezhi.experiments.setups import segmentation, wordlists
from gezhi.experiments.setups.segmentation import BLOCK, Gold, Segmenter, f1, split, word_of
from gezhi.experiments.setups.wordlists import LOGS, by_windows, exact_counts, per_length, window_counts
from gezhi.text import WordDiscovery

SHEET = "各项目共和国/共和国各项/项目各项/项目共和国人/人共和国项目/各项目/各项目/目人/人各国/和人/国项"


def all_cuts(text):
    for marks in itertools.product([False, True], repeat=len(text) - 1):
        ends = [i + 1 for i, mark in enumerate(marks) if mark] + [len(text)]
        yield [text[i:j] for i, j in zip([0, *ends], ends, strict=False)]


def likelihood(cut, words):
    listed = all(word in words or len(word) == 1 for word in cut)
    total = sum(words.values())
    return sum(math.log(words.get(word, 1)) - math.log(total) for word in cut) if listed else -math.inf


@pytest.mark.parametrize("seed", range(6))
def test_the_segmenter_finds_a_most_likely_cut(seed):
    rng = random.Random(seed)
    words = {"".join(rng.choices("国人的一", k=rng.randint(1, 4))): rng.randint(1, 50) for _ in range(12)}
    lines = ["".join(rng.choices("国人的一，", k=rng.randint(1, 9))) for _ in range(20)]
    text = "".join(line + "\n" for line in lines)
    stops = (np.flatnonzero(Segmenter.of(words).ends(text)) + 1).tolist()
    cut = iter([text[i:j] for i, j in zip([0, *stops], stops, strict=False)])
    for line in lines:
        found = list(itertools.takewhile(lambda word: word != "\n", cut))
        assert "".join(found) == line
        assert likelihood(found, words) == pytest.approx(max(likelihood(other, words) for other in all_cuts(line)))


def test_of_equally_likely_cuts_the_longer_words_win():
    ends = Segmenter.of({"国人": 1}).ends("国人国\n")  # every logarithm is 0
    assert ends.tolist() == [False, True, True, True]


def test_f1_counts_spans_of_words_and_punctuation():
    gold = Gold((("我们", "在", "北京", "。"),) * BLOCK)
    assert f1({"我们": 1, "北京": 1}, gold, np.array([0])) == [1.0]
    assert f1({}, gold, np.array([0]))[0] == pytest.approx(2 * 2 / (4 + 6))  # 在 and 。 of six characters
    assert f1({"们在": 9, "北京": 9}, gold, np.array([0]))[0] == pytest.approx(2 * 2 / (4 + 4))  # 我 们在 北京 。


@pytest.mark.parametrize(
    ("piece", "word"),
    [("中央/n", "中央"), ("[中央/n", "中央"), ("电台/n]nt", "电台"), ("[/w", "["), ("//w", "/"), ("１/m", "１")],
)
def test_words_of_annotated_pieces(piece, word):
    assert word_of(piece) == word


def test_blocks_are_divided_without_overlap():
    parts = split(Gold((("字",),) * (BLOCK * 37 + 5)), 901)
    assert sorted(np.concatenate([parts.train, parts.choose, parts.test]).tolist()) == list(range(37))
    assert (len(parts.choose), len(parts.test)) == (3, 3)


def test_documents_are_drawn_until_they_are_enough():
    documents = tuple("字" * n for n in range(1, 50))
    text = segmentation.drawn(documents, 900, 200)
    assert 200 <= len(text) + 1 < 200 + 50
    assert Counter(map(len, text.split("\n"))).most_common(1)[0][1] == 1


def test_window_counts_are_those_of_the_sheet():
    counts, total = window_counts(SHEET, 1)
    assert {w: counts[w] for w in ("各", "共", "各项", "共和", "项目", "和国")} == {
        "各": 12, "共": 7, "各项": 9, "共和": 6, "项目": 7, "和国": 3
    }  # fmt: skip
    assert total == 53
    counts, total = window_counts(SHEET, 2)
    assert {w: counts.get(w) for w in ("各", "各项", "各项目", "项目", "共和")} == {
        "各": 11, "各项": 8, "各项目": 5, "项目": 4, "共和": None
    }  # fmt: skip
    assert total == 21
    assert window_counts("各 项，目", 1)[0]["各项"] == window_counts("各项，目", 1)[0]["各项"], "blanks are bridged"


def windows_by_hand(text, min_count):
    """The same by loops, from the sentence."""
    windows = Counter()
    for line in re.split("[^\u4e00-\u9fa50-9a-zA-Z ]+", text):
        tokens = [*line.replace(" ", ""), "</s>"] if line.strip() else []
        for end in range(len(tokens)):
            windows[tuple((["<s>"] * 3 + tokens)[end : end + 4])] += 1
    kept = {w: n for w, n in windows.items() if n >= min_count}
    counts = Counter()
    for window, n in kept.items():
        word = "".join(c for c in window if len(c) == 1)
        for stop in range(1, len(word) + 1):
            counts[word[:stop]] += n
    return dict(counts), sum(kept.values())


@pytest.mark.parametrize("seed", range(3))
def test_window_counts_are_those_of_the_loops(seed):
    text = " ".join(random_texts(seed, texts=10, length=15))
    for least in (1, 2, 4):
        assert window_counts(text, least) == windows_by_hand(text, least)


@pytest.mark.parametrize("seed", range(3))
def test_lists_by_counts(seed, monkeypatch):
    texts = random_texts(seed, texts=40)
    text = "\n".join(texts)
    monkeypatch.setattr(wordlists, "LOGS", LOGS | dict(zip(LOGS, (0.3, 0.7, 1.1), strict=True)))
    words, *_ = literal(texts, 3, wordlists.LOGS)
    assert per_length(text, 3) == dict(words)
    assert wordlists.reference(texts, 3) == dict(words)
    counted = Counter(
        s[i : i + k] for s in wordlists.segments(text) for k in range(1, 5) for i in range(len(s) - k + 1)
    )
    assert exact_counts(text, 3) == {w: n for w, n in counted.items() if n >= 3}
    ranked = wordlists.frequent_ngrams(text, 7)
    assert sorted(ranked.values()) == sorted(n for _, n in counted.most_common(7))
    tokens = Counter(word for cut in literal(texts, 3, wordlists.LOGS)[3] for word in cut)
    assert wordlists.no_backtracking(text, 3) == {w: n for w, n in tokens.items() if n >= 3}
    pairs = literal(texts, 3, {2: wordlists.LOGS[2]})[0]
    assert wordlists.bigrams_only(text, 3) == dict(pairs)
    counts, total = window_counts(text, 2)
    by_hand = {
        w for w in counts if len(w) > 1 and wordlists.solid(w, counts[w], counts, total) >= wordlists.LOGS[len(w)]
    }
    assert set(wordlists.cut_by(text, by_hand)) >= set(by_windows(text, 2))


@pytest.mark.parametrize("make", [wordlists.subwords, wordlists.byte_pairs])
def test_lists_by_subwords_cover_the_text(make):
    text = "，".join(random_texts(1, texts=60))
    words = make(text, 600)
    assert sum(len(word) * n for word, n in words.items()) == sum(map(len, wordlists.segments(text)))
    assert max(map(len, words)) <= wordlists.LONGEST_PIECE
    assert any(len(word) > 1 for word in words)


PAGES = Path(__file__).parents[2] / "docs/methods"


@pytest.mark.parametrize("page", ["word_discovery.md", "word_discovery.zh.md"])
def test_the_page_lists_the_fifty_words(page, reviews):
    words = [word for word in WordDiscovery(min_count=10).fit(reviews).words_ if len(word) > 1]
    assert f"\n{' '.join(words[:50])}\n" in (PAGES / page).read_text("utf-8")
