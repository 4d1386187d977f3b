"""Probabilities of grey levels by a mixture of logistic laws, cut at the edges of the levels; they sum to 1."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gezhi._checks import check_integer, invalid

FLOOR = -7.0  # of the logarithm of a scale: about a thousandth of the range


def bits_per_dim(nats: float | Tensor, n_values: int) -> float | Tensor:
    """Nats of a whole sample as bits of each of its values, all pixels and channels counted.

    Example:
        >>> round(bits_per_dim(6000.0, 3072), 4)
        2.8178
    """
    return nats / (math.log(2) * check_integer("n_values", n_values, at_least=1))


class DiscretizedLogisticMixture:
    r"""A law of whole levels 0 … M, as $x=\text{level}/M$ in [0, 1], from a mixture of logistic laws of $y=2x-1$.

    $$P(x)=\sum_k\pi_k\Big[\mathrm{sig}\Big(\frac{y-m_k+1/M}{s_k}\Big)-\mathrm{sig}\Big(\frac{y-m_k-1/M}{s_k}\Big)\Big]$$

    with the first term 1 at level M and the second 0 at level 0, so that the tails belong to the outer levels and the
    probabilities of all levels sum to 1.

    Args:
        logits: of the weights π, (batch, mixtures, height, width).
        means, log_scales: m and log s, (batch, channels, mixtures, height, width); log s is at least −7.
        coefficients: for three channels, (batch, 3, mixtures, height, width): by their tanh the means of green follow
            red, and those of blue red and green. None: channels are independent given the component.
        n_levels: M + 1, ≥ 2.
    Errors: ValueError for shapes that do not fit, samples outside [0, 1] or off the levels by more than 1e-4.
    Half precision is computed in float32.
    References: Salimans et al. 2017, PixelCNN++, arXiv:1701.05517.
    """

    def __init__(
        self,
        logits: Tensor,
        means: Tensor,
        log_scales: Tensor,
        coefficients: Tensor | None = None,
        n_levels: int = 256,
    ) -> None:
        self.top = check_integer("n_levels", n_levels, at_least=2) - 1
        if logits.ndim != 4 or means.ndim != 5 or means.shape != log_scales.shape:
            shapes = ", ".join(str(tuple(x.shape)) for x in (logits, means, log_scales))
            raise invalid("logits, means and log_scales", "fit each other", f"shapes {shapes}")
        if (means.shape[0], *means.shape[2:]) != logits.shape:
            raise invalid("means", f"have shape (batch, channels, {tuple(logits.shape[1:])})", tuple(means.shape))
        if coefficients is not None and (means.shape[1] != 3 or coefficients.shape != means.shape):
            raise invalid(
                "coefficients", f"have three channels, like means {tuple(means.shape)}", tuple(coefficients.shape)
            )
        wide = torch.promote_types(logits.dtype, torch.float32)
        self.logits, self.means = logits.to(wide), means.to(wide)
        self.log_scales = log_scales.to(wide).clamp(min=FLOOR)
        self.coefficients = None if coefficients is None else coefficients.to(wide).tanh()

    def log_prob(self, x: Tensor) -> Tensor:
        """Of each pixel, (batch, height, width), its channels together; x is (batch, channels, height, width)."""
        y = self._checked(x.to(self.means)) * 2 - 1
        means = self._conditioned(y)
        upper = (y[:, :, None] - means + 1 / self.top) * (-self.log_scales).exp()
        width = 2 / self.top * (-self.log_scales).exp()
        lower = upper - width
        inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))  # (4)
        level = (x * self.top).round()[:, :, None]
        log_p = torch.where(level == 0, F.logsigmoid(upper), inside)
        log_p = torch.where(level == self.top, F.logsigmoid(-lower), log_p)
        return (log_p.sum(1) + self.logits.log_softmax(1)).logsumexp(1)

    def mean(self) -> Tensor:
        """Expected x of each value, (batch, channels, height, width), of the law before it is cut; within [0, 1]."""
        weights = self.logits.softmax(1)[:, None]
        y = (weights * self.means).sum(2)
        if self.coefficients is not None:
            y = (weights * self._conditioned(y.clamp(-1, 1))).sum(2)
        return (y.clamp(-1, 1) + 1) / 2

    def sample(self, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Levels over M, (batch, channels, height, width); the scales are multiplied by the temperature."""
        noise = torch.empty_like(self.logits).exponential_(generator=generator).log()
        which = (self.logits - noise).argmax(1)[:, None, None].expand(-1, self.means.shape[1], 1, -1, -1)
        scales = self.log_scales.gather(2, which)[:, :, 0].exp() * temperature
        u = torch.empty_like(scales).uniform_(1e-5, 1 - 1e-5, generator=generator)
        noise = scales * (u.log() - torch.log1p(-u))
        y = self.means.gather(2, which)[:, :, 0] + noise
        if self.coefficients is not None:
            red, green, blue = self.coefficients.gather(2, which)[:, :, 0].unbind(1)
            r = y[:, 0].clamp(-1, 1)
            g = (y[:, 1] + red * r).clamp(-1, 1)
            y = torch.stack([r, g, y[:, 2] + green * r + blue * g], 1)
        return ((y.clamp(-1, 1) + 1) / 2 * self.top).round() / self.top

    def _conditioned(self, y: Tensor) -> Tensor:
        """Means given the true values of earlier channels, in [−1, 1]."""
        if self.coefficients is None:
            return self.means
        first, second, third = self.coefficients.unbind(1)
        red, green = y[:, 0, None], y[:, 1, None]
        means = self.means.unbind(1)
        return torch.stack([means[0], means[1] + first * red, means[2] + second * red + third * green], 1)

    def _checked(self, x: Tensor) -> Tensor:
        if x.shape != (self.means.shape[0], self.means.shape[1], *self.means.shape[3:]):
            must = f"have shape {(self.means.shape[0], self.means.shape[1], *self.means.shape[3:])}"
            raise invalid("x", must, tuple(x.shape))
        if not ((x >= 0) & (x <= 1)).all():
            raise invalid("x", "lie between 0 and 1", f"{x.min():g} to {x.max():g}")
        off = float(((x * self.top) - (x * self.top).round()).abs().max())
        if off > 1e-4 * self.top:
            fix = "Round, or set n_levels."
            raise invalid("x", f"lie on the levels k / {self.top}", f"one {off / self.top:g} off", fix)
        return x
