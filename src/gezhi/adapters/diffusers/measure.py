"""Measure on data what Analytic-DPM needs of a network that is already trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gezhi._checks import invalid
from gezhi.adapters.diffusers.ancestral import AncestralScheduler
from gezhi.adapters.diffusers.host import DiffusionPipeline, tqdm
from gezhi.adapters.diffusers.unet import UNetWithVariance
from gezhi.diffusion.analytic_dpm import VarianceStats, estimate_x0_variance
from gezhi.diffusion.denoiser import Denoiser
from gezhi.diffusion.fingerprint import fingerprint


def measure_variance(
    model: Any,
    data: Tensor,
    num_inference_steps: int | Sequence[int] | None = None,
    *,
    scheduler: Any = None,
    timesteps: Iterable[int] | None = None,
    num_samples: int = 1000,
    method: Literal["auto", "direct", "estimate1", "estimate2"] = "auto",
    per_dim: bool = False,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
) -> VarianceStats:
    """The statistics of `AnalyticDPMScheduler`, for each of its timesteps, with a progress bar.

    Args:
        model: a pipeline with a `unet`, a network, or a function `(states, timesteps) -> prediction`, which may hold a
            condition. Of a `UNetWithVariance` the network inside is meant.
        data: samples as the network knows them, (rows, channels, height, width), floating: images scaled as for its
            training, or latents. They stay where they are; batches go to the network's device and type.
        num_inference_steps: for how many steps, or for which several numbers of steps.
        scheduler: what the network was trained with, and whose spacing is meant; None: the pipeline's.
        timesteps: in place of `num_inference_steps`: which ones, as diffusers counts, from 0; `range(1000)` for
            `optimal_trajectory`.
        num_samples: draws of data and noise a timestep; the paper takes 50 000, the article a few batches.
        method, per_dim: as in `estimate_x0_variance`.
        batch_size: rows in one call of the network.
        generator: for rows and noise, on the data's device; None: torch's global one.
    Returns: `VarianceStats`, which know the network's weights and the shape of its samples. Variances are clipped at
        the square of the scheduler's `clip_sample_range` where it clips.
    Errors: TypeError for data that are not floating; ValueError for data outside the range to which the scheduler clips
        or of a shape that the network does not make; those of `estimate_x0_variance`.
    Cost: num_samples rows through the network for each timestep.
    Example: `stats = measure_variance(pipe, images, (10, 25))`
    """
    network, host = network_of(model), scheduler_of(model, scheduler)
    chosen = _chosen(host, num_inference_steps, timesteps)
    reach = host.config.clip_sample_range if host.config.clip_sample else None
    check_data(network, data, reach)
    denoiser = Denoiser(partial(called, network), host.noise_schedule, host.config.prediction_type)
    bar = model.progress_bar if isinstance(model, DiffusionPipeline) else tqdm
    with evaluating(network):
        found = estimate_x0_variance(
            denoiser, data, (t + 1 for t in bar(chosen)), num_samples=num_samples, method=method, per_dim=per_dim,
            data_range=None if reach is None else (-reach, reach), batch_size=batch_size, generator=generator,
        )  # fmt: skip
    return replace(found, model=fingerprint(network) if isinstance(network, nn.Module) else "")


def network_of(model: Any) -> Any:
    """The network of a pipeline, without the head of a `UNetWithVariance`."""
    if isinstance(model, DiffusionPipeline):
        if not hasattr(model, "unet"):
            raise invalid("model", "be a pipeline with a unet", type(model).__name__, "Pass its network.")
        model = model.unet
    return model.unet if isinstance(model, UNetWithVariance) else model


def scheduler_of(model: Any, scheduler: Any) -> AncestralScheduler:
    """One of ours, with the schedule and the spacing of the scheduler, or of the pipeline's."""
    if scheduler is None and isinstance(model, DiffusionPipeline):
        scheduler = model.scheduler
    if scheduler is None:
        raise invalid("scheduler", "be given with a network", None, "Pass the one that the network was trained with.")
    made: AncestralScheduler = AncestralScheduler.from_config(scheduler.config, variance_type="fixed_small")
    return made


def _chosen(host: AncestralScheduler, counts: int | Sequence[int] | None, timesteps: Iterable[int] | None) -> list[int]:
    if (counts is None) == (timesteps is None):
        raise invalid("num_inference_steps or timesteps", "be given, one of them", f"{counts} and {timesteps}")
    if timesteps is not None:
        host.set_timesteps(timesteps=sorted(timesteps, reverse=True))
        return [int(t) for t in host.timesteps]
    found: set[int] = set()
    for count in [counts] if isinstance(counts, int) else counts or []:
        host.set_timesteps(count)
        found |= {int(t) for t in host.timesteps}
    if not found:
        raise invalid("num_inference_steps", "hold at least one number", counts)
    return sorted(found, reverse=True)


def check_data(network: Any, data: Tensor, reach: float | None) -> None:
    """Raise for data that the network was not made for."""
    if not isinstance(data, Tensor) or not data.is_floating_point():
        found = str(data.dtype) if isinstance(data, Tensor) else type(data).__name__
        fix = "Scale grey levels: torch.as_tensor(images) / 127.5 - 1."
        raise invalid("data", "be a tensor of floating type, in the range of the network's training", found, fix,
                      kind=TypeError)  # fmt: skip
    config = getattr(network, "config", {})
    channels, size = config.get("in_channels"), config.get("sample_size")
    sides = (size, size) if isinstance(size, int) else tuple(size or ())
    if channels and sides and tuple(data.shape[1:]) != (channels, *sides):
        shape = f"{('rows', channels, *sides)}".replace("'", "")
        raise invalid("data", f"have the shape of what the network makes, {shape}", tuple(data.shape))
    if reach is not None and len(data) and not float(data.abs().max()) <= reach * (1 + 1e-3):
        fix = "Scale them as for the network's training, or pass a scheduler that does not clip (clip_sample=False)."
        found = f"{float(data.min()):g} to {float(data.max()):g}"
        raise invalid("data", f"lie in ±{reach:g}, to which the scheduler clips", found, fix)


def called(network: Any, x: Tensor, times: Tensor) -> Tensor:
    """What the network predicts, called on its device and in its type, back where the states are."""
    weight = next((p for p in network.parameters() if p.is_floating_point()), x) if _is_module(network) else x
    output = network(x.to(weight.device, weight.dtype), times.to(weight.device))
    output = output[0] if isinstance(output, tuple) else getattr(output, "sample", output)
    return output.to(x.device) if isinstance(output, Tensor) else output


@contextmanager
def evaluating(network: Any) -> Iterator[None]:
    """The network in evaluation mode for a while."""
    modes = {module: module.training for module in network.modules()} if _is_module(network) else {}
    for module in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _is_module(network: Any) -> bool:
    return isinstance(network, nn.Module)
