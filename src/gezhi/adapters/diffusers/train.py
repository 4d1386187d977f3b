"""Train the head for a network's variances on data."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from gezhi._checks import check_choice, invalid
from gezhi.adapters.diffusers.host import tqdm
from gezhi.adapters.diffusers.measure import check_data, evaluating, network_of, scheduler_of
from gezhi.adapters.diffusers.unet import UNetWithVariance, new_head
from gezhi.diffusion.analytic_dpm import VarianceStats
from gezhi.diffusion.denoiser import Denoiser
from gezhi.diffusion.extended_analytic_dpm import train_variance_head, with_features


def add_variance_head(
    model: Any,
    data: Tensor,
    steps: int,
    *,
    kind: Literal["residual", "second_moment"] = "residual",
    positive: Literal["softplus", "exp", "linear", "relative"] = "softplus",
    stats: VarianceStats | None = None,
    scheduler: Any = None,
    layer: str | None = None,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    generator: torch.Generator | None = None,
) -> UNetWithVariance:
    """Train a head for the variances of a network that stays as it is, with a progress bar.

    Args:
        model: a pipeline with a `unet`, or the network, in float32.
        data: samples as the network knows them, as for `measure_variance`.
        steps: updates of the head.
        kind: "residual" (NPR) or "second_moment" (SN).
        positive, stats: as in `ResidualHead`; statistics are needed for "relative" alone, at every timestep.
        scheduler: what the network was trained with; None: the pipeline's.
        layer: whose output the head reads; None: the last block, "up_blocks.-1".
        batch_size, learning_rate, generator: as in `train_variance_head`.
    Returns: the network with its head, for `use_extended_analytic_dpm`.
    Errors: ValueError for data of another shape or range, and for a network in another type; those of
        `train_variance_head`.
    Cost: a forward pass of the network an update, no backward pass through it.
    """
    check_choice("kind", kind, ("residual", "second_moment"))
    unet, host = network_of(model), scheduler_of(model, scheduler)
    reach = host.config.clip_sample_range if host.config.clip_sample else None
    check_data(unet, data, reach)
    if unet.dtype not in (torch.float32, torch.float64):
        raise invalid("model", "be in float32 while its head is trained", unet.dtype, "Call model.float() before.")
    layer = layer or f"up_blocks.{len(unet.up_blocks) - 1}"
    settings = {
        "kind": kind, "features": unet.config["block_out_channels"][0], "out": unet.config["out_channels"],
        "kernel_size": 3, "positive": positive,
    }  # fmt: skip
    head = new_head(settings, stats).to(unet.device, unet.dtype)
    denoiser = Denoiser(with_features(unet, layer), host.noise_schedule, host.config.prediction_type, head=head)
    with evaluating(unet):
        train_variance_head(
            denoiser, data.to(unet.device, unet.dtype), steps, batch_size=batch_size, learning_rate=learning_rate,
            generator=generator, progress=tqdm,
        )  # fmt: skip
    head.eval()
    return UNetWithVariance(unet, head, layer)
