"""Attention with its projections, and what it keeps between calls while decoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from gezhi._checks import check_number, invalid
from gezhi.nn.attention.core import Gate, Scale, dot_product_attention, each_head, linear_attend, refuse
from gezhi.nn.attention.kernels import FeatureMap, Kernel, softmax
from gezhi.nn.attention.linear import LinearState, Rotate
from gezhi.nn.attention.rule import Mask, as_mask

Bias = Callable[[int, int], Tensor]


@dataclass
class AttentionCache:
    """What one attention layer keeps while decoding: its keys and values, or the state of a feature map."""

    key: Tensor | None = None
    value: Tensor | None = None
    state: LinearState | None = None

    @property
    def length(self) -> int:
        """Tokens seen so far."""
        if self.state is not None:
            return self.state.seen
        return 0 if self.key is None else self.key.shape[-2]

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, the new ones last."""
        if self.key is not None and self.value is not None:
            key, value = torch.cat([self.key, key], -2), torch.cat([self.value, value], -2)
        self.key, self.value = key, value
        return key, value


class MultiheadAttention(torch.nn.Module):
    """Attention of several heads; every step of `dot_product_attention` can be replaced.

    Args:
        embed_dim: width of input and output.
        num_heads: heads of the query; each has the width embed_dim / num_heads in the values.
        num_key_heads: heads of key and value; each serves an equal group of query heads. `num_heads` by default.
        key_dim: width of query and key in a head, if other than that of the values (linear attention asks for more).
        kernel, scale, gate, rotate, dropout: as for `dot_product_attention`; modules among them are trained along.
            `dropout` acts in training only.
        bias: `bias(n_q, n_k)` is added to the scores, such as `partial(alibi, num_heads)`.

    Errors: ValueError where heads do not divide the width, or key heads the heads.
    Example:
        >>> layer = MultiheadAttention(8, 2)
        >>> layer(torch.zeros(1, 3, 8), mask=Mask(causal=True)).shape
        torch.Size([1, 3, 8])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        num_key_heads: int | None = None,
        key_dim: int | None = None,
        kernel: Kernel | FeatureMap = softmax,
        scale: float | Scale | None = None,
        gate: Gate | None = None,
        rotate: Rotate | None = None,
        bias: Bias | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        num_key_heads = num_heads if num_key_heads is None else num_key_heads
        check_number("dropout", dropout, at_least=0, below=1)
        for name, whole, heads in (("embed_dim", embed_dim, num_heads), ("num_heads", num_heads, num_key_heads)):
            if heads < 1 or whole % heads:
                raise invalid(name, f"be a multiple of the number of heads, {heads}", whole)
        width = embed_dim // num_heads
        key_dim = width if key_dim is None else key_dim
        self.num_heads, self.num_key_heads, self.dropout = num_heads, num_key_heads, dropout
        self.kernel, self.scale, self.gate, self.rotate, self.bias = kernel, scale, gate, rotate, bias
        self.query = torch.nn.Linear(embed_dim, num_heads * key_dim)
        self.key = torch.nn.Linear(embed_dim, num_key_heads * key_dim)
        self.value = torch.nn.Linear(embed_dim, num_key_heads * width)
        self.output = torch.nn.Linear(embed_dim, embed_dim)

    def forward(
        self,
        x: Float[Tensor, "batch queries dim"],
        context: Float[Tensor, "batch keys dim"] | None = None,
        *,
        mask: Mask | Tensor | None = None,
        cache: AttentionCache | None = None,
        bias: Tensor | None = None,
        gate: Gate | None = None,
    ) -> Float[Tensor, "batch queries dim"]:
        """Attention of the tokens `x` over `context`, by default over themselves.

        Args:
            mask: True may attend; its keys are all those in the cache and then the new ones.
            cache: holds what came before `x` and is extended by it; with it the mask has to be causal.
            bias, gate: what several layers share, in place of the layer's own.
        """
        context = x if context is None else context
        query = _heads(self.query(x), self.num_heads)
        key, value = (_heads(layer(context), self.num_key_heads) for layer in (self.key, self.value))
        rule = as_mask(mask)
        if cache is not None and not rule.causal:
            raise invalid("mask", "be causal with a cache", rule, "Keys to come are hidden from the tokens so far.")
        gate = self.gate if gate is None else gate
        if cache is not None and isinstance(self.kernel, FeatureMap):
            refuse(bias=self.bias if bias is None else bias, gate=gate, dense=rule.dense)
            mixed = self._stepped(query, key, value, rule, cache)
        else:
            mixed = self._attended(query, key, value, rule, cache, bias, gate)
        out: Tensor = self.output(mixed.transpose(1, 2).flatten(-2))
        return out

    def _attended(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Mask,
        cache: AttentionCache | None,
        bias: Tensor | None,
        gate: Gate | None,
    ) -> Tensor:
        rotate = self.rotate
        if cache is not None:
            if rotate is not None:  # once, before the key is kept
                query, key, rotate = rotate(query, cache.length), rotate(key, cache.length), None
            key, value = cache.append(key, value)
        if bias is None and self.bias is not None:
            bias = self.bias(query.shape[-2], key.shape[-2]).to(query)
        return dot_product_attention(
            query,
            key,
            value,
            mask=mask,
            bias=bias,
            scale=self.scale,
            kernel=self.kernel,
            gate=gate,
            rotate=rotate,
            dropout=self.dropout if self.training else 0.0,
        )

    def _stepped(self, query: Tensor, key: Tensor, value: Tensor, mask: Mask, cache: AttentionCache) -> Tensor:
        key, value = each_head(query, key, value)
        attend = linear_attend(self.kernel, query.shape[-1], self.scale, self.rotate)  # type: ignore[arg-type]
        new = mask if mask.keys is None else replace(mask, keys=mask.keys[:, -key.shape[-2] :])
        mixed, cache.state = attend(query, key, value, new, cache.state)
        return mixed.to(query.dtype)


def _heads(x: Tensor, heads: int) -> Tensor:
    return torch.unflatten(x, -1, (heads, -1)).transpose(1, 2)
