"""Hugging Face transformers: gezhi's attention as an implementation that any model can be told to use; contrastive
gradients of large batches and adversarial training in its `Trainer`; decoding that stops in its `generate`.

A custom implementation without a mask function of its own gets no mask at all from transformers: padding and the future
would be visible without an error. So both are registered together.
"""

from gezhi.adapters._adversarial import AdversarialTrainerMixin as AdversarialTrainerMixin
from gezhi.adapters.transformers.attend import BEYOND_SDPA as BEYOND_SDPA
from gezhi.adapters.transformers.attend import visible_keys as visible_keys
from gezhi.adapters.transformers.masks import prefix_tokens as prefix_tokens
from gezhi.adapters.transformers.register import register_attention as register_attention
from gezhi.adapters.transformers.register import register_entropy_scale as register_entropy_scale
from gezhi.adapters.transformers.settings import ATTENTION as ATTENTION
from gezhi.adapters.transformers.settings import ENTROPY_SCALE as ENTROPY_SCALE
from gezhi.adapters.transformers.settings import train_length as train_length
from gezhi.adapters.transformers.stopping import ConsistentTopKLogitsProcessor as ConsistentTopKLogitsProcessor
from gezhi.adapters.transformers.stopping import ConsistentTopPLogitsProcessor as ConsistentTopPLogitsProcessor
from gezhi.adapters.transformers.stopping import NonMonotonicLogitsProcessor as NonMonotonicLogitsProcessor
from gezhi.adapters.transformers.stopping import SelfTerminatingLogitsProcessor as SelfTerminatingLogitsProcessor
from gezhi.adapters.transformers.stopping import TerminationFloorLogitsProcessor as TerminationFloorLogitsProcessor
from gezhi.adapters.transformers.trainer import ContrastiveCacheTrainerMixin as ContrastiveCacheTrainerMixin
from gezhi.adapters.transformers.use import load_attention as load_attention
from gezhi.adapters.transformers.use import use_attention as use_attention
from gezhi.adapters.transformers.use import use_entropy_scale as use_entropy_scale
