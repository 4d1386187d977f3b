"""Is BERT slow because attention is quadratic or because it is big, and from which length does linear attention pay?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi.lab import Dots, Experiment, Study, at, every, inside, itself, ratio
from gezhi.lab.clock import peak_bytes
from gezhi.theory.transformer_cost import LayerSpec, activation_bytes, count_macs, crossover

Core = Callable[[Tensor, Tensor, Tensor], Tensor]
Metrics = Mapping[str, Any]

# ---- lengths, exact -------------------------------------------------------------------------------------------------

SCORES, LINEAR_CORE = ("scores", "values"), ("state", "reading")
ATTENTION, REST = ("qkv", *SCORES, "out"), ("qkv", "out", "ffn")


def within(parts: tuple[str, ...], other: tuple[str, ...], bert: LayerSpec) -> Metrics:
    """Where parts of the layer cost as much as others."""
    return {"tokens": float(crossover(bert, bert, parts=parts, other_parts=other) or math.nan)}


def against_linear(wide: Mapping[str, Any], whole: bool, bert: LayerSpec) -> Metrics:
    """Where the layer costs as much as with linear attention that is so many heads' widths wide."""
    head = bert.size("key_dim")
    sizes: dict[str, Any] = {name: times * head for name, times in wide.items()}
    linear = LayerSpec(bert.hidden, bert.num_heads, attention="linear", **sizes)
    parts: dict[str, Any] = {} if whole else {"parts": SCORES, "other_parts": LINEAR_CORE}
    return {"tokens": float(crossover(bert, linear, **parts) or math.nan)}


def in_memory(bert: LayerSpec) -> Metrics:
    """Where training stores as much for the score matrices as for all else in the layer."""
    stored = activation_bytes(bert, 1)
    scores = stored.pop("scores")
    return {"tokens": sum(stored.values()) / scores}


FEED, QUADRATIC, STORED = "attention = feed-forward", "quadratic part = rest", "stored scores = rest of the memory"
SAME, FOUR, KEYS = "linear, equal heads", "linear, heads 4 times as wide", "linear, keys 4 times as wide"
FEATURES, MADE_KEYS = "linear, 4 times as many random features", "linear, keys 4 times as wide, made by larger matrices"
MADE = "linear, heads 4 times as wide, made by larger matrices"
LENGTHS = Study(
    "lengths",
    itself,
    {
        FEED: partial(within, ATTENTION, ("ffn",)),
        QUADRATIC: partial(within, SCORES, REST),
        STORED: in_memory,
        SAME: partial(against_linear, {}, False),
        FOUR: partial(against_linear, {"key_dim": 4, "value_dim": 4}, False),
        KEYS: partial(against_linear, {"key_dim": 4, "value_dim": 1}, False),
        FEATURES: partial(against_linear, {"features": 4}, True),
        MADE_KEYS: partial(against_linear, {"key_dim": 4, "value_dim": 1}, True),
        MADE: partial(against_linear, {"key_dim": 4, "value_dim": 4}, True),
    },
    {"BERT base": LayerSpec(768, 12)},
    every(None),
    claims={
        "long": (inside("tokens", FEED, 1536, 1536), inside("tokens", QUADRATIC, 4608, 4608)),
        "memory-first": ratio("tokens", STORED, over=QUADRATIC, at_most=0.25),
        "four-times": inside("tokens", FOUR, 1024, 1024),
        "which-width": (
            inside("tokens", KEYS, 256, 256),
            inside("tokens", FEATURES, 512, 512),
            inside("tokens", MADE_KEYS, 2560, 2560),
            inside("tokens", MADE, 5632, 5632),
        ),
    },
    varies="nothing",
)

# ---- seconds --------------------------------------------------------------------------------------------------------

HEAD = 64


def unfused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """As BERT's code of 2021 ran."""
    return torch.softmax(query @ key.mT / math.sqrt(HEAD), -1) @ value


def fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value)


def nothing(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """No token sees another. All three are made, and learn in training; no attention is cheaper."""
    return query + key + value


def linear(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    query, key = F.elu(query) + 1, F.elu(key) + 1
    return (query @ (key.mT @ value)) / (query @ key.sum(-2)[..., None])


def wide_linear(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Four times the width in everything, for the price of a copy: no wider head is cheaper."""
    return linear(*(t.repeat(1, 1, 1, 4) for t in (query, key, value)))[..., :HEAD]


class Layer(nn.Module):
    """A layer of BERT whose mixing of values is given to it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))

    def forward(self, x: Tensor, core: Core) -> Tensor:
        heads = (part(x).unflatten(-1, (-1, HEAD)).transpose(1, 2) for part in (self.query, self.key, self.value))
        x = self.norms[0](x + self.out(core(*heads).transpose(1, 2).flatten(2)))
        mixed: Tensor = self.norms[1](x + self.down(F.gelu(self.up(x))))
        return mixed


@lru_cache(maxsize=2)
def layers(dim: int, depth: int) -> nn.ModuleList:
    """Random weights: speed does not depend on them."""
    torch.manual_seed(0)
    return nn.ModuleList(Layer(dim) for _ in range(depth))


@dataclass(frozen=True)
class Input:
    """A sequence of so many tokens, and how it is used."""

    tokens: int
    training: bool = False
    softmax: Core = fused


def run(arm: tuple[int, Core | None], case: Input, seed: int, size: tuple[int, int]) -> Callable[[], Metrics]:
    """One pass over a sequence, by so many layers; an arm without a core has the softmax of the case."""
    (dim, core), (depth, most) = arm, size
    core = core or case.softmax
    tokens, generator = min(case.tokens, most), torch.Generator().manual_seed(seed)
    stack, x = layers(dim, depth), torch.randn(1, tokens, dim, generator=generator)
    passes = 3 if case.training else 1

    @torch.no_grad()
    def plain() -> Tensor:
        found: Tensor = stack[0](x, core)
        return found

    def call() -> Metrics:
        stack.zero_grad()
        with torch.set_grad_enabled(case.training):
            found = x
            for layer in stack:
                found = layer(found, core)
            if case.training:
                torch.autograd.backward(found.square().mean())
        return {"multiplications": lambda: passes * depth * count_macs(plain).macs}

    return call


BERT, WITHOUT, HALF = "BERT", "BERT without the quadratic core", "BERT of half the width"
WHOLE = Study(
    "a whole BERT",
    run,
    {BERT: (768, None), WITHOUT: (768, nothing), HALF: (384, None)},
    {
        "128 tokens": Input(128),
        "512 tokens": Input(512),
        "512 tokens, training": Input(512, training=True),
        "512 tokens, unfused": Input(512, softmax=unfused),
    },
    {"full": (12, 512)},
    claims={
        "big": (
            ratio("seconds", BERT, over=WITHOUT, at_most=1.25),
            ratio("seconds", BERT, over=HALF, at_least=2),
        )
    },
    timed=True,
    threads=2,
    seeds={"full": 5},
    figures=(Dots("seconds", "big", log=True),),
)

SOFTMAX, NONE, LINEAR, WIDE = "softmax attention", "no mixing", "linear attention", "linear attention, 4 times as wide"
LAYER = Study(
    "one layer",
    run,
    {SOFTMAX: (768, None), NONE: (768, nothing), LINEAR: (768, linear), WIDE: (768, wide_linear)},
    {
        "512 tokens": Input(512),
        "1536 tokens": Input(1536),
        "1536 tokens, unfused": Input(1536, softmax=unfused),
        "4096 tokens": Input(4096),
    },
    {"smoke": {"512 tokens": (1, 64)}, "full": (1, 4096)},
    claims={
        "nearly-linear": at(
            ("1536 tokens", "1536 tokens, unfused"), ratio("seconds", SOFTMAX, over=NONE, at_most=1.33)
        ),
        "wide-is-slower": at("512 tokens", ratio("seconds", WIDE, over=SOFTMAX, at_least=1)),
        "thousands": at("4096 tokens", ratio("seconds", SOFTMAX, over=LINEAR, at_least=1.5)),
    },
    timed=True,
    threads=2,
    seeds={"full": 5},
    figures=(Dots("seconds", ("nearly-linear", "thousands"), log=True),),
)

# ---- memory ---------------------------------------------------------------------------------------------------------

POINTS = (16, 1024, 2048)  # tokens; the first shows what torch itself takes
SUBLAYER = """
import torch
torch.set_num_threads(1)
torch.manual_seed({seed})
x = torch.randn(1, {n}, 768)
maps = [torch.nn.Linear(768, 768) for _ in range(4)]
q, k, v = (f(x).unflatten(-1, (12, 64)).transpose(1, 2) for f in maps[:3])
y = {core}
maps[3](y.transpose(1, 2).flatten(2)).square().mean().backward()
"""


def quadratic_bytes(core: str, _case: None, seed: int, _size: None) -> Metrics:
    """Bytes that a head takes for a pair of tokens: the quadratic coefficient of the peak over three lengths."""
    peaks = [peak_bytes(SUBLAYER.format(seed=seed, n=n, core=core)) for n in POINTS]
    return {"bytes a head and pair": float(np.polyfit(POINTS, peaks, 2)[0] / 12)}


UNFUSED, FUSED = "unfused attention", "fused attention"
MEMORY = Study(
    "memory",
    quadratic_bytes,
    {
        UNFUSED: "torch.softmax(q @ k.mT / 8, -1) @ v",
        FUSED: "torch.nn.functional.scaled_dot_product_attention(q, k, v)",
    },
    {"forward and backward": None},
    {"full": None},
    claims={
        "fused-memory": (
            inside("bytes a head and pair", UNFUSED, 8, 14),
            inside("bytes a head and pair", FUSED, high=2),
        )
    },
    seeds={"full": 5},
)

EXPERIMENT = Experiment(
    __doc__,
    (WHOLE, LAYER, LENGTHS, MEMORY),
    units={"seconds": "s", "bytes a head and pair": "B"},
)
