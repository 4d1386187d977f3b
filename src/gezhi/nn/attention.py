r"""Dot-product attention as steps that can be replaced one by one: position, score, scale, mask, normalise, mix.

$$o_i=\sum_jc_{ij}a_{ij}v_j,\qquad a_i=\mathrm{kernel}(\lambda_i\,R_iq_i\cdot R_jk_j+b_{ij}:j\text{ visible to }i)$$

$\lambda_i$ = `scale`, $b$ = `bias`, $c$ = `gate`, $R$ = `rotate`; who sees whom is a `Mask`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gezhi._checks import check_number, invalid

Kernel = Callable[[Tensor], Tensor]
Scale = Callable[["int | Tensor"], "int | float | Tensor"]


@dataclass(frozen=True, eq=False)
class Mask:
    """Who may attend to whom, as a rule: a key is visible when every part allows it. The matrix is built where needed.

    Args:
        causal: the last query sees all keys, each earlier one a key less; with cached keys queries are the newest.
        prefix: so many keys from the first on are visible to all queries of a causal mask (UniLM).
        keys: True where the key is a token and not padding, on whichever side.
        dense: anything else; broadcasts to (batch, heads, n_q, n_k), True where the query may attend.

    Errors: TypeError for a part that is not bool; ValueError for a prefix without `causal`, and for n_q > n_k.
    Example:
        >>> Mask(causal=True).tensor(2, 3).long().tolist()
        [[1, 1, 0], [1, 1, 1]]
        >>> Mask(causal=True, keys=torch.tensor([[False, True, True]])).visible(2, 3).flatten().tolist()
        [1, 2]
    """

    causal: bool = False
    prefix: int = 0
    keys: Bool[Tensor, "batch keys"] | None = None
    dense: Bool[Tensor, "*heads queries keys"] | None = None

    def __post_init__(self) -> None:
        check_number("prefix", self.prefix, at_least=0)
        if self.prefix and not self.causal:
            raise invalid("prefix", "come with causal=True", self.prefix, "Without it every key is visible anyway.")
        for name, part in (("keys", self.keys), ("dense", self.dense)):
            if part is not None and part.dtype != torch.bool:
                raise invalid(name, "be bool", part.dtype, "Pass mask.bool(), True: may attend.", kind=TypeError)
        if self.keys is not None and self.keys.ndim != 2:
            raise invalid("keys", "have the shape (batch, n_k)", tuple(self.keys.shape), "Pass other masks as dense.")

    def tensor(self, n_q: int, n_k: int, device: torch.device | None = None) -> Bool[Tensor, "*heads _ _"] | None:
        """The matrix, broadcasting to (batch, heads, n_q, n_k); None where nothing is hidden."""
        parts = [] if self.dense is None else [self.dense]
        if self.keys is not None:
            parts.append(self.keys[:, None, None, :])
        if self._cuts(n_q, n_k):
            limit = self._limit(n_q, n_k, device)
            parts.append(torch.arange(n_k, device=limit.device) < limit[:, None])
        return reduce(torch.logical_and, parts) if parts else None

    def visible(self, n_q: int, n_k: int, device: torch.device | None = None) -> int | Int[Tensor, "*heads _ 1"]:
        """How many keys each query sees; an int where nothing is hidden. O(batch · (n_q + n_k)) without `dense`."""
        allowed = None if self.dense is None else self.tensor(n_q, n_k)
        if allowed is not None:
            return allowed.expand(*allowed.shape[:-1], n_k).sum(-1, keepdim=True)
        if not self._cuts(n_q, n_k):
            return n_k if self.keys is None else self.keys.sum(-1)[:, None, None, None]
        limit = self._limit(n_q, n_k, device)
        if self.keys is None:
            return limit[:, None]
        before = F.pad(self.keys.cumsum(-1), (1, 0))  # before[:, m]: tokens among the first m keys
        return before[:, None, limit, None]

    def _cuts(self, n_q: int, n_k: int) -> bool:
        """Whether causality hides anything; from a single query, or with a prefix as long as the keys, it does not."""
        return self.causal and n_q > 1 and self.prefix < n_k

    def _limit(self, n_q: int, n_k: int, device: torch.device | None) -> Int[Tensor, " queries"]:
        """Under `causal` and `prefix` query i sees exactly the keys j < limit[i]."""
        if n_q > n_k:
            raise invalid("query", f"have at most as many tokens as key ({n_k}) under a causal mask", n_q)
        device = next((part.device for part in (self.keys, self.dense) if part is not None), device)
        limit = torch.arange(n_k - n_q + 1, n_k + 1, device=device)
        return limit.clamp(min=self.prefix) if self.prefix else limit


def as_mask(mask: Mask | Tensor | None) -> Mask:
    """A rule from what a caller may pass: a rule, a bool matrix, or nothing."""
    if mask is None or isinstance(mask, Tensor):
        return Mask(dense=mask)
    if not isinstance(mask, Mask):
        raise invalid("mask", "be a Mask, a bool tensor or None", type(mask).__name__, kind=TypeError)
    return mask


def softmax(scores: Float[Tensor, "*heads queries keys"]) -> Float[Tensor, "*heads queries keys"]:
    """Weights that sum to 1; a row that sees no key (all -inf) gets zeros."""
    return _divide(scores, lambda raised: raised.sum(-1, keepdim=True))


def l2(scores: Float[Tensor, "*heads queries keys"]) -> Float[Tensor, "*heads queries keys"]:
    """Exponentials over their Euclidean norm: row norm 1, row sum between 1 and the root of n_k; empty rows get 0."""
    return _divide(scores, lambda raised: raised.norm(dim=-1, keepdim=True))


def relu2(scores: Float[Tensor, "*heads queries keys"]) -> Float[Tensor, "*heads queries keys"]:
    """Squared positive part over the number of key columns (GAU)."""
    return scores.relu().square() / scores.shape[-1]


def _divide(scores: Tensor, normaliser: Kernel) -> Tensor:
    raised = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if scores.shape[-1]:
        peak = raised.detach().amax(-1, keepdim=True)
        raised = (raised - peak.masked_fill(peak == -math.inf, 0)).exp()
    return (raised / normaliser(raised).clamp(min=1)).to(scores.dtype)  # the peak adds 1: below 1 only in empty rows


def dot_product_attention(
    query: Float[Tensor, "batch heads queries dim"],
    key: Float[Tensor, "batch heads keys dim"],
    value: Float[Tensor, "batch heads keys width"],
    *,
    mask: Mask | Tensor | None = None,
    bias: Tensor | None = None,
    scale: int | float | Tensor | Scale | None = None,
    kernel: Kernel = softmax,
    gate: Tensor | None = None,
    rotate: Callable[[Tensor, int], Tensor] | None = None,
) -> Float[Tensor, "batch heads queries width"]:
    """Attention as `torch.nn.functional.scaled_dot_product_attention` does it, by it wherever it can express the call.

    Args:
        mask: True may attend. A query that sees no key returns 0.
        bias: added to the scores; broadcasts to (batch, heads, n_q, n_k).
        scale: the factor λ on the scores, 1/√dim by default. A tensor broadcasts to (batch, heads, n_q, 1). A callable
            maps the number of visible keys (an int, or a float tensor of that shape) to a factor on 1/√dim.
        kernel: from scores (hidden ones -inf) to weights.
        gate: multiplies the weights after the kernel, (heads, n_q, n_k); like other kernels it needs O(n_q n_k) memory.
        rotate: `rotate(x, start)` turns tokens at the positions start, start + 1, …; it gets query and key.
    Returns: a row per query, in its dtype.
    Errors: ValueError where shapes disagree, TypeError for a bias or a mask of the wrong dtype.
    Example:
        >>> tokens = torch.eye(2).reshape(1, 1, 2, 2)
        >>> dot_product_attention(tokens, tokens, tokens, mask=Mask(causal=True), scale=1.0)[0, 0]
        tensor([[1.0000, 0.0000], [0.2689, 0.7311]])
    """
    n_q, n_k = query.shape[-2], key.shape[-2]
    if query.shape[-1] != key.shape[-1] or n_k != value.shape[-2]:
        found = ", ".join(str(tuple(x.shape)) for x in (query, key, value))
        raise invalid("query, key, value", "have the shapes (…, n_q, dim), (…, n_k, dim), (…, n_k, width)", found)
    if bias is not None and not bias.is_floating_point():
        raise invalid("bias", "be floating point", bias.dtype, "Pass who may attend as mask.", kind=TypeError)
    rule = as_mask(mask)
    if rotate is not None:
        query, key = rotate(query, n_k - n_q), rotate(key, 0)
    query, number = _scaled(query, scale, rule, n_k)
    if kernel is softmax and gate is None:
        return _fused(query, key, value, rule, bias, number)
    scores = query @ key.mT * number
    if bias is not None:
        scores = scores + bias
    allowed = rule.tensor(n_q, n_k, query.device)
    weights = kernel(scores if allowed is None else scores.masked_fill(~allowed, -math.inf))
    return (weights if gate is None else weights * gate) @ value


def _scaled(query: Tensor, scale: int | float | Tensor | Scale | None, mask: Mask, n_k: int) -> tuple[Tensor, float]:
    """What varies goes on the query, so that cached keys stay valid; a plain number is left to the fused kernel."""
    number = 1 / math.sqrt(query.shape[-1]) if scale is None or callable(scale) else 1.0
    if callable(scale):
        visible = mask.visible(query.shape[-2], n_k, query.device)
        if isinstance(visible, Tensor):
            visible = visible.to(torch.promote_types(query.dtype, torch.float32))
        scale = scale(visible)
    if isinstance(scale, Tensor):
        return (query * scale).to(query.dtype), number
    return query, number if scale is None else number * scale


def _fused(query: Tensor, key: Tensor, value: Tensor, mask: Mask, bias: Tensor | None, scale: float) -> Tensor:
    n_q, n_k = query.shape[-2], key.shape[-2]
    attend = partial(F.scaled_dot_product_attention, query, key, value, scale=scale)
    if mask.causal and not mask.prefix and n_q == n_k and all(x is None for x in (mask.keys, mask.dense, bias)):
        return attend(is_causal=True)
    allowed = mask.tensor(n_q, n_k, query.device)
    if allowed is None:
        return attend(attn_mask=bias)
    empty = ~allowed.any(-1, keepdim=True)  # the backends disagree on such rows: let them see all, then blank them
    allowed = allowed | empty
    attn_mask = allowed if bias is None else bias.masked_fill(~allowed, -math.inf)
    return attend(attn_mask=attn_mask).masked_fill(empty, 0)
