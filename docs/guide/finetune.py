"""Fine-tune the packaged sentence encoder with CoSENT, by sentence-transformers' own trainer, on a CPU.

    python docs/guide/finetune.py --seeds 5 --out docs/results/finetune.json

Pairs of questions that people asked about insurance: label 1 where both concern the same kind of insurance. The test
questions are other people's. Half of the pairs that differ are hard: nearest neighbours before the training.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from scipy.stats import spearmanr
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)

import gezhi.data
from gezhi.adapters.sentence_transformers import CoSENTLoss
from gezhi.losses import optimal_threshold


def pairs_of(source: str, count: int, seed: int, model: SentenceTransformer) -> Dataset:
    """`count` pairs of questions, alternately of the same kind and of different kinds."""
    data = gezhi.data.read(source)
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(data.texts), size=count, replace=False)
    texts, labels = [data.texts[i] for i in drawn], data.labels[drawn]
    vectors = torch.as_tensor(model.encode(texts, normalize_embeddings=True))
    score = np.arange(count) % 2
    second = []
    for i, cosines in enumerate(vectors @ vectors.T):
        fits = (labels == labels[i]) == bool(score[i])
        fits[i] = False
        if not fits.any():  # the only question of its kind
            fits = np.arange(count) == i
        near = torch.where(torch.as_tensor(fits), cosines, -2.0).topk(min(5, int(fits.sum()))).indices.numpy()
        hard = not score[i] and rng.random() < 0.5
        second.append(texts[rng.choice(near if hard else np.flatnonzero(fits))])
    return Dataset.from_dict({"first": texts, "second": second, "score": score.astype("float32")})


def judge(model: SentenceTransformer, train: Dataset, test: Dataset) -> dict[str, float]:
    """Spearman on the test pairs, and accuracy with the threshold that is best on 400 training pairs."""

    def cosines(rows: Dataset) -> torch.Tensor:
        left, right = (model.encode(list(rows[name]), convert_to_tensor=True) for name in ("first", "second"))
        return torch.cosine_similarity(left, right).cpu()

    some = train.select(range(min(len(train), 400)))
    threshold, _ = optimal_threshold(cosines(some), torch.tensor(some["score"]))
    found, truth = cosines(test), np.array(test["score"])
    right = (found.numpy() >= threshold) == (truth == 1)
    return {"spearman": float(spearmanr(found, truth).statistic), "accuracy": float(right.mean())}


def finetune(seed: int, steps: int, rows: int) -> dict[str, dict[str, float] | float]:
    """Train on `rows` pairs for `steps` steps of 32, and judge before and after."""
    model = SentenceTransformer(str(gezhi.data.read("minilm")), device="cpu")
    train = pairs_of("insuranceqa-en-train", rows, seed, model)
    test = pairs_of("insuranceqa-en-test", min(rows, 1000), seed, model)
    before = judge(model, train, test)
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=32,
            learning_rate=2e-5,
            warmup_steps=steps // 10,
            lr_scheduler_type="linear",
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            seed=seed,
        )
        trainer = SentenceTransformerTrainer(model, arguments, train_dataset=train, loss=CoSENTLoss(model, scale=20.0))
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
    return {"before": before, "after": judge(model, train, test), "training_seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    runs = []
    for seed in range(1000, 1000 + asked.seeds):
        random.seed(seed)
        torch.manual_seed(seed)
        start = time.perf_counter()
        runs.append({"seed": seed, **finetune(seed, asked.steps, asked.rows), "seconds": time.perf_counter() - start})
        print(json.dumps(runs[-1]))
    if asked.out:
        packages = {name: version(name) for name in ("torch", "transformers", "sentence-transformers")}
        record = {"steps": asked.steps, "rows": asked.rows, "threads": torch.get_num_threads(), "packages": packages}
        asked.out.write_text(json.dumps(record | {"runs": runs}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
