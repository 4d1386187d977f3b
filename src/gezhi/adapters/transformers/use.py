"""Switching a loaded model, and loading one that was switched."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from gezhi._checks import invalid, require
from gezhi.adapters.transformers.parts import attach, attention_layers, built, matched, saved_tensors
from gezhi.adapters.transformers.register import register_attention
from gezhi.adapters.transformers.settings import (
    ATTENTION,
    ENTROPY_SCALE,
    ENTRY,
    KernelName,
    Settings,
    settings_of,
    train_length,
)

SCALE_ENTRIES = ("entropy_scale_train_len", "entropy_scale_clip")


def use_attention(
    model: Any,
    *,
    kernel: KernelName = "softmax",
    num_features: int | None = None,
    scale: Literal["log_n"] | None = None,
    train_len: int | float | None = None,
    clip: bool = True,
    urpe: int | None = None,
    prefix: int | Literal["given"] | None = None,
) -> Any:
    """Switch the attention of a loaded model, all of it or nothing; without arguments back to transformers' `sdpa`.

    Masks, caches and rotary positions stay the model's own, and the parts can be combined. What was chosen stands in
    the config and is saved with the model: see `load_attention`.

    Args:
        model: a `PreTrainedModel`, a part of one (its language model), or a module with such models inside, such as a
            `SentenceTransformer`.
        kernel: in place of softmax, in every attention layer, those between decoder and encoder included. `"l2"`,
            or `"relu2"` over the number of visible keys; or a feature map, linear attention: `"elu1"`, `"exp"`,
            `"double_softmax"`, `"cosine"`, `"positive_random_features"`. Its features are those of the queries and keys
            that the model makes, after its rotary positions. A model that was not trained with it must be trained.
        num_features: of `"positive_random_features"`, drawn once for each layer; d log d by default.
        scale: `"log_n"`, in every attention layer; `train_len` and `clip` as for `use_entropy_scale`.
        urpe: so many distances to each side have a trained factor on their weights, farther ones share the last; in
            every layer but those between decoder and encoder. Factors are parameters of the model (best left out of
            weight decay) that start at 1, which changes nothing.
        prefix: in a decoder, so many first tokens of each row see each other both ways (UniLM), padding not counted;
            `"given"`: as many as `prefix_tokens` says at each call. They must all be in the first call of a cache.
    Returns: the model itself.
    Errors: ValueError, and the model as it was, for a model (or one inside it) that transformers' `sdpa` refuses or
        that takes no attention implementations; for a prefix of anything but a decoder alone; for parts that do not go
        together (a feature map with `urpe`); for a scale without a length. At the first call, for a feature map with
        dropout of attention, a bias on positions or a mask of numbers.
    Cost: the scale alone is `sdpa`. `"l2"`, `"relu2"` and `urpe` form the weights of a group of queries at a time. A
        feature map costs O(n) where the mask is causal or bidirectional with padding, and for a single query; with a
        sliding window, packed rows, a prefix, a static cache while it reads the prompt, or a mask of your own it takes
        O(n²). Keys and values stay in the cache: decoding does not become cheaper.
    Example: `use_attention(AutoModelForCausalLM.from_pretrained(folder), urpe=128)`
    """
    settings = Settings(kernel, num_features, scale, urpe, prefix)
    settings.check()
    if scale is None and train_len is not None:
        raise invalid("train_len", "come with scale='log_n'", train_len)
    register_attention()
    heads, configs = _models(model)
    for config in configs if scale else ():
        train_length(config, train_len)
    if not settings.fused:
        _check_layers(model)
    if prefix is not None:
        _check_decoder(model, configs)
    parts = built(model, settings)
    plain = settings == Settings()
    for part in heads:
        part.set_attn_implementation("sdpa" if plain else settings.name)
    attach(parts)
    for config in configs:
        for entry in (ENTRY, *SCALE_ENTRIES, "attn_implementation"):
            config.__dict__.pop(entry, None)
        config.update({} if plain else settings.entries())
        if scale is not None:  # JSON knows no NumPy scalars
            length = None if train_len is None else float(train_len)
            config.update(dict(zip(SCALE_ENTRIES, (length, bool(clip)), strict=True)))
    return model


def use_entropy_scale(model: Any, *, train_len: int | float | None = None, clip: bool = True) -> Any:
    """Switch a loaded model to the entropy-invariant scale, all of it or nothing: `use_attention(scale="log_n")`.

    Args:
        model: a `PreTrainedModel`, a part of one (its language model), or a module with such models inside, such as a
            `SentenceTransformer`.
        train_len: how many tokens the sequences of its training had, > 1; None: its `max_position_embeddings`, which is
            more where a model was stretched without training (dynamic or YaRN-scaled rotary positions: pass the
            original length). At this many visible keys the scale is the usual one; twice as many at a length of 512
            sharpen attention by log 1024 / log 512 = 1.11.
        clip: True leaves queries that see fewer keys than `train_len` alone: on shorter inputs the model is as it was,
            whatever you compare. False only for a model that was trained with this scale.
    Returns: the model itself.
    Errors: ValueError, and the model as it was, for a model (or one inside it) that transformers' `sdpa` refuses or
        that takes no attention implementations, for train_len ≤ 1, and where nobody says a length.
    Example: `use_entropy_scale(AutoModelForCausalLM.from_pretrained(folder), train_len=2048)`
    """
    return use_attention(model, scale="log_n", train_len=train_len, clip=clip)


def load_attention(model: Any, folder: str | Path) -> Any:
    """Give a model that `from_pretrained` made of a saved folder the factors and features that were saved with it.

    Needed where `use_attention` was given `urpe` or random features: transformers knows no place for them, says that it
    left them out, and the model's first call raises. For the rest `register_attention()` before loading is enough;
    versions of transformers before 5.23 may ignore the name in the config, which is set here in any case.

    Args:
        model: what `from_pretrained` returned, or a module with such models inside.
        folder: holds the `.safetensors` files of the model.
    Returns: the model itself.
    Errors: ValueError, and the model as it was, where a tensor is missing or has another shape.
    Example: `register_attention(); load_attention(AutoModel.from_pretrained(folder), folder)`
    """
    heads, _ = _models(model)
    parts = [layer for head in heads for layer in built(head, settings_of(head.config))]
    named = {id(module): name for name, module in model.named_modules()}
    wanted = {
        ".".join(filter(None, (named[id(module)], part, name))): tensor
        for module, held in parts
        for part, made in held.items()
        if made is not None
        for name, tensor in made.state_dict(keep_vars=True).items()
    }
    found = matched(list(wanted), saved_tensors(folder), folder) if wanted else {}
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            raise invalid(f"{name} in {folder}", f"have the shape {tuple(wanted[name].shape)}", tuple(tensor.shape))
    with torch.no_grad():
        for name, tensor in found.items():
            wanted[name].copy_(tensor)
    attach(parts)
    register_attention()
    for head in heads:
        scale_alone = getattr(head.config, "attn_implementation", None) == ENTROPY_SCALE
        if scale_alone or hasattr(head.config, ENTRY):
            head.set_attn_implementation(ENTROPY_SCALE if scale_alone else ATTENTION)
    return model


def _models(model: Any) -> tuple[list[Any], list[Any]]:
    """The outermost models, and the configs of all that is inside; raise for one that cannot be switched."""
    base: Any = require("transformers", "hf").PreTrainedModel
    parts = [part for part in model.modules() if isinstance(part, base)]
    if not parts:
        raise invalid("model", "be or hold a PreTrainedModel", type(model).__name__)
    for part in parts:
        _refuse_beyond_sdpa(part)
    configs = {
        id(part.config): part.config for part in model.modules() if hasattr(getattr(part, "config", 0), "to_dict")
    }
    inner = {id(below) for part in parts for below in part.modules() if below is not part}
    return [part for part in parts if id(part) not in inner], list(configs.values())


def _refuse_beyond_sdpa(part: Any) -> None:
    """Raise for a model whose attention transformers' `sdpa` cannot compute, or which does not ask for it."""
    name, fix = type(part).__name__, "Pass the part of the model that does, if there is one."
    if not part._supports_sdpa:
        why = "Attention sinks, capped logits and attention of a model's own are none of it."
        raise invalid("model", "attend as transformers' sdpa does", name, f"{why} {fix}")
    if not part._can_set_attn_implementation():
        raise invalid("model", "go through transformers' AttentionInterface", name, fix)


def _check_layers(model: Any) -> None:
    if next(attention_layers(model), None) is None:
        raise invalid("model", "have attention layers that say whether they are causal", type(model).__name__)


def _check_decoder(model: Any, configs: list[Any]) -> None:
    """Raise unless all attention looks back."""
    layers = list(attention_layers(model))
    alone = not any(getattr(config, "is_encoder_decoder", False) for config in configs)
    back = all(x.is_causal and getattr(x.config, "is_causal", True) for x, crosses in layers if not crosses)
    if not (alone and layers and back):
        must = "be a decoder alone where a prefix is asked for"
        raise invalid("model", must, type(model).__name__, "An encoder sees all tokens both ways anyway.")
