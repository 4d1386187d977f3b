"""Mixers with trained weights over tokens: one matrix, or two around an activation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi._checks import check_number, invalid
from gezhi.nn.attention import Mask, dot_product_attention
from gezhi.nn.mixers.base import MLP, TokenMixer, matmul, token_matrix

ANY_MASK = frozenset({"causal", "prefix", "keys", "dense"})
FIXED = "Its weights are made for complete inputs of one length."


class RandomSynthesizer(TokenMixer):
    r"""Attention whose scores are parameters instead of products of tokens.

    $$Y=\mathrm{softmax}(R)\,XW_V^\top \tag{2}$$

    Args:
        dim, seq_len: D and n.
        allow_shorter: take fewer tokens by the leading part of R.
    Example:
        >>> RandomSynthesizer(4, 6)(torch.zeros(2, 6, 4)).shape
        torch.Size([2, 6, 4])

    References: Y. Tay et al., Synthesizer: Rethinking Self-Attention for Transformer Models, 2020.
    """

    masks = ANY_MASK

    def __init__(self, dim: int, seq_len: int, *, allow_shorter: bool = False) -> None:
        super().__init__()
        self.seq_len, self.allow_shorter = seq_len, allow_shorter
        self.scores = nn.Parameter(torch.randn(seq_len, seq_len))
        self.value = nn.Linear(dim, dim)

    def mix(self, x: Tensor, mask: Mask) -> Tensor:
        scores = token_matrix(self.scores, mask, x.shape[1], -torch.inf)
        hidden = (scores == -torch.inf).all(-1, keepdim=True)
        weights = scores.masked_fill(hidden, 0).softmax(-1).masked_fill(hidden, 0)
        return matmul(weights, self.value(x))  # (2)


class MLPMixer(TokenMixer):
    r"""A two-layer network over the tokens of each channel, then one over the channels of each token.

    $$U=X+W_2\,g(W_1\mathrm{LN}(X)),\qquad Y=U+g(\mathrm{LN}(U)W_3^\top)W_4^\top \tag{4}$$

    Args:
        dim, seq_len: D and n.
        token_dim, hidden_dim: inner widths, D/2 and 4D as published.
    Example:
        >>> MLPMixer(4, 6)(torch.zeros(2, 6, 4)).shape
        torch.Size([2, 6, 4])

    References: I. Tolstikhin et al., MLP-Mixer: An All-MLP Architecture for Vision, 2021.
    """

    advice = FIXED

    def __init__(self, dim: int, seq_len: int, *, token_dim: int | None = None, hidden_dim: int | None = None) -> None:
        super().__init__()
        self.seq_len = seq_len
        self.norm1, self.mlp_tokens = nn.LayerNorm(dim), MLP(seq_len, token_dim or max(1, dim // 2))
        self.norm2, self.mlp_channels = nn.LayerNorm(dim), MLP(dim, hidden_dim or 4 * dim)

    def mix(self, x: Tensor, mask: Mask) -> Tensor:  # noqa: ARG002 - none is let through
        x = x + self.mlp_tokens(self.norm1(x).mT).mT  # (4)
        out: Tensor = x + self.mlp_channels(self.norm2(x))
        return out


class FeedForwardStack(TokenMixer):
    r"""A feed-forward block over channels, then the same over tokens, its norm over tokens too.

    $$X\leftarrow X+\mathrm{FFN}_c(\mathrm{LN}(X)),\quad
      X^\top\leftarrow X^\top+\mathrm{FFN}_t(\mathrm{LN}_t(X^\top)) \tag{5}$$

    Args:
        dim, seq_len: D and n.
        token_dim, hidden_dim: inner widths, 4n and 4D as published.
    Example:
        >>> FeedForwardStack(4, 6)(torch.zeros(2, 6, 4)).shape
        torch.Size([2, 6, 4])

    References: L. Melas-Kyriazi, Do You Even Need Attention?, 2021.
    """

    advice = FIXED

    def __init__(self, dim: int, seq_len: int, *, token_dim: int | None = None, hidden_dim: int | None = None) -> None:
        super().__init__()
        self.seq_len = seq_len
        self.norm1, self.mlp_channels = nn.LayerNorm(dim), MLP(dim, hidden_dim or 4 * dim)
        self.norm2, self.mlp_tokens = nn.LayerNorm(seq_len), MLP(seq_len, token_dim or 4 * seq_len)

    def mix(self, x: Tensor, mask: Mask) -> Tensor:  # noqa: ARG002 - none is let through
        x = x + self.mlp_channels(self.norm1(x))
        out: Tensor = x + self.mlp_tokens(self.norm2(x.mT)).mT  # (5)
        return out


class Affine(nn.Module):
    """A factor and a shift for each channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.alpha, self.beta = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.beta, self.alpha, x)


class ResMLP(TokenMixer):
    r"""One matrix over tokens and a feed-forward block, each behind a factor per channel; no norm, no softmax.

    $$Z=X+\lambda_1\odot(A\,\mathrm{Aff}(X)+a),\qquad Y=Z+\lambda_2\odot\mathrm{FFN}(\mathrm{Aff}(Z)) \tag{3}$$

    Args:
        dim, seq_len: D and n.
        hidden_dim: 4D by default.
        layer_scale: λ at the start; the paper takes 0.1 up to 18 layers, 1e-5 at 24, 1e-6 above.
        allow_shorter: take fewer tokens by the leading part of A, an approximation.
    Example:
        >>> ResMLP(4, 6)(torch.zeros(2, 6, 4)).shape
        torch.Size([2, 6, 4])

    References: H. Touvron et al., ResMLP: Feedforward Networks for Image Classification, 2021.
    """

    masks = ANY_MASK

    def __init__(
        self,
        dim: int,
        seq_len: int,
        *,
        hidden_dim: int | None = None,
        layer_scale: float = 0.1,
        allow_shorter: bool = False,
    ) -> None:
        super().__init__()
        self.seq_len, self.allow_shorter = seq_len, allow_shorter
        self.norm1, self.linear_tokens = Affine(dim), nn.Linear(seq_len, seq_len)
        self.norm2, self.mlp_channels = Affine(dim), MLP(dim, hidden_dim or 4 * dim)
        self.ls1, self.ls2 = (nn.Parameter(torch.full((dim,), float(layer_scale))) for _ in range(2))

    def mix(self, x: Tensor, mask: Mask) -> Tensor:
        n = x.shape[1]
        mixed = matmul(token_matrix(self.linear_tokens.weight, mask, n), self.norm1(x))
        x = x + self.ls1 * (mixed + self.linear_tokens.bias[:n, None])  # (3)
        out: Tensor = x + self.ls2 * self.mlp_channels(self.norm2(x))
        return out


class SpatialGate(nn.Module):
    """Half of the channels, times a matrix over tokens on the other half."""

    def __init__(self, width: int, seq_len: int) -> None:
        super().__init__()
        self.norm, self.proj = nn.LayerNorm(width), nn.Linear(seq_len, seq_len)
        nn.init.normal_(self.proj.weight, std=1e-6)  # at the start the gate is open, and the block a network per token
        nn.init.ones_(self.proj.bias)

    def forward(self, x: Tensor, mask: Mask, beside: Tensor | float) -> Tensor:
        n = x.shape[1]
        content, gate = x.chunk(2, -1)
        mixed = matmul(token_matrix(self.proj.weight, mask, n), self.norm(gate))
        return content * (mixed + self.proj.bias[:n, None] + beside)  # (6)


class TinyAttention(nn.Module):
    """One narrow head of softmax attention, widened to the gate."""

    def __init__(self, dim: int, width: int, out: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(dim, 3 * width), nn.Linear(width, out)

    def forward(self, x: Tensor, mask: Mask) -> Tensor:
        query, key, value = self.qkv(x)[:, None].chunk(3, -1)
        out: Tensor = self.out(dot_product_attention(query, key, value, mask=mask)[:, 0])
        return out


class GatedMLP(TokenMixer):
    r"""gMLP: a feed-forward block whose one half gates the other after a matrix over tokens; aMLP with attention in it.

    $$[Z_1,Z_2]=g(\mathrm{LN}(X)U^\top),\ G=W\,\mathrm{LN}(Z_2)+b\mathbf 1^\top\,[+\,\mathrm{TinyAtt}(\mathrm{LN}(X))],
      \ Y=X+(Z_1\odot G)V^\top \tag{6}$$

    Args:
        dim, seq_len: D and n.
        hidden_dim: E, even; 4D by default.
        tiny_attn_dim: width of the attention head of aMLP, 64 in the paper; None for gMLP.
        allow_shorter: take fewer tokens by the leading part of W, an approximation.
    Errors: ValueError for an odd E.
    Example:
        >>> GatedMLP(4, 6, tiny_attn_dim=2)(torch.zeros(2, 6, 4)).shape
        torch.Size([2, 6, 4])

    References: H. Liu et al., Pay Attention to MLPs, 2021.
    """

    masks = ANY_MASK

    def __init__(
        self,
        dim: int,
        seq_len: int,
        *,
        hidden_dim: int | None = None,
        tiny_attn_dim: int | None = None,
        allow_shorter: bool = False,
    ) -> None:
        super().__init__()
        hidden = hidden_dim or 4 * dim
        if hidden % 2:
            raise invalid("hidden_dim", "be even for GatedMLP", hidden)
        self.seq_len, self.allow_shorter = seq_len, allow_shorter
        self.norm, self.fc1 = nn.LayerNorm(dim), nn.Linear(dim, hidden)
        self.gate, self.fc2 = SpatialGate(hidden // 2, seq_len), nn.Linear(hidden // 2, dim)
        self.attention = None
        if tiny_attn_dim is not None:
            check_number("tiny_attn_dim", tiny_attn_dim, at_least=1)
            self.attention = TinyAttention(dim, tiny_attn_dim, hidden // 2)

    def mix(self, x: Tensor, mask: Mask) -> Tensor:
        normed = self.norm(x)
        beside = 0.0 if self.attention is None else self.attention(normed, mask)
        out: Tensor = x + self.fc2(self.gate(F.gelu(self.fc1(normed)), mask, beside))
        return out
