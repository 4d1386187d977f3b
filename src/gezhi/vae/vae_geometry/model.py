"""A variational autoencoder of one latent, and the autoencoder as the same without noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi._checks import check_choice, check_integer, check_number, invalid
from gezhi.vae.latent import BatchNormPosterior, Gaussian, GaussianPosterior, LatentGroup, NoPosterior, standard_normal

Posterior = Literal["gaussian", "batch_norm", "none"]
Likelihood = Literal["gaussian", "bernoulli", "categorical"]
POSTERIORS = {"gaussian": GaussianPosterior, "batch_norm": BatchNormPosterior, "none": NoPosterior}
LIKELIHOODS = ("gaussian", "bernoulli", "categorical")


@dataclass(frozen=True)
class VAEOutput:
    """Of one pass.

    Attributes:
        reconstruction: the decoder's output: means, or logits.
        z, mean, log_variance: the code that was decoded and its law, (batch, latent_dim).
        loss: reconstruction_loss + β kl; scalars, means over the batch of sums over a sample.
        kl_per_dim: (latent_dim,), mean over the batch.
    """

    reconstruction: Tensor
    z: Tensor
    mean: Tensor
    log_variance: Tensor
    loss: Tensor
    reconstruction_loss: Tensor
    kl: Tensor
    kl_per_dim: Tensor


class VAE(nn.Module):
    r"""An encoder, a decoder, and a code with noise.

    $$L=\overline{\frac1{2s^2}\lVert x-D(z)\rVert^2}+\beta\,\overline{\mathrm{KL}},\qquad
      z=\mu(x)+\sigma(x)\odot\epsilon$$

    Sums over a sample, means over the batch: a mean over pixels instead would change β by their number.

    Args:
        encoder: from samples to (batch, 2 latent_dim), means then logarithms of variances; (batch, latent_dim) without
            noise.
        decoder: from codes to samples: means ("gaussian"), logits ("bernoulli"), logits of classes last
            ("categorical", for samples of class numbers).
        latent_dim: d ≥ 1.
        posterior: "batch_norm" keeps the divergence from vanishing; "none" is an autoencoder.
        likelihood: with "gaussian" the constant (D/2) log 2πs² is left out of the loss.
        observation_variance: s² > 0; ½, the article's, makes the first term the plain squared error.
        beta: β ≥ 0.
    Errors: ValueError for a decoder of another shape than the samples, "bernoulli" samples outside [0, 1].
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent_dim: int,
        *,
        posterior: Posterior = "gaussian",
        likelihood: Likelihood = "gaussian",
        observation_variance: float = 0.5,
        beta: float = 1.0,
    ) -> None:
        super().__init__()
        check_choice("posterior", posterior, tuple(POSTERIORS))
        check_choice("likelihood", likelihood, LIKELIHOODS)
        self.latent_dim = check_integer("latent_dim", latent_dim, at_least=1)
        self.observation_variance = check_number("observation_variance", observation_variance, above=0)
        self.beta = check_number("beta", beta, at_least=0)
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.latent = LatentGroup(standard_normal, POSTERIORS[posterior](self.latent_dim))

    def forward(self, x: Tensor, mask: Tensor | None = None, *, generator: torch.Generator | None = None) -> VAEOutput:
        """The loss on a batch; `mask` (True where x counts) leaves padding out of the reconstruction."""
        found = self.latent.infer(self.encoder(x), generator=generator)
        said = self.decoder(found.z)
        misses = -self.log_likelihood(x, said, constants=False, mask=mask).mean()
        kl_per_dim = found.kl.flatten(0, -2).mean(0)
        kl = kl_per_dim.sum()
        law = found.law
        return VAEOutput(
            said, found.z, law.mean, law.log_variance, misses + self.beta * kl, misses, kl, kl_per_dim
        )  # fmt: skip

    def law(self, x: Tensor) -> Gaussian:
        """Mean and log-variance of the codes of samples."""
        return self.latent.posterior(self.encoder(x))  # type: ignore[no-any-return]

    def sample(self, count: int, *, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Decoded draws from the standard normal prior."""
        check_integer("count", count, at_least=1)
        like = next(self.decoder.parameters(), torch.empty(0))
        z = self.latent.draw((count, self.latent_dim), temperature=temperature, generator=generator)
        decoded: Tensor = self.decoder(z.to(like))
        return decoded

    def log_likelihood(self, x: Tensor, said: Tensor, *, constants: bool = True, mask: Tensor | None = None) -> Tensor:
        """log p(x | z) of each sample, (batch,), from the decoder's output."""
        expected = said.shape[:-1] if self.likelihood == "categorical" else said.shape
        if expected != x.shape:
            raise invalid("decoder", f"return the shape of the samples, {tuple(x.shape)}", tuple(said.shape))
        if self.likelihood == "gaussian":
            terms = -(x - said).square() / (2 * self.observation_variance)
            if constants:
                terms = terms - math.log(2 * math.pi * self.observation_variance) / 2
        elif self.likelihood == "bernoulli":
            if not ((x >= 0) & (x <= 1)).all():
                raise invalid("x", "lie between 0 and 1 for a Bernoulli likelihood", f"{x.min():g} to {x.max():g}")
            terms = -F.binary_cross_entropy_with_logits(said, x, reduction="none")
        else:
            terms = -F.cross_entropy(said.movedim(-1, 1), x, reduction="none")
        return (terms if mask is None else terms.masked_fill(~mask, 0.0)).flatten(1).sum(1)


def interpolate(
    model: VAE, x0: Tensor, x1: Tensor, n: int = 8, path: Literal["linear", "spherical"] = "linear"
) -> Tensor:
    """Decoded codes from one sample to another, both ends included: (batch, n, …).

    Args:
        x0, x1: batches of one size; codes are the means.
        n: points, ≥ 2.
        path: "spherical" turns from one direction to the other at a steady rate and lets the length go linearly;
            codes of opposite directions, or of length 0, go straight.
    """
    check_choice("path", path, ("linear", "spherical"))
    steps = torch.linspace(0, 1, check_integer("n", n, at_least=2))
    if x0.shape != x1.shape:
        raise invalid("x1", "have the shape of x0", f"shapes {tuple(x0.shape)} and {tuple(x1.shape)}")
    z0, z1 = model.law(x0).mean, model.law(x1).mean
    t = steps.to(z0)[None, :, None]
    codes = (1 - t) * z0[:, None] + t * z1[:, None]
    if path == "spherical":
        codes = _turned(z0, z1, t, codes)
    decoded: Tensor = model.decoder(codes.flatten(0, 1))
    return decoded.view(len(x0), n, *decoded.shape[1:])


def _turned(z0: Tensor, z1: Tensor, t: Tensor, straight: Tensor) -> Tensor:
    lengths = [z.norm(dim=-1, keepdim=True) for z in (z0, z1)]
    units = [z / length.clamp(min=1e-12) for z, length in zip((z0, z1), lengths, strict=True)]
    angle = (units[0] * units[1]).sum(-1, keepdim=True).clamp(-1, 1).arccos()[:, None]
    sine = angle.sin()
    turned = (((1 - t) * angle).sin() * units[0][:, None] + (t * angle).sin() * units[1][:, None]) / sine.clamp(
        min=1e-6
    )
    turned = turned * ((1 - t) * lengths[0][:, None] + t * lengths[1][:, None])
    return torch.where(sine > 1e-6, turned, straight)


@torch.no_grad()
def iw_bound(model: VAE, x: Tensor, k: int = 100, *, generator: torch.Generator | None = None) -> Tensor:
    r"""$\log\frac1k\sum_j\frac{p(x|z_j)p(z_j)}{q(z_j|x)}$, (batch,): a bound below log p(x) in nats that grows with k.

    All constants are in it. At k = 1 it is the usual bound.

    Args:
        k: draws a sample, ≥ 1.
    Errors: ValueError for an autoencoder, whose codes have no density.
    Cost: k passes through the decoder.
    """
    law, terms = model.law(x), []
    if not isinstance(law, Gaussian):
        raise invalid("model", "have noise in its codes", "posterior='none'", "An autoencoder has no likelihood.")
    prior = Gaussian(torch.zeros_like(law.mean), torch.zeros_like(law.mean))
    for _ in range(check_integer("k", k, at_least=1)):
        z = law.rsample(generator)
        weight = (prior.log_prob(z) - law.log_prob(z)).flatten(1).sum(1)
        terms.append(model.log_likelihood(x, model.decoder(z)) + weight)
    return torch.stack(terms).logsumexp(0) - math.log(k)  # (5)
