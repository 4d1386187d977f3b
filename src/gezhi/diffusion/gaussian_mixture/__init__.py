"""The exact test bed: mixtures of normals, for which the best model, samplers and distances have closed forms."""

from gezhi.diffusion.gaussian_mixture.bound import nelbo
from gezhi.diffusion.gaussian_mixture.chains import frechet_distance, gaussian_chain, gaussian_kl, gaussian_w2
from gezhi.diffusion.gaussian_mixture.density import (
    OutputDensity,
    entropy,
    mixture_cdf,
    mixture_quantile,
    output_density,
    sliced_w2,
)
from gezhi.diffusion.gaussian_mixture.mixture import ExactDenoiser, GaussianMixture

__all__ = [
    "ExactDenoiser",
    "GaussianMixture",
    "OutputDensity",
    "entropy",
    "frechet_distance",
    "gaussian_chain",
    "gaussian_kl",
    "gaussian_w2",
    "mixture_cdf",
    "mixture_quantile",
    "nelbo",
    "output_density",
    "sliced_w2",
]
