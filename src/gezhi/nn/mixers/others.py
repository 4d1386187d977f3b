"""Mixers without weights over tokens: a memory, convolutions, and the Fourier transform."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gezhi._checks import check_choice, check_number, invalid
from gezhi.nn.attention import Mask
from gezhi.nn.mixers.base import MLP, TokenMixer


def external_attention(
    x: Float[Tensor, "*batch n dim"],
    memory_keys: Float[Tensor, "memory dim"],
    memory_values: Float[Tensor, "memory width"],
    *,
    mask: Mask | None = None,
    normalise: Literal["double", "row"] = "double",
) -> Float[Tensor, "*batch n width"]:
    r"""Attention to a trained memory, normalised over tokens first and over the memory then.

    $$L=XM_k^\top,\quad\tilde A_{is}=\frac{e^{L_{is}}}{\sum_te^{L_{ts}}},\quad
      A_{is}=\frac{\tilde A_{is}}{10^{-9}+\sum_{s'}\tilde A_{is'}},\quad Y=AM_v \tag{8}$$

    Args:
        x: tokens.
        memory_keys, memory_values: $M_k$, $M_v$.
        mask: padding is left out of the sum over tokens and gets 0; a causal one ends the sum at the token itself.
        normalise: `"row"` is a plain softmax over the memory, by which no token learns of another.
    Example:
        >>> external_attention(torch.zeros(1, 2, 3), torch.ones(4, 3), torch.ones(4, 1))
        tensor([[[1.],
                 [1.]]])

    References: M. Guo et al., Beyond Self-Attention: External Attention using Two Linear Layers, 2021.
    """
    mask = Mask() if mask is None else mask
    logits = (x @ memory_keys.mT).to(torch.promote_types(x.dtype, torch.float32))
    if normalise == "row":
        weights = logits.softmax(-1)
    else:
        shown = logits if mask.keys is None else logits.masked_fill(~mask.keys[..., None], -1e30)
        over_tokens = shown.logcumsumexp(-2) if mask.causal else shown.logsumexp(-2, keepdim=True)
        shares = (shown - over_tokens).exp()
        weights = shares / (1e-9 + shares.sum(-1, keepdim=True))  # (8)
    out = weights.to(x.dtype) @ memory_values
    return out if mask.keys is None else out.masked_fill(~mask.keys[..., None], 0)


class ExternalAttention(TokenMixer):
    r"""Attention to a memory of trained keys and values; see `external_attention`.

    Args:
        dim: D.
        memory: S, 64 in the paper.
        normalise: `"double"` as in the paper, or `"row"`.
    Example:
        >>> ExternalAttention(4)(torch.zeros(2, 6, 4)).shape
        torch.Size([2, 6, 4])
    """

    masks = frozenset({"causal", "keys"})
    advice = "The sum over tokens may leave out padding or end at the token itself."

    def __init__(self, dim: int, *, memory: int = 64, normalise: Literal["double", "row"] = "double") -> None:
        super().__init__()
        check_number("memory", memory, at_least=1)
        check_choice("normalise", normalise, ("double", "row"))
        self.normalise = normalise
        self.memory_keys = nn.Parameter(torch.randn(memory, dim) / dim**0.5)
        self.memory_values = nn.Parameter(torch.randn(memory, dim) / memory**0.5)

    def mix(self, x: Tensor, mask: Mask) -> Tensor:
        return external_attention(x, self.memory_keys, self.memory_values, mask=mask, normalise=self.normalise)


def convolve(
    x: Float[Tensor, "*batch n dim"],
    taps: Float[Tensor, "*rows heads kernel"],
    *,
    dilation: int = 1,
    causal: bool = False,
) -> Float[Tensor, "*batch n dim"]:
    r"""Weighted sum of neighbours, with one set of weights for each head's channels.

    $$y_{ic}=\sum_{j=0}^{k-1}\mathrm{softmax}(K_{h(c)})_j\,x_{i+d(j-\lfloor k/2\rfloor),c},
      \qquad h(c)=\lfloor cH/D\rfloor \tag{7}$$

    Args:
        x: tokens; beyond the ends there are zeros, and weights are not raised to make up for them.
        taps: K, (H, k), or (…, n, H, k) for weights that each token chooses.
        dilation: d, distance between taps.
        causal: the last tap stands on the token itself, the others before it.
    Errors: ValueError for D that H does not divide, and for an even k unless causal.
    Example:
        >>> convolve(torch.tensor([[1.0], [2.0], [4.0]]), torch.zeros(1, 3)).flatten()
        tensor([1.0000, 2.3333, 2.0000])

    References: F. Wu et al., Pay Less Attention with Lightweight and Dynamic Convolutions, 2019.
    """
    (heads, kernel), n, dim = taps.shape[-2:], x.shape[-2], x.shape[-1]
    if dim % heads:
        raise invalid("the number of channels", f"be a multiple of the number of heads, {heads}", dim)
    if kernel % 2 == 0 and not causal:
        raise invalid("kernel", "be odd, so that a token has as many neighbours before as after", kernel)
    weights = taps.softmax(-1).repeat_interleave(dim // heads, -2)  # (…, D, k)
    before = (kernel - 1 if causal else kernel // 2) * dilation
    padded = nn.functional.pad(x, (0, 0, before, (kernel - 1) * dilation - before))
    out = torch.zeros_like(x)
    for j in range(kernel):
        out = out + weights[..., j] * padded[..., j * dilation : j * dilation + n, :]  # (7)
    return out


class ConvolutionMixer(TokenMixer):
    r"""Gated convolution over tokens, with few weights or with weights that each token chooses.

    $$Y=W_O\,\mathrm{conv}(W_IX\odot\sigma(W_SX))$$

    Args:
        dim: D.
        conv: `"light"` shares a set of taps in each head; `"dynamic"` computes it from the token, K = W_k x_i;
            `"dilated"` is light with distance between taps.
        kernel, heads: k and H, 7 and 8 by default.
        dilation: distance between taps, 2 by default where dilated.
    Errors: ValueError for D that H does not divide, for an even k, and for a dilation that `conv` has no use for.
    Example:
        >>> ConvolutionMixer(8, conv="dynamic")(torch.zeros(2, 6, 8)).shape
        torch.Size([2, 6, 8])

    References: Y. Tay et al., Are Pre-trained Convolutions Better than Pre-trained Transformers?, 2021.
    """

    masks = frozenset({"causal", "keys"})
    advice = "Only padding and causality can be obeyed by a window."

    def __init__(
        self,
        dim: int,
        *,
        conv: Literal["light", "dynamic", "dilated"] = "light",
        kernel: int = 7,
        heads: int = 8,
        dilation: int | None = None,
    ) -> None:
        super().__init__()
        check_choice("conv", conv, ("light", "dynamic", "dilated"))
        check_number("kernel", kernel, at_least=1)
        if kernel % 2 == 0:
            raise invalid("kernel", "be odd, so that a token has as many neighbours before as after", kernel)
        if heads < 1 or dim % heads:
            raise invalid("dim", f"be a multiple of heads = {heads} for ConvolutionMixer", dim)
        if dilation not in (None, 1) and conv != "dilated":
            raise invalid("dilation", f"be left out with conv={conv!r}", dilation, "Pass conv='dilated'.")
        self.dilation = (dilation or 2) if conv == "dilated" else 1
        self.heads = heads
        self.inward, self.gate, self.outward = (nn.Linear(dim, dim) for _ in range(3))
        self.chosen = nn.Linear(dim, heads * kernel, bias=False) if conv == "dynamic" else nn.Identity()
        self.kernel = None if conv == "dynamic" else nn.Parameter(torch.zeros(heads, kernel))

    def mix(self, x: Tensor, mask: Mask) -> Tensor:
        inner = self.inward(x) * self.gate(x).sigmoid()
        if mask.keys is not None:
            inner = inner.masked_fill(~mask.keys[..., None], 0)
        out: Tensor = self.outward(convolve(inner, self._taps(inner), dilation=self.dilation, causal=mask.causal))
        return out

    def _taps(self, x: Tensor) -> Tensor:
        if self.kernel is not None:
            return self.kernel
        return torch.unflatten(self.chosen(x), -1, (self.heads, -1))


def fourier_mix(x: Float[Tensor, "*batch n dim"]) -> Float[Tensor, "*batch n dim"]:
    r"""Real part of the Fourier transform over channels and tokens, without parameters.

    $$\mathrm{mix}(X)=\Re(F_nXF_D) \tag{9}$$

    It keeps half of what it gets: X and X with both axes reversed give the same.

    Example:
        >>> fourier_mix(torch.ones(2, 2))
        tensor([[4., 0.],
                [0., 0.]])

    References: J. Lee-Thorp et al., FNet: Mixing Tokens with Fourier Transforms, 2021.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))  # half precision has no transform on processors
    mixed: Tensor = torch.fft.fft2(wide).real.to(x.dtype)  # (9)
    return mixed


class FourierMixer(TokenMixer):
    r"""FNet: the Fourier transform in place of attention, norms after the residual paths.

    $$H=\mathrm{LN}(X+\mathrm{mix}(X)),\qquad Y=\mathrm{LN}(H+\mathrm{FFN}(H)) \tag{10}$$

    Args:
        dim: D.
        hidden_dim: 4D by default.

    It obeys no mask: padding changes every output, so always pad to the length of the training.

    Example:
        >>> FourierMixer(4)(torch.zeros(2, 6, 4)).shape
        torch.Size([2, 6, 4])
    """

    advice = "Pad to the length of the training and leave the mask out."

    def __init__(self, dim: int, *, hidden_dim: int | None = None) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mlp_channels = MLP(dim, hidden_dim or 4 * dim)

    def mix(self, x: Tensor, mask: Mask) -> Tensor:  # noqa: ARG002 - none is let through
        x = self.norm1(x + fourier_mix(x))
        out: Tensor = self.norm2(x + self.mlp_channels(x))  # (10)
        return out
