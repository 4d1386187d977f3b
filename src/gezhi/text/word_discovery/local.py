"""The engine of one machine: texts once into a scratch file of numbers, then over that once for every length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gezhi.text.word_discovery.characters import Alphabet, Codes, numbered
from gezhi.text.word_discovery.counting import (
    Found,
    Settings,
    Strong,
    Words,
    candidates_in,
    lexicon,
    strong_of,
    word_counts,
    words_in,
)
from gezhi.text.word_discovery.kernels import Ints, count_letters
from gezhi.text.word_discovery.scratch import Scratch
from gezhi.text.word_discovery.tables import Tables
from gezhi.text.word_discovery.tally import Map, Tally

Progress = Callable[[str, int, int | None], None]  # stage, characters done, characters in all where they are known
SHORTEST, LONGEST = 2**10, 2**21  # characters of a window
COST = 32  # bytes of a window's arrays for each of its characters
MOST_BITS, PART = 8, 2**18  # parts of a tally, and characters of the text for each


@dataclass(frozen=True)
class Means:
    """Threads, bytes of memory, and the folder for what does not fit into them."""

    n_jobs: int
    memory: int
    folder: str | Path | None


def discover(texts: Iterable[Any], letters: Alphabet, settings: Settings, means: Means, told: Progress) -> Found:
    """The lexicon of texts; the same whatever the means.

    Of the memory a quarter holds the text, half the counts, an eighth the windows; what is found comes on top.
    """
    with Scratch(means.folder, means.memory // 4) as scratch, threads(means.n_jobs) as over:
        text = File(scratch, letters)
        counts, segments = fill(text, numbered(texts, letters), told)
        pass_over = Passes(text, means, over, told)
        tables = Tables.of_letters(counts, settings.min_count)
        for size in range(2, settings.order + 1):
            tables.extend(*pass_over.frequent(tables, size, settings.min_count))
        strong = strong_of(tables, settings)
        words = pass_over.words(strong, settings.strict)
    found = lexicon(word_counts(words, strong, letters), settings.min_count)
    return Found(found, strong.ngrams(letters), tables.total, int(counts[1:].sum()), segments)


@contextmanager
def threads(n_jobs: int) -> Iterator[Map]:
    """What maps a function over windows or parts."""
    if n_jobs == 1:
        yield map
        return
    with ThreadPoolExecutor(n_jobs) as pool:
        yield pool.map


@dataclass
class File:
    """A text as numbers in a scratch file."""

    scratch: Scratch
    letters: Alphabet
    size: int = 0

    def append(self, codes: Codes) -> None:
        self.scratch.append(codes)
        self.size += len(codes)

    def read(self, start: int, stop: int) -> Codes:
        start, kind = max(start, 0), self.letters.number.dtype
        return self.scratch.read(start * kind.itemsize, stop - start, kind)


def fill(text: File, pieces: Iterable[Codes], told: Progress) -> tuple[Ints, int]:
    """Store the numbers; how often each occurs, and how many segments there are."""
    counts, segments, before = np.zeros(text.letters.letters, np.int64), 0, 0
    for codes in pieces:
        if len(codes):
            segments += count_letters(codes, counts, before)
            before = int(codes[-1])
            text.append(codes)
            told("reading", text.size, None)
    return counts, segments


@dataclass(frozen=True)
class Passes:
    """Passes over a text, as many windows at a time as there are threads."""

    text: File
    means: Means
    over: Map
    told: Progress

    @property
    def step(self) -> int:
        """Characters of a window."""
        return int(np.clip(self.means.memory // 8 // COST // self.means.n_jobs, SHORTEST, LONGEST))

    def windows(self, stage: str) -> Iterator[list[int]]:
        """Where the windows of one turn begin."""
        stride = self.step * self.means.n_jobs
        for start in range(0, self.text.size, stride):
            stop = min(start + stride, self.text.size)
            yield list(range(start, stop, self.step))
            self.told(stage, stop, self.text.size)

    def frequent(self, tables: Tables, size: int, min_count: int) -> tuple[Ints, Ints]:
        """Keys and counts of the frequent n-grams of a length, from the tables of the shorter ones."""
        if tables.levels and len(tables.levels[-1].counts) == 1:  # none was frequent
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        bits = min(MOST_BITS, (self.text.size // PART).bit_length())
        kind = np.int32 if self.text.size < 2**31 else np.int64
        with Scratch(self.means.folder, 1) as spilled:
            tally = Tally(bits, self.means.memory // 2, spilled, kind)
            for starts in self.windows(f"counting {size}"):
                keys = self.over(lambda start: candidates_in(self.text, start, self.step, tables, bits), starts)
                tally.add(list(keys), self.over)
            return tally.frequent(min_count, self.over)

    def words(self, strong: Strong, strict: bool) -> Words:
        """Counts of the tokens that stay."""
        words = Words.none(strong.paths)
        for starts in self.windows("cutting"):
            for part in self.over(
                lambda start: words_in(self.text, start, self.step, strong, strict, self.text.letters), starts
            ):
                words.add(part)
        return words
