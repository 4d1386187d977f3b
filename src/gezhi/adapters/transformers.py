"""Hugging Face transformers: gezhi's attention scales as an attention implementation that any model can be told to use,
and contrastive gradients of large batches in its `Trainer`.

A custom implementation without a mask function of its own gets no mask at all from transformers: padding and the future
would be visible without an error. So both are registered together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gezhi._checks import check_number, invalid, require
from gezhi.adapters._training import HostTrainer, begin_step, cached_step, encoded
from gezhi.nn.attention import Mask
from gezhi.nn.entropy_scale import entropy_invariant_scale

ENTROPY_SCALE = "gezhi_entropy_scale_sdpa"  # at names with sdpa transformers refuses models that sdpa cannot do
BEYOND_SDPA = {"s_aux": "attention sinks", "sinks": "attention sinks", "softcap": "capped logits"}


def register_entropy_scale() -> str:
    """Make `attn_implementation="gezhi_entropy_scale_sdpa"` known to transformers, and return that name.

    The implementation is transformers' `sdpa` on queries times (5) of the page, and models that `sdpa` refuses
    (attention sinks, capped logits, no attention interface) are refused here too. It counts the keys that each query
    sees in the mask that `sdpa` gets, so left padding, a cache, a sliding window and the tokens of an encoder are
    counted as they are. The factor comes on top of whatever the model multiplies its scores by; a bias on positions
    that is added to them (T5, ALiBi) stays as it is. The model's config decides the rest, and is saved with the model:

    - `entropy_scale_train_len`: the number of keys at which nothing changes; without it `max_position_embeddings`.
    - `entropy_scale_clip`: True unless set. Then nothing changes below that length either, which is right for models
      trained with the usual scale. Set it to False for a model trained with this one.
    - `attn_implementation`: this name, once the model was used. So a plain `from_pretrained` of what was saved has the
      scale again where this function was called before, and elsewhere ends with transformers' ValueError (versions of
      transformers before 5.23 may ignore the entry: pass the name to them). To be rid of it, call
      `model.set_attn_implementation("sdpa")` and delete the entry before saving.

    Errors: ModuleNotFoundError naming the extra to install; from the model's first call ValueError for attention that
        goes beyond `sdpa`, and for a config that says no length.
    Example: `AutoModel.from_pretrained(folder, attn_implementation=register_entropy_scale())`
    """
    transformers = require("transformers", "hf")
    attention, masks = transformers.AttentionInterface, transformers.AttentionMaskInterface
    attention.register(ENTROPY_SCALE, partial(_attend, attention()["sdpa"]))
    masks.register(ENTROPY_SCALE, masks()["sdpa"])
    return ENTROPY_SCALE


def use_entropy_scale(model: Any, *, train_len: int | float | None = None, clip: bool = True) -> Any:
    """Switch a loaded model to the entropy-invariant scale, all of it or nothing.

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
    name = register_entropy_scale()
    base: Any = require("transformers", "hf").PreTrainedModel
    parts = [part for part in model.modules() if isinstance(part, base)]
    if not parts:
        raise invalid("model", "be or hold a PreTrainedModel", type(model).__name__)
    for part in parts:
        _refuse_beyond_sdpa(part)
    configs = {
        id(part.config): part.config for part in model.modules() if hasattr(getattr(part, "config", 0), "to_dict")
    }
    for config in configs.values():
        train_length(config, train_len)
    length = None if train_len is None else float(train_len)  # JSON knows no NumPy scalars
    settings = {"entropy_scale_train_len": length, "entropy_scale_clip": bool(clip), "attn_implementation": name}
    inner = {id(below) for part in parts for below in part.modules() if below is not part}
    for part in parts:
        if id(part) not in inner:
            part.set_attn_implementation(name)
    for config in configs.values():
        config.update(settings)
    return model


def _refuse_beyond_sdpa(part: Any) -> None:
    """Raise for a model whose attention transformers' `sdpa` cannot compute, or which does not ask for it."""
    name, fix = type(part).__name__, "Pass the part of the model that does, if there is one."
    if not part._supports_sdpa:
        why = "Attention sinks, capped logits and attention of a model's own are none of it."
        raise invalid("model", "attend as transformers' sdpa does", name, f"{why} {fix}")
    if not part._can_set_attn_implementation():
        raise invalid("model", "go through transformers' AttentionInterface", name, fix)


def train_length(config: Any, train_len: int | float | None = None) -> float:
    """The length that is given, or else the config's `entropy_scale_train_len` or `max_position_embeddings`."""
    named = {"train_len": train_len}
    named |= {name: getattr(config, name, None) for name in ("entropy_scale_train_len", "max_position_embeddings")}
    argument, length = next(((name, value) for name, value in named.items() if value is not None), ("", None))
    if length is None:
        fix = "Set entropy_scale_train_len to the length of training."
        raise invalid(f"config of {type(config).__name__}", "say at which length it was trained", None, fix)
    check_number(argument, length, above=1, at_most=sys.float_info.max)
    return float(length)


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


def _attend(
    sdpa: Callable[..., tuple[Tensor, None]],
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What transformers calls in every attention layer, with the `sdpa` that does the rest."""
    for argument, what in BEYOND_SDPA.items():
        if kwargs.get(argument) is not None:
            raise invalid("attention", f"be what transformers' sdpa can compute, without {what}", type(module).__name__)
    if not torch.compiler.is_compiling() and getattr(module.config, "attn_implementation", None) != ENTROPY_SCALE:
        module.config.attn_implementation = ENTROPY_SCALE  # to be saved: loading takes it out of the config
    causal = kwargs.get("is_causal")
    n_keys = visible_keys(query, key, attention_mask, getattr(module, "is_causal", True) if causal is None else causal)
    if isinstance(n_keys, Tensor):
        n_keys = n_keys.to(torch.promote_types(query.dtype, torch.float32))
    clip = getattr(module.config, "entropy_scale_clip", True)
    factor = entropy_invariant_scale(n_keys, train_len=train_length(module.config), clip=clip)  # (5)
    return sdpa(module, (query * factor).to(query.dtype), key, value, attention_mask, **kwargs)


class ContrastiveCacheTrainerMixin(HostTrainer):
    """`training_step` of transformers' `Trainer` by `ContrastiveCache`: memory for a chunk, gradient of the batch.

    It stands before `Trainer` among the bases, and a subclass says what the loss is:

        class MyTrainer(ContrastiveCacheTrainerMixin, Trainer):
            chunk_size = 32

            def contrastive_loss(self, representations, inputs):
                queries, documents = representations
                ...

    A batch is what the data collator returns: a mapping of mappings (`{"query": {"input_ids": …}, "document": …}`) is
    one input of the model for each, any other mapping is one input. Gradient accumulation, mixed precision and DDP are
    the trainer's own; in several processes each has its own batch, and gradients are averaged.

    `evaluate()`, `predict()` and `eval_strategy` work. `eval_loss` is the mean over batches, weighed by their rows, of
    the loss of each batch of `per_device_eval_batch_size` in its own process: batches are not gathered into one, so
    compare it at one size, and a shorter last batch has fewer negatives. The predictions are the representations, one
    array for each input; `label_ids` are what `args.label_names` names in the batch.

    Attributes:
        chunk_size: rows of an input that are encoded at once.
        batch_norm: as in `ContrastiveCache`.

    Errors: NotImplementedError without a loss; ValueError under DeepSpeed, FSDP and Megatron; those of
        `ContrastiveCache`.
    """

    def contrastive_loss(self, representations: Sequence[Tensor], inputs: Mapping[str, Any]) -> Tensor:
        """The loss of a batch, by its representations, one for each input; labels stand in `inputs`."""
        raise NotImplementedError("contrastive_loss must be defined: return a scalar from the representations.")

    def contrastive_inputs(self, inputs: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The model's inputs in a batch."""
        towers = [value for value in inputs.values() if isinstance(value, Mapping)]
        return towers or [inputs]

    def representation(self, output: Any) -> Tensor:
        """The (rows, …) tensor in the model's output: the output itself unless overridden."""
        tensor: Tensor = output
        return tensor

    def compute_loss(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool = False, **_: Any) -> Any:
        """The same loss from one graph."""
        outputs = [model(**batch) for batch in self.contrastive_inputs(inputs)]
        loss = self.contrastive_loss([self.representation(output) for output in outputs], inputs)
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self, model: Any, inputs: Mapping[str, Any], prediction_loss_only: bool, *_host: Any, **_settings: Any
    ) -> tuple[Tensor, Any, Any]:
        """Loss, representations and labels of one batch."""
        inputs = self._prepare_inputs(inputs)
        batches = self.contrastive_inputs(inputs)
        with torch.no_grad():
            with self.compute_loss_context_manager():
                found = [encoded(model, batch, self.representation, self.chunk_size) for batch in batches]
            loss = self.contrastive_loss(found, inputs).detach()
        if prediction_loss_only:
            return loss, None, None
        labels = tuple(inputs[name] for name in self.label_names or () if inputs.get(name) is not None)
        return (
            loss,
            found[0] if len(found) == 1 else tuple(found),
            (labels if len(labels) > 1 else next(iter(labels), None)),
        )

    def training_step(self, model: Any, inputs: Mapping[str, Any], *_host: Any) -> Tensor:
        """Add the gradient of one batch and return its loss, as the trainer's own does."""
        inputs = begin_step(self, model, inputs)

        def loss_fn(*representations: Tensor) -> Tensor:
            return self.contrastive_loss(representations, inputs)

        return cached_step(self, model, loss_fn, self.representation, self.contrastive_inputs(inputs))


def _one_or_all(tensors: tuple[Tensor, ...]) -> Any:
    """As the trainer hands results on: nothing, the one tensor, or a tuple."""
    return tensors if len(tensors) > 1 else next(iter(tensors), None)
