r"""Linear attention: a kernel of features instead of softmax, so that cost grows with n and decoding needs no cache.

Title: Linear attention | 线性 Attention
Also: linear Transformer, efficient attention, 7546, 8338
Tags: attention, kernels, feature maps, Performer, FAVOR+
Articles: Transformer升级之路:3、从Performer到线性Attention; 线性Attention的探索:Attention必须有个Softmax吗?
Page: docs/methods/linear_attention.md
Notation: φ, ϕ = `kernel.query`, `kernel.key`; $S$, $z$ = `state.sums`, `state.norms`; $\omega_r$ = `omega[r]`.
"""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from gezhi._checks import check_number, invalid
from gezhi.nn.attention import FeatureMap, LinearState, Mask, MultiheadAttention, as_mask
from gezhi.nn.attention.core import check_shapes, each_head, linear_attend
from gezhi.nn.attention.kernels import Features
from gezhi.nn.attention.linear import CHUNK, Rotate

__all__ = [
    "LinearAttention",
    "PositiveRandomFeatures",
    "cosine",
    "double_softmax",
    "elu1",
    "exp",
    "linear_attention_matrix",
    "linear_attention_step",
]


def _elu1(x: Tensor) -> Tensor:
    return F.elu(x) + 1  # (3)


def _log_elu1(x: Tensor) -> Tensor:
    return x.relu().log1p() + x.clamp(max=0)


def _same(x: Tensor) -> Tensor:
    return x


def _direction(x: Tensor) -> Tensor:
    unit = F.normalize(x, dim=-1)
    return torch.cat([torch.ones_like(unit[..., :1]), unit], -1)


elu1 = FeatureMap(_elu1, _elu1, log=(_log_elu1, _log_elu1))
exp = FeatureMap(torch.exp, torch.exp, log=(_same, _same))
double_softmax = FeatureMap(
    partial(torch.softmax, dim=-1), torch.exp, per_channel=True, log=(partial(torch.log_softmax, dim=-1), _same)
)
cosine = FeatureMap(_direction, _direction)


class PositiveRandomFeatures(torch.nn.Module, FeatureMap):
    r"""FAVOR+: random features, all positive, whose inner product is the kernel of softmax on average.

    $$\phi_r(x)=m^{-1/2}e^{\omega_r\cdot x-\lVert x\rVert^2/2},\qquad
      \mathbb E[\phi(q)\cdot\phi(k)]=e^{q\cdot k} \tag{7}$$

    Args:
        head_dim: d, width of query and key.
        num_features: m, d log d by default (the paper's choice; its language models use 4d).
        orthogonal: rows of random rotations, each as long as a Gaussian vector, which lowers the variance.
        hyperbolic: both ω and -ω, hence 2m features, for less variance still.
        generator: of the first draw.

    The relative variance is $(e^{\lVert q+k\rVert^2}-1)/m$ for q and k that hold the root of the scale: above a norm of
    about 3 each the estimate is noise. Use instead: `exp`, whose projections learn what ω draws.

    Errors: ValueError for fewer than one feature; for inputs of another width than `head_dim`.
    Example:
        >>> kernel = PositiveRandomFeatures(4, 1000, generator=torch.Generator().manual_seed(0))
        >>> x = torch.full((1, 4), 0.5)
        >>> (kernel.query(x) @ kernel.key(x).T).item()  # e = 2.718 on average
        3.0...

    References: K. Choromanski et al., Rethinking Attention with Performers, 2021.
    """

    omega: Tensor
    scaled = True

    def __init__(
        self,
        head_dim: int,
        num_features: int | None = None,
        *,
        orthogonal: bool = True,
        hyperbolic: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        torch.nn.Module.__init__(self)
        check_number("head_dim", head_dim, at_least=1)
        features = max(1, round(head_dim * math.log(head_dim))) if num_features is None else num_features
        check_number("num_features", features, at_least=1)
        self.orthogonal, self.hyperbolic = orthogonal, hyperbolic
        self.register_buffer("omega", torch.zeros(features, head_dim))
        self.redraw_(generator)

    @torch.no_grad()
    def redraw_(self, generator: torch.Generator | None = None) -> PositiveRandomFeatures:
        """Draw ω anew, in place; training often does so every 1000 steps, inference never."""
        features, dim = self.omega.shape
        normal = torch.randn(features, dim, generator=generator)
        if self.orthogonal:
            blocks = torch.randn(-(-features // dim), dim, dim, generator=generator)
            q, r = torch.linalg.qr(blocks)
            turned = q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]  # without the signs the law is not uniform
            normal = turned.mT.flatten(0, 1)[:features] * normal.norm(dim=-1, keepdim=True)
        self.omega.copy_(normal)
        return self

    @property
    def log(self) -> tuple[Features, Features]:
        """The logarithms of both maps, which are the same."""
        return self.log_features, self.log_features

    def log_features(self, x: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows features"]:
        """Logarithms of the features of x, which holds the root of the scale."""
        if x.shape[-1] != self.omega.shape[1]:
            raise invalid("query and key", f"have head_dim = {self.omega.shape[1]} channels", x.shape[-1])
        projected = x @ self.omega.to(x.dtype).T
        if self.hyperbolic:
            projected = torch.cat([projected, -projected], -1)
        return projected - x.square().sum(-1, keepdim=True) / 2 - math.log(projected.shape[-1]) / 2  # (7)

    def query(self, x: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows features"]:
        """The features of x."""
        return self.log_features(x).exp()

    key = query


def linear_attention_step(
    query: Float[Tensor, "batch heads tokens dim"],
    key: Float[Tensor, "batch key_heads tokens dim"],
    value: Float[Tensor, "batch key_heads tokens width"],
    state: LinearState | None = None,
    *,
    kernel: FeatureMap = elu1,
    scale: float | None = None,
    rotate: Rotate | None = None,
    keys: Bool[Tensor, "batch tokens"] | None = None,
    chunk_size: int = CHUNK,
) -> tuple[Float[Tensor, "batch heads tokens width"], LinearState]:
    r"""Causal linear attention of the next tokens, one or many, after those that `state` holds.

    $$S_i=S_{i-1}+\varphi(k_i)v_i^\top,\quad z_i=z_{i-1}+\varphi(k_i),\quad
      o_i=\frac{\phi(q_i)S_i}{\phi(q_i)\cdot z_i} \tag{5}$$

    Args:
        state: what the step before returned; None starts.
        kernel, scale, rotate: as for `dot_product_attention`.
        keys: True where the key is a token and not padding.
        chunk_size: tokens computed together; it changes time and rounding only.
    Returns: a row per query in its dtype, and the state that the next step takes, at least in float32.
    Errors: ValueError where shapes disagree, and for chunk_size < 1.
    Cost: O(tokens · features · width) whatever came before; the state holds features · (width + 2) numbers a head.
    Example:
        >>> x = torch.eye(2).reshape(1, 1, 2, 2)
        >>> out, state = linear_attention_step(x, x, x)
        >>> out, state = linear_attention_step(x[:, :, :1], x[:, :, :1], x[:, :, :1], state)
        >>> out[0, 0], state.seen
        (tensor([[0.7143, 0.2857]]), 3)
    """
    check_number("chunk_size", chunk_size, at_least=1)
    mask = Mask(causal=True, keys=keys)
    check_shapes(query, key, value, mask)
    key, value = each_head(query, key, value)
    attend = linear_attend(kernel, query.shape[-1], scale, rotate, chunk_size)
    out, state = attend(query, key, value, mask, state)  # (5)
    return out.to(query.dtype), state


def linear_attention_matrix(
    query: Float[Tensor, "*heads queries dim"],
    key: Float[Tensor, "*heads keys dim"],
    *,
    kernel: FeatureMap = elu1,
    mask: Mask | Tensor | None = None,
    scale: float | None = None,
) -> Float[Tensor, "*heads queries keys"]:
    """The weights that linear attention never forms, for analysis: O(n_q n_k) memory, no protection from overflow.

    Example:
        >>> linear_attention_matrix(torch.zeros(2, 3), torch.zeros(4, 3))[0]
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    root = linear_attend(kernel, query.shape[-1], scale).scale ** 0.5
    left, right = kernel.query(query * root), kernel.key(key * root)
    seen = as_mask(mask).tensor(query.shape[-2], key.shape[-2], query.device)
    shown = torch.ones_like(left @ right.mT) if seen is None else seen.to(left.dtype)
    if kernel.per_channel:
        norms = shown @ right
        return (left / norms.masked_fill(norms == 0, 1)) @ right.mT * shown  # (4)
    weights = left @ right.mT * shown  # (2)
    norms = weights.sum(-1, keepdim=True)
    return weights / norms.masked_fill(norms == 0, 1)  # (1)


class LinearAttention(MultiheadAttention):
    """`MultiheadAttention` with a feature map, causal or not, padding left out exactly.

    Args:
        embed_dim, num_heads: as there.
        key_dim: width of query and key in a head; more than that of the values keeps more of softmax's quality.
        kernel: the feature map.
        rotate: positions turn the features in the numerator, such as `rotary`.

    Example:
        >>> layer = LinearAttention(8, 2, key_dim=16)
        >>> layer(torch.zeros(1, 3, 8), mask=Mask(causal=True)).shape
        torch.Size([1, 3, 8])

    References: A. Katharopoulos et al., Transformers are RNNs, 2020; Z. Shen et al., Efficient Attention, 2018;
        苏剑林, 线性Attention的探索:Attention必须有个Softmax吗?, 2020; Transformer升级之路:3, 2021.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        key_dim: int | None = None,
        kernel: FeatureMap = elu1,
        rotate: Rotate | None = None,
    ) -> None:
        super().__init__(embed_dim, num_heads, key_dim=key_dim, kernel=kernel, rotate=rotate)
