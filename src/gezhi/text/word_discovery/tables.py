"""The frequent n-grams of every length, how solid each is, and which are strong."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gezhi._jit import compiled
from gezhi.text.word_discovery.kernels import Ints, Numbers, find, index, lengthen, room

Floats = NDArray[np.float64]


class Level(NamedTuple):
    """The frequent n-grams of one length, numbered from 1 in the order of their characters' code points.

    Attributes:
        counts: by number; the first is of none.
        before: number of the n-gram without its last character, one shorter.
        after: number of the n-gram without its first character, one shorter.
        end: number of the last character.
        slots: hash table from key to number.
    """

    counts: Ints
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    end: Numbers
    slots: Ints


@dataclass
class Tables:
    """All levels; characters are the first, in which the number of a character that is not frequent is 0.

    Attributes:
        rank: of each character's number, its number among the frequent ones, or 0.
        frequent: the numbers of the frequent characters, after a 0.
        counts: of the frequent characters, after a 0.
        letters: how many numbers of characters there are.
        levels: of 2, 3, … characters.
    """

    rank: NDArray[np.int32]
    frequent: Ints
    counts: Ints
    letters: int
    levels: list[Level] = field(default_factory=list)

    @classmethod
    def of_letters(cls, counts: Ints, min_count: int) -> Tables:
        """The first level, from the count of every character."""
        frequent = np.flatnonzero(counts >= min_count)
        frequent = np.concatenate([[0], frequent[frequent > 0]])
        rank = np.zeros(len(counts), np.int32)
        rank[frequent] = np.arange(len(frequent))
        return cls(rank, frequent, np.where(frequent > 0, counts[frequent], 0), len(counts))

    @property
    def total(self) -> int:
        """T: occurrences of frequent characters."""
        return int(self.counts.sum())  # (1)

    def extend(self, keys: Ints, counts: Ints) -> None:
        """Add the next level: sorted keys and their counts."""
        before = np.concatenate([[0], keys // self.letters]).astype(np.int32)
        end = np.concatenate([[0], keys % self.letters])
        slots = np.zeros((room(len(keys)), 2), np.int64)
        index(keys, slots, 1)
        if self.levels:
            middle = self.levels[-1].after[before].astype(np.int64)
            after = find(middle * self.letters + end, self.levels[-1].slots)
        else:
            after = self.rank[end]
        first = np.concatenate([[0], counts])
        self.levels.append(Level(first, before, after.astype(np.int32), end.astype(np.int32), slots))

    def ids(self, codes: Numbers, size: int) -> NDArray[np.int32]:
        """The number of the n-gram of `size` characters that begins at each position, 0 where it is not frequent."""
        found = self.rank[codes]
        for step, level in enumerate(self.levels[: size - 1], start=1):
            lengthen(found, codes, step, self.letters, level.slots)
        return found

    def ratios(self, size: int) -> Floats:
        """Of each n-gram of so many characters, by how much it is more frequent than its pieces would make it.

        The pieces are those of its weakest cut. Products are taken in float64, in the order of (2).
        """
        lefts, rights = self._shorter(size, "before"), self._shorter(size, "after")
        whole = float(self.total) * self.levels[size - 2].counts[1:]
        found = [whole / (left * right) for left, right in zip(lefts, reversed(rights), strict=True)]  # (2)
        return np.asarray(np.min(found, axis=0))

    def _shorter(self, size: int, side: str) -> list[Floats]:
        """Counts of the n-grams without 1, 2, … of their characters on one side."""
        numbers: Any = slice(1, None)
        found = list[Floats]()
        for length in range(size - 1, 0, -1):
            numbers = getattr(self.levels[length - 1], side)[numbers]
            counts = self.levels[length - 2].counts if length > 1 else self.counts
            found.append(counts[numbers].astype(np.float64))
        return found

    def rows(self, size: int, numbers: Ints) -> Numbers:
        """The characters of n-grams, a row each."""
        columns = list[Numbers]()
        for level in reversed(self.levels[: size - 1]):
            columns.append(level.end[numbers])
            numbers = level.before[numbers].astype(np.int64)
        columns.append(self.frequent[numbers])
        return np.stack(columns[::-1], axis=1)


@compiled
def logarithms(values: Floats) -> Floats:
    """Natural logarithms as `math.log` gives them, to the last digit."""
    found = np.empty(len(values))
    for i in range(len(values)):
        found[i] = math.log(values[i])
    return found
