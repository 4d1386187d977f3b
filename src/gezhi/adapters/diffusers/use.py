"""Change a pipeline's scheduler in one line, after a look whether the variances are this network's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gezhi._checks import invalid
from gezhi.adapters.diffusers.analytic import STATS_NAME, AnalyticDPMScheduler
from gezhi.adapters.diffusers.extended import ExtendedAnalyticDPMScheduler
from gezhi.adapters.diffusers.measure import network_of
from gezhi.adapters.diffusers.unet import UNetWithVariance
from gezhi.diffusion.analytic_dpm import VarianceStats


def use_analytic_dpm(pipe: Any, stats: VarianceStats | str | Path, **settings: Any) -> Any:
    """Give a pipeline the scheduler of Analytic-DPM.

    Args:
        pipe: a pipeline whose scheduler keeps states at variance 1 (DDPM, DDIM and those with their betas).
        stats: from `measure_variance`, or the folder or file that holds them.
        settings: of `AnalyticDPMScheduler`, where they differ from those of the pipeline's scheduler.
    Returns: the pipeline.
    Errors: ValueError for statistics of other weights, of another schedule, or of other samples' shape.
    Example: `use_analytic_dpm(pipe, measure_variance(pipe, images, 10), first_step_levels=1)(num_inference_steps=10)`
    """
    if not isinstance(stats, VarianceStats):
        path = Path(stats)
        stats = VarianceStats.load(path / STATS_NAME if path.is_dir() else path)
    stats.belongs_to(network_of(pipe))
    pipe.scheduler = AnalyticDPMScheduler.from_config(pipe.scheduler.config, stats=stats, **settings)
    return pipe


def use_extended_analytic_dpm(pipe: Any, unet: UNetWithVariance, **settings: Any) -> Any:
    """Give a pipeline a network with a head for variances, and the scheduler that uses it.

    Args:
        pipe: as for `use_analytic_dpm`.
        unet: from `add_variance_head`.
        settings: of `ExtendedAnalyticDPMScheduler`, where they differ from those of the pipeline's scheduler.
    Returns: the pipeline.
    Errors: ValueError for a head that was trained with another schedule.
    """
    if not isinstance(unet, UNetWithVariance):
        fix = "Make one: add_variance_head(pipe, images, steps)."
        raise invalid("unet", "be a UNetWithVariance", type(unet).__name__, fix, kind=TypeError)
    kind = {"variance_type": unet.variance_type}
    scheduler = ExtendedAnalyticDPMScheduler.from_config(pipe.scheduler.config, **kind, **settings)
    unet.head.belongs_to(scheduler.noise_schedule)
    pipe.unet, pipe.scheduler = unet, scheduler
    return pipe
