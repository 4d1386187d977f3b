"""The methods of `gezhi sample`: which step, and what has to be measured or trained before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from safetensors.torch import load_file, save
from torch import nn

from gezhi._checks import invalid
from gezhi.cli.bars import Bars
from gezhi.cli.sampling_sources import Source
from gezhi.data import cache_folder
from gezhi.diffusion import (
    AnalyticVariance,
    Denoiser,
    HeadVariance,
    ResidualHead,
    SecondMomentHead,
    VarianceStats,
    ancestral,
    capped,
    estimate_x0_variance,
    first_step_clip,
    fixed_large,
    fixed_small,
    train_variance_head,
    with_features,
)
from gezhi.diffusion.fingerprint import fingerprint
from gezhi.diffusion.probability_flow import dpmpp_2m
from gezhi.diffusion.sampler import Step, Variance
from gezhi.experiments.setups.diffusion import digest
from gezhi.lab.record import write_atomically

if TYPE_CHECKING:
    from gezhi.cli.commands.sample import Sample

DRAWS, HEAD_UPDATES, ROWS = 1000, 3000, 250
ETA = {"ddim": 0.0, "analytic-dpm": 0.0, "npr-dpm": 0.0, "sn-dpm": 0.0}  # the methods that have one, and its default


@dataclass(frozen=True)
class Way:
    """A model and the step to take with it."""

    model: Denoiser
    step: Step
    eta: float | None


def eta_of(asked: Sample) -> float | None:
    """The η of the method; ValueError where one is given to a method that has none."""
    method = asked.method.value
    if asked.eta is None:
        return ETA.get(method)
    if method not in ETA:
        raise invalid("--eta", f"be given for {', '.join(ETA)} alone", f"{asked.eta:g} for {method}")
    return asked.eta


def way(asked: Sample, source: Source, times: list[int], bars: Bars, words: tuple[str, str]) -> Way:
    """What the method does with the model; variances are measured, and heads trained, with a bar each."""
    method, eta = asked.method.value, eta_of(asked)
    if method == "dpm-solver":
        return Way(source.model, dpmpp_2m, None)
    if method.startswith("ddpm"):
        return Way(source.model, ancestral(1.0, fixed_large if "large" in method else fixed_small, source.clip), None)
    eta = eta or 0.0
    if method == "ddim":
        return Way(source.model, ancestral(eta, fixed_small, source.clip), eta)
    model, variance = source.model, cast(Variance, HeadVariance())
    if method == "analytic-dpm":
        variance = AnalyticVariance(measured(asked, source, times, bars, words[0]))
    else:
        model = headed(asked, source, bars, words[1])
    if times[0] == 1:  # the papers' bounds on the noise of the last noisy step, which ends nearly clean there
        variance = capped(variance, times[0], first_step_clip(2 if eta == 1 else 1))
    return Way(model, ancestral(eta, variance, source.clip), eta)


def measured(asked: Sample, source: Source, times: list[int], bars: Bars, words: str) -> VarianceStats:
    """Statistics at the times: those that came with the model, from the cache, or measured now."""
    if source.stats is not None and asked.data is None and source.stats.ms_eps[times].isfinite().all():
        return source.stats
    data = source.data(asked.data, asked.method.value)
    path = place("variance", asked.spacing.value, str(asked.steps), fingerprint(source.network), digest(data))
    if path.exists():
        return VarianceStats.load(path)
    stats = estimate_x0_variance(
        source.model, data.to(asked.device), bars.over(times, words), num_samples=DRAWS, data_range=source.clip,
        batch_size=ROWS, generator=torch.Generator(asked.device).manual_seed(0),
    )  # fmt: skip
    stats.save(path)
    return stats


def headed(asked: Sample, source: Source, bars: Bars, words: str) -> Denoiser:
    """The model with a head: the one that came with it, from the cache, or trained now."""
    kind = ResidualHead if asked.method.value == "npr-dpm" else SecondMomentHead
    if isinstance(source.head, kind) and asked.data is None:
        return with_head(source, source.head)
    kernel_size = None if len(source.state) == 1 else 3
    head = kind(source.features, source.state[0], kernel_size=kernel_size, data_range=source.clip).to(asked.device)
    model, data = with_head(source, head), source.data(asked.data, asked.method.value)
    path = place("head", kind.__name__, fingerprint(source.network), digest(data))
    if path.exists():
        head.load_state_dict(load_file(path))
    else:
        train_variance_head(
            model, data.to(asked.device), HEAD_UPDATES, batch_size=64,
            generator=torch.Generator(asked.device).manual_seed(0),
            progress=lambda updates: bars.over(list(updates), words),
        )  # fmt: skip
        write_atomically(path, save({name: value.cpu().contiguous() for name, value in head.state_dict().items()}))
    return model.eval()


def with_head(source: Source, head: nn.Module) -> Denoiser:
    """The model with its features for the head."""
    plain = source.model
    network = with_features(source.network, source.layer)
    return Denoiser(network, plain.schedule, plain.prediction_type, time_input=plain.time_input, head=head)


def place(*marks: str) -> Path:
    """A file of the cache, in a folder that is there."""
    path = cache_folder() / "made" / f"sampler-{'-'.join(marks)}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
