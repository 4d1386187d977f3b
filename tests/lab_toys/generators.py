"""Draws from every global generator, in the measure and in a case."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from gezhi.lab import Experiment, Study, same


def draws() -> list[float]:
    return [random.random(), np.random.rand(), torch.rand(()).item()]


def draw(_arm: str, case: Sequence[float], seed: int, layers: int) -> Mapping[str, float]:
    """The case's draws, the measure's, and a network that counts as so many evaluations."""
    network = torch.nn.Linear(2, 1)
    for _ in range(layers):
        value = network(torch.ones(2)).item()
    names = ("case, random", "case, numpy", "case, torch", "random", "numpy", "torch")
    return {"network": value, **dict(zip(names, [*case, *draws()], strict=True))}


DRAWS = Study(
    "draws",
    draw,
    {"base": "base", "twin": "twin"},
    {"one": draws, "two": draws},
    {"smoke": 3, "quick": 3},
    claims={"alike": same("network", "twin", than="base", within=0.1)},
)

EXPERIMENT = Experiment("Do arms see the same chance?", (DRAWS,))
