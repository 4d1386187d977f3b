"""Words of a corpus as vectors of their neighbours, and the class that each word is of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from sklearn.utils.extmath import randomized_svd

from gezhi.data import LabelledTexts, Texts

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents as numbers of words (−1: outside the vocabulary), and how words are to be judged.

    Attributes:
        word_class: of each word, where it is fixed; None: the topic whose held-out documents use the word most.
        topic: of each document.
    """

    documents: Sequence[Ints]
    words: tuple[str, ...]
    word_class: Ints | None = None
    topic: Ints | None = None


def vocabulary(texts: Sequence[Sequence[str]], size: int, wanted: Callable[[str], bool]) -> Mapping[str, int]:
    """The most frequent wanted words, by frequency and then by spelling."""
    counts: dict[str, int] = {}
    for word in chain.from_iterable(texts):
        counts[word] = counts.get(word, 0) + 1
    kept = sorted((word for word in counts if wanted(word)), key=lambda word: (-counts[word], word))[:size]
    return {word: number for number, word in enumerate(kept)}


def numbered(texts: Sequence[Sequence[str]], number: Mapping[str, int]) -> list[Ints]:
    return [np.array([number.get(word, -1) for word in text], dtype=np.int64) for text in texts]


def english_topics(data: LabelledTexts, size: int) -> Corpus:
    """The most frequent English words that are not stop words; a word's class is the topic that uses it most."""
    texts = [["".join(c for c in word if c.isalpha()) for word in text.lower().split()] for text in data.texts]
    number = vocabulary(texts, size, lambda word: len(word) > 2 and word not in ENGLISH_STOP_WORDS)
    return Corpus(numbered(texts, number), tuple(number), topic=data.labels)


def chinese_tags(data: Texts, size: int) -> Corpus:
    """The most frequent words of a tagged Chinese corpus; a word's class is its most frequent part of speech."""
    pairs = [[piece.lstrip("[").partition("/")[::2] for piece in text.split()] for text in data.texts]
    tags: dict[str, dict[str, int]] = {}
    for word, tag in chain.from_iterable(pairs):
        seen = tags.setdefault(word, {})
        seen[tag[:1].lower()] = seen.get(tag[:1].lower(), 0) + 1
    usual = {word: max(sorted(seen), key=lambda tag, seen=seen: seen[tag]) for word, seen in tags.items()}  # type: ignore[misc]
    texts = [[word for word, _ in text] for text in pairs]
    number = vocabulary(texts, size, lambda word: usual[word] not in "wmt")  # punctuation, numbers, times
    names = sorted({usual[word] for word in number})
    return Corpus(numbered(texts, number), tuple(number), np.array([names.index(usual[word]) for word in number]))


def word_vectors(documents: Sequence[Ints], words: int, dim: int = 100, window: int = 5) -> Floats:
    """Positive pointwise mutual information of neighbours within a window, reduced by a singular value decomposition."""
    gap = np.full(window, -1)
    text = np.concatenate([part for document in documents for part in (document, gap)])
    pairs = [(text[:-shift], text[shift:]) for shift in range(1, window + 1)]
    a, b = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    kept = (a >= 0) & (b >= 0)
    together = coo_array((np.ones(int(kept.sum())), (a[kept], b[kept])), shape=(words, words)).tocsr()
    together = (together + together.T).tocoo()
    total = together.sum(axis=1)
    information = np.log(together.data * total.sum() / (total[together.row] * total[together.col]))
    positive = csr_array((np.maximum(information, 0), (together.row, together.col)), shape=(words, words))
    left, scale, _ = randomized_svd(positive, dim, random_state=0)
    return np.asarray(left * np.sqrt(scale))


def word_classes(corpus: Corpus, documents: Ints) -> Ints:
    """The topic in whose documents a word is most frequent; −1 where it occurs less than five times."""
    assert corpus.topic is not None
    counts = np.zeros((int(corpus.topic.max()) + 1, len(corpus.words)))
    for i in documents:
        found = corpus.documents[i]
        np.add.at(counts[corpus.topic[i]], found[found >= 0], 1)
    return np.where(counts.sum(axis=0) >= 5, (counts / counts.sum(axis=1, keepdims=True)).argmax(axis=0), -1)
