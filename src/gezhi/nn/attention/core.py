"""The function that all attention of the wing goes through."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gezhi._checks import check_number, invalid
from gezhi.nn.attention.kernels import FeatureMap, Kernel, softmax
from gezhi.nn.attention.linear import CHUNK, LinearAttend, Rotate
from gezhi.nn.attention.rule import Mask, as_mask, check_fits

Scale = Callable[["int | Tensor"], "int | float | Tensor"]
Gate = Callable[[int, int, int, int], Tensor]

_SCORES = 2**22  # scores that the dense path holds at once: 16 MiB in float32


def dot_product_attention(
    query: Float[Tensor, "batch heads queries dim"],
    key: Float[Tensor, "batch key_heads keys dim"],
    value: Float[Tensor, "batch key_heads keys width"],
    *,
    mask: Mask | Tensor | None = None,
    bias: Tensor | None = None,
    scale: int | float | Tensor | Scale | None = None,
    kernel: Kernel | FeatureMap = softmax,
    gate: Tensor | Gate | None = None,
    rotate: Rotate | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "batch heads queries width"]:
    """Attention as `torch.nn.functional.scaled_dot_product_attention` does it, by it wherever it can express the call.

    Args:
        query, key, value: as there; fewer key heads than query heads serve equal groups of them in turn.
        mask: True may attend. A query that sees no key returns 0.
        bias: added to the scores; broadcasts to (batch, heads, n_q, n_k).
        scale: the factor λ on the scores, 1/√dim by default. A tensor broadcasts to (batch, heads, n_q, 1). A callable
            maps the number of visible keys (an int, or a float tensor of that shape) to a factor on 1/√dim.
        kernel: from rows of scores (hidden ones -inf) to weights, or a `FeatureMap`, which never forms the scores:
            O(n) time and memory; it takes a number as `scale` and refuses `bias`, `gate`, `dropout` and dense masks.
        gate: multiplies the weights after the kernel and before dropout: (heads, n_q, n_k), or a callable
            `gate(n_q, n_k, start, stop)` that builds the rows from start up to stop.
        rotate: `rotate(x, start)` turns tokens at the positions start, start + 1, …; it gets query and key, or with a
            feature map their features, in the numerator alone.
        dropout: share of the weights that is set to 0, the others raised to match; the caller knows whether it trains.
    Returns: a row per query, in its dtype.
    Errors: ValueError where shapes disagree, TypeError for a bias or a mask of the wrong dtype.
    Cost: what softmax with a gate, or another dense kernel, cannot leave to the fused kernel goes by groups of queries
        and is computed again for the gradient: 16 MiB of scores at a time, or one query's.
    Example:
        >>> tokens = torch.eye(2).reshape(1, 1, 2, 2)
        >>> dot_product_attention(tokens, tokens, tokens, mask=Mask(causal=True), scale=1.0)[0, 0]
        tensor([[1.0000, 0.0000], [0.2689, 0.7311]])
    """
    rule = as_mask(mask)
    check_shapes(query, key, value, rule, bias, gate)
    if isinstance(kernel, FeatureMap):
        refuse(bias=bias, gate=gate, dropout=dropout or None, dense=rule.dense)
        key, value = each_head(query, key, value)
        attend = linear_attend(kernel, query.shape[-1], scale, rotate)
        return attend(query, key, value, rule)[0].to(query.dtype)
    n_q, n_k = query.shape[-2], key.shape[-2]
    if rotate is not None:
        query, key = rotate(query, n_k - n_q), rotate(key, 0)
    query, number = _scaled(query, scale, rule, n_k)
    if kernel is softmax and gate is None:
        return _fused(query, key, value, rule, bias, number, dropout)
    key, value = each_head(query, key, value)
    return _dense(query, key, value, rule, bias, number, kernel, gate, dropout)


def refuse(**parts: object) -> None:
    """Raise for what a feature map cannot serve, by name."""
    for name, given in parts.items():
        if given is not None:
            must = "be left out with a FeatureMap, which never forms the scores"
            raise invalid(name, must, f"a {type(given).__name__}", "Use kernel=softmax.")


def linear_attend(
    kernel: FeatureMap, dim: int, scale: object = None, rotate: Rotate | None = None, chunk: int = CHUNK
) -> LinearAttend:
    """A feature map ready to run on heads of so many channels."""
    if scale is None:
        scale = dim**-0.5 if kernel.scaled else 1.0
    check_number("scale", scale, at_least=0, fix="A FeatureMap takes its root on queries and keys alike.")
    return LinearAttend(kernel, scale, rotate, chunk)  # type: ignore[arg-type]


def check_shapes(
    query: Tensor, key: Tensor, value: Tensor, rule: Mask, bias: Tensor | None = None, gate: object = None
) -> None:
    """Raise for inputs that do not belong together."""
    shapes = query.shape, key.shape, value.shape
    if any(len(shape) != 4 for shape in shapes) or query.shape[-1] != key.shape[-1] or key.shape[:3] != value.shape[:3]:
        found = ", ".join(str(tuple(shape)) for shape in shapes)
        must = "have the shapes (batch, heads, n_q, dim), (batch, heads, n_k, dim), (batch, heads, n_k, width)"
        raise invalid("query, key, value", must, found)
    if query.shape[0] != key.shape[0]:
        raise invalid("query and key", "have the same batch size", f"{query.shape[0]} and {key.shape[0]}")
    if key.shape[1] == 0 or query.shape[1] % key.shape[1]:
        must = f"be a multiple of the number of heads of key, {key.shape[1]}"
        raise invalid("the number of heads of query", must, query.shape[1])
    scores = (*query.shape[:3], key.shape[2])
    rule.check(*scores)
    if bias is not None and not bias.is_floating_point():
        raise invalid("bias", "be floating point", bias.dtype, "Pass who may attend as mask.", kind=TypeError)
    for name, part in (("bias", bias), ("gate", gate)):
        if isinstance(part, Tensor):
            check_fits(name, part, scores)


def each_head(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Key and value for every head of the query."""
    groups = query.shape[1] // key.shape[1]
    return (key, value) if groups == 1 else (key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1))


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


def _fused(
    query: Tensor, key: Tensor, value: Tensor, mask: Mask, bias: Tensor | None, scale: float, dropout: float
) -> Tensor:
    n_q, n_k = query.shape[-2], key.shape[-2]
    attend = partial(F.scaled_dot_product_attention, query, key, value, scale=scale, dropout_p=dropout)
    if query.shape[1] != key.shape[1]:
        attend = partial(attend, enable_gqa=True)
    structured = mask.keys is None and mask.dense is None
    if mask.causal and not mask.prefix and n_q == n_k and structured and bias is None:
        return attend(is_causal=True)
    allowed = mask.tensor(n_q, n_k, query.device)
    if allowed is None:
        return attend(attn_mask=None if bias is None else bias.to(query.dtype))
    empty = None if structured else ~allowed.any(-1, keepdim=True)
    if empty is not None:  # the backends disagree on such rows: let them see all, then blank them
        allowed = allowed | empty
    attn_mask = allowed if bias is None else bias.to(query.dtype).masked_fill(~allowed, -math.inf)
    out = attend(attn_mask=attn_mask)
    return out if empty is None else out.masked_fill(empty, 0)


def _dense(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Mask,
    bias: Tensor | None,
    scale: float,
    kernel: Kernel,
    gate: Tensor | Gate | None,
    dropout: float,
) -> Tensor:
    """By groups of queries; each is computed again in the backward pass, so that no n_q × n_k matrix is kept."""
    batch, heads, n_q, _ = query.shape
    n_k = key.shape[-2]
    rows = max(1, min(n_q, _SCORES // max(1, batch * heads * n_k)))

    def attend(start: int, query: Tensor, bias: Tensor | None, gate: Tensor | Gate | None) -> Tensor:
        stop = start + query.shape[-2]
        scores = query @ key.mT * scale
        if bias is not None:
            scores = scores + bias
        allowed = mask.tensor(n_q, n_k, query.device, slice(start, stop))
        weights = kernel(scores if allowed is None else scores.masked_fill(~allowed, -math.inf))
        if gate is not None:
            weights = weights * (gate if isinstance(gate, Tensor) else gate(n_q, n_k, start, stop))
        return F.dropout(weights, dropout) @ value if dropout else weights @ value

    if rows >= n_q:
        return attend(0, query, bias, gate).to(query.dtype)
    starts = range(0, n_q, rows)
    groups = zip(
        starts, torch.split(query, rows, -2), _groups(bias, rows, starts), _groups(gate, rows, starts), strict=True
    )
    again = partial(checkpoint, attend, use_reentrant=False, preserve_rng_state=dropout > 0)
    run = again if torch.is_grad_enabled() else attend
    return torch.cat([run(*group) for group in groups], -2).to(query.dtype)


def _groups(part: Any, rows: int, starts: range) -> list[Any]:
    """What each group of queries gets of a bias or a gate; `split` puts the gradients together in one piece."""
    if isinstance(part, Tensor) and part.ndim > 1 and part.shape[-2] > 1:
        return list(torch.split(part, rows, -2))
    return [part] * len(starts)
