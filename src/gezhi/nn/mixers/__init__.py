r"""Token mixers without self-attention: networks and matrices over tokens, a memory, convolutions, Fourier.

Title: Token mixers without attention | 不用注意力的词混合
Also: token mixers, MLP-Mixer, gMLP, FNet, 8431
Tags: attention, MLP, convolution
Articles: 也来盘点一些最近的非Transformer工作
Page: docs/methods/mixers.md
Notation: $X$ = `x`, n tokens of D = `dim` channels; $g$ = the exact GELU; $E$ = `hidden_dim`; $S$ = `memory`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from gezhi._checks import check_choice, check_number, invalid
from gezhi.nn.attention import Mask
from gezhi.nn.mixers.base import TokenMixer
from gezhi.nn.mixers.matrices import FeedForwardStack, GatedMLP, MLPMixer, RandomSynthesizer, ResMLP
from gezhi.nn.mixers.others import (
    ConvolutionMixer,
    ExternalAttention,
    FourierMixer,
    convolve,
    external_attention,
    fourier_mix,
)

__all__ = [
    "ConvolutionMixer",
    "ExternalAttention",
    "FeedForwardStack",
    "FourierMixer",
    "GatedMLP",
    "MLPMixer",
    "MixerEncoder",
    "MixingCost",
    "RandomSynthesizer",
    "ResMLP",
    "TokenMixer",
    "convolve",
    "external_attention",
    "fourier_mix",
    "mixing_cost",
    "token_mixer",
]

MIXERS: dict[str, Callable[..., TokenMixer]] = {
    "mixer": MLPMixer,
    "feed_forward_stack": FeedForwardStack,
    "resmlp": ResMLP,
    "gmlp": GatedMLP,
    "amlp": partial(GatedMLP, tiny_attn_dim=64),
    "synthesizer": RandomSynthesizer,
    "external": ExternalAttention,
    "light": partial(ConvolutionMixer, conv="light"),
    "dynamic": partial(ConvolutionMixer, conv="dynamic"),
    "dilated": partial(ConvolutionMixer, conv="dilated"),
    "fourier": FourierMixer,
}
LENGTHLESS = {"external", "light", "dynamic", "dilated", "fourier"}


def token_mixer(name: str, dim: int, seq_len: int | None = None, **settings: Any) -> TokenMixer:
    """A mixer by name, all with the same call (batch, n, dim) -> (batch, n, dim).

    Args:
        name: one of `"mixer"`, `"feed_forward_stack"`, `"resmlp"`, `"gmlp"`, `"amlp"`, `"synthesizer"`, `"external"`,
            `"light"`, `"dynamic"`, `"dilated"`, `"fourier"`.
        dim: D.
        seq_len: n; needed by the first six, and of no use to the others.
        settings: of the class.
    Errors: ValueError for an unknown name, and where the length is missing.
    Example:
        >>> type(token_mixer("gmlp", 8, 16)).__name__
        'GatedMLP'

    References: 苏剑林, 也来盘点一些最近的非Transformer工作, 2021.
    """
    check_choice("name", name, tuple(MIXERS))
    if name in LENGTHLESS:
        return MIXERS[name](dim, **settings)
    if seq_len is None:
        raise invalid("seq_len", f"be given for {name!r}, whose weights are made for one length", None)
    return MIXERS[name](dim, seq_len, **settings)


class MixerEncoder(nn.Module):
    """A stack of mixers of one kind, or of whatever `block` builds.

    Args:
        block: a name for `token_mixer`, or a callable without arguments that builds a mixer.
        depth: how many.
        settings: for `token_mixer`, among them `dim` and `seq_len`.
    Example:
        >>> import torch
        >>> MixerEncoder("resmlp", 2, dim=4, seq_len=6)(torch.zeros(1, 6, 4)).shape
        torch.Size([1, 6, 4])
    """

    def __init__(self, block: str | Callable[[], TokenMixer], depth: int, **settings: Any) -> None:
        super().__init__()
        check_number("depth", depth, at_least=0)
        build = partial(token_mixer, block, **settings) if isinstance(block, str) else block
        self.blocks = nn.ModuleList(build() for _ in range(depth))

    def forward(self, x: Tensor, mask: Mask | Tensor | None = None) -> Tensor:
        """Mixed tokens; see `TokenMixer`."""
        for block in self.blocks:
            x = block(x, mask)
        return x


class MixingCost(NamedTuple):
    """Parameters and multiply-accumulates of one mixing step, channel networks left out."""

    parameters: int
    macs: int


def mixing_cost(name: str, n: int, dim: int) -> MixingCost:
    """What the mixing step costs at the published sizes, for one sequence of n tokens.

    Args:
        name: as for `token_mixer`, or `"attention"`, or `"tiny_attention"`, what aMLP adds to gMLP.
        n, dim: tokens and channels.
    Returns: weights without biases, and multiply-accumulates; those of Fourier only in order, nD log₂ nD.
    Example:
        >>> mixing_cost("attention", 196, 768), mixing_cost("mixer", 196, 768)
        (MixingCost(parameters=2359296, macs=521428992), MixingCost(parameters=150528, macs=115605504))
    """
    check_number("n", n, at_least=1)
    check_number("dim", dim, at_least=1)
    heads, kernel, memory, tiny = 8, 7, 64, 64
    half, light = 2 * dim, heads * kernel
    matrix = n * n
    projections = 3 * tiny * dim + tiny * half
    costs = {
        "attention": (4 * dim**2, 4 * n * dim**2 + 2 * matrix * dim),
        "mixer": (2 * n * (dim // 2), 2 * n * dim * (dim // 2)),
        "feed_forward_stack": (8 * matrix, 8 * matrix * dim),
        "resmlp": (matrix, matrix * dim),
        "gmlp": (matrix, matrix * half),
        "tiny_attention": (projections, n * projections + 2 * matrix * tiny),
        "synthesizer": (matrix + dim**2, matrix * dim + n * dim**2),
        "external": (2 * memory * dim, 2 * n * memory * dim),
        "light": (light, n * dim * kernel),
        "dilated": (light, n * dim * kernel),
        "dynamic": (light * dim, n * light * dim + n * dim * kernel),
        "fourier": (0, round(n * dim * math.log2(n * dim))),
    }
    costs["amlp"] = tuple(a + b for a, b in zip(costs["gmlp"], costs["tiny_attention"], strict=True))  # type: ignore[assignment]
    check_choice("name", name, tuple(costs))
    return MixingCost(*costs[name])
