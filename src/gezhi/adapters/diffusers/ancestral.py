"""DDPM and DDIM as one scheduler: the step that the others share, and the baseline to compare them with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gezhi._checks import check_choice, invalid
from gezhi.adapters.diffusers import timesteps as spacing
from gezhi.adapters.diffusers.host import DDPMScheduler, DDPMSchedulerOutput, register_to_config
from gezhi.adapters.diffusers.outputs import Generators, mean_of, noise_like
from gezhi.adapters.diffusers.settings import check_settings, translated
from gezhi.diffusion.analytic_dpm import capped, first_step_clip
from gezhi.diffusion.denoiser import Prediction
from gezhi.diffusion.sampler import Variance, check_finite, ends, fixed_large, fixed_small, move
from gezhi.diffusion.schedule import NoiseSchedule


class AncestralScheduler(DDPMScheduler):
    r"""DDPM and DDIM: $x_s=\kappa x_t+\gamma\hat x_0+\sqrt Vz$ over steps of any length, in any spacing.

    With `eta=0` it takes the steps of `DDIMScheduler`, with `eta=1` those of `DDPMScheduler`, with coefficients in
    float64 and the arithmetic of a step in float32 at least. Unlike diffusers' DDIM it steps to the timestep that comes
    next, in every spacing, and every chain ends at clean data.

    Args:
        num_train_timesteps, beta_start, beta_end, beta_schedule, trained_betas, rescale_betas_zero_snr: the schedule,
            as in `DDPMScheduler`.
        clip_sample, clip_sample_range: whether $\hat x_0$ is clipped, and to which range ±r. At eta = 1 as DDPM does,
            at others as DDIM does, with the network's own ε.
        prediction_type: what the network predicts: "epsilon", "sample" or "v_prediction".
        timestep_spacing: "leading", "linspace", "trailing" or "quadratic"; `steps_offset` is added to "leading".
        eta: 0 is DDIM's mean, 1 is DDPM's; where a pipeline passes an `eta` of its own, that one counts.
        variance_type: "fixed_small", DDPM's small variance times η², or "fixed_large", meant for eta = 1.
        first_step_levels: the most that the noise of the last noisy step may change a pixel on average, in 256 grey
            levels. The papers take 2 with DDPM's mean and 1 with DDIM's, for images and with spacings whose lowest
            timestep is about 0, as all but "trailing" are; None: no bound.

    Errors: ValueError for betas outside (0, 1], a range that is not positive, a spacing or a variance that is none of
        those above.
    Example: `pipe.scheduler = AncestralScheduler.from_config(pipe.scheduler.config, eta=0.0)`
    References: J. Ho, A. Jain and P. Abbeel, Denoising Diffusion Probabilistic Models, 2020; J. Song, C. Meng and
        S. Ermon, Denoising Diffusion Implicit Models, 2020.
    """

    __module__ = "gezhi.adapters.diffusers"  # the name that model_index.json holds
    VARIANCES: ClassVar[tuple[str, ...]] = ("fixed_small", "fixed_large")

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: Sequence[float] | None = None,
        clip_sample: bool = True,
        clip_sample_range: float = 1.0,
        prediction_type: Literal["epsilon", "sample", "v_prediction"] = "epsilon",
        timestep_spacing: Literal["leading", "linspace", "trailing", "quadratic"] = "leading",
        steps_offset: int = 0,
        rescale_betas_zero_snr: bool = False,
        eta: float = 0.0,
        variance_type: str | None = None,
        first_step_levels: float | None = None,
    ) -> None:
        variance_type = variance_type or self.VARIANCES[0]
        check_choice("variance_type", variance_type, self.VARIANCES)
        check_settings(self.config)
        known = self.config
        super().__init__(
            num_train_timesteps, beta_start, beta_end, beta_schedule, trained_betas,
            rescale_betas_zero_snr=rescale_betas_zero_snr,
        )  # fmt: skip
        self._internal_dict = known  # without the options of DDPMScheduler that are none here
        self.variance_type = variance_type
        self.noise_schedule = NoiseSchedule.from_diffusers(self)
        self._walk(list(range(num_train_timesteps))[::-1])

    @classmethod
    def from_config(cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """From the config of another scheduler, with settings of one's own.

        A config that says nothing of clipping is one of a scheduler that does not clip, and then nothing is clipped.

        Errors: ValueError for a config without betas, and for one with dynamic thresholding, which is not done here.
        """
        if isinstance(config, Mapping):
            config = translated(config, kwargs)
            own = cls.VARIANCES is not AncestralScheduler.VARIANCES
            if own and config.get("variance_type") not in cls.VARIANCES:
                config.pop("variance_type", None)
        return super().from_config(config, return_unused_kwargs, **kwargs)

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[int] | None = None,
    ) -> None:
        """Choose the timesteps: so many in the config's spacing, or one's own from the highest down.

        Errors: ValueError unless one of the two is given, for more steps than the training had, and for timesteps that
            are out of order or outside 0..T-1.
        """
        if (num_inference_steps is None) == (timesteps is None):
            found = f"{num_inference_steps} and {timesteps}"
            raise invalid("num_inference_steps or timesteps", "be given, one of them", found)
        known = self.config
        if timesteps is not None:
            chosen = spacing.checked(known.num_train_timesteps, timesteps)
        else:
            chosen = spacing.spaced(
                known.num_train_timesteps, num_inference_steps, known.timestep_spacing, known.steps_offset
            )
        self._check_timesteps(chosen)
        self._walk(chosen)
        self.num_inference_steps = len(chosen)
        self.custom_timesteps = timesteps is not None
        self.timesteps = torch.tensor(chosen, device=device)

    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        eta: float | None = None,
        use_clipped_model_output: bool | None = None,
        generator: Generators = None,
        variance_noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        """From the state at `timestep` to the next one.

        Args:
            model_output: what the network returned for `sample` at `timestep`.
            timestep: one of `timesteps`.
            sample: the state, in any floating type; computed in float32 at least, returned in its own type.
            eta: in place of the config's.
            use_clipped_model_output: at eta below 1, take ε from the clipped mean too, as `DDIMScheduler` does.
            generator: one, or one a sample.
            variance_noise: the noise itself, in place of a generator.
            return_dict: an object with `prev_sample` and `pred_original_sample` (clipped), or a tuple of the two.
        Errors: ValueError for a timestep that `set_timesteps` did not choose, for shapes that differ, for both a
            generator and noise; FloatingPointError after the last step, naming the first that was not finite.
        """
        t = int(timestep) + 1
        if t not in self._next:
            raise invalid("timestep", "be one of those that set_timesteps chose", t - 1)
        if generator is not None and variance_noise is not None:
            raise invalid("generator or variance_noise", "be given, not both", "both")
        s, eta = self._next[t], self.config.eta if eta is None else eta
        coefficients = self.noise_schedule.step(s, t, eta)
        prediction = self._prediction(model_output, sample, t)
        reach = self.config.clip_sample_range
        clipped = prediction.mean.clamp(-reach, reach) if self.config.clip_sample else prediction.mean
        noise = partial(noise_like, like=model_output, generator=generator, given=variance_noise)
        keep_eps = eta != 1 and not use_clipped_model_output
        variance = self._variance()
        previous = move(sample, prediction, clipped, t, s, coefficients, variance, noise, keep_eps=keep_eps)
        self._watch(t, previous)
        clipped = clipped.to(sample.dtype)
        return DDPMSchedulerOutput(previous, clipped) if return_dict else (previous, clipped)

    # ---- what the other schedulers do otherwise ----

    def _prediction(self, model_output: Tensor, sample: Tensor, t: int) -> Prediction:
        return Prediction(mean_of(model_output, sample, self.noise_schedule, t, self.config.prediction_type))

    def _plain_variance(self) -> Variance:
        return fixed_small if self.variance_type == "fixed_small" else fixed_large

    def _check_timesteps(self, timesteps: Sequence[int]) -> None:
        """Raise for timesteps that the variance does not know."""

    # ---- inside ----

    def _walk(self, timesteps: Sequence[int]) -> None:
        times = [t + 1 for t in timesteps]
        self._next = dict(pairwise([*times, 0]))
        self._ends: dict[int, Tensor] = {}

    def _variance(self) -> Variance:
        variance, levels = self._plain_variance(), self.config.first_step_levels
        return variance if levels is None else capped(variance, min(self._next), first_step_clip(levels))

    def _watch(self, t: int, previous: Tensor) -> None:
        """Look once, after the last step, whether all was finite: on a GPU each look would wait for it."""
        self._ends[t] = ends(previous)
        if self._next[t] == 0:
            times = sorted(self._ends, reverse=True)
            found, self._ends = [self._ends[time] for time in times], {}
            check_finite(found, [*times, 0])
