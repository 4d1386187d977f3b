r"""What a sampler makes of a one-dimensional mixture, as a density and without random numbers.

Notation: the output is $x(u)$ for u of the density b(u) on an even grid, so its density there is $b(u)/x'(u)$.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from gezhi._checks import invalid
from gezhi.diffusion.denoiser import Model
from gezhi.diffusion.gaussian_mixture.mixture import GaussianMixture
from gezhi.diffusion.sampler import Variance
from gezhi.diffusion.timesteps import chain

SQRT2 = math.sqrt(2.0)
BLOCK = 64


@dataclass(frozen=True)
class OutputDensity:
    """The density of a sampler's output along a curve.

    Attributes:
        x: values of the output, increasing, (n,).
        base: density of the grid's variable; slope: dx/du; spacing: of the grid.
    """

    x: Tensor
    base: Tensor
    slope: Tensor
    spacing: float

    def kl(self, target: GaussianMixture) -> float:
        """KL(sampler ‖ target) in nats."""
        inside = self.base > 0
        base, slope, x = self.base[inside], self.slope[inside], self.x[inside]
        return float((base * (base.log() - slope.log() - target.log_prob(x[:, None]))).sum() * self.spacing)

    def js(self, target: GaussianMixture) -> float:
        """Jensen-Shannon divergence in nats with weights ½, ½; at most log 2."""
        p = self.base.clamp(min=1e-300) / self.slope
        q = target.log_prob(self.x[:, None]).exp().clamp(min=1e-300)
        half = (p + q) / 2
        inside = (p * (p / half).log() + q * (q / half).log()) * self.slope
        cdf = mixture_cdf(target, self.x[[0, -1]])
        outside = float(cdf[0] + 1 - cdf[1])
        return float(0.5 * inside.sum() * self.spacing) + 0.5 * math.log(2) * outside

    def w2(self, target: GaussianMixture) -> float:
        """Wasserstein distance W₂, by quantiles."""
        mass = self.base * self.spacing
        level = mass.cumsum(0) - mass / 2
        ideal = mixture_quantile(target, level / mass.sum())
        return float(((self.x - ideal) ** 2 * mass).sum().sqrt())


def output_density(
    model: Model,
    times: Sequence[int | float] | Tensor,
    eta: float,
    variance: Variance,
    *,
    length: float = 14.0,
    points: int = 3584,
) -> OutputDensity:
    r"""Density of what `ancestral(eta, variance)` samples, with the model as it is.

    A step takes the characteristic function on, $\phi_s(\omega)=\int p_t(u)e^{i\omega m(u)-\omega^2V(u)/2}du$, and one
    FFT gives the density; the last step is an increasing map. Without any noise the whole chain is one map.

    Args:
        model: for data with one entry; its mean must be differentiable by torch.
        times, eta, variance: of the sampler.
        length, points: of the periodic grid: 14 and 3584 serve targets within ±4; a variance that throws mass far
            out needs a longer one.
    Errors: ValueError where the last map is not increasing on the bulk of the mass.
    Cost: points² complex exponentials a step at most, a tenth of that for smooth densities.
    """
    walk = chain(times, model.schedule.steps)
    noisy = [i for i in range(len(walk) - 2) if _spread(model, walk[i], walk[i + 1], eta, variance)]
    if not noisy:
        return _mapped(model, walk, eta)
    u = (torch.arange(points, dtype=torch.float64) - points // 2) * (length / points)
    density = _normal(u / model.schedule.prior_std) / model.schedule.prior_std
    for t, s in pairwise(walk[:-1]):
        mean, spread = _moments(model, u, t, s, eta, variance)
        density = _through(density, mean, spread, length)
    x, slope = _with_slope(model, u, walk[-2], 0, eta)
    if not (slope[density > 1e-14 * density.max()] > 0).all():
        raise invalid("model", "map the last states to samples in their order", "a slope that is not positive")
    keep = slope > 0
    return OutputDensity(x[keep], density[keep], slope[keep], length / points)


def _spread(model: Model, t: int | float, s: int | float, eta: float, variance: Variance) -> bool:
    probe = torch.linspace(-2, 2, 5, dtype=torch.float64)
    return bool((_moments(model, probe, t, s, eta, variance)[1] > 0).any())


def _moments(
    model: Model, u: Tensor, t: int | float, s: int | float, eta: float, variance: Variance
) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        prediction = model(u[:, None], t)
        c = model.schedule.step(s, t, eta)
        added = torch.as_tensor(variance(t, s, c, prediction), dtype=torch.float64)
    return c.kappa * u + c.gamma * prediction.mean[:, 0], added.reshape(-1).expand(len(u))


def _through(density: Tensor, mean: Tensor, spread: Tensor, length: float) -> Tensor:
    """The density after a normal step with these means and variances, on the same grid."""
    points = len(density)
    mass = density * (length / points)
    keep = mass > 1e-18 * mass.max()
    mass, mean, spread = mass[keep], mean[keep], spread[keep]
    found = torch.zeros(points // 2 + 1, dtype=torch.complex128)
    for start in range(0, points // 2 + 1, BLOCK):
        stop = min(start + BLOCK, points // 2 + 1)
        omega = torch.arange(start, stop, dtype=torch.float64)[:, None] * (2 * math.pi / length)
        exponent = torch.complex(-0.5 * omega**2 * spread, omega * mean)
        found[start:stop] = exponent.exp() @ mass.to(torch.complex128)
        if found[start:stop].abs().max() < 1e-17:
            break
    # p(u_k) = (1/L) Σ_j φ(ω_j) e^{-iω_j u_k}; the grid starts at -L/2, which is the alternating sign
    sign = 1 - 2 * (torch.arange(points // 2 + 1) % 2).double()
    values = torch.fft.irfft(found.conj() * sign, n=points) * (points / length)
    return values.clamp(min=0.0)  # type: ignore[no-any-return]


def _with_slope(model: Model, u: Tensor, t: int | float, s: int | float, eta: float) -> tuple[Tensor, Tensor]:
    c = model.schedule.step(s, t, eta)
    x = u.detach().clone().requires_grad_()
    with torch.enable_grad():
        mean = model(x[:, None], t).mean[:, 0]
        (slope,) = torch.autograd.grad(mean.sum(), x)
    return (c.kappa * u + c.gamma * mean).detach(), c.kappa + c.gamma * slope


def _mapped(
    model: Model, walk: list[int | float], eta: float, reach: float = 12.0, points: int = 48000
) -> OutputDensity:
    z = torch.linspace(-reach, reach, points, dtype=torch.float64)
    x, slope = z * model.schedule.prior_std, torch.full_like(z, model.schedule.prior_std)
    for t, s in pairwise(walk):
        x, factor = _with_slope(model, x, t, s, eta)
        slope = slope * factor
    if not (slope > 0).all():
        raise invalid("model", "map latents to samples in their order", "a slope that is not positive")
    return OutputDensity(x, _normal(z), slope, 2 * reach / (points - 1))


def _normal(z: Tensor) -> Tensor:
    return (-0.5 * z * z).exp() / math.sqrt(2 * math.pi)


def mixture_cdf(
    target: GaussianMixture, x: Float[Tensor, " n"], signal: float = 1.0, noise: float = 0.0
) -> Float[Tensor, " n"]:
    """P(x_t ≤ x) for a mixture with one entry."""
    if target.dim != 1:
        raise invalid("target", "have one entry a sample", target.dim)
    spread = (signal**2 * target.variances[:, 0] + noise**2).sqrt()
    z = (x[:, None] - signal * target.means[:, 0]) / spread
    return 0.5 * torch.erfc(-z / SQRT2) @ target.weights


def mixture_quantile(
    target: GaussianMixture, level: Float[Tensor, " n"], signal: float = 1.0, noise: float = 0.0
) -> Float[Tensor, " n"]:
    """The x with P(x_t ≤ x) = level, by bisection; the exact flow is this map after `mixture_cdf`."""
    spread = (signal**2 * target.variances[:, 0] + noise**2).sqrt()
    centres = signal * target.means[:, 0]
    low = torch.full_like(level, float((centres - 40 * spread).min()))
    high = torch.full_like(level, float((centres + 40 * spread).max()))
    for _ in range(70):
        middle = (low + high) / 2
        below = mixture_cdf(target, middle, signal, noise) < level
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def entropy(target: GaussianMixture, *, reach: float = 9.0, points: int = 20001) -> float:
    """Entropy in nats of a mixture with one entry, by quadrature on ±reach."""
    x = torch.linspace(-reach, reach, points, dtype=torch.float64)
    logs = target.log_prob(x[:, None])
    return -float(torch.trapezoid(logs.exp() * logs, x))


def sliced_w2(samples: Float[Tensor, "n 2"], target: GaussianMixture, directions: int = 32) -> float:
    """Root mean square over directions of the plane of W₂ between projected samples and the projected mixture."""
    if target.dim != 2:
        raise invalid("target", "have two entries a sample", target.dim)
    matrices = target._matrices(target.variances)
    level = (torch.arange(len(samples), dtype=torch.float64) + 0.5) / len(samples)
    total = 0.0
    for k in range(directions):
        angle = math.pi * k / directions
        axis = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
        variances = torch.einsum("d,kde,e->k", axis, matrices, axis)[:, None]
        line = GaussianMixture(target.weights, (target.means @ axis)[:, None], variances)
        total += float(((samples.double() @ axis).sort().values - mixture_quantile(line, level)).square().mean())
    return math.sqrt(total / directions)
