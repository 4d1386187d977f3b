"""One Transformer as an autoencoder of texts: its masks let nothing through but codes before its last layers."""

from gezhi.vae.univae.masks import univae_masks
from gezhi.vae.univae.model import UniVAE, UniVAEOutput
from gezhi.vae.univae.sphere import VonMisesFisher, vmf_kl, vmf_mean_length

__all__ = ["UniVAE", "UniVAEOutput", "VonMisesFisher", "univae_masks", "vmf_kl", "vmf_mean_length"]
