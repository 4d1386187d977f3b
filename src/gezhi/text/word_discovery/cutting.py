"""Cut texts at the gaps that no strong n-gram covers, and count what is left whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gezhi._jit import compiled, inlined
from gezhi.text.word_discovery.kernels import Ints, Numbers, index, place, room, shift_of

Marks = NDArray[np.int32]  # of each position: bit k is set where a strong n-gram of k characters begins


class Trie(NamedTuple):
    """Strong n-grams as paths: a node is a prefix, its number that of the character where it is one character long.

    Attributes:
        slots: hash table from (node, next character) to the node of the longer prefix.
        strong: of each node, whether its prefix is itself a strong n-gram.
        goes_on: of each node, whether there are longer prefixes.
        letters: how many numbers of characters there are.
        order: most characters of a strong n-gram.
    """

    slots: Ints
    strong: NDArray[np.bool_]
    goes_on: NDArray[np.bool_]
    letters: int
    order: int


def trie(strong: Sequence[Numbers], letters: int) -> tuple[Trie, list[Ints]]:
    """From the strong n-grams of 2, 3, … characters, a row of numbers each; and the nodes at which these end."""
    order, nodes = 1 + len(strong), letters
    at = [rows[:, 0].astype(np.int64) for rows in strong]
    keys, ends = list[Ints](), list[Ints]()
    for depth in range(1, order):
        steps = [at[i] * letters + strong[i][:, depth] for i in range(depth - 1, len(strong))]
        found, which = np.unique(np.concatenate(steps), return_inverse=True)
        at[depth - 1 :] = np.split(which + nodes, np.cumsum([len(step) for step in steps])[:-1])
        keys.append(found)
        ends.append(at[depth - 1])
        nodes += len(found)
    marked, whole = np.zeros(nodes, bool), np.concatenate(keys)
    marked[np.concatenate(ends)] = True
    goes_on = np.zeros(nodes, bool)
    goes_on[whole // letters] = True
    slots = np.zeros((room(len(whole)), 2), np.int64)
    index(whole, slots, letters)
    return Trie(slots, marked, goes_on, letters, order), ends


@compiled
def mark(codes: Numbers, trie: Trie) -> Marks:
    """The lengths of the strong n-grams that begin at each position, as bits."""
    slots, strong, goes_on, letters, order = trie.slots, trie.strong, trie.goes_on, trie.letters, trie.order
    mask, shift, keys = len(slots) - 1, shift_of(len(slots), 0), slots[:, 0]
    found = np.zeros(len(codes), np.int32)
    for i in range(len(codes)):
        node, lengths = int(codes[i]), 0
        for length in range(2, min(order, len(codes) - i) + 1):
            if not goes_on[node]:
                break
            key = node * letters + int(codes[i + length - 1])
            at = place(keys, key, shift, mask)
            if keys[at] != key:
                break
            node = slots[at, 1]
            if strong[node]:
                lengths |= 1 << length
        found[i] = lengths
    return found


@inlined
def reach(lengths: int, i: int) -> int:
    """The last position that a strong n-gram which begins at i covers; i − 1 where there is none."""
    last = i - 1
    lengths >>= 2
    if lengths > 0:
        last = i
        while lengths > 0:
            lengths >>= 1
            last += 1
    return last


@compiled
def ends(marks: Marks) -> NDArray[np.bool_]:
    """Whether a token ends at each position: the gap after it is covered by no strong n-gram."""
    found, last = np.zeros(len(marks), np.bool_), -1
    for i in range(len(marks)):
        last = max(last, reach(marks[i], i))
        found[i] = last <= i  # (3)
    return found


@inlined
def stays(marks: Marks, begin: int, end: int, order: int, strict: bool) -> bool:
    """The rule of backtracking: whether a token is made of strong n-grams."""
    size = end - begin
    longest = min(size, order)
    for length in range(3 if strict else longest, longest + 1):
        for i in range(begin, end - length + 1):
            if marks[i] & (1 << length) == 0:  # (4)
                return False
    return True


@compiled
def count_tokens(
    codes: Numbers, marks: Marks, start: int, stop: int, known: int, strict: bool,
    trie: Trie, singles: Ints, counts: Ints, spans: Ints,
) -> tuple[int, bool]:  # fmt: skip
    """Count the tokens that begin in [start, stop) and pass the rule of backtracking.

    Args:
        codes, marks: of a window of the text; its first n − 1 characters may be there for those that follow alone.
        known: up to where the marks are right: n − 1 before the end of the window, or the end of the text.
        singles, counts: of characters, and of the nodes of strong n-grams; added to.
        spans: begin and end of the tokens longer than the order are written here.
    Returns: how many are, and whether all tokens end before `known`; if not, nothing else of the result is right.
    """
    slots, letters, order = trie.slots, trie.letters, trie.order
    mask, shift, keys = len(slots) - 1, shift_of(len(slots), 0), slots[:, 0]
    begin, last, found = -1, -1, 0
    for i in range(known + 1):
        if last >= i and i < known:
            last = max(last, reach(marks[i], i))
            continue
        if begin >= start and codes[begin] != 0:
            if i == known and known < len(codes):
                return found, False
            if i - begin == 1:
                singles[codes[begin]] += 1
            elif stays(marks, begin, i, order, strict):
                if i - begin > order:
                    spans[found, 0], spans[found, 1] = begin, i
                    found += 1
                else:
                    node = int(codes[begin])
                    for j in range(begin + 1, i):
                        node = slots[place(keys, node * letters + int(codes[j]), shift, mask), 1]
                    counts[node] += 1
        if i >= stop:
            return found, True
        begin = i
        if i < known:
            last = max(last, reach(marks[i], i))
    return found, True
