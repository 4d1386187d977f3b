"""Hugging Face transformers: gezhi's attention scales as an attention implementation that any model can be told to use,
and contrastive gradients of large batches in its `Trainer`.

A custom implementation without a mask function of its own gets no mask at all from transformers: padding and the future
would be visible without an error. So both are registered together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gezhi._checks import check_number, invalid, require
from gezhi.adapters._training import HostTrainer, begin_step, cached_step
from gezhi.nn.attention import Mask
from gezhi.nn.entropy_scale import entropy_invariant_scale

ENTROPY_SCALE = "gezhi_entropy_scale"


def register_entropy_scale() -> str:
    """Make `attn_implementation="gezhi_entropy_scale"` known to transformers, and return that name.

    The implementation is transformers' `sdpa` on queries times (5) of the page. It counts the keys that each query
    sees in the mask that `sdpa` gets, so left padding, a cache and a sliding window are counted as they are. The
    model's config decides the rest, and is saved with the model:

    - `entropy_scale_train_len`: the number of keys at which nothing changes; without it `max_position_embeddings`.
    - `entropy_scale_clip`: True unless set. Then nothing changes below that length either, which is right for models
      trained with the usual scale. Set it to False for a model trained with this one.

    Errors: ModuleNotFoundError naming the extra to install.
    Example: `AutoModel.from_pretrained(folder, attn_implementation=register_entropy_scale())`
    """
    transformers = require("transformers", "hf")
    attention, masks = transformers.AttentionInterface, transformers.AttentionMaskInterface
    attention.register(ENTROPY_SCALE, partial(_attend, attention()["sdpa"]))
    masks.register(ENTROPY_SCALE, masks()["sdpa"])
    return ENTROPY_SCALE


def use_entropy_scale(model: Any, *, train_len: int | float | None = None, clip: bool = True) -> Any:
    """Switch a loaded model (or a part of one, such as its language model) to the entropy-invariant scale.

    Args:
        model: a `PreTrainedModel` whose attention goes through transformers' interface.
        train_len: the length it was trained at, > 1; None: its `max_position_embeddings`.
        clip: False only for a model that was trained with this scale.
    Returns: the model itself.
    Errors: ValueError for a model that does not take attention implementations, and for train_len ≤ 1.
    """
    model.set_attn_implementation(register_entropy_scale())
    if model.config._attn_implementation != ENTROPY_SCALE:
        raise invalid("model", "go through transformers' AttentionInterface", type(model).__name__)
    for config in {id(part.config): part.config for part in model.modules() if hasattr(part, "config")}.values():
        config.entropy_scale_clip = clip
        config.entropy_scale_train_len = train_len
        train_length(config)
    return model


def train_length(config: Any) -> float:
    """The length that a model's config names: `entropy_scale_train_len`, else `max_position_embeddings`."""
    length = getattr(config, "entropy_scale_train_len", None)
    if length is None:
        length = getattr(config, "max_position_embeddings", None)
    if length is None:
        fix = "Set entropy_scale_train_len to the length of training."
        raise invalid(f"config of {type(config).__name__}", "say at which length it was trained", None, fix)
    check_number("entropy_scale_train_len", length, above=1)
    return float(length)


def visible_keys(query: Tensor, key: Tensor, attention_mask: Tensor | None, is_causal: bool) -> int | Tensor:
    """Number of keys that transformers' `sdpa` shows each query, which broadcasts to (batch, heads, n_q, 1).

    Args:
        attention_mask: True may attend, or numbers that are added (hidden: -inf, or nearly the lowest number).
        is_causal: whether `sdpa` shows query i the keys 0..i where it has no mask.
    """
    if attention_mask is None:
        n_q, n_k = query.shape[2], key.shape[2]
        return Mask(causal=True).visible(n_q, n_q, query.device) if is_causal and n_q > 1 else n_k
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
        """The same loss from one graph, which evaluation uses."""
        outputs = [model(**batch) for batch in self.contrastive_inputs(inputs)]
        loss = self.contrastive_loss([self.representation(output) for output in outputs], inputs)
        return (loss, outputs) if return_outputs else loss

    def training_step(self, model: Any, inputs: Mapping[str, Any], *_host: Any) -> Tensor:
        """Add the gradient of one batch and return its loss, as the trainer's own does."""
        inputs = begin_step(self, model, inputs)

        def loss_fn(*representations: Tensor) -> Tensor:
            return self.contrastive_loss(representations, inputs)

        return cached_step(self, model, loss_fn, self.representation, self.contrastive_inputs(inputs))
