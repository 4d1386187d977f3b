"""What transformers calls in every attention layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gezhi._checks import invalid
from gezhi.adapters.transformers.linear import masked_linear_attention
from gezhi.adapters.transformers.settings import (
    FEATURES,
    RANDOM,
    URPE_TABLE,
    Settings,
    kernel_of,
    settings_of,
    train_length,
)
from gezhi.nn.attention import FeatureMap, Gate, Mask, dot_product_attention
from gezhi.nn.entropy_scale import entropy_invariant_scale

Sdpa = Callable[..., tuple[Tensor, None]]

BEYOND_SDPA = {"s_aux": "attention sinks", "sinks": "attention sinks", "softcap": "capped logits"}


def attend(
    sdpa: Sdpa, module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Scale, kernel, gate and mask as the config says, with the `sdpa` that does what it can."""
    for argument, what in BEYOND_SDPA.items():
        if kwargs.get(argument) is not None:
            raise invalid("attention", f"be what transformers' sdpa can compute, without {what}", type(module).__name__)
    _remember(module.config)
    settings, causal = settings_of(module.config), _is_causal(module, kwargs)
    if settings.fused:
        n_keys = visible_keys(query, key, attention_mask, causal) if settings.scale else 0
        return sdpa(module, _scaled(settings, module.config, query, n_keys), key, value, attention_mask, **kwargs)
    return _composed(settings, module, query, key, value, attention_mask, causal, kwargs), None


def visible_keys(query: Tensor, key: Tensor, attention_mask: Tensor | None, is_causal: bool) -> int | Tensor:
    """Number of keys that transformers' `sdpa` shows each query, which broadcasts to (batch, heads, n_q, 1).

    Args:
        attention_mask: True may attend, or numbers that are added (hidden: -inf, or nearly the lowest number).
        is_causal: whether `sdpa` shows query i the keys 0..i where it has no mask.
    """
    if attention_mask is None:
        n_q, n_k = query.shape[2], key.shape[2]
        if not is_causal or n_q == 1:
            return n_k
        seen = Mask(causal=True).visible(n_q, n_q, query.device)
        return seen.clamp(max=n_k) if isinstance(seen, Tensor) else seen
    if attention_mask.dtype != torch.bool:
        attention_mask = attention_mask > torch.finfo(attention_mask.dtype).min / 2
    return attention_mask.sum(-1, keepdim=True)


def _remember(config: Any) -> None:
    """To be saved: loading takes the name out of the config."""
    chosen = config._attn_implementation
    if not torch.compiler.is_compiling() and getattr(config, "attn_implementation", None) != chosen:
        config.attn_implementation = chosen


def _is_causal(module: Any, kwargs: dict[str, Any]) -> bool:
    causal = kwargs.get("is_causal")
    return bool(getattr(module, "is_causal", True) if causal is None else causal)


def _scaled(settings: Settings, config: Any, query: Tensor, n_keys: int | Tensor) -> Tensor:
    if settings.scale is None:
        return query
    if isinstance(n_keys, Tensor):
        n_keys = n_keys.to(torch.promote_types(query.dtype, torch.float32))
    clip = getattr(config, "entropy_scale_clip", True)
    factor = entropy_invariant_scale(n_keys, train_len=train_length(config), clip=clip)  # (5)
    return (query * factor).to(query.dtype)


def _composed(
    settings: Settings,
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    causal: bool,
    kwargs: dict[str, Any],
) -> Tensor:
    """What `sdpa` cannot compute, by `dot_product_attention`; (batch, n_q, heads, width)."""
    added = None if attention_mask is None or attention_mask.dtype == torch.bool else attention_mask
    _refuse(settings, module, added, kwargs)
    if added is None:
        rule = _rule(settings, module, attention_mask, causal)
        n_keys = rule.visible(query.shape[2], key.shape[2], query.device)
    else:
        rule, n_keys = Mask(), visible_keys(query, key, added, causal)
    query, kernel = _scaled(settings, module.config, query, n_keys), kernel_of(settings, module)
    if isinstance(kernel, FeatureMap):
        out = _linear(kernel, query, key, value, rule, kwargs.get("scaling"))
    else:
        bias = kwargs.get("position_bias")
        bias = added if bias is None else bias if added is None else bias + added
        gate = _gate(module, query.shape[2], key.shape[2], rule)
        attended = partial(dot_product_attention, scale=kwargs.get("scaling"), dropout=kwargs.get("dropout") or 0.0)
        out = attended(query, key, value, mask=rule, bias=bias, kernel=kernel, gate=gate)
    return out.transpose(1, 2).contiguous()


def _linear(kernel: FeatureMap, query: Tensor, key: Tensor, value: Tensor, rule: Mask, scaling: float | None) -> Tensor:
    """The model's scale is for features that stand for softmax; the others take queries and keys as they are."""
    scale = (query.shape[-1] ** -0.5 if scaling is None else scaling) if kernel.scaled else 1.0
    if rule.dense is None:
        return dot_product_attention(query, key, value, mask=rule, kernel=kernel, scale=scale)
    return masked_linear_attention(query, key, value, rule.dense, kernel=kernel, scale=scale)


def _refuse(settings: Settings, module: Any, added: Tensor | None, kwargs: dict[str, Any]) -> None:
    """Raise for what the composed attention cannot do, or does not have."""
    name = type(module).__name__
    if kwargs.get("cache") is not None:
        raise invalid("attention", "be without a paged cache unless it is softmax with a scale", name)
    if kwargs.get("is_causal") is None and not hasattr(module, "is_causal"):
        raise invalid("attention", "say whether it is causal", name)
    needed = {URPE_TABLE: settings.urpe is not None, FEATURES: settings.kernel == RANDOM}
    for part in (part for part, wanted in needed.items() if wanted and not hasattr(module, part)):
        fix = "After from_pretrained call load_attention(model, folder)."
        raise invalid("attention", f"hold {part}, of which its config speaks", name, fix)
    beyond = {
        "a bias on positions": kwargs.get("position_bias") is not None,
        "a mask of numbers": added is not None,
        "dropout": bool(kwargs.get("dropout")),
    }
    for what in (what for what, given in beyond.items() if given and settings.linear):
        fix = "Set the dropout of attention in the config to 0." if what == "dropout" else ""
        raise invalid("attention by a feature map", f"be without {what}", name, fix)


def _rule(settings: Settings, module: Any, mask: Tensor | None, causal: bool) -> Mask:
    """The mask as a rule, so that a feature map keeps its O(n). Its mask function sends padding as a single row."""
    causal = causal and getattr(module.config, "is_causal", True)
    if mask is None:
        return Mask(causal=causal)
    if settings.linear and mask.shape[1:3] == (1, 1):
        return Mask(causal=causal, keys=mask[:, 0, 0])
    return Mask(dense=mask)


def _gate(module: Any, n_q: int, n_k: int, rule: Mask) -> Gate | Tensor | None:
    """Factors by distance. Queries stand at the last keys, or, in a cache with room, where the last one sees itself."""
    urpe: Any = getattr(module, URPE_TABLE, None)
    if urpe is None or rule.dense is None or n_q == n_k:
        return urpe  # type: ignore[no-any-return]
    line = urpe(n_k, 2 * n_k - 1, 0, 1)[:, 0]  # distances 1 - n_k … n_k - 1
    key = torch.arange(n_k, device=line.device)
    newest = (rule.dense[..., -1, :] * key).amax()
    query = newest - torch.arange(n_q - 1, -1, -1, device=line.device)
    factors: Tensor = line[:, key - query[:, None] + n_k - 1]
    return factors
