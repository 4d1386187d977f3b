"""How often each key occurs, exactly and in bounded memory: hash tables by part of the hash, spilled when they grow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gezhi.text.word_discovery.kernels import Ints, merge, room, tally
from gezhi.text.word_discovery.scratch import Scratch

FEWEST = 1024  # slots of a table
Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


class Tally:
    """Counts of keys.

    Args:
        bits: of a key's hash that name its part; parts are counted independently of one another.
        memory: bytes of all tables together; beyond, they go to `scratch`.
        scratch: where to.
        counts: type of a count.
    """

    def __init__(self, bits: int, memory: int, scratch: Scratch, counts: type[np.generic]) -> None:
        self.bits, self.memory, self.scratch, self.type = bits, memory, scratch, counts
        self.parts = [Part(self) for _ in range(2**bits)]

    def add(self, groups: list[tuple[Ints, Ints]], over: Map = map) -> None:
        """Count keys, each group as `kernels.candidates` gives it; `over` maps over the parts, in threads say."""

        def count(part: int) -> None:
            for keys, start in groups:
                self.parts[part].add(keys[start[part] : start[part + 1]])

        list(over(count, range(len(self.parts))))
        if self.bytes > self.memory:
            for part in self.parts:
                part.spill()

    @property
    def bytes(self) -> int:
        """What the tables take."""
        return sum(part.slots.nbytes + part.counts.nbytes for part in self.parts)

    def frequent(self, min_count: int, over: Map = map) -> tuple[Ints, Ints]:
        """The keys that occur as often, sorted, and their counts."""
        found = list(over(lambda part: part.frequent(min_count), self.parts))
        keys, counts = (np.concatenate([pair[side] for pair in found]) for side in (0, 1))
        order = np.argsort(keys)
        return keys[order], counts[order].astype(np.int64)


class Part:
    """The table of one part, and where its earlier tables lie."""

    def __init__(self, whole: Tally) -> None:
        self.whole, self.runs = whole, list[tuple[int, int]]()
        self._empty(FEWEST)

    def _empty(self, slots: int) -> None:
        self.slots, self.counts, self.used = np.zeros(slots, np.int64), np.zeros(slots, self.whole.type), 0

    def add(self, keys: Ints) -> None:
        done = 0
        while done < len(keys):
            done, self.used = tally(keys, done, self.slots, self.counts, self.used, self.whole.bits)
            if done < len(keys):
                slots, counts = self.slots, self.counts
                self._empty(2 * len(slots))
                self.used = merge(slots, counts, self.slots, self.counts, self.whole.bits)

    def spill(self) -> None:
        """Write the table out, keys and then counts, and begin anew."""
        keys, counts = self._pairs()
        if len(keys):
            start = self.whole.scratch.append(keys)
            self.whole.scratch.append(counts)
            self.runs.append((start, len(keys)))
        self._empty(FEWEST)

    def _pairs(self) -> tuple[Ints, NDArray[Any]]:
        kept = self.slots != 0
        return self.slots[kept], self.counts[kept]

    def frequent(self, min_count: int) -> tuple[Ints, NDArray[Any]]:
        """The keys of this part that occur as often; its table is given back."""
        keys, counts = self._pairs() if not self.runs else self._merged()
        self._empty(1)
        kept = counts >= min_count
        return keys[kept], counts[kept]

    def _merged(self) -> tuple[Ints, NDArray[Any]]:
        pairs = [self._pairs()]
        for start, count in self.runs:
            keys = self.whole.scratch.read(start, count, np.int64)
            pairs.append((keys, self.whole.scratch.read(start + keys.nbytes, count, self.whole.type)))
        self._empty(room(sum(len(keys) for keys, _ in pairs)))
        for keys, counts in pairs:
            merge(keys, counts, self.slots, self.counts, self.whole.bits)
        return self._pairs()
