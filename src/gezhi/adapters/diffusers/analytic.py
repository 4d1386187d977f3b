"""Analytic-DPM as a scheduler: statistics measured once go with its config, in a file of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from gezhi._checks import invalid, require
from gezhi.adapters.diffusers.ancestral import AncestralScheduler
from gezhi.adapters.diffusers.host import EXTRA
from gezhi.diffusion.analytic_dpm import AnalyticVariance, VarianceStats
from gezhi.diffusion.sampler import Variance

STATS_NAME = "variance_stats.safetensors"
ROUNDING = 1e-6  # of ᾱ, as in AnalyticVariance: what betas in float32 leave open


class AnalyticDPMScheduler(AncestralScheduler):
    r"""Analytic-DPM: $V=\sigma^2+\gamma^2\bar\sigma_t^2$, the best variance that is the same for all states.

    Args:
        stats: from `measure_variance`, for the network that the pipeline runs and at its timesteps. They are an
            argument of `from_config` and `from_pretrained`, or set as an attribute: a config holds none.

    The other arguments are those of `AncestralScheduler`. `save_pretrained` writes the statistics beside the config,
    and so does a pipeline's.

    Errors: ValueError for steps without statistics, for statistics of another schedule and of samples of another shape;
        KeyError that lists the timesteps that were not measured.
    Example: `pipe.scheduler = AnalyticDPMScheduler.from_config(pipe.scheduler.config, stats=stats)`
    References: F. Bao, C. Li, J. Zhu and B. Zhang, Analytic-DPM, 2022.
    """

    __module__ = "gezhi.adapters.diffusers"
    VARIANCES: ClassVar[tuple[str, ...]] = ("analytic",)

    _stats: VarianceStats | None = None

    @property
    def stats(self) -> VarianceStats | None:
        """What was measured; ValueError when set to statistics of another schedule."""
        return self._stats

    @stats.setter
    def stats(self, stats: VarianceStats | None) -> None:
        if stats is not None:
            mine = self.noise_schedule.signals
            if stats.signals.shape != mine.shape or (stats.signals - mine).abs().max() > ROUNDING:
                theirs = f"T={len(stats.signals) - 1}, ᾱ_T={float(stats.signals[-1]):g}"
                here = f"T={len(mine) - 1}, ᾱ_T={float(mine[-1]):g}"
                raise invalid("stats", f"come from the scheduler's schedule, {here}", theirs)
        self._stats = stats

    @classmethod
    def from_config(
        cls,
        config: Any = None,
        return_unused_kwargs: bool = False,
        *,
        stats: VarianceStats | None = None,
        **kwargs: Any,
    ) -> Any:
        """From the config of another scheduler, with statistics and settings of one's own."""
        made, unused = super().from_config(config, True, **kwargs)
        made.stats = stats
        return (made, unused) if return_unused_kwargs else made

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: Any = None,
        subfolder: str | None = None,
        return_unused_kwargs: bool = False,
        *,
        stats: VarianceStats | None = None,
        network: nn.Module | None = None,
        **kwargs: Any,
    ) -> Any:
        """Read what `save_pretrained` wrote, from a folder or from the Hub.

        Args:
            stats: in place of those in the folder.
            network: whose statistics they must be; None: not checked.
        """
        if stats is None:
            stats = _find(pretrained_model_name_or_path, subfolder, kwargs)
        if stats is not None and network is not None:
            stats.belongs_to(network)
        return super().from_pretrained(
            pretrained_model_name_or_path, subfolder, return_unused_kwargs, stats=stats, **kwargs
        )

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write the config, and the statistics where there are some."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        if self.stats is None:
            (folder / STATS_NAME).unlink(missing_ok=True)
        else:
            self.stats.save(folder / STATS_NAME)
        super().save_pretrained(save_directory, push_to_hub, **kwargs)

    def _plain_variance(self) -> Variance:
        return AnalyticVariance(self._measured())

    def _measured(self) -> VarianceStats:
        if self._stats is None:
            fix = "Measure them: stats = measure_variance(pipe, images, num_inference_steps)."
            raise invalid("stats", "be given to AnalyticDPMScheduler", None, fix)
        return self._stats

    def _check_timesteps(self, timesteps: Sequence[int]) -> None:
        known = torch.isfinite(self._measured().ms_eps)
        missing = [t for t in timesteps if not known[t + 1]]
        if missing:
            how = f"Measure them: measure_variance(pipe, images, {len(timesteps)})."
            raise KeyError(f"stats must hold every timestep of the scheduler: missing {missing}. {how}")


def _find(source: Any, subfolder: str | None, kwargs: dict[str, Any]) -> VarianceStats | None:
    """The statistics in a folder or a repository, if there are some."""
    inner = subfolder or ""
    if Path(source).is_dir():
        places = [Path(source) / inner / STATS_NAME, Path(source) / STATS_NAME]
        path: Any = next((place for place in places if place.exists()), None)
    else:
        hub = require("huggingface_hub", EXTRA)
        names = ("cache_dir", "force_download", "local_files_only", "revision", "token")
        asked = {name: kwargs[name] for name in names if name in kwargs}
        try:
            path = hub.hf_hub_download(str(source), STATS_NAME, subfolder=subfolder, **asked)
        except (hub.errors.EntryNotFoundError, OSError, ValueError):
            return None  # a repository that is not there is told of when its config is asked for
    return None if path is None else VarianceStats.load(path)
