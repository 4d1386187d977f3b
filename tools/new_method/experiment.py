"""Does averaging more numbers give a mean that varies less?"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from gezhi.lab import Dots, Experiment, Study, every, lower
from gezhi.$wing.$stem import $function


def error(count: int, _case: None, seed: int, _size: None) -> Mapping[str, float]:
    """Distance of the mean of so many normal numbers from 0."""
    draw = torch.Generator().manual_seed(seed)
    return {"error": $function(torch.randn(count, generator=draw)).abs().item()}


TOY = Study(
    "means",
    error,
    {"2 numbers": 2, "20 000 numbers": 20_000},
    {"normal numbers": None},
    every(None),
    claims={"less-error": lower("error", "20 000 numbers", than="2 numbers", by=0.01)},
    figures=(Dots("error", "less-error"),),
)

EXPERIMENT = Experiment(__doc__, (TOY,))
