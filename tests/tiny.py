"""Tiny random models of Hugging Face, and what tests of several adapters do with them."""

from __future__ import annotations

import pytest
import torch

transformers = pytest.importorskip("transformers")

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.5,
}
DECODER = SIZES | {"intermediate_size": 48, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1}
NO_END = {"eos_token_id": None, "max_position_embeddings": 64}
BUILD = {
    "bert": lambda: transformers.BertModel(
        transformers.BertConfig(**SIZES, intermediate_size=48, max_position_embeddings=64)
    ),
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**DECODER, **NO_END)),
    "gpt2": lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(**SIZES, **NO_END, bos_token_id=1)),
    "mistral, window 4": lambda: transformers.MistralForCausalLM(
        transformers.MistralConfig(**DECODER, **NO_END, head_dim=8, sliding_window=4)
    ),
}
PADS = 5


def tokens(n=12):
    return torch.randint(1, 50, (2, n), generator=torch.Generator().manual_seed(1))


def logits(model, ids, **inputs):
    with torch.no_grad():
        return model(ids, **inputs)[0]


def left_padded(ids):
    """Padding in front of the second sequence only, with the positions that its tokens had."""
    padded = torch.stack([torch.cat([ids[0], ids[0, :PADS]]), torch.cat([torch.zeros(PADS).long(), ids[1]])])
    mask = torch.ones_like(padded)
    mask[1, :PADS] = 0
    return padded, {"attention_mask": mask, "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}


def small_bert(dropout, **settings):
    """The config of a BERT of one layer, for trainers."""
    return transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        **settings,
    )
