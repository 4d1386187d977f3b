"""The sub-sequence of steps whose chain has the least bound, by dynamic programming."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gezhi._checks import check_integer, invalid
from gezhi.diffusion.schedule import NoiseSchedule


def optimal_trajectory(
    schedule: NoiseSchedule, ms_eps: Float[Tensor, " times"], count: int
) -> tuple[Int[Tensor, " count"], float]:
    r"""The K times from 1 to T whose chain, with DDPM's mean and the best variances, has the least KL bound.

    $$\min\sum_{(s,t)}F(s,t),\qquad F(s,t)=\ln\big(1-\beta_{t|s}^2\Gamma_t\big)$$

    The path is best for that bound, not for other samplers: DDIM without noise does worse on it than on an even one.

    Args:
        schedule: of the model.
        ms_eps: m_t at t = 0..T (`VarianceStats.ms_eps` with all times estimated); entry 0 is not read.
        count: K, from 2 to T.
    Returns: times, ascending, and the minimum. Bounds of two paths differ by d/2 times the difference of their sums.
    Errors: KeyError for times without a value; ValueError for a value that makes the logarithm's argument ≤ 0.
    Cost: O(K T²) time and O(T²) memory; under a second for T = 1000 and K = 25.
    References: F. Bao, C. Li, J. Zhu and B. Zhang, Analytic-DPM, 2022, section 4; D. Watson et al., Learning to
        Efficiently Sample from Diffusion Probabilistic Models, 2021.
    """
    steps = schedule.steps
    count = check_integer("count", count, at_least=2, at_most=steps, fix="A path has both ends.")
    if ms_eps.shape != (steps + 1,):
        raise invalid("ms_eps", f"have an entry for each of t = 0..{steps}", tuple(ms_eps.shape))
    missing = [t for t in range(1, steps + 1) if ms_eps[t].isnan()]
    if missing:
        raise KeyError(f"ms_eps must have a value at every time 1..{steps}: missing {missing}.")
    costs = _costs(schedule, ms_eps.double())
    best, chosen = torch.full((steps,), math.inf, dtype=torch.float64), []
    best[0] = 0.0
    for _ in range(count - 1):
        best, before = (best[:, None] + costs).min(0)
        chosen.append(before)
    path = [steps]
    for before in reversed(chosen):
        path.append(int(before[path[-1] - 1]) + 1)
    return torch.tensor(path[::-1]), float(best[-1])


def _costs(schedule: NoiseSchedule, ms_eps: Tensor) -> Tensor:
    """F(s, t) for s, t = 1..T; inf where s ≥ t."""
    noise2, logs = schedule.noises[1:] ** 2, schedule.log_signals[1:]
    if schedule.preserving:
        beta2 = -torch.expm1(2 * (logs[None, :] - logs[:, None]))
    else:
        beta2 = noise2[None, :] - (2 * (logs[None, :] - logs[:, None])).exp() * noise2[:, None]
    argument = 1 - beta2 * (ms_eps[1:] / noise2)[None, :]  # (9)
    upper = torch.ones_like(argument, dtype=torch.bool).triu(1)
    bad = (upper & (argument <= 0)).nonzero()
    if len(bad):
        s, t = (int(i) + 1 for i in bad[0])
        fix = "A mean square above 1 comes from too few draws or a poor model."
        raise invalid("ms_eps", "leave 1 - β²Γ positive", f"{float(ms_eps[t]):g} at t={t}, from s={s}", fix)
    return torch.where(upper, argument.clamp(min=1e-300).log(), math.inf)
