"""What a network said, as the mean of the clean sample, and noise as diffusers draws it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gezhi._checks import invalid
from gezhi.adapters.diffusers.host import randn_tensor
from gezhi.diffusion.denoiser import convert_prediction
from gezhi.diffusion.schedule import NoiseSchedule

Generators = torch.Generator | list[torch.Generator] | None


def mean_of(model_output: Tensor, sample: Tensor, schedule: NoiseSchedule, t: int, kind: Any) -> Tensor:
    """x̂₀ in float32 at least; ValueError where the output has not the shape of the state."""
    wide = torch.promote_types(sample.dtype, torch.float32)
    x, raw = sample.to(wide), model_output.to(wide)
    if raw.shape != x.shape:
        doubled = raw.ndim > 1 and raw.shape[1] == 2 * x.shape[1]
        fix = (
            "With a variance in the second half of the channels, take ExtendedAnalyticDPMScheduler." if doubled else ""
        )
        raise invalid("model_output", f"have the shape of sample, {tuple(x.shape)}", tuple(raw.shape), fix)
    return convert_prediction(raw, x, schedule, t, source=kind, target="sample")


def noise_like(x: Tensor, *, like: Tensor, generator: Generators, given: Tensor | None) -> Tensor:
    """Noise of the model's type and device, as diffusers draws it, in the type of the computation."""
    if given is None:
        given = randn_tensor(x.shape, generator=generator, device=like.device, dtype=like.dtype)
    return given.to(x.dtype)
