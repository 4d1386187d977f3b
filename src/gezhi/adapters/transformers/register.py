"""The names under which transformers knows the implementation."""

from __future__ import annotations

from functools import partial

from gezhi._checks import require
from gezhi.adapters.transformers.attend import attend
from gezhi.adapters.transformers.masks import attention_mask
from gezhi.adapters.transformers.settings import ATTENTION, ENTROPY_SCALE


def register_attention() -> str:
    """Make what `use_attention` saves known to transformers, and return its name, "gezhi_attention_sdpa".

    To be called before `from_pretrained` of a saved folder; where it was not, transformers ends with a ValueError.
    Models that transformers' `sdpa` refuses (attention sinks, capped logits, no attention interface) are refused here
    too, at the latest by the first call.

    Errors: ModuleNotFoundError naming the extra to install.
    Example: `register_attention(); model = AutoModel.from_pretrained(folder)`
    """
    transformers, masking = require("transformers", "hf"), require("transformers.masking_utils", "hf")
    attention, masks = transformers.AttentionInterface, transformers.AttentionMaskInterface
    plain = masking.causal_mask_function, masking.bidirectional_mask_function
    known = attention().valid_keys()
    for name in (name for name in (ATTENTION, ENTROPY_SCALE) if name not in known):
        attention.register(name, partial(attend, attention()["sdpa"]))
        masks.register(name, partial(attention_mask, masks()["sdpa"], plain))
    return ATTENTION


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
      `use_attention(model)`.

    Errors: ModuleNotFoundError naming the extra to install; from the model's first call ValueError for attention that
        goes beyond `sdpa`, and for a config that says no length.
    Example: `AutoModel.from_pretrained(folder, attn_implementation=register_entropy_scale())`
    """
    register_attention()
    return ENTROPY_SCALE
