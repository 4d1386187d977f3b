"""Pairs of questions about insurance, of one kind or of two, and a sentence encoder that is trained on them as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gezhi.data import read
from gezhi.experiments.setups.pairs import Rows, correlation, cosines
from gezhi.experiments.setups.texts import LABELLED_TOKENS, encoded, loaded, mean_state
from gezhi.experiments.setups.train import fit

Numbers = NDArray[np.int64]
TRAIN, TEST, NEAREST, BATCH = "insuranceqa-en-train", "insuranceqa-en-test", 5, 32
SOME = 400  # pairs of the training that are judged


@dataclass(frozen=True, eq=False)
class Questions:
    """Questions with the kind of insurance each concerns, and their vectors by the encoder before any training."""

    texts: Sequence[str]
    labels: Numbers
    vectors: Tensor
    pairs: int = 2000  # for training, and as many for the test

    def divide(self, seed: int) -> tuple[Rows, Rows]:
        """Pairs of vectors for training and for the test, of questions that the seed draws; no question is in both."""
        train, test = drawn(self, seed)
        return self._rows(*train), self._rows(*test)

    def _rows(self, left: Numbers, right: Numbers) -> Rows:
        alike = self.labels[left] == self.labels[right]
        return Rows(self.vectors[left], self.vectors[right], torch.from_numpy(alike).double())


@lru_cache(maxsize=1)
def questions() -> Questions:
    data, _ = encoded(TRAIN, TEST)
    texts = [text for name in (TRAIN, TEST) for text in read(name).texts]
    mean = torch.from_numpy(data.X[:, : data.X.shape[1] // 2]).float()
    return Questions(texts, data.y, nn.functional.normalize(mean, dim=-1))


@lru_cache(maxsize=1)
def drawn(case: Questions, seed: int) -> tuple[tuple[Numbers, Numbers], tuple[Numbers, Numbers]]:
    """Each question drawn, and its partner among the others that were drawn for the same side."""
    rng = np.random.default_rng(seed)
    sides = np.split(rng.permutation(len(case.texts))[: 2 * case.pairs], 2)
    train, test = ((side, _partners(case, side, rng)) for side in sides)
    return train, test


def _partners(case: Questions, side: Numbers, rng: np.random.Generator) -> Numbers:
    """In turn one of the same kind and one of another; every other of these is among the nearest by cosine."""
    labels, cosine = case.labels[side], (case.vectors[side] @ case.vectors[side].T).numpy()
    found = np.empty_like(side)
    for i, own in enumerate(labels):
        fits = np.flatnonzero((labels == own) == (i % 2 == 0))
        fits = fits[fits != i] if len(fits) > 1 else fits
        if i % 4 == 1:
            fits = fits[np.argsort(-cosine[i, fits])[:NEAREST]]
        found[i] = side[rng.choice(fits)]
    return found


# ---- the encoder itself ----------------------------------------------------------------------------------------------


class Encoder(nn.Module):
    """The packaged sentence encoder: from texts to the mean of its last layer over their tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer, self.model = loaded(read("minilm"))
        self.width = int(self.model.config.hidden_size)

    def forward(self, texts: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=LABELLED_TOKENS, return_tensors="pt"
        )
        return mean_state(self.model(**tokens).last_hidden_state, tokens["attention_mask"])

    @torch.no_grad()
    def vectors(self, texts: Sequence[str]) -> Tensor:
        """Of many texts, in batches of similar length and without dropout."""
        self.eval()
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        parts = [self([texts[i] for i in order[at : at + 64]]) for at in range(0, len(order), 64)]
        return torch.cat(parts)[torch.from_numpy(np.argsort(order))]


@dataclass(frozen=True)
class Arm:
    """What is minimised (nothing: the encoder stays as it is), and the size of the encoder's steps."""

    loss: Callable[[int, Tensor], nn.Module] | None
    rate: float = 0.0


def finetuned(arm: Arm, case: Questions, seed: int, steps: int) -> Mapping[str, Any]:
    """Rank correlation of cosine and sameness of kind on new questions, after training encoder and head of the loss."""
    (left, right), test = drawn(case, seed)
    train_rows, test_rows = case.divide(seed)
    model = Encoder()
    if arm.loss is not None:
        head = arm.loss(model.width, train_rows.labels)
        batches = (
            rows for _ in count() for rows in torch.split(torch.randperm(len(left)), BATCH) if len(rows) == BATCH
        )

        def loss() -> Tensor:
            rows = next(batches)
            texts = [case.texts[i] for side in (left, right) for i in side[rows.numpy()]]
            found: Tensor = head(*model.train()(texts).chunk(2), train_rows.labels[rows])
            return found

        groups: list[dict[str, Any]] = [{"params": list(model.parameters()), "lr": arm.rate}]
        groups += [{"params": list(head.parameters())}] * any(True for _ in head.parameters())
        fit(groups, loss, steps, rate=1e-3, warmup=0.1)
    return {
        "spearman": judged(model, case, test, test_rows.labels),
        "training spearman": judged(model, case, (left[:SOME], right[:SOME]), train_rows.labels[:SOME]),
    }


def judged(model: Encoder, case: Questions, sides: tuple[Numbers, Numbers], labels: Tensor) -> float:
    own, place = np.unique(np.stack(sides), return_inverse=True)
    vectors = model.vectors([case.texts[i] for i in own])
    left, right = place.reshape(2, -1)
    return correlation(cosines(nn.Identity()), Rows(vectors[left], vectors[right], labels))
