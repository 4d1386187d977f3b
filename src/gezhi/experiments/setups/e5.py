"""The packaged multilingual E5 as the house's Transformer, out of one file of 4-bit weights and its pieces of words."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gezhi._checks import require
from gezhi.data import DataUnavailable
from gezhi.nn.transformer import Transformer, TransformerConfig

NAME = "e5-small-q4.bin"
LAYER = {"q": "attention.query", "k": "attention.key", "v": "attention.value", "ao": "attention.output",
         "fi": "feed.0", "fo": "feed.2", "aln": "norms.0", "oln": "norms.1"}  # fmt: skip
FIRST = {"emb.word": "token.weight", "emb.pos": "position.weight", "emb.type": "segment.weight",
         "emb.ln.w": "norm.weight", "emb.ln.b": "norm.bias"}  # fmt: skip
BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])  # of 32 weights
SHOWN = re.compile(
    "[▁ -~\u4e00-\u9fff\u3000-\u303f\uff00-\uffef\u2010-\u203f]+"
)  # pieces that are kept: Chinese, English


class Reader:
    """Numbers one after another out of bytes, little-endian."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def take(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def text(self, length: int) -> str:
        self.at += length
        return self.data[self.at - length : self.at].decode()


class E5:
    """The encoder and its tokens.

    Attributes:
        model: a `Transformer` whose dictionary holds the Chinese and English pieces.
        special: the numbers of the first and the last token of a text.
    """

    def __init__(self, folder: Path) -> None:
        data = (folder / NAME).read_bytes()
        if data[:4] != b"E5S1":
            raise DataUnavailable(f"{folder / NAME}: not a file of E5's weights")
        reader = Reader(data, 8)
        dim, layers, heads, hidden, _, longest, types, eps, _ = reader.take("7ifi")
        count, first, last, _, unknown = reader.take("5i")
        pieces = read_pieces(reader, count)
        self.respelt = read_spellings(reader)
        tensors = read_tensors(reader)
        kept = [i for i, (piece, _) in enumerate(pieces) if i < 4 or SHOWN.fullmatch(piece)]
        config = TransformerConfig(
            len(kept), dim, num_layers=layers, num_heads=heads, hidden_dim=hidden, max_positions=longest,
            num_types=types, positions="learned", norm="post", norm_eps=eps, dropout=0.0,
        )  # fmt: skip
        self.model = filled(Transformer(config), tensors, kept).eval()
        self.special = first, last
        library = require("tokenizers", "hf")
        self.words = library.Tokenizer(library.models.Unigram([pieces[i] for i in kept], unk_id=unknown))
        self.words.pre_tokenizer = library.pre_tokenizers.Metaspace()

    def tokens(self, text: str) -> list[int]:
        """Numbers of the pieces of a text, without those that begin and end it."""
        spelt = "".join(self.respelt.get(character, character) for character in text)
        found: list[int] = self.words.encode(re.sub(" {2,}", " ", spelt)).ids
        return found


def read_pieces(reader: Reader, count: int) -> list[tuple[str, float]]:
    """Pieces of words with their logarithmic frequencies."""
    (size,) = reader.take("Q")
    ends, scores = reader.take(f"{count + 1}I"), reader.take(f"{count}f")
    start = reader.at
    reader.at += size
    spelt = [reader.data[start + left : start + right].decode() for left, right in pairwise(ends)]
    return list(zip(spelt, scores, strict=True))


def read_spellings(reader: Reader) -> dict[str, str]:
    """What is written for a character before the text is cut."""
    found = {}
    for _ in range(reader.take("iI")[0]):
        code, length = reader.take("IB")
        found[chr(code)] = "".join(map(chr, reader.take(f"{length}I")))
    return found


def read_tensors(reader: Reader) -> dict[str, np.ndarray[Any, Any]]:
    """Weights by name, flat: as float32, or in blocks of 32 four-bit numbers with a common factor."""
    places = {}
    for _ in range(reader.take("i")[0]):
        (length,) = reader.take("H")
        name = reader.text(length)
        places[name] = reader.take("BIQQ")
    return {name: flat(reader.data[at : at + size], kind) for name, (kind, _, at, size) in places.items()}


def flat(data: bytes, kind: int) -> np.ndarray[Any, Any]:
    if kind == 0:
        return np.frombuffer(data, "<f4")
    blocks = np.frombuffer(data, BLOCK)
    low_high = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1)
    scaled: np.ndarray[Any, Any] = (low_high.astype("f4") - 8) * blocks["scale"].astype("f4")[:, None]
    return scaled.ravel()


def filled(model: Transformer, tensors: Mapping[str, np.ndarray[Any, Any]], kept: Sequence[int]) -> Transformer:
    """The model with the file's weights; of the dictionary only the kept rows."""
    state = model.state_dict()
    found: dict[str, Tensor] = {}
    for theirs, values in tensors.items():
        name = ours(theirs)
        if name is None:
            continue
        whole = torch.from_numpy(values.copy())
        if theirs == "emb.word":
            whole = whole.view(-1, state[name].shape[1])[list(kept)]
        found[name] = whole.view(state[name].shape)
    model.load_state_dict(found)
    return model


def ours(theirs: str) -> str | None:
    """The name of a tensor in the Transformer."""
    if theirs in FIRST:
        return f"embeddings.{FIRST[theirs]}"
    layer = re.fullmatch(r"l(\d+)\.(\w+)\.([wb])", theirs)
    if layer is None or layer[2] not in LAYER:
        return None
    return f"layers.{layer[1]}.{LAYER[layer[2]]}.{'weight' if layer[3] == 'w' else 'bias'}"
