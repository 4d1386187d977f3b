"""The likelihood bound of a sampler on a one-dimensional mixture, by quadrature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from gezhi.diffusion.gaussian_mixture.mixture import ExactDenoiser
from gezhi.diffusion.sampler import Variance
from gezhi.diffusion.timesteps import chain


def nelbo(
    model: ExactDenoiser,
    times: Sequence[int | float] | Tensor,
    variance: Variance,
    *,
    reach: float = 9.0,
    points: int = 20001,
) -> float:
    r"""Negative evidence bound in nats of the chain with DDPM's mean (η = 1) and any variance; one entry a sample.

    $$\mathrm{KL}(p(x_T|x_0)\|\mathcal N(0,1))+\sum_{s>0}E\Big[\tfrac12\Big(\ln\frac V{\sigma^2}+
      \frac{\sigma^2+\gamma^2e^2}V-1\Big)\Big]+\tfrac12(1+\ln2\pi V_0),\qquad e=x_0-\hat x_0$$

    The last step is normal with $V_0=E|x_0-\hat x_0(x_{\tau_1})|^2$ whatever the variance, so that it cancels between
    them.

    Args:
        model: an exact model of a mixture with one entry, with or without an error.
        times, variance: of the sampler.
        reach, points: of the quadrature, ±reach.
    """
    walk, mixture, schedule = chain(times, model.schedule.steps), model.mixture, model.schedule
    residual = mixture.denoiser(schedule, error=model.error)
    x = torch.linspace(-reach, reach, points, dtype=torch.float64)
    square = float((mixture.weights * (mixture.means[:, 0] ** 2 + mixture.variances[:, 0])).sum())
    signal, noise = schedule.signal(walk[0]), schedule.noise(walk[0])
    total = 0.5 * (signal**2 * square + noise**2 - 1 - 2 * math.log(noise))
    for t, s in pairwise(walk):
        density = mixture.log_prob(x[:, None], schedule.signal(t), schedule.noise(t)).exp()
        missed = _moment(residual, x, t)
        if s == 0:
            return total + 0.5 * (1 + math.log(2 * math.pi * float(torch.trapezoid(density * missed, x))))
        c = schedule.step(s, t, 1.0)
        given = torch.as_tensor(variance(t, s, c, model(x[:, None], t)), dtype=torch.float64).reshape(-1)
        term = (given / c.sigma2).log() + (c.sigma2 + c.gamma**2 * missed) / given - 1
        total += 0.5 * float(torch.trapezoid(density * term, x))
    return total


def _moment(model: ExactDenoiser, x: Tensor, t: int | float) -> Tensor:
    return model(x[:, None], t)[1][:, 0]  # type: ignore[index]
