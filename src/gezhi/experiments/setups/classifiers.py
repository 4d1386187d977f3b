"""Classifiers of texts: a small recurrent one from scratch, and the packaged encoder with a linear layer on it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gezhi.data import LabelledTexts, read
from gezhi.experiments.setups.texts import loaded, mean_state

Numbers = NDArray[np.int64]
Batch = dict[str, Tensor]
TOKEN = re.compile(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+")
PAD, UNKNOWN, WIDTH, RARE = 0, 1, 64, 2
LONGEST = 20  # characters of a token on average, at most; what follows is not looked at


@dataclass(frozen=True, eq=False)
class TextTask:
    """Labelled texts, of which some make a fixed test set and the seed draws the others; and what reads them.

    Attributes:
        pool, test: row numbers; the test rows are numbered anew, from 0. Without `test` the seed divides the pool.
        train: training rows that a seed draws; `picking` further ones pick states.
        tokens: how many of a text are read, from its beginning.
        pretrained: the packaged encoder reads them, else a recurrent network over characters (Chinese) or words.
    """

    texts: Sequence[str]
    labels: Numbers
    classes: int
    pool: Numbers
    test: Numbers | None
    train: int
    tokens: int = 64
    pretrained: bool = False
    picking: int = 500

    def draw(self, seed: int) -> tuple[Numbers, Numbers, Numbers]:
        """Rows for training, for picking and for the test."""
        order = np.random.default_rng(seed).permutation(self.pool)
        end = self.train + self.picking
        return order[: self.train], order[self.train : end], order[end:] if self.test is None else self.test


def of_labelled(data: LabelledTexts) -> TextTask:
    """A user's texts: half for training, a tenth for picking, the rest for the test."""
    count = len(data.texts)
    rows = np.arange(count)
    return TextTask(data.texts, data.labels, len(data.classes), rows, None, count // 2, picking=max(1, count // 10))


# ---- texts as numbers -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def words_of(task: TextTask) -> list[list[str]]:
    return [TOKEN.findall(text[: LONGEST * task.tokens].lower())[: task.tokens] for text in task.texts]


@lru_cache(maxsize=1)
def pieces_of(task: TextTask) -> list[list[int]]:
    """By the encoder's own tokenizer, with its marks at both ends."""
    tokenizer, _ = loaded(read("minilm"))
    texts = [text[: LONGEST * task.tokens] for text in task.texts]
    found: list[list[int]] = tokenizer(texts, truncation=True, max_length=task.tokens)["input_ids"]
    return found


def numbered(task: TextTask, train: Numbers) -> tuple[list[list[int]], int]:
    """Tokens as numbers, and how many numbers there are: words that the training rows have twice."""
    if task.pretrained:
        return pieces_of(task), 0
    words = words_of(task)
    counts = Counter(word for row in train for word in words[row])
    known = {word: i + 2 for i, word in enumerate(sorted(word for word, n in counts.items() if n >= RARE))}
    return [[known.get(word, UNKNOWN) for word in text] or [UNKNOWN] for text in words], len(known) + 2


def padded(tokens: Sequence[Sequence[int]]) -> Batch:
    """A batch as transformers has them."""
    length = max(map(len, tokens))
    ids = torch.tensor([[*row, *[PAD] * (length - len(row))] for row in tokens])
    seen = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in tokens])
    return {"input_ids": ids, "attention_mask": seen}


# ---- models ---------------------------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    """Embeddings, a bidirectional GRU, the mean over tokens, a linear layer."""

    def __init__(self, words: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, WIDTH, padding_idx=PAD)
        nn.init.normal_(self.embed.weight, std=0.1)
        self.gru = nn.GRU(WIDTH, WIDTH, batch_first=True, bidirectional=True)
        self.drop, self.out = nn.Dropout(dropout), nn.Linear(2 * WIDTH, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        state, _ = self.gru(self.drop(self.embed(input_ids)))
        logits: Tensor = self.out(self.drop(mean_state(state, attention_mask)))
        return logits


class Pretrained(nn.Module):
    """The packaged encoder as a whole, and a linear layer on the mean of its last states."""

    def __init__(self, classes: int, dropout: float) -> None:
        super().__init__()
        _, self.encoder = loaded(read("minilm"))
        self.embed: nn.Module = self.encoder.get_input_embeddings()
        for part in self.encoder.modules():
            if isinstance(part, nn.Dropout):
                part.p = dropout
        self.out = nn.Linear(self.encoder.config.hidden_size, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        state = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        logits: Tensor = self.out(mean_state(state, attention_mask))
        return logits


Classifier = Recurrent | Pretrained


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    """The loss of a batch that carries its labels."""
    logits = model(batch["input_ids"], batch["attention_mask"])
    return F.cross_entropy(logits, batch["labels"])


@torch.no_grad()
def predicted(model: nn.Module, tokens: Sequence[Sequence[int]], at_once: int = 64) -> Tensor:
    """Logits of many texts, without dropout, in batches of similar length."""
    was, order = model.training, sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    model.eval()
    starts = range(0, len(order), at_once)
    found = torch.cat([model(**padded([tokens[i] for i in order[at : at + at_once]])) for at in starts])
    model.train(was)
    return found[torch.from_numpy(np.argsort(order))]


def without_a_token(model: nn.Module, tokens: Sequence[int], label: int, ends: int) -> bool:
    """Whether a text is told right whichever one of its tokens is left out; marks at its ends stay."""
    inner = range(ends, len(tokens) - ends)
    shorter = [[*tokens[:i], *tokens[i + 1 :]] for i in inner] if len(inner) > 1 else [list(tokens)]
    return bool((predicted(model, shorter).argmax(-1) == label).all())
