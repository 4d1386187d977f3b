"""Pairs of texts as vectors of a frozen encoder, and a linear map of these vectors that learns from some of the pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from gezhi._checks import invalid, require
from gezhi.data import DataUnavailable, Features, Pairs, read
from gezhi.experiments.setups.pairs import Rows, correlation, cosines, trained
from gezhi.experiments.setups.store import kept

TEST_SHARE = 0.4  # of the groups; divided by texts, .36 of the pairs train, .16 test, the rest do neither
MOST_TOKENS, LABELLED_TOKENS, AT_ONCE = 256, 64, 32


@dataclass(frozen=True, eq=False)
class Embedded:
    """Vectors of distinct texts, and the pairs as rows of them."""

    vectors: Tensor
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    score: Tensor

    def divide(self, seed: int) -> tuple[Rows, Rows]:
        return divided(self, seed)

    def rows(self, chosen: NDArray[np.int64]) -> Rows:
        return Rows(self.vectors[self.left[chosen]], self.vectors[self.right[chosen]], self.score[chosen])


@lru_cache(maxsize=2)
def embedded(pairs: Pairs) -> Embedded:
    """The pairs by the encoder that the user named, or by the packaged MiniLM."""
    texts = sorted({*pairs.left, *pairs.right})
    number = {text: i for i, text in enumerate(texts)}
    left, right = (np.array([number[text] for text in side]) for side in (pairs.left, pairs.right))
    return Embedded(vectors_of(texts, pairs.encoder or read("minilm")), left, right, torch.from_numpy(pairs.score))


def vectors_of(texts: Sequence[str], folder: Path, most_tokens: int = MOST_TOKENS) -> Tensor:
    """The mean of the last layer over the tokens of each text, in unit length; texts are cut after some tokens.

    Errors: DataUnavailable without the package that runs encoders, or where the folder holds none as safetensors.
    """
    return nn.functional.normalize(states_of(texts, folder, most_tokens)[:, 0], dim=-1)


def states_of(texts: Sequence[str], folder: Path, most_tokens: int) -> Tensor:
    """(texts, 2, width): the mean of the last layer over the tokens of each text, and that of the first token."""
    tokenizer, model = loaded(folder)
    found: list[Tensor] = []
    by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # so that batches need little padding
    for start in range(0, len(texts), AT_ONCE):
        batch = [texts[i] for i in by_length[start : start + AT_ONCE]]
        tokens = tokenizer(batch, padding=True, truncation=True, max_length=most_tokens, return_tensors="pt")
        with torch.no_grad():
            state = model(**tokens).last_hidden_state
        found.append(torch.stack([mean_state(state, tokens["attention_mask"]), state[:, 0]], dim=1))
    return torch.cat(found)[torch.from_numpy(np.argsort(by_length))].float()


def mean_state(state: Tensor, seen: Tensor) -> Tensor:
    """The mean of (texts, tokens, width) over the tokens that are seen."""
    return (state * seen[..., None]).sum(1) / seen.sum(1, keepdim=True).clamp(min=1)


def refuse_code(folder: Path) -> None:
    """DataUnavailable where an encoder wants to bring code of its own: it is never asked for, and never run."""
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        if path.is_file() and "auto_map" in path.read_text(encoding="utf-8", errors="replace"):
            raise DataUnavailable(f"{path}: the encoder comes with code of its own, which gezhi does not run")


def loaded(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model of a folder, without a progress bar of their own."""
    try:
        hub: Any = require("transformers", "hf")
    except ModuleNotFoundError as error:
        raise DataUnavailable(str(error)) from None
    refuse_code(folder)
    words = hub.utils.logging
    bars = words.is_progress_bar_enabled()
    words.disable_progress_bar()
    try:
        tokenizer = hub.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = hub.AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataUnavailable(f"{folder}: no encoder for transformers with safetensors weights ({reason})") from None
    finally:
        if bars:
            words.enable_progress_bar()
    return tokenizer, model.eval()


@lru_cache(maxsize=1)
def encoded(train: str, test: str) -> tuple[Features, int]:
    """Labelled texts as MiniLM's mean and first state of the last layer (768 columns); so many rows are for training."""
    parts, folder = [read(train), read(test)], read("minilm")
    texts = [text for part in parts for text in part.texts]
    recipe = {"texts": texts, "tokens": LABELLED_TOKENS, "model": folder.parent.name, "states": "mean and first"}
    states = kept("minilm", recipe, lambda: {"states": states_of(texts, folder, LABELLED_TOKENS)})["states"]
    X, y = states.flatten(1).double().numpy(), np.concatenate([part.labels for part in parts])
    columns = tuple(f"x{i}" for i in range(X.shape[1]))
    return Features(X, y, parts[0].classes, columns, train), len(parts[0].texts)


class Divisible(Protocol):
    """Pairs of texts as vectors, which a seed divides into training and test."""

    @property
    def vectors(self) -> Tensor: ...

    def divide(self, seed: int) -> tuple[Rows, Rows]: ...


@lru_cache(maxsize=1)
def divided(case: Embedded, seed: int) -> tuple[Rows, Rows]:
    """Training and test pairs that share no text: by groups of linked pairs, or by texts where a group is large."""
    rng, count = np.random.default_rng(seed), len(case.vectors)
    linked = coo_array((np.ones(len(case.left)), (case.left, case.right)), shape=(count, count))
    groups, group = connected_components(linked, directed=False)
    if np.bincount(group[case.left]).max() > len(case.left) / 10:
        groups, group = count, np.arange(count, dtype=group.dtype)
    held = (rng.permutation(groups) < TEST_SHARE * groups)[group]
    train, test = (np.flatnonzero((held[case.left] == side) & (held[case.right] == side)) for side in (False, True))
    if len(train) < 8 or len(test) < 8:
        fix = "Add pairs, or pairs of further texts."
        raise invalid("pairs", "leave 8 for training and 8 for the test", f"{len(train)} and {len(test)}", fix)
    return case.rows(train), case.rows(test)


def adapted(
    make: Callable[[int, Tensor], nn.Module] | None, case: Pairs | Divisible, seed: int, epochs: int
) -> dict[str, Any]:
    """Rank correlation on test pairs of the cosines of mapped vectors; the map starts as the identity.

    Scores in which all test pairs agree rank nothing, and count as 0.
    """
    source: Divisible = embedded(case) if isinstance(case, Pairs) else case
    train, test = source.divide(seed)
    width = source.vectors.shape[1]
    model = nn.Linear(width, width, bias=False)
    nn.init.eye_(model.weight)
    score = cosines(model)
    if make is None:
        return {"spearman": correlation(score, test), "training spearman": correlation(score, train)}
    loss = make(width, train.labels)
    curve = trained(
        lambda left, right, labels: loss(model(left), model(right), labels),
        [*model.parameters(), *loss.parameters()],
        train,
        epochs,
        seed,
        lambda: correlation(score, test),
    )
    return {"spearman": curve[-1], "training spearman": correlation(score, train)}
