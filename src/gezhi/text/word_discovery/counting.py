"""What both engines do with a window of numbers, and what they make of the sums over all windows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from gezhi.text.word_discovery.characters import Alphabet, Codes
from gezhi.text.word_discovery.cutting import Trie, count_tokens, mark, trie
from gezhi.text.word_discovery.kernels import Ints, candidates
from gezhi.text.word_discovery.tables import Floats, Tables, logarithms


@dataclass(frozen=True)
class Settings:
    """What counts as a word.

    Attributes:
        thresholds: of solidity, for 2, 3, … characters.
        ratio: whether they are ratios that must be exceeded, not logarithms that must be reached.
        strict: the rule of backtracking.
    """

    min_count: int
    thresholds: tuple[float, ...]
    ratio: bool
    strict: bool

    @property
    def order(self) -> int:
        return 1 + len(self.thresholds)


class Ngram(NamedTuple):
    """A strong n-gram: its occurrences, and the natural logarithm of its solidity."""

    text: str
    count: int  # type: ignore[assignment]
    solidity: float


@dataclass(frozen=True, eq=False)
class Found:
    """The lexicon, and what it was drawn from."""

    words: dict[str, int]
    strong: list[Ngram]
    total: int
    characters: int
    segments: int


class Text(Protocol):
    """The numbers of all characters of a text, in a file or in memory."""

    size: int

    def read(self, start: int, stop: int) -> Codes:
        """Those in [start, stop), as far as there are any."""


def candidates_in(text: Text, start: int, step: int, tables: Tables, bits: int) -> tuple[Ints, Ints]:
    """Keys of the n-grams that may be frequent, one longer than the tables know, in a window of a text."""
    size = len(tables.levels) + 1
    window = text.read(start, start + step + size)
    return candidates(tables.ids(window, size), window, size, tables.letters, step, bits)


@dataclass(frozen=True, eq=False)
class Strong:
    """The strong n-grams: rows of characters, counts and solidities by length, as paths, and their ends in these."""

    rows: list[Codes]
    counts: list[Ints]
    solidities: list[Floats]
    paths: Trie
    ends: list[Ints]

    def ngrams(self, letters: Alphabet) -> list[Ngram]:
        """By code points."""
        found = list[Ngram]()
        for rows, counts, solidities in zip(self.rows, self.counts, self.solidities, strict=True):
            found += map(Ngram, letters.texts(rows), counts.tolist(), solidities.tolist())
        return sorted(found)


def strong_of(tables: Tables, settings: Settings) -> Strong:
    """The n-grams whose solidity passes the threshold of their length."""
    rows, counts, solidities = list[Codes](), list[Ints](), list[Floats]()
    for size, threshold in enumerate(settings.thresholds, start=2):
        ratios = tables.ratios(size)
        logs = logarithms(ratios)
        numbers = 1 + np.flatnonzero(ratios > threshold if settings.ratio else logs >= threshold)
        rows.append(tables.rows(size, numbers))
        counts.append(tables.levels[size - 2].counts[numbers])
        solidities.append(logs[numbers - 1])
    return Strong(rows, counts, solidities, *trie(rows, tables.letters))


@dataclass(eq=False)
class Words:
    """Counts of tokens: single characters, strong n-grams by the end of their path, and longer ones."""

    singles: Ints
    short: Ints
    long: Counter[str] = field(default_factory=Counter)

    @classmethod
    def none(cls, paths: Trie) -> Words:
        return cls(np.zeros(paths.letters, np.int64), np.zeros(len(paths.strong), np.int64))

    def add(self, other: Words) -> None:
        self.singles += other.singles
        self.short += other.short
        self.long.update(other.long)


def words_in(text: Text, start: int, step: int, strong: Strong, strict: bool, letters: Alphabet) -> Words:
    """The tokens of a text that begin in a window of so many characters and stay."""
    margin, ahead = strong.paths.order - 1, step
    spans = np.empty((step // strong.paths.order + 1, 2), np.int64)
    while True:
        window, first = text.read(start - margin, start + ahead + margin), min(start, margin)
        known = len(window) - (0 if start - first + len(window) == text.size else margin)
        marks, words = mark(window, strong.paths), Words.none(strong.paths)
        many, whole = count_tokens(window, marks, first, first + step, known, strict, strong.paths, words.singles,
                                   words.short, spans)  # fmt: skip
        if whole:
            words.long.update(_texts(window, spans[:many], letters))
            return words
        ahead *= 2  # a token ends beyond the window


def _texts(window: Codes, spans: Ints, letters: Alphabet) -> list[str]:
    sizes = spans[:, 1] - spans[:, 0]
    ends = np.cumsum(sizes)
    places = np.arange(sizes.sum()) + np.repeat(spans[:, 0] - (ends - sizes), sizes)
    text = letters.text(window[places])
    return [text[end - size : end] for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)]


def word_counts(words: Words, strong: Strong, letters: Alphabet) -> Iterator[tuple[str, int]]:
    """All tokens and their counts."""
    yield from words.long.items()
    seen = np.flatnonzero(words.singles)
    yield from zip(letters.text(seen), words.singles[seen].tolist(), strict=True)
    for rows, ends in zip(strong.rows, strong.ends, strict=True):
        there = words.short[ends] > 0
        yield from zip(letters.texts(rows[there]), words.short[ends[there]].tolist(), strict=True)


def lexicon(counted: Iterable[tuple[str, int]], min_count: int) -> dict[str, int]:
    """Words and counts, the most frequent first, then by code points."""
    found = [(word, count) for word, count in counted if count >= min_count]
    return dict(sorted(found, key=lambda pair: (-pair[1], pair[0])))
