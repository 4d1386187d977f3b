"""A mixture of normals as the data, for which the best network and its spread are known in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from gezhi._checks import check_choice, check_number, invalid
from gezhi.diffusion.denoiser import Prediction
from gezhi.diffusion.levels import Time
from gezhi.diffusion.schedule import NoiseSchedule


class GaussianMixture:
    r"""Data of known density: $p(x_0)=\sum_kw_k\,\mathcal N(x_0;\mu_k,\Lambda_k)$, and what noise makes of it.

    $$R_k\propto w_k\mathcal N(x;\bar\alpha\mu_k,S_k),\quad S_k=\bar\alpha^2\Lambda_k+\bar\beta^2I,\qquad
      E[x_0\mid x]=\sum_kR_k\big(\mu_k+\bar\alpha\Lambda_kS_k^{-1}(x-\bar\alpha\mu_k)\big)$$

    Args:
        weights: (K,), positive; scaled to sum 1.
        means: (K, d).
        covariances: a number (the same variance in every direction of every component), (K, d) variances, or (K, d, d).
    Errors: ValueError for shapes that disagree, weights or variances that are not positive.
    Cost: K·d a row; with one shared variance a matrix product, so that a whole data set can be the mixture.
    Example:
        >>> bed = GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], [[0.04], [0.04]])
        >>> bed.denoise(torch.zeros(1, 1), signal=0.8, noise=0.6)[0]  # halfway between the two
        tensor([[0.]], dtype=torch.float64)
    """

    def __init__(
        self,
        weights: Tensor | list[float],
        means: Tensor | list[list[float]],
        covariances: float | Tensor | list[list[float]] | list[list[list[float]]],
    ) -> None:
        raw = torch.as_tensor(weights, dtype=torch.float64)
        self.means = torch.as_tensor(means, dtype=torch.float64)
        if raw.ndim != 1 or self.means.ndim != 2 or len(raw) != len(self.means):
            found = f"{tuple(raw.shape)} and {tuple(self.means.shape)}"
            raise invalid("weights and means", "have shapes (K,) and (K, d)", found)
        if not (raw > 0).all():
            raise invalid("weights", "be positive", float(raw.min()))
        self.weights = raw / raw.sum()
        self.shared: float | None = None
        self.axes: Tensor | None = None
        if isinstance(covariances, float | int):
            self.shared = check_number("covariances", covariances, above=0)
            self.variances = torch.full_like(self.means, self.shared)
            return
        given = torch.as_tensor(covariances, dtype=torch.float64)
        if given.shape == (*self.means.shape, self.dim):
            self.variances, self.axes = torch.linalg.eigh(given)
        elif given.shape == self.means.shape:
            self.variances = given
        else:
            k, d = self.means.shape
            must = f"be a number or have the shape ({k}, {d}) or ({k}, {d}, {d})"
            raise invalid("covariances", must, tuple(given.shape))
        if not (self.variances > 0).all():
            raise invalid("covariances", "be positive", float(self.variances.min()))

    @property
    def dim(self) -> int:
        """d, the entries of one sample."""
        return self.means.shape[1]

    def mean(self) -> Float[Tensor, " d"]:
        """E x₀."""
        return self.weights @ self.means

    def covariance(self) -> Float[Tensor, "d d"]:
        """Covariance of x₀."""
        off = self.means - self.mean()
        within = torch.einsum("k,kde->de", self.weights, self._matrices(self.variances))
        return within + torch.einsum("k,kd,ke->de", self.weights, off, off)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        """n independent samples."""
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        z = torch.randn(n, self.dim, dtype=torch.float64, generator=generator) * self.variances[k].sqrt()
        return self.means[k] + (z if self.axes is None else torch.einsum("nde,ne->nd", self.axes[k], z))

    def log_prob(self, x: Float[Tensor, "n d"], signal: float = 1.0, noise: float = 0.0) -> Float[Tensor, " n"]:
        """Log-density of x_t = signal · x₀ + noise · ε, in nats."""
        return self._joint(x.double(), signal, noise).logsumexp(1)

    def denoise(
        self, x: Float[Tensor, "n d"], signal: float, noise: float
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        r"""$E[x_0\mid x]$ and the diagonal of $\mathrm{Cov}(x_0\mid x)$."""
        x = x.double()
        share = self._joint(x, signal, noise).softmax(1)
        if self.shared is not None:
            spread = signal**2 * self.shared + noise**2
            gain = self.shared * signal / spread
            centre = share @ self.means
            scatter = share @ self.means**2 - centre**2
            keep = 1 - gain * signal
            return keep * centre + gain * x, self.shared * noise**2 / spread + keep**2 * scatter
        means, variances = self._components(x, signal, noise)
        mean = (share[..., None] * means).sum(1)
        inner = torch.diagonal(self._matrices(variances), dim1=-2, dim2=-1) if self.axes is not None else variances
        scatter = (share[..., None] * (means - mean[:, None]) ** 2).sum(1)
        return mean, share @ inner + scatter

    def covariance_given(self, x: Float[Tensor, "n d"], signal: float, noise: float) -> Float[Tensor, "n d d"]:
        r"""$\mathrm{Cov}(x_0\mid x)$, whole."""
        share = self._joint(x.double(), signal, noise).softmax(1)
        means, variances = self._components(x.double(), signal, noise)
        off = means - (share[..., None] * means).sum(1, keepdim=True)
        return torch.einsum("nk,kde->nde", share, self._matrices(variances)) + torch.einsum(
            "nk,nkd,nke->nde", share, off, off
        )

    def epsilon(self, x: Float[Tensor, "n d"], signal: float, noise: float) -> Float[Tensor, "n d"]:
        r"""The best noise prediction, $\epsilon^*=E[\varepsilon\mid x]=(x-\bar\alpha E[x_0\mid x])/\bar\beta$."""
        return (x.double() - signal * self.denoise(x, signal, noise)[0]) / noise

    def denoiser(
        self,
        schedule: NoiseSchedule,
        *,
        error: Callable[[Tensor], Tensor] | None = None,
        moment: Literal["residual", "noise"] = "residual",
    ) -> ExactDenoiser:
        """The exact model under a schedule, or one with a known error; see `ExactDenoiser`."""
        return ExactDenoiser(self, schedule, error=error, moment=moment)

    def _joint(self, x: Tensor, signal: float, noise: float) -> Tensor:
        """log w_k N(x; ᾱμ_k, S_k), (n, K)."""
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise invalid("x", f"have the shape (n, {self.dim})", tuple(x.shape))
        centres = signal * self.means
        spread = signal**2 * self.variances + noise**2
        if self.shared is not None:
            squares = torch.cdist(x, centres, compute_mode="use_mm_for_euclid_dist") ** 2 / spread[0, 0]
        else:
            squares = (self._along(x[:, None] - centres) ** 2 / spread).sum(-1)
        return self.weights.log() - 0.5 * (squares + (2 * math.pi * spread).log().sum(-1))

    def _components(self, x: Tensor, signal: float, noise: float) -> tuple[Tensor, Tensor]:
        """Mean (n, K, d) of x₀ given x and the component, and its variances (K, d) along the component's axes."""
        spread = signal**2 * self.variances + noise**2
        pulled = self._along(x[:, None] - signal * self.means) * (signal * self.variances / spread)
        if self.axes is not None:
            pulled = torch.einsum("kde,nke->nkd", self.axes, pulled)
        return self.means + pulled, self.variances * noise**2 / spread

    def _along(self, off: Tensor) -> Tensor:
        return off if self.axes is None else torch.einsum("kde,nkd->nke", self.axes, off)

    def _matrices(self, variances: Tensor) -> Tensor:
        if self.axes is None:
            return torch.diag_embed(variances)
        return torch.einsum("kde,ke,kfe->kdf", self.axes, variances, self.axes)


class ExactDenoiser:
    r"""The model of a mixture, exact or with an error that is known: $\hat\epsilon=\epsilon^*+\delta(x)$.

    Args:
        mixture, schedule: what is denoised, and how much noise it holds.
        error: δ, from states to an error in ε; None: none.
        moment: what `second_moment` is. "residual": $E[(x_0-\hat x_0)^2\mid x]=\mathrm{Var}+\rho^2\delta^2$ (the
            optimal NPR head). "noise": $\rho^2(E[\varepsilon^2\mid x]-\hat\epsilon^2)$ (the optimal SN head), which may
            be negative. Without an error both are $\mathrm{Var}(x_0\mid x)$.

    Returns: calling it, `model(x, t)` with t a number: a `Prediction` in float64.
    """

    def __init__(
        self,
        mixture: GaussianMixture,
        schedule: NoiseSchedule,
        *,
        error: Callable[[Tensor], Tensor] | None = None,
        moment: Literal["residual", "noise"] = "residual",
    ) -> None:
        check_choice("moment", moment, ("residual", "noise"))
        self.mixture, self.schedule, self.error, self.moment = mixture, schedule, error, moment

    def __call__(self, x: Float[Tensor, " n *shape"], t: Time) -> Prediction:
        signal, noise = self.schedule.signal(_number(t)), self.schedule.noise(_number(t))
        flat = x.reshape(len(x), self.mixture.dim)
        mean, variance = self.mixture.denoise(flat, signal, noise)
        if self.error is not None:
            ratio, delta = noise / signal, self.error(flat.double())
            eps = (flat.double() - signal * mean) / noise
            mean = mean - ratio * delta
            wrong = delta**2 if self.moment == "residual" else eps**2 - (eps + delta) ** 2
            variance = variance + ratio**2 * wrong
        return Prediction(mean.reshape(x.shape), variance.reshape(x.shape))


def _number(t: Time) -> int | float:
    if isinstance(t, Tensor):
        raise invalid("t", "be a number for an exact model", f"a tensor of shape {tuple(t.shape)}", kind=TypeError)
    return t
