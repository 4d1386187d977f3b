r"""Decoding that stops: consistent truncated sampling, self-terminating heads, and how often texts go on for ever.

A model is a `Step`. A rule for the next token is a function of its scores, so any of them works with any model, in
`sample`, `greedy_search` and `beam_search` here, and in Hugging Face's `generate` by `gezhi.adapters.transformers`.
"""

from gezhi.text.decoding.beam import beam_search
from gezhi.text.decoding.heads import NonMonotonicHead, SelfTerminatingHead
from gezhi.text.decoding.repetition import (
    NonTermination,
    bigram_repetition_index,
    looping_period,
    non_termination_ratio,
    repetition_ratio,
)
from gezhi.text.decoding.search import Decoded, greedy_search, sample
from gezhi.text.decoding.steps import Step, TransformerStep, left_padded, uncached_step, with_head
from gezhi.text.decoding.survival import NoTerminationGuaranteeWarning, termination_horizon
from gezhi.text.decoding.truncation import consistent_top_k, consistent_top_p, termination_floor, top_k, top_p

__all__ = [
    "Decoded",
    "NoTerminationGuaranteeWarning",
    "NonMonotonicHead",
    "NonTermination",
    "SelfTerminatingHead",
    "Step",
    "TransformerStep",
    "beam_search",
    "bigram_repetition_index",
    "consistent_top_k",
    "consistent_top_p",
    "greedy_search",
    "left_padded",
    "looping_period",
    "non_termination_ratio",
    "repetition_ratio",
    "sample",
    "termination_floor",
    "termination_horizon",
    "top_k",
    "top_p",
    "uncached_step",
    "with_head",
]
