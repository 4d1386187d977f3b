"""Posteriors, priors, hierarchies: codes with noise, and what their geometry tells."""

from gezhi.vae.latent import BatchNormPosterior as BatchNormPosterior
from gezhi.vae.latent import Gaussian as Gaussian
from gezhi.vae.latent import LatentGroup as LatentGroup
from gezhi.vae.latent import gaussian_kl as gaussian_kl
from gezhi.vae.nvae import DiscretizedLogisticMixture as DiscretizedLogisticMixture
from gezhi.vae.nvae import KLBalancer as KLBalancer
from gezhi.vae.nvae import ResidualNormal as ResidualNormal
from gezhi.vae.nvae import SpectralRegularizer as SpectralRegularizer
from gezhi.vae.nvae import bits_per_dim as bits_per_dim
from gezhi.vae.nvae import kl_warm_up as kl_warm_up
from gezhi.vae.univae import UniVAE as UniVAE
from gezhi.vae.univae import VonMisesFisher as VonMisesFisher
from gezhi.vae.univae import univae_masks as univae_masks
from gezhi.vae.univae import vmf_kl as vmf_kl
from gezhi.vae.vae_geometry import VAE as VAE
from gezhi.vae.vae_geometry import LatentReport as LatentReport
from gezhi.vae.vae_geometry import LinearVAE as LinearVAE
from gezhi.vae.vae_geometry import VAEOutput as VAEOutput
from gezhi.vae.vae_geometry import coverage as coverage
from gezhi.vae.vae_geometry import interpolate as interpolate
from gezhi.vae.vae_geometry import iw_bound as iw_bound
from gezhi.vae.vae_geometry import latent_report as latent_report
from gezhi.vae.vae_geometry import linear_vae as linear_vae
from gezhi.vae.vae_geometry import moment_kl as moment_kl
