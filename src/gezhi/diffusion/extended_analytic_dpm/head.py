"""What both heads share: one layer on the features of a network, its range, and the schedule of its training."""

from __future__ import annotations

import math
import warnings
from typing import Any, cast

import torch
from torch import Tensor, nn

from gezhi._checks import check_integer, invalid
from gezhi.diffusion.analytic_dpm.statistics import largest_variance
from gezhi.diffusion.denoiser import levels
from gezhi.diffusion.levels import Time
from gezhi.diffusion.schedule import NoiseSchedule

MANY = 0.1


class Head(nn.Module):
    """One layer on the features of a network: normalisation, SiLU, and a linear or convolution layer from zero."""

    def __init__(
        self, features: int, out: int, *, kernel_size: int | None, data_range: tuple[float, float] | None
    ) -> None:
        super().__init__()
        features = check_integer("features", features, at_least=1)
        out = check_integer("out", out, at_least=1)
        self.most = largest_variance(data_range)
        last: nn.Linear | nn.Conv2d
        if kernel_size is None:
            norm: nn.Module = nn.LayerNorm(features)
            last = nn.Linear(features, out)
        else:
            norm = nn.GroupNorm(math.gcd(32, features), features)
            last = nn.Conv2d(features, out, check_integer("kernel_size", kernel_size, at_least=1), padding="same")
        nn.init.zeros_(last.weight)
        nn.init.zeros_(cast(Tensor, last.bias))
        self.layer = nn.Sequential(norm, nn.SiLU(), last)
        self.trained_with: Tensor | None = None
        self.warned = False

    def get_extra_state(self) -> Tensor:
        """Which schedule it was trained with: under another one its numbers mean something else."""
        return torch.zeros(0) if self.trained_with is None else self.trained_with

    def set_extra_state(self, state: Tensor) -> None:
        self.trained_with = state if state.numel() else None

    def belongs_to(self, schedule: NoiseSchedule) -> None:
        """ValueError unless it is untrained or was trained with this schedule."""
        if self.trained_with is None:
            return
        mine, theirs = self.trained_with, schedule.signature()
        if not torch.allclose(mine, theirs, rtol=0, atol=1e-6):
            found = f"T={mine[0]:g}, ᾱ_T={mine[3]:g} in training, T={theirs[0]:g}, ᾱ_T={theirs[3]:g} here"
            raise invalid("head", "be used with the schedule of its training", found)

    def output(self, features: Any, like: Tensor) -> Tensor:
        """The layer's output in float32 at least, of the shape of the data."""
        if not isinstance(features, Tensor):
            fix = "Wrap the network: with_features(network, layer)."
            raise invalid("features", "be a tensor", type(features).__name__, fix, kind=TypeError)
        raw: Tensor = self.layer(features)
        if raw.shape != like.shape:
            raise invalid("output of the head", f"have the shape of the data, {tuple(like.shape)}", tuple(raw.shape))
        return raw.to(like.dtype)

    def clip(self, found: Tensor) -> Tensor:
        """To [0, ((b - a)/2)²]; warns once where more than a tenth is negative."""
        if not self.warned and not torch.compiler.is_compiling() and found.numel():
            share = float((found < 0).double().mean())
            if share > MANY:
                self.warned = True
                warnings.warn(
                    f"{share:.0%} of the head's variances are negative and count as 0", UserWarning, stacklevel=4
                )
        return found.clamp(min=0.0, max=self.most)

    def ratio2(self, schedule: NoiseSchedule, t: Time, like: Tensor) -> float | Tensor:
        signal, noise = levels(schedule, t, like)
        return (noise / signal) ** 2
