"""The loops over characters and keys, compiled where numba is at hand.

A key names an n-gram: the id of its first n − 1 characters times `letters`, plus the number of its last one. Ids count
from 1; 0 is no n-gram. Tables of keys are open-addressing hash tables of a power of two slots, 0 where one is free.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gezhi._jit import compiled, inlined

Ints = NDArray[np.int64]
Numbers = NDArray[Any]  # of characters and n-grams, of any unsigned or signed type
BITS = 31  # of a hash
LOW = 2**BITS - 1
FACTOR = 0x4F1BBCDD  # odd, near 2³¹ over the golden ratio


@inlined
def hashed(key: Any) -> Any:
    """31 bits of a key; the upper ones are the better ones."""
    return (((key ^ (key >> BITS)) & LOW) * FACTOR) & LOW


@inlined
def place(keys: Ints, key: Any, shift: int, mask: int) -> Any:
    """The slot of a key, or the free one where it would stand."""
    at = (hashed(key) >> shift) & mask
    while keys[at] != 0 and keys[at] != key:
        at = (at + 1) & mask
    return at


@compiled
def shift_of(slots: int, skipped: int) -> int:
    """Which bits of a hash name a slot: the upper ones, after those that name the part."""
    bits = 0
    while (1 << bits) < slots:
        bits += 1
    return max(BITS - skipped - bits, 0)


# ---- counting --------------------------------------------------------------------------------------------------------


@compiled
def count_letters(codes: Numbers, counts: Ints, before: int) -> int:
    """Add the counts of characters; returns how many segments begin, `before` being the character before."""
    segments = 0
    for i in range(len(codes)):
        code = codes[i]
        counts[code] += 1
        if code != 0 and before == 0:
            segments += 1
        before = code
    return segments


@compiled
def lengthen(ids: Numbers, codes: Numbers, step: int, letters: int, slots: Ints) -> None:
    """From ids of n-grams to those of the n-grams longer by one, in place; `step` is the length before.

    `slots` has two columns: keys and ids.
    """
    mask = len(slots) - 1
    keys, found = slots[:, 0], slots[:, 1]
    shift = shift_of(len(slots), 0)
    for i in range(len(ids)):
        if ids[i] > 0 and i + step < len(codes) and codes[i + step] > 0:
            key = int(ids[i]) * letters + int(codes[i + step])  # (5)
            at = place(keys, key, shift, mask)
            ids[i] = found[at] if keys[at] == key else 0
        else:
            ids[i] = 0


@compiled
def candidates(ids: Numbers, codes: Numbers, step: int, letters: int, stop: int, bits: int) -> tuple[Ints, Ints]:
    """Keys of the n-grams both of whose longest pieces are frequent, grouped by the first bits of their hashes.

    Args:
        ids: of the n-grams shorter by one at each position, `step` long.
        stop: only those that begin before it count.
        bits: of the hash that name a part.
    Returns: the keys, and where each part of them begins.
    """
    start = np.zeros(2**bits + 1, np.int64)
    stop = min(stop, len(ids) - 1)
    for i in range(stop):
        if ids[i] > 0 and ids[i + 1] > 0:
            start[1 + (hashed(int(ids[i]) * letters + int(codes[i + step])) >> (BITS - bits))] += 1
    for part in range(2**bits):
        start[part + 1] += start[part]
    keys = np.empty(start[2**bits], np.int64)
    free = start.copy()
    for i in range(stop):
        if ids[i] > 0 and ids[i + 1] > 0:
            key = int(ids[i]) * letters + int(codes[i + step])  # (5)
            part = hashed(key) >> (BITS - bits)
            keys[free[part]] = key
            free[part] += 1
    return keys, start


@compiled
def tally(keys: Ints, begin: int, slots: Ints, counts: Numbers, used: int, bits: int) -> tuple[int, int]:
    """Count keys until two thirds of the slots are used; returns how far it came and how many are used."""
    mask, shift, most = len(slots) - 1, shift_of(len(slots), bits), 2 * len(slots) // 3
    for i in range(begin, len(keys)):
        key = keys[i]
        at = place(slots, key, shift, mask)
        if slots[at] == 0:
            if used == most:
                return i, used
            slots[at] = key
            used += 1
        counts[at] += 1
    return len(keys), used


@compiled
def merge(keys: Ints, weights: Numbers, slots: Ints, counts: Numbers, bits: int) -> int:
    """Add counts to a table with room for them; free slots (key 0) are passed over. Returns how many keys are new."""
    mask, shift, new = len(slots) - 1, shift_of(len(slots), bits), 0
    for i in range(len(keys)):
        key = keys[i]
        if key != 0:
            at = place(slots, key, shift, mask)
            if slots[at] == 0:
                slots[at] = key
                new += 1
            counts[at] += weights[i]
    return new


def room(keys: int) -> int:
    """Slots of a table that holds so many keys, two thirds of them used at most."""
    return 1 << max(3 * keys // 2, 1).bit_length()


@compiled
def index(keys: Ints, slots: Ints, first: int) -> None:
    """Fill a table of two columns with distinct keys and their ids, counted from `first`."""
    column = slots[:, 0]
    mask, shift = len(slots) - 1, shift_of(len(slots), 0)
    for i in range(len(keys)):
        at = place(column, keys[i], shift, mask)
        slots[at, 0] = keys[i]
        slots[at, 1] = first + i


@compiled
def find(keys: Ints, slots: Ints) -> Ints:
    """The id of each key, 0 where the table does not have it."""
    column = slots[:, 0]
    mask, shift = len(slots) - 1, shift_of(len(slots), 0)
    found = np.zeros(len(keys), np.int64)
    for i in range(len(keys)):
        at = place(column, keys[i], shift, mask)
        if column[at] == keys[i]:
            found[i] = slots[at, 1]
    return found
