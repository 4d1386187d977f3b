"""Swap the attention of a Hugging Face decoder: what each part changes at once, after training, and in time, on a CPU.

    python docs/guide/attention.py --seeds 3 --out docs/results/attention.json

A small Llama learns to predict the bytes of Python's own help texts. Then its attention is swapped, with the weights as
they are, and it goes on training, as it does where nothing is swapped.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gezhi.adapters.transformers import use_attention

LENGTH, BATCH = 128, 16  # bytes of a window, windows of a step
PARTS: dict[str, dict[str, Any]] = {
    "softmax": {},
    "log n": {"scale": "log_n", "train_len": LENGTH},
    "urpe": {"urpe": 64},
    "l2": {"kernel": "l2"},
    "relu2": {"kernel": "relu2"},
    "elu1": {"kernel": "elu1"},
    "exp": {"kernel": "exp"},
}


def texts() -> tuple[torch.Tensor, torch.Tensor]:
    """Bytes for training and for the test, of different topics."""
    names = sorted(topics)
    parts = ([name for i, name in enumerate(names) if (i % 10 == 0) is test] for test in (False, True))
    train, test = (torch.tensor(list("\n".join(topics[name] for name in part).encode())) for part in parts)
    return train, test


def batches(source: torch.Tensor, count: int, seed: int) -> Iterator[torch.Tensor]:
    """Windows drawn anywhere."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        starts = torch.randint(len(source) - LENGTH, (BATCH,), generator=generator)
        yield torch.stack([source[start : start + LENGTH] for start in starts.tolist()])


def fresh(seed: int) -> LlamaForCausalLM:
    """Two layers of width 64; four heads share two heads of keys."""
    torch.manual_seed(seed)
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    sizes = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2}
    return LlamaForCausalLM(LlamaConfig(**sizes, **heads, bos_token_id=0, eos_token_id=0))


def train(model: LlamaForCausalLM, source: torch.Tensor, steps: int, seed: int) -> None:
    """AdamW; factors by distance are left out of weight decay, which would pull them towards 0."""
    decayed = [p for name, p in model.named_parameters() if "gezhi_urpe" not in name]
    factors = [p for name, p in model.named_parameters() if "gezhi_urpe" in name]
    optimizer = torch.optim.AdamW([{"params": decayed}, {"params": factors, "weight_decay": 0.0}], lr=3e-3)
    model.train()
    for ids in batches(source, steps, seed):
        optimizer.zero_grad()
        model(ids, labels=ids, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


@torch.no_grad()
def test_loss(model: LlamaForCausalLM, source: torch.Tensor) -> float:
    """Nats for each byte of eight batches that are the same for all."""
    model.eval()
    return statistics.fmean(model(ids, labels=ids, use_cache=False).loss.item() for ids in batches(source, 8, 0))


def compare(seed: int, steps: int) -> dict[str, dict[str, float]]:
    """Test loss right after the swap, and after half as many steps again."""
    learn, held_out = texts()
    base, found = fresh(seed), {}
    train(base, learn, steps, seed)
    for name, part in PARTS.items():
        model = use_attention(copy.deepcopy(base), **part)
        swapped = test_loss(model, held_out)
        train(model, learn, steps // 2, seed + 1)
        found[name] = {"swapped": swapped, "trained": test_loss(model, held_out)}
    return found


@torch.no_grad()
def milliseconds(length: int, repeats: int) -> dict[str, float]:
    """Median CPU time of a forward pass of one row, the parts taking turns."""
    models = {name: use_attention(fresh(0).eval(), **part) for name, part in PARTS.items()}
    ids, taken = torch.randint(256, (1, length)), {name: [] for name in models}
    for _ in range(repeats + 1):
        for name, model in models.items():
            start = time.process_time()
            model(ids, use_cache=False, logits_to_keep=1)
            taken[name].append(1000 * (time.process_time() - start))
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    runs = [{"seed": seed, "loss": compare(seed, asked.steps)} for seed in range(1000, 1000 + asked.seeds)]
    record = {
        "steps": asked.steps,
        "packages": {name: version(name) for name in ("torch", "transformers")},
        "runs": runs,
        "milliseconds": {str(length): milliseconds(length, asked.repeats) for length in asked.lengths},
        "seconds": time.process_time() - start,
    }
    print(json.dumps(record, indent=1))
    if asked.out:
        asked.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
