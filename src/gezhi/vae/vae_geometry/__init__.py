r"""A code with noise is an ellipse instead of a point: where codes lie, what lies between them, which of them are dead.

Title: VAE read geometrically | 从几何视角看 VAE
Also: VAE, BN-VAE, linear VAE, latent diagnostics, 7725
Tags: VAE, autoencoder, representation, interpolation
Articles: 变分自编码器(六):从几何视角来理解VAE的尝试
Page: docs/methods/vae_geometry.md
Notation: $\mu$, $\log\sigma^2$ = `mean`, `log_variance` of a code; $s^2$ = `observation_variance`, $\beta$ = `beta`,
    $\tau$ = `tau`; $d$ = `latent_dim`.
"""

from gezhi.vae.latent import BatchNormPosterior, gaussian_kl
from gezhi.vae.vae_geometry.linear import LinearVAE, linear_vae
from gezhi.vae.vae_geometry.model import VAE, VAEOutput, interpolate, iw_bound
from gezhi.vae.vae_geometry.report import LatentReport, coverage, latent_report, moment_kl

__all__ = [
    "VAE",
    "BatchNormPosterior",
    "LatentReport",
    "LinearVAE",
    "VAEOutput",
    "coverage",
    "gaussian_kl",
    "interpolate",
    "iw_bound",
    "latent_report",
    "linear_vae",
    "moment_kl",
]
