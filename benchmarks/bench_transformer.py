"""The Transformer beside Hugging Face's BERT on the same weights, and the softmax path beside torch's own call."""

from __future__ import annotations

import tempfile
from functools import partial

from _bench import Benchmark, arguments

options = arguments()

import torch
import torch.nn.functional as F
from torch import Tensor

from gezhi.nn import Mask, Transformer, dot_product_attention

torch.set_num_threads(1)
AT_MOST, SOFTMAX_AT_MOST = 1.03, 1.03  # the same sums in the same order: room for a noisy machine alone


def softmax_path(bench: Benchmark, n: int, rounds: int) -> None:
    """One attention call, with and without a mask, against `scaled_dot_product_attention` on the same tensors."""
    generator = torch.Generator().manual_seed(1000)
    tensors = [torch.randn(1, 8, n, 64, generator=generator) for _ in range(3)]
    for causal in (False, True):
        case = f"{n} tokens, {'causal' if causal else 'unmasked'}"
        raw = partial(F.scaled_dot_product_attention, *tensors, is_causal=causal)
        ours = partial(dot_product_attention, *tensors, mask=Mask(causal=causal))
        bench.same(f"{case}: softmax path against SDPA", (raw() - ours()).abs().max(), 0)
        seconds = bench.time(case, {"SDPA": raw, "softmax path": ours}, rounds)
        bar = {} if options.quick else {"at_most": SOFTMAX_AT_MOST}
        bench.ratio(f"{case}: softmax path : SDPA", seconds["softmax path"], seconds["SDPA"], **bar)


def pair(layers: int, dim: int, heads: int) -> tuple[torch.nn.Module, Transformer]:
    """A random BERT of Hugging Face with fused attention and no dropout, and ours with its weights."""
    from transformers import BertConfig, BertModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    sizes = {
        "hidden_size": dim,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * dim,
    }
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = BertConfig(vocab_size=1000, **sizes, **dropout, attn_implementation="sdpa")
    theirs = BertModel(config, add_pooling_layer=False)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = Transformer.from_pretrained(folder)
    return theirs.eval(), ours


def encoders(bench: Benchmark, batch: int, n: int, rounds: int) -> None:
    """Forward pass and training step, padding in half of the rows."""
    theirs, ours = pair(*((2, 64, 4) if options.quick else (6, 384, 12)))
    ids = torch.randint(1000, (batch, n), generator=torch.Generator().manual_seed(0))
    for padded in (False, True):
        keys = (torch.arange(n) < n - (torch.arange(batch) % 2)[:, None] * n // 4) if padded else None
        call_theirs = partial(their_hidden, theirs, ids, None if keys is None else keys.long())
        call_ours = partial(ours, ids, mask=Mask(keys=keys))
        real = torch.ones(batch, n, dtype=torch.bool) if keys is None else keys
        case = f"{batch} × {n} tokens{', padded' if padded else ''}"
        with torch.no_grad():
            bench.same(f"{case}: hidden states", (call_ours() - call_theirs())[real].abs().max(), 1e-5)
            forward = bench.time(f"{case}, forward", {"HF BERT": call_theirs, "ours": call_ours}, rounds)
        calls = {"HF BERT": partial(train, theirs, call_theirs, real), "ours": partial(train, ours, call_ours, real)}
        steps = bench.time(f"{case}, training step", calls, rounds)
        for kind, seconds in (("forward", forward), ("training step", steps)):
            bar = {} if options.quick else {"at_most": AT_MOST}
            bench.ratio(f"{case}, {kind}: ours : HF BERT", seconds["ours"], seconds["HF BERT"], **bar)


def their_hidden(model: torch.nn.Module, ids: Tensor, keys: Tensor | None) -> Tensor:
    return model(input_ids=ids, attention_mask=keys).last_hidden_state


def train(model: torch.nn.Module, hidden: partial, real: Tensor) -> None:
    model.zero_grad()
    hidden()[real].square().mean().backward()


def main() -> None:
    bench = Benchmark("transformer")
    bench.peer("torch")
    for n in (512, 1024, 2048):
        softmax_path(bench, n, 9 if options.quick else 51)
    if bench.peer("transformers"):
        encoders(bench, 8, 128, 5 if options.quick else 15)
    bench.finish(options.json)


main()
