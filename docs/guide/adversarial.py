"""Adversarial fine-tuning of the packaged encoder in transformers' `Trainer`, and whether it pays, on a CPU.

    python docs/guide/adversarial.py --seeds 5 --out docs/results/adversarial_guide.json

Messages of four newsgroups on science are told apart. Plain training is run with as many steps as adversarial training,
and with twice as many, which costs about the same.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

import gezhi.data
from gezhi.adapters.transformers import AdversarialTrainerMixin

TRAIN, TEST, KIND, TOKENS = "20newsgroups-train", "20newsgroups-test", "sci.", 32
PLAIN, TWICE, ADVERSARIAL = "plain", "plain, twice the steps", "adversarial"


class AdversarialTrainer(AdversarialTrainerMixin, Trainer):
    """The line that is added; ε is about a tenth of the norm of an embedded text."""

    adversary_settings: ClassVar = {"epsilon": 0.5}


ARMS: dict[str, tuple[type[Trainer], int]] = {
    PLAIN: (Trainer, 1),
    TWICE: (Trainer, 2),
    ADVERSARIAL: (AdversarialTrainer, 1),
}


def rows_of(source: str, count: int, seed: int, tokenizer: Any) -> tuple[list[dict[str, Any]], int]:
    """So many messages as tokens, with their labels, and how many classes there are."""
    data = gezhi.data.read(source)
    kinds = [code for code, name in enumerate(data.classes) if name.startswith(KIND)] or [*range(len(data.classes))]
    fits = np.flatnonzero(np.isin(data.labels, kinds))
    rows = np.random.default_rng(seed).permutation(fits)[:count]
    tokens = tokenizer([data.texts[i][: 20 * TOKENS] for i in rows], truncation=True, max_length=TOKENS)["input_ids"]
    labels = (kinds.index(code) for code in data.labels[rows].tolist())
    return [{"input_ids": ids, "labels": label} for ids, label in zip(tokens, labels, strict=True)], len(kinds)


def finetune(arm: str, seed: int, steps: int, rows: int, tested: int) -> dict[str, float]:
    """Accuracy on test messages after the training, and its CPU time."""
    folder = str(gezhi.data.read("minilm"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    train, classes = rows_of(TRAIN, rows, seed, tokenizer)
    test, _ = rows_of(TEST, tested, 0, tokenizer)
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=classes)
    kind, times = ARMS[arm]
    with tempfile.TemporaryDirectory() as place:
        arguments = TrainingArguments(
            output_dir=place,
            max_steps=times * steps,
            per_device_train_batch_size=16,
            per_device_eval_batch_size=64,
            learning_rate=1e-4,
            warmup_steps=times * steps // 10,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            seed=seed,
        )
        trainer = kind(
            model=model, args=arguments, train_dataset=train, data_collator=DataCollatorWithPadding(tokenizer)
        )
        start = time.process_time()
        trainer.train()
        seconds = time.process_time() - start
        found = trainer.predict(test)
    return {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean()), "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--tested", type=int, default=600)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    packages = {name: version(name) for name in ("torch", "transformers")}
    runs: list[dict[str, Any]] = []
    for seed in range(1000, 1000 + asked.seeds):
        arms = {arm: finetune(arm, seed, asked.steps, asked.rows, asked.tested) for arm in ARMS}
        runs.append({"seed": seed, "arms": arms})
        print(json.dumps(runs[-1]))
        record = {"steps": asked.steps, "rows": asked.rows, "tested": asked.tested, "packages": packages, "runs": runs}
        if asked.out:
            asked.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
