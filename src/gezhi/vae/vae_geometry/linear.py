"""The linear VAE, whose best parameters are known: probabilistic PCA. The exact case that others are read against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gezhi._checks import check_integer, check_number, invalid
from gezhi._numerics import real_array

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LinearVAE:
    r"""The best linear encoder and decoder $N(Wz+m,s^2I)$ for some data.

    Attributes:
        mean, weight: m (features,) and W (features, latent_dim), columns along principal axes.
        variances: λ, all eigenvalues of the covariance of the data, largest first.
        posterior_variance: (latent_dim,), s²/λ, or 1 where a latent has collapsed.
        kl: (latent_dim,), ½ log(λ/s²), or 0, mean over the data.
        expected_error: of the squared reconstruction error of a drawn code.
    """

    mean: Array
    weight: Array
    variances: Array
    posterior_variance: Array
    kl: Array
    expected_error: float
    observation_variance: float

    @property
    def active_units(self) -> int:
        """Latents whose direction varies by more than the noise of an observation."""
        return int((self.kl > 0).sum())

    def encode(self, X: ArrayLike) -> Array:
        """Mean codes, (rows, latent_dim)."""
        centred = real_array("X", X) - self.mean
        scale = np.square(self.weight).sum(0) + self.observation_variance
        codes: Array = centred @ self.weight / scale
        return codes

    def decode(self, z: ArrayLike) -> Array:
        """Mean samples, (rows, features)."""
        samples: Array = real_array("z", z) @ self.weight.T + self.mean
        return samples


def linear_vae(X: ArrayLike, latent_dim: int, observation_variance: float) -> LinearVAE:
    r"""The optimum of a linear VAE in closed form.

    $$W=U_d(\Lambda_d-s^2)_+^{1/2},\qquad\sigma_i^2=\min\Big(\frac{s^2}{\lambda_i},1\Big),\qquad
      \mathrm{KL}_i=\tfrac12\max\Big(\log\frac{\lambda_i}{s^2},0\Big)$$

    A latent whose direction varies by less than s² carries nothing, however it is trained.

    Args:
        X: (rows, features), finite, two rows at least.
        latent_dim: d, 1 to the number of features.
        observation_variance: s² > 0.
    References: Lucas et al. 2019, Don't Blame the ELBO!, arXiv:1911.02469; Tipping and Bishop 1999.
    Example:
        >>> linear_vae([[0.0, 0.0], [4.0, 0.0], [2.0, 0.1]], 2, 0.1).active_units
        1
    """
    rows = real_array("X", X)
    if rows.ndim != 2 or len(rows) < 2:
        raise invalid("X", "be a matrix of two rows at least", f"shape {rows.shape}")
    d = check_integer("latent_dim", latent_dim, at_least=1, at_most=rows.shape[1])
    noise = check_number("observation_variance", observation_variance, above=0)
    values, axes = np.linalg.eigh(np.cov(rows.T, bias=True).reshape(rows.shape[1], -1))
    values, axes = np.maximum(values[::-1], 0), axes[:, ::-1]
    top = values[:d]
    weight = axes[:, :d] * np.sqrt(np.maximum(top - noise, 0))  # (7)
    kl = np.log(np.maximum(top / noise, 1)) / 2  # (8)
    error = float(values[d:].sum() + np.minimum(top, noise).sum())
    return LinearVAE(rows.mean(0), weight, values, np.minimum(noise / np.maximum(top, noise), 1), kl, error, noise)
