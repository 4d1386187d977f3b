"""How often texts do not end, and how they repeat themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from gezhi._checks import check_integer, invalid
from gezhi.text.decoding.survival import check_eos

Sequences = Iterable[Sequence[int]] | Tensor


class NonTermination(NamedTuple):
    """Share of texts without an end mark, with its 95 % interval (Wilson)."""

    ratio: float
    low: float
    high: float


def non_termination_ratio(sequences: Sequences, eos_token_id: int | Sequence[int], max_length: int) -> NonTermination:
    r"""$r_L$: the share of texts that have no end mark among their first L tokens.

    Args:
        sequences: generated tokens without the prompt; what follows an end mark is not looked at.
        eos_token_id: the id or ids of the end mark.
        max_length: L ≥ 1.
    Returns: the share, and an interval that holds the true one 95 times in 100, also where no text went on for ever.
    Errors: ValueError for no text, and for one that has neither an end mark nor L tokens: it tells nothing.
    Example:
        >>> non_termination_ratio([[5, 0], [5, 5, 5, 5]], eos_token_id=0, max_length=3).ratio
        0.5
    """
    eos = set(check_eos(eos_token_id))
    check_integer("max_length", max_length, at_least=1)
    unended = []
    for row, tokens in enumerate(_lists(sequences)):
        ended = not eos.isdisjoint(tokens[:max_length])
        if not ended and len(tokens) < max_length:
            must = f"hold an end mark or max_length = {max_length} tokens each"
            raise invalid("sequences", must, f"{len(tokens)} tokens without one in row {row}", "Decode further.")
        unended.append(not ended)
    if not unended:
        raise invalid("sequences", "hold one text at least", 0)
    return NonTermination(sum(unended) / len(unended), *_wilson(sum(unended), len(unended)))


def repetition_ratio(sequences: Sequences, n: int = 4) -> list[float]:
    """For each text the share of its n-grams that occurred in it before.

    Args:
        sequences: tokens.
        n: length of the n-grams, ≥ 1.
    Returns: a number in [0, 1) a text; 0 for one shorter than n.
    Example:
        >>> repetition_ratio([[1, 2, 1, 2, 1], [1, 2, 3]], n=2)
        [0.5, 0.0]
    """
    check_integer("n", n, at_least=1)
    found = []
    for tokens in _lists(sequences):
        grams = list(zip(*(tokens[i:] for i in range(n)), strict=False))
        found.append(1 - len(set(grams)) / len(grams) if grams else 0.0)
    return found


def looping_period(sequences: Sequences, *, min_repeats: int = 3) -> list[int]:
    """For each text the period of the loop in which it ends, 0 for none.

    Args:
        sequences: tokens; cut the padding off first.
        min_repeats: how often a stretch must stand at the end to count as a loop, ≥ 2.
    Returns: the length of the shortest such stretch.
    Cost: O(tokens²) a text at most, in comparisons of slices.
    Example:
        >>> looping_period([[9, 1, 2, 1, 2, 1, 2], [1, 2, 3]])
        [2, 0]
    """
    check_integer("min_repeats", min_repeats, at_least=2)
    return [_period(tokens, min_repeats) for tokens in _lists(sequences)]


def bigram_repetition_index(transitions: ArrayLike | Tensor) -> float:
    r"""Expected number of repeated bigrams of a Markov chain, driven by sharp rows.

    $$R=\sum_{k\ge1}\mathrm{Tr}\,A^k=\mathrm{Tr}\big[(I-A)^{-1}A\big]=\sum_i\frac{\mu_i}{1-\mu_i},\qquad A=P\circ P$$

    Args:
        transitions: P, square: probabilities among the words, without the end mark; a row sums to 1 − p_eos.
    Returns: R ≥ 0, from the eigenvalues µ of A; inf where one reaches 1, as in a cycle that never ends.
    Errors: ValueError for what is not square, negative, or sums to more than 1 in a row.
    Cost: O(words³).
    Example:
        >>> round(bigram_repetition_index([[0.6, 0.3], [0.5, 0.3]]), 6)
        0.768351

    References: Z. Fu et al., A Theoretical Analysis of the Repetition Problem in Text Generation, 2021.
    """
    p: Any = transitions.detach().cpu().numpy() if isinstance(transitions, Tensor) else transitions
    p = np.asarray(p, dtype=np.float64)
    if p.ndim != 2 or p.shape[0] != p.shape[1]:
        raise invalid("transitions", "be a square matrix", p.shape)
    wrong = ~((p >= 0).all(1) & (p.sum(1) <= 1 + 1e-6))
    if wrong.any():
        row = int(wrong.argmax())
        raise invalid("transitions", "have rows of probabilities that sum to at most 1", f"{p[row]} in row {row}")
    values = np.linalg.eigvals(p * p)
    if len(values) and abs(values).max() >= 1 - 1e-12:
        return math.inf
    return float((values / (1 - values)).sum().real)


def _lists(sequences: Sequences) -> list[list[int]]:
    return [tokens.tolist() if hasattr(tokens, "tolist") else list(tokens) for tokens in sequences]


def _period(tokens: list[int], repeats: int) -> int:
    for period in range(1, len(tokens) // repeats + 1):
        tail = tokens[-period * repeats :]
        if tail[period:] == tail[:-period]:
            return period
    return 0


def _wilson(count: int, total: int) -> tuple[float, float]:
    z2 = 1.959963984540054**2
    middle = (count + z2 / 2) / (total + z2)
    half = math.sqrt(z2) / (total + z2) * math.sqrt(count * (total - count) / total + z2 / 4)
    return max(0.0, middle - half), min(1.0, middle + half)
