r"""The sampler: one loop, steps as functions (model, x, t, s, memory, noise) → (x, memory), and variances of a step.

DDPM, DDIM, Analytic-DPM and its extension are one step, `ancestral`, with another variance; Heun and multistep solvers
are further steps.

Notation: $\kappa,\gamma,\sigma$ = `StepCoefficients`, $\hat x_0$ = `Prediction.mean`, $V$ = what `variance` returns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gezhi._checks import check_number, invalid
from gezhi.diffusion.denoiser import Model, Prediction, affine
from gezhi.diffusion.schedule import StepCoefficients
from gezhi.diffusion.timesteps import chain

Noise = Callable[[Tensor], Tensor]
Step = Callable[[Model, Tensor, "int | float", "int | float", Any, Noise | None], tuple[Tensor, Any]]
Variance = Callable[["int | float", "int | float", StepCoefficients, Prediction], "float | Tensor"]


def sample(
    model: Model,
    x: Float[Tensor, " batch *shape"],
    times: Sequence[int | float] | Tensor,
    step: Step,
    *,
    generator: torch.Generator | None = None,
    noise: Noise | None = None,
    return_trajectory: bool = False,
) -> Float[Tensor, "*batch_shape"]:
    """Walk from noise to data: one call of `step` for each pair of neighbouring times, and one from the first to 0.

    Args:
        model: a `Denoiser`, or any callable with a `schedule` that returns a `Prediction`.
        x: the states at the last of the times: normal, with `schedule.prior_std`.
        times: times in (0, T], ascending or descending (`timestep_subsequence`, `time_grid`); the step to 0 is added.
        step: `ancestral(…)`, `heun`, `dpmpp_2m`, …
        generator: for the noise of the steps; None: torch's global one.
        noise: `noise(x)` returns noise like x, in place of the generator.
        return_trajectory: all states, stacked, from x to the sample.
    Returns: the sample, like x; or the states, (times + 1, batch, …).
    Errors: ValueError for times that are empty, not monotone or outside (0, T]; FloatingPointError that names the
        step after which states were no longer finite. It is looked for once, after the last step.
    Cost: the step's calls of the model for each time, and two buffers.
    Example:
        >>> from gezhi.diffusion import Denoiser, NoiseSchedule, ddim_step
        >>> model = Denoiser(lambda x, times: x, NoiseSchedule.linear())  # the exact network of normal data, nearly
        >>> sample(model, torch.ones(1, 2), [1, 500, 1000], ddim_step()).shape
        torch.Size([1, 2])
    """
    walk = chain(times, model.schedule.steps)
    draw = noise or partial(_normal, generator=generator)
    memory, states, found = None, [x], []
    for t, s in pairwise(walk):
        x, memory = step(model, x, t, s, memory, draw)
        found.append(ends(x))
        if return_trajectory:
            states.append(x)
    check_finite(found, walk)
    return torch.stack(states) if return_trajectory else x


def _normal(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)


def ends(x: Tensor) -> Tensor:
    """The least and the greatest entry, which are finite where all are; one pass and no wait for a device."""
    return torch.stack(torch.aminmax(x.detach())) if x.numel() else x.new_zeros(2)


def check_finite(both: list[Tensor], walk: Sequence[int | float]) -> None:
    """FloatingPointError that names the first step after which not all was finite; `both` has the `ends` of each."""
    good = torch.stack(both).isfinite().all(1)
    if bool(good.all()):
        return
    i = int((~good).nonzero()[0])
    found = f"the first others after step {i + 1}, from t={walk[i]} to s={walk[i + 1]}"
    raise invalid("states", "stay finite", found, "Look at the model's output there.", kind=FloatingPointError)


def ancestral(eta: float, variance: Variance, clip_x0: tuple[float, float] | None = None) -> Step:
    r"""The step of DDPM, DDIM, Analytic-DPM and its extension, which differ in `variance` alone.

    $$x_s=\kappa x_t+\gamma\hat x_0+\sqrt V\,z,\qquad z\sim\mathcal N(0,I),\ \text{none at }s=0$$

    Args:
        eta: 0 is the mean of DDIM, 1 that of DDPM; see `NoiseSchedule.step`.
        variance: `variance(t, s, coefficients, prediction)`: V, a number or a tensor that broadcasts to x.
        clip_x0: the range of the data. For eta = 1 $\hat x_0$ is clipped in the formula above (DDPM's code); for others
            $\bar\alpha_s\mathrm{clip}(\hat x_0)+\sqrt{\bar\beta_s^2-\sigma^2}\,\epsilon$ keeps the unclipped ε
            (DDIM's code). Without clipping both are the same.
    Returns: a step for `sample`: one call of the model, no memory.
    Errors: ValueError for a negative eta and a range that is empty; those of `NoiseSchedule.step`.
    Example:
        >>> from gezhi.diffusion import fixed_large
        >>> ddpm_large = ancestral(1.0, fixed_large, clip_x0=(-1, 1))

    References: J. Song, C. Meng and S. Ermon, Denoising Diffusion Implicit Models, 2020; 苏剑林, 生成扩散模型漫谈(四).
    """
    check_number("eta", eta, at_least=0, below=math.inf)
    if clip_x0 is not None and not clip_x0[0] < clip_x0[1]:
        raise invalid("clip_x0", "be a range (low, high)", clip_x0)
    return partial(_ancestral, eta=eta, variance=variance, clip_x0=clip_x0)


def _ancestral(
    model: Model,
    x: Tensor,
    t: int | float,
    s: int | float,
    memory: Any,
    noise: Noise | None,
    *,
    eta: float,
    variance: Variance,
    clip_x0: tuple[float, float] | None,
) -> tuple[Tensor, None]:
    prediction = model(x, t)
    c = model.schedule.step(s, t, eta)
    clipped = prediction.mean if clip_x0 is None else prediction.mean.clamp(*clip_x0)
    return move(x, prediction, clipped, t, s, c, variance, noise, keep_eps=eta != 1), memory


def move(
    x: Tensor,
    prediction: Prediction,
    clipped: Tensor,
    t: int | float,
    s: int | float,
    c: StepCoefficients,
    variance: Variance,
    noise: Noise | None,
    *,
    keep_eps: bool,
) -> Tensor:
    """The step of `ancestral` from a prediction that is made and its clipped mean (the same tensor: not clipped)."""
    mean, wide = prediction.mean, x.to(prediction.mean.dtype)
    if clipped is not mean and keep_eps:
        y = affine(clipped, affine(wide, mean, 1.0, -c.signal_t), c.signal_s, c.kappa)
    else:
        y = affine(wide, clipped, c.kappa, c.gamma)
    if s > 0 and noise is not None:
        added = variance(t, s, c, prediction)
        if isinstance(added, Tensor) or added > 0:
            drawn = noise(wide)
            y = y + added.sqrt() * drawn if isinstance(added, Tensor) else affine(y, drawn, 1.0, math.sqrt(added))
    return y.to(x.dtype)


def fixed_small(t: int | float, s: int | float, coefficients: StepCoefficients, prediction: Prediction) -> float:
    """σ² itself: DDPM's small variance at eta = 1, exact for a data set of one point; 0 at eta = 0."""
    return coefficients.sigma2


def fixed_large(t: int | float, s: int | float, coefficients: StepCoefficients, prediction: Prediction) -> float:
    """DDPM's large variance, exact for standard normal data; meant for eta = 1."""
    return coefficients.beta2


def zero(t: int | float, s: int | float, coefficients: StepCoefficients, prediction: Prediction) -> float:
    """No noise, whatever the mean."""
    return 0.0
