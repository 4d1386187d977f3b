"""Tokens a second: the Transformer's cached, batched decoding beside Hugging Face's `generate` on the same weights."""

from __future__ import annotations

import tempfile
from functools import partial
from typing import Any

from _bench import Benchmark, arguments

options = arguments()

import torch
from torch import Tensor

from gezhi.nn import Transformer
from gezhi.text import TransformerStep, beam_search, greedy_search, sample, top_k

torch.set_num_threads(1)
AT_LEAST, EOS, PAD = 1.0, 1, 2


def pair(layers: int, dim: int, heads: int) -> tuple[Any, Transformer]:
    """A random causal BERT of Hugging Face, and our Transformer with its weights."""
    from transformers import BertConfig, BertLMHeadModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    sizes = {
        "hidden_size": dim,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * dim,
        "initializer_range": 0.1,  # so that no two tokens tie
    }
    config = BertConfig(vocab_size=1000, **sizes, is_decoder=True, attn_implementation="sdpa")
    torch.manual_seed(0)
    theirs = BertLMHeadModel(config)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = Transformer.from_pretrained(folder, head="mlm")
    return theirs.eval(), ours


def their_tokens(model: Any, ids: Tensor, new: int, **settings: Any) -> Tensor:
    settings = {"do_sample": False, "eos_token_id": EOS, "pad_token_id": PAD} | settings
    return model.generate(ids, max_new_tokens=new, **settings)[:, ids.shape[1] :]


def compared(bench: Benchmark, models: tuple[Any, Transformer], rows: int, prompt: int, new: int, rounds: int) -> None:
    """Greedy and beam search give the same texts; sampling draws as many tokens, by other random numbers."""
    theirs, ours = models
    ids = torch.randint(3, 1000, (rows, prompt), generator=torch.Generator().manual_seed(1000))
    step = TransformerStep(ours)
    limits: dict[str, Any] = {"eos_token_id": EOS, "max_new_tokens": new, "pad_token_id": PAD}
    case = f"{rows} × ({prompt} + {new}) tokens"
    kinds = {
        "greedy": (
            partial(their_tokens, theirs, ids, new),
            lambda: greedy_search(step, ids, **limits).tokens,
        ),
        "beam 4": (
            partial(their_tokens, theirs, ids, new, num_beams=4),
            lambda: beam_search(step, ids, num_beams=4, **limits).tokens[:, 0],
        ),
        "top-k 50": (
            partial(their_tokens, theirs, ids, new, do_sample=True, top_k=50, eos_token_id=None),
            lambda: (
                sample(step, ids, process=lambda scores, _: top_k(scores, 50), **limits | {"eos_token_id": ()}).tokens
            ),
        ),
    }
    for name, (call_theirs, call_ours) in kinds.items():
        left, right = call_theirs(), call_ours()
        if "top" not in name:
            error = (left != right).float().mean() if left.shape == right.shape else torch.tensor(1.0)
            bench.same(f"{case}, {name}: share of tokens", error, 0)
        seconds = bench.time(f"{case}, {name}", {"HF generate": call_theirs, "ours": call_ours}, rounds)
        bar = {} if options.quick else {"at_least": AT_LEAST}
        bench.ratio(f"{case}, {name}: tokens/s, ours : HF generate", seconds["HF generate"], seconds["ours"], **bar)


def main() -> None:
    bench = Benchmark("decoding")
    bench.peer("torch")
    if bench.peer("transformers"):
        models = pair(*((2, 64, 4) if options.quick else (6, 384, 12)))
        if options.quick:
            compared(bench, models, 4, 16, 16, 3)
        else:
            for rows, prompt, new in ((1, 32, 64), (8, 32, 64), (8, 128, 128)):
                compared(bench, models, rows, prompt, new, 7)
    bench.finish(options.json)


main()
