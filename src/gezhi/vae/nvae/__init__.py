"""Parts of a hierarchical VAE: posteriors relative to priors, a law of grey levels, what keeps training steady."""

from gezhi.vae.nvae.balance import KLBalancer, SpectralRegularizer, kl_warm_up
from gezhi.vae.nvae.likelihood import DiscretizedLogisticMixture, bits_per_dim
from gezhi.vae.nvae.residual import ResidualNormal, soft_clamp

__all__ = [
    "DiscretizedLogisticMixture",
    "KLBalancer",
    "ResidualNormal",
    "SpectralRegularizer",
    "bits_per_dim",
    "kl_warm_up",
    "soft_clamp",
]
