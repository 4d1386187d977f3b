r"""DDPM and DDIM: one network trained to predict noise, a family of samplers with any number of steps.

Title: DDPM and DDIM | DDPM 与 DDIM
Also: DDIM, DDPM, denoising diffusion
Tags: diffusion, sampling, training
Articles: 生成扩散模型漫谈(四):DDIM = 高观点DDPM
Page: docs/methods/ddim.md
Notation: $\eta$ = `eta`, $\epsilon$ = what the network predicts, $z$ = a latent, the state at T.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gezhi._checks import check_choice, check_number, invalid
from gezhi.diffusion.denoiser import Denoiser, Model, PredictionType, levels
from gezhi.diffusion.sampler import Step, ancestral, check_finite, ends, fixed_large, fixed_small
from gezhi.diffusion.timesteps import chain

__all__ = ["ddim_encode", "ddim_step", "ddpm_step", "denoising_loss", "slerp"]


def ddpm_step(variance: Literal["small", "large"] = "small", *, clip_x0: tuple[float, float] | None = None) -> Step:
    r"""The step of DDPM, over any distance: the mean at η = 1, and one of Ho's two variances.

    $$x_s=\frac{\alpha_{t|s}\bar\beta_s^2}{\bar\beta_t^2}x_t
      +\frac{\bar\alpha_s\beta_{t|s}^2}{\bar\beta_t^2}\hat x_0+\sqrt Vz$$

    Args:
        variance: "small" is $\tilde\beta_{t|s}^2$, exact for a data set of one point; "large" is $\beta_{t|s}^2$, exact
            for standard normal data.
        clip_x0: the range of the data, to which $\hat x_0$ is clipped; None: not at all.
    Returns: a step for `sample`.
    References: J. Ho, A. Jain and P. Abbeel, Denoising Diffusion Probabilistic Models, 2020;
        苏剑林, 生成扩散模型漫谈(三).
    """
    check_choice("variance", variance, ("small", "large"))
    return ancestral(1.0, fixed_small if variance == "small" else fixed_large, clip_x0)


def ddim_step(eta: float = 0.0, *, clip_x0: tuple[float, float] | None = None) -> Step:
    r"""The step of DDIM: without noise at η = 0, DDPM's at η = 1, and what lies between.

    $$x_s=\bar\alpha_s\hat x_0+\sqrt{\bar\beta_s^2-\sigma^2}\,\epsilon+\sigma z,\qquad
      \sigma=\eta\,\frac{\bar\beta_s}{\bar\beta_t}\sqrt{1-\frac{\bar\alpha_t^2}{\bar\alpha_s^2}}$$

    Args:
        eta: ≥ 0; 0 is the paper's choice for few steps.
        clip_x0: the range of the data, to which $\hat x_0$ is clipped while ε stays; None: not at all.
    Returns: a step for `sample`.
    References: J. Song, C. Meng and S. Ermon, Denoising Diffusion Implicit Models, 2020; 苏剑林, 生成扩散模型漫谈(四).
    """
    return ancestral(eta, fixed_small, clip_x0)


def ddim_encode(
    model: Model, x0: Float[Tensor, " batch *shape"], times: Sequence[int | float] | Tensor, *, eta: float = 0.0
) -> Float[Tensor, " batch *shape"]:
    r"""The latent of a sample: DDIM's step with s and t exchanged, upwards through the times.

    Each step takes ε at its lower end, so a decoded latent misses the sample by O(1/K). The first one, from the data to
    the first time, takes ε there, at $x_0$ as it is.

    Args:
        model: as for `sample`.
        x0: samples.
        times: the times of the sampler that will decode, in either direction.
        eta: must be 0; with noise there is no latent to find.
    Returns: states at the last time, like x0.
    Errors: ValueError for eta > 0; FloatingPointError that names the step after which states were no longer finite.
    References: J. Song, C. Meng and S. Ermon, Denoising Diffusion Implicit Models, 2020, section 5.4.
    """
    check_number("eta", eta, at_least=0)
    if eta > 0:
        raise invalid("eta", "be 0", eta, "Only the step without noise can be walked backwards.")
    upwards = chain(times, model.schedule.steps)[::-1]
    x, found = x0, []
    for s, t in pairwise(upwards):
        at = s if s > 0 else t
        signal, noise = model.schedule.signal(at), model.schedule.noise(at)
        mean = model(x, at).mean
        eps = (x.to(mean.dtype) - signal * mean) / noise
        signal_s, noise_s = model.schedule.signal(s), model.schedule.noise(s)
        clean = (x.to(mean.dtype) - noise_s * eps) / signal_s
        x = (model.schedule.signal(t) * clean + model.schedule.noise(t) * eps).to(x0.dtype)  # (9)
        found.append(ends(x))
    check_finite(found, upwards)
    return x


def denoising_loss(
    model: Denoiser,
    x0: Float[Tensor, " batch *shape"],
    t: Int[Tensor, " batch"] | None = None,
    *,
    noise: Float[Tensor, " batch *shape"] | None = None,
    target: PredictionType = "epsilon",
    reduction: Literal["mean", "sum"] = "mean",
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    r"""Squared error of the prediction at a random time, with the same weight for all times.

    $$E_{t,x_0,\varepsilon}\,\|\varepsilon-\epsilon_\theta(\bar\alpha_tx_0+\bar\beta_t\varepsilon,t)\|^2$$

    Args:
        model: a `Denoiser`, whose network takes the gradient.
        x0: clean samples.
        t: times 1..T; None: drawn uniformly.
        noise: ε; None: drawn.
        target: what is compared, whatever the network predicts.
        reduction: "mean" over all entries; "sum" over the entries of a sample and mean over samples (the article's
            advice in low precision).
        generator: for what is drawn; None: torch's global one.
    Returns: a scalar in float32 at least.
    References: J. Ho, A. Jain and P. Abbeel, Denoising Diffusion Probabilistic Models, 2020;
        苏剑林, 生成扩散模型漫谈(一), (三).
    """
    check_choice("reduction", reduction, ("mean", "sum"))
    if t is None:
        t = torch.randint(1, model.schedule.steps + 1, (len(x0),), generator=generator, device=x0.device)
    if noise is None:
        noise = torch.randn(x0.shape, generator=generator, dtype=x0.dtype, device=x0.device)
    signal, level = levels(model.schedule, t, x0)
    states = signal * x0 + level * noise
    wanted = {"epsilon": noise, "sample": x0, "v_prediction": signal * noise - level * x0, "score": -noise / level}
    check_choice("target", target, wanted)
    found = model.predict(states, t, target)
    errors = (found - wanted[target].to(found.dtype)) ** 2  # (2)
    loss: Tensor = errors.mean() if reduction == "mean" else errors.sum() / max(len(x0), 1)
    return loss


def slerp(z1: Float[Tensor, "*shape"], z2: Float[Tensor, "*shape"], weight: float | Tensor) -> Float[Tensor, "*shape"]:
    r"""Between two latents on a quarter of a circle, which keeps independent normal latents normal.

    $$z=z_1\cos\frac{\lambda\pi}2+z_2\sin\frac{\lambda\pi}2$$

    A straight line would shrink their variance to $\lambda^2+(1-\lambda)^2$.

    Args:
        z1, z2: independent latents.
        weight: λ, from 0 (z1) to 1 (z2); a tensor broadcasts.
    Example:
        >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 0.5)
        tensor([0.7071, 0.7071])

    References: J. Song, C. Meng and S. Ermon, 2020; 苏剑林, 生成扩散模型漫谈(四).
    """
    if not isinstance(weight, Tensor):
        angle = check_number("weight", weight) * math.pi / 2
        return z1 * math.cos(angle) + z2 * math.sin(angle)  # (10)
    angles = weight * (math.pi / 2)
    return z1 * angles.cos() + z2 * angles.sin()
