"""The training loop of experiments that draw their batches themselves."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT


def fit(
    parameters: ParamsT,
    loss: Callable[[], Tensor],
    steps: int,
    *,
    rate: float = 3e-3,
    warmup: float = 0.0,
    decay: float = 0.01,
) -> None:
    """AdamW steps on the losses that `loss` draws; see `descend`."""
    descend(parameters, lambda: torch.autograd.backward(loss()), steps, rate=rate, warmup=warmup, decay=decay)


def descend(
    parameters: ParamsT,
    gradient: Callable[[], object],
    steps: int,
    *,
    rate: float = 3e-3,
    warmup: float = 0.0,
    decay: float = 0.01,
) -> None:
    """AdamW steps along the gradients that `gradient` adds to the parameters' `.grad`.

    The step size rises to `rate` over the share `warmup` of the steps and then falls to 0 along half a cosine, so that
    training ends at rest. `decay`: weights shrink by that times the step size; 0: no penalty.
    """
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    rising = warmup * steps

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return (1 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising))) / 2

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
    for _ in range(steps):
        optimiser.zero_grad()
        gradient()
        optimiser.step()
        schedule.step()
