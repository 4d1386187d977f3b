"""Lists of words from raw text, by counts and by subwords, each with its counts, for one and the same segmenter."""

from __future__ import annotations

import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from gezhi._checks import require
from gezhi.data import DataUnavailable
from gezhi.text import WordDiscovery
from gezhi.text.word_discovery.characters import KEEP, alphabet
from gezhi.text.word_discovery.cutting import ends, mark, trie

Words = Mapping[str, int]
Maker = Callable[[str, int], Words]  # from a text and a knob
LONGEST_LIST, LONGEST_PIECE = 50_000, 8
LOGS = {2: 2.0, 3: 4.0, 4: 6.0}  # thresholds of the article of 2019
FEWEST = 5  # occurrences that count where the knob is another


def first(words: Mapping[str, int], size: int = LONGEST_LIST) -> Words:
    """The most frequent ones, then by code points."""
    return dict(sorted(words.items(), key=lambda pair: (-pair[1], pair[0]))[:size])


# ---- by exact counts -------------------------------------------------------------------------------------------------


def per_length(text: str, min_count: int) -> Words:
    """The article's words."""
    return first(WordDiscovery(min_count=min_count, thresholds=LOGS).fit([text]).words_)


def one_threshold(text: str, threshold: int) -> Words:
    """The same solidity asked of every length."""
    return first(WordDiscovery(min_count=FEWEST, thresholds=dict.fromkeys(LOGS, threshold)).fit([text]).words_)


def bigrams_only(text: str, min_count: int) -> Words:
    """Strong pairs of characters alone."""
    return first(WordDiscovery(2, min_count=min_count, thresholds=LOGS).fit([text]).words_)


def no_backtracking(text: str, min_count: int) -> Words:
    """Every token, whether or not strong n-grams make it up."""
    model = WordDiscovery(min_count=min_count, thresholds=LOGS).fit([text])
    return first({word: n for word, n in Counter(model.segment(text)).items() if n >= min_count})


def frequent_ngrams(text: str, size: int) -> Words:
    """The most frequent strings of one to four characters."""
    return first(exact_counts(text, FEWEST), size)


def exact_counts(text: str, min_count: int) -> dict[str, int]:
    """All strings of one to four characters that occur as often."""
    anything = dict.fromkeys(LOGS, -math.inf)
    model = WordDiscovery(min_count=min_count, thresholds=anything).fit([text])
    singles = {c: n for c, n in Counter("".join(segments(text))).items() if n >= min_count}
    return singles | {ngram.text: ngram.count for ngram in model.strong_ngrams_}


def segments(text: str) -> list[str]:
    """The runs of kept characters."""
    letters = alphabet(KEEP)
    kept = letters.codes(text) > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], kept, [False]])))
    return [text[start:stop] for start, stop in edges.reshape(-1, 2).tolist()]


# ---- by the counts of the release of 2019 ----------------------------------------------------------------------------


def window_counts(text: str, min_count: int) -> tuple[dict[str, int], int]:
    """What the release takes for counts, and for T.

    A line, which other characters end but not blanks, is its characters without blanks and a closing mark; one window of
    four ends at each of these, filled on the left with marks. Frequent windows lose their marks, and are added to each
    prefix of what is left. T is their sum.
    """
    lines = [line.replace(" ", "") for line in re.split(f"[^{KEEP} ]+", text)]
    points = np.frombuffer("\n".join([*filter(None, lines), ""]).encode("utf-32-le"), "<u4").astype(np.int64)
    letters, numbers = np.unique(points, return_inverse=True)  # the first is the mark
    size, index = len(letters), np.arange(len(points))
    begins = np.maximum.accumulate(np.where(np.concatenate([[True], numbers[:-1] == 0]), index, 0))
    keys = np.zeros(len(points), np.int64)
    for back in (3, 2, 1, 0):
        keys = keys * size + np.where(index - back >= begins, numbers[np.maximum(index - back, 0)], 0)
    keys, counts = np.unique(keys, return_counts=True)
    keys, counts = keys[counts >= min_count], counts[counts >= min_count]
    letter = ["", *map(chr, letters[1:].tolist())]
    found: dict[str, int] = defaultdict(int)
    for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
        window = "".join(letter[key // size**i % size] for i in (3, 2, 1, 0))
        for stop in range(1, len(window) + 1):
            found[window[:stop]] += count
    return dict(found), int(counts.sum())


def by_windows(text: str, min_count: int) -> Words:
    """The words that the release finds."""
    counts, total = window_counts(text, min_count)
    strong = {w for w, n in counts.items() if len(w) > 1 and solid(w, n, counts, total) >= LOGS[len(w)]}
    tokens = Counter(cut_by(text, strong))
    return first({w: n for w, n in tokens.items() if n >= min_count and stays(w, strong)})


def solid(word: str, count: int, counts: Mapping[str, int], total: int) -> float:
    """ln s; a cut whose right piece was never counted does not weaken it."""
    pieces = ((counts[word[:k]], counts.get(word[k:])) for k in range(1, len(word)))
    return math.log(min(total * count / (left * right) if right else math.inf for left, right in pieces))


def cut_by(text: str, strong: Iterable[str]) -> list[str]:
    """Tokens: what no gap divides that a strong n-gram covers."""
    letters, by_size = alphabet(KEEP), {size: [w for w in strong if len(w) == size] for size in LOGS}
    rows = [letters.codes("".join(words)).reshape(-1, size) for size, words in by_size.items()]
    codes = letters.codes(text)
    stops = np.flatnonzero(ends(mark(codes, trie(rows, letters.letters)[0]))) + 1
    starts = np.concatenate([[0], stops[:-1]])
    return [text[i:j] for i, j in zip(starts.tolist(), stops.tolist(), strict=True) if codes[i]]


def stays(word: str, strong: set[str]) -> bool:
    return len(word) < 3 or all(word[i : i + 4] in strong for i in range(max(1, len(word) - 3)))


# ---- by dictionaries -------------------------------------------------------------------------------------------------


def reference(texts: Iterable[str], min_count: int) -> Words:
    """The article's words by plain Python: what it was before it was compiled."""
    parts = [part for text in texts for part in segments(text)]
    counts = Counter(part[i : i + k] for part in parts for k in (1, 2, 3, 4) for i in range(len(part) - k + 1))
    frequent = {w: n for w, n in counts.items() if n >= min_count}
    total = sum(n for w, n in frequent.items() if len(w) == 1)
    strong = {w for w, n in frequent.items() if len(w) > 1 and solid(w, n, frequent, total) >= LOGS[len(w)]}
    tokens = Counter[str]()
    for part in parts:
        start = reach = 0
        for i in range(len(part)):
            if i > reach:
                tokens[part[start:i]] += 1
                start = reach = i
            reach = max([reach, *(i + k - 1 for k in (2, 3, 4) if part[i : i + k] in strong)])
        tokens[part[start:]] += 1
    return {w: n for w, n in tokens.items() if n >= min_count and stays(w, strong)}


# ---- by subwords -----------------------------------------------------------------------------------------------------


def subwords(text: str, size: int, passes: int = 2) -> Words:
    """A unigram vocabulary, its pieces counted where the most likely cut of the same text uses them."""
    kit = tokenizers()
    trainer = kit.trainers.UnigramTrainer(vocab_size=size, max_piece_length=LONGEST_PIECE, n_sub_iterations=passes,
                                          unk_token="?", special_tokens=["?"], show_progress=False)  # fmt: skip
    return trained(kit.Tokenizer(kit.models.Unigram()), trainer, text)


def byte_pairs(text: str, size: int) -> Words:
    """The same with a vocabulary of merged pairs."""
    kit = tokenizers()
    trainer = kit.trainers.BpeTrainer(vocab_size=size, max_token_length=LONGEST_PIECE, special_tokens=["?"],
                                      show_progress=False)  # fmt: skip
    return trained(kit.Tokenizer(kit.models.BPE(unk_token="?")), trainer, text)


def trained(tokenizer: Any, trainer: Any, text: str) -> Words:
    parts = segments(text)
    tokenizer.train_from_iterator(parts, trainer)
    pieces = (
        part[a:b] for part, found in zip(parts, tokenizer.encode_batch(parts), strict=True) for a, b in found.offsets
    )
    return Counter(pieces)


def tokenizers() -> Any:
    """The package, on one thread."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        return require("tokenizers", "hf")
    except ModuleNotFoundError as error:
        raise DataUnavailable(str(error)) from None
