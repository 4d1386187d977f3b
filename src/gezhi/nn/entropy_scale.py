r"""Entropy-invariant attention scale: logits grow with log n, so that attention stays as sharp on longer inputs.

Title: Entropy-invariant attention scale | 熵不变性缩放
Also: log n scaling, LogN attention, 8823
Tags: attention, length extrapolation, softmax
Articles: 从熵不变性看Attention的Scale操作
Page: docs/methods/entropy_scale.md
Notation: $n_i$ = `n_keys`, $n_0$ = `train_len`, $s_{ij}$ = `logits`, $h_d(\lambda)$ = `spherical_entropy_shift(d, λ)`.
"""

from __future__ import annotations

import math
import sys
from typing import Literal, overload

import torch
from jaxtyping import Bool, Float, Real
from torch import Tensor

from gezhi._checks import check_choice, check_number
from gezhi._numerics import spherical_entropy_shift
from gezhi.nn.attention import Mask, as_mask, softmax

__all__ = [
    "EntropyInvariantScale",
    "attention_entropy",
    "entropy_invariant_scale",
    "entropy_invariant_softmax",
    "spherical_entropy_shift",
]


@overload
def entropy_invariant_scale(n_keys: int, *, train_len: int | float = ..., clip: bool = ...) -> float: ...
@overload
def entropy_invariant_scale(n_keys: Tensor, *, train_len: int | float = ..., clip: bool = ...) -> Tensor: ...
def entropy_invariant_scale(
    n_keys: int | Real[Tensor, "*rows"], *, train_len: int | float = 512, clip: bool = False
) -> float | Float[Tensor, "*rows"]:
    r"""Factor on the logits of a query that sees `n_keys` keys, relative to the usual $1/\sqrt d$.

    $$f_i=\frac{\log n_i}{\log n_0},\qquad\text{clipped: } \max(1,f_i) \tag{5}$$

    Args:
        n_keys: visible keys, ≥ 0. One key gives 0 (there is nothing to sharpen), and none counts as one.
        train_len: n₀ > 1, the number of keys at which nothing changes; 512 is the article's choice.
        clip: never below 1, for a model trained with the usual scale at this length.
    Returns: a float for an int; for a tensor one of its shape, in float32 at least.
    Errors: ValueError for train_len ≤ 1.
    Example: a factor, and the recipe for a call of one's own: it goes on the query, so that cached keys stay valid.
        >>> entropy_invariant_scale(4096), entropy_invariant_scale(64, clip=True)
        (1.333..., 1.0)
        >>> query, key, value = torch.randn(3, 1, 2, 6, 4)
        >>> seen = torch.arange(1, 7)  # keys that each query sees under a causal mask; mask.sum(-1) under any other
        >>> factor = entropy_invariant_scale(seen, train_len=4, clip=True)[:, None]
        >>> out = torch.nn.functional.scaled_dot_product_attention(query * factor, key, value, is_causal=True)

    References: 苏剑林, 从熵不变性看Attention的Scale操作, 2021; D. Chiang and P. Cholak, Overcoming a Theoretical
        Limitation of Self-Attention, 2022.
    """
    _check_length(train_len)
    if not isinstance(n_keys, Tensor):
        check_number("n_keys", n_keys, at_least=0)
        factor = math.log(max(n_keys, 1)) / math.log(train_len)  # (5)
        return max(1.0, factor) if clip else factor
    n = n_keys.to(torch.promote_types(n_keys.dtype, torch.float32)).clamp(min=1)
    factors = 1 + (n / train_len).log() / math.log(train_len)  # (5), so that n₀ keys give exactly 1
    return factors.clamp(min=1) if clip else factors


class EntropyInvariantScale(torch.nn.Module):
    """`entropy_invariant_scale` as the `scale=` of `dot_product_attention`; `state_dict` carries `train_len`.

    Args:
        train_len: n₀ > 1; see `entropy_invariant_scale`.
        clip: never below the usual scale; for a model trained with that.
        mode: `"row"` counts the keys of each query; `"sequence"` gives all queries the largest count among them, which
            under a causal mask lets the length of the whole into earlier rows. Unmasked, both cost nothing.
        learnable: True adds one trained factor, an integer one for each of so many heads; all start at 1.

    Errors: ValueError for train_len ≤ 1 and for an unknown mode.
    Example:
        >>> from gezhi.nn import Mask, dot_product_attention
        >>> tokens = torch.eye(4).reshape(1, 1, 4, 4)
        >>> out = dot_product_attention(tokens, tokens, tokens, mask=Mask(causal=True), scale=EntropyInvariantScale(2))
        >>> out[0, 0, 3]
        tensor([0.1749, 0.1749, 0.1749, 0.4754])

    References: 苏剑林, 从熵不变性看Attention的Scale操作, 2021; K. M. Nakanishi, Scalable-Softmax Is Superior for
        Attention, 2025 (a learned factor per head).
    """

    def __init__(
        self,
        train_len: int | float = 512,
        clip: bool = False,
        mode: Literal["row", "sequence"] = "row",
        learnable: bool | int = False,
    ) -> None:
        super().__init__()
        _check_length(train_len)
        check_choice("mode", mode, ("row", "sequence"))
        self.train_len, self.clip, self.mode = train_len, clip, mode
        self.gain = torch.nn.Parameter(torch.ones(int(learnable), 1, 1)) if learnable else None

    def forward(self, n_keys: int | Real[Tensor, "*heads queries 1"]) -> float | Float[Tensor, "*factors"]:
        """The factor on 1/√d for queries that see so many keys."""
        if self.mode == "sequence" and isinstance(n_keys, Tensor):
            n_keys = n_keys.amax(-2, keepdim=True)
        factor = entropy_invariant_scale(n_keys, train_len=self.train_len, clip=self.clip)
        return factor if self.gain is None else factor * self.gain

    def get_extra_state(self) -> Tensor:
        """A model keeps the length it was trained at: with another one all its logits would be rescaled silently."""
        return torch.tensor(self.train_len, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        self.train_len = state.item()

    def extra_repr(self) -> str:
        return f"train_len={self.train_len:g}, clip={self.clip}, mode={self.mode!r}"


def entropy_invariant_softmax(
    logits: Float[Tensor, "*heads queries keys"],
    mask: Mask | Tensor | None = None,
    *,
    train_len: int | float = 512,
    clip: bool = False,
) -> Float[Tensor, "*heads queries keys"]:
    r"""Softmax over the visible keys of logits times the factor (5): the weights of attention, for logits at hand.

    $$a_{ij}=\mathrm{softmax}_j(f_is_{ij}) \tag{6}$$

    Args:
        logits: scores that are already divided by √d. Entries of -inf count as hidden.
        mask: True may attend.
        train_len: n₀ > 1; see `entropy_invariant_scale`.
        clip: never flatter than the plain softmax.
    Returns: weights; rows sum to 1, and to 0 where no key is visible.
    Use instead: `dot_product_attention(…, scale=EntropyInvariantScale())`, which never forms the matrix.
    Example:
        >>> entropy_invariant_softmax(torch.tensor([[0.0, 1.0, 2.0, 3.0]]), train_len=2)
        tensor([[0.0021, 0.0158, 0.1171, 0.8650]])

    References: 苏剑林, 从熵不变性看Attention的Scale操作, 2021.
    """
    visible = _visible(logits, mask)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    factor = entropy_invariant_scale(visible.sum(-1, keepdim=True).to(wide.dtype), train_len=train_len, clip=clip)
    return softmax(torch.where(visible, wide * factor, -math.inf)).to(logits.dtype)  # (6)


def attention_entropy(
    logits: Float[Tensor, "*heads queries keys"], mask: Mask | Tensor | None = None, *, fill: float = math.nan
) -> Float[Tensor, "*heads queries"]:
    r"""Entropy of each row's softmax in nats, from 0 (one key) to $\log n_i$ (uniform).

    $$\mathcal H_i=-\sum_ja_{ij}\log a_{ij} \tag{2}$$

    Args:
        logits: what the softmax gets, scale included. Entries of -inf count as hidden.
        mask: True may attend.
        fill: the value of rows without a visible key.
    Returns: one number per row, in float32 at least.
    Example:
        >>> attention_entropy(torch.zeros(1, 8)).exp()
        tensor([8.0000])

    References: 苏剑林, 从熵不变性看Attention的Scale操作, 2021.
    """
    visible = _visible(logits, mask)
    empty = ~visible.any(-1, keepdim=True)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logs = torch.where(visible, wide, torch.where(empty, 0.0, -math.inf)).log_softmax(-1)
    entropy = -(logs.exp() * logs.masked_fill(~visible, 0)).sum(-1)  # (2)
    return entropy.masked_fill(empty[..., 0], fill)


def _check_length(train_len: int | float) -> None:
    fix = "Pass the number of keys seen in training."
    check_number("train_len", train_len, above=1, at_most=sys.float_info.max, fix=fix)


def _visible(logits: Tensor, mask: Mask | Tensor | None) -> Bool[Tensor, "*heads queries keys"]:
    n_q, n_k = logits.shape[-2:]
    allowed = as_mask(mask).tensor(n_q, n_k, logits.device)
    visible = logits != -math.inf
    return visible if allowed is None else visible & allowed
