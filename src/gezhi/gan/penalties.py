"""What keeps a critic smooth: penalties on its gradient at each sample, and clipped weights."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from gezhi._checks import check_choice, check_number, invalid
from gezhi.gan.divergences import Critic, scores_of

At = Literal["interpolates", "real", "fake"]


def gradient_penalty(
    critic: Critic, x: Tensor, *, center: float = 1.0, power: float = 2.0, one_sided: bool = False
) -> Tensor:
    r"""How far the critic's gradient at each point is from a length, mean over the batch; without a weight.

    $$\overline{\bigl|\lVert\nabla f(x)\rVert_2-c\bigr|^p},\qquad
      \text{one-sided: } \overline{\max(0,\lVert\nabla f(x)\rVert_2-c)^p}$$

    Args:
        critic: from a batch to (B,) or (B, 1); each output a function of its own sample alone.
        x: the points, (B, …).
        center: c ≥ 0; 1 is WGAN-GP's, 0 with power 2 that of R1, with power 6 WGAN-div's.
        power: p ≥ 1.
    Errors: RuntimeError under `torch.no_grad`, where there are no gradients.
    Cost: one forward and one backward pass through the critic, and twice that when its own gradient is taken.
    """
    check_number("center", center, at_least=0)
    check_number("power", power, at_least=1)
    if not torch.is_grad_enabled():
        raise RuntimeError(
            "gradient_penalty needs gradients: got torch.no_grad(). Call it outside, or in torch.enable_grad()."
        )
    x = x if x.requires_grad else x.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(scores_of(critic, x).sum(), x, create_graph=True)
    squares = slopes.flatten(1).square().sum(1)
    if center == 0:
        return squares.pow(power / 2).mean()
    lengths = squares.clamp(min=torch.finfo(squares.dtype).tiny).sqrt()  # the root has no slope at 0
    off = lengths - center
    return (off.relu() if one_sided else off.abs()).pow(power).mean()


class GradientPenalty:
    """`weight` × `gradient_penalty` at real samples, fake ones, or random points between them.

    Args:
        weight: λ ≥ 0; WGAN-GP's authors take 10, those of R1 5 (γ/2).
        center, power, one_sided: of `gradient_penalty`.
        at: "interpolates" draws t ∈ [0, 1] a pair of samples and takes t x + (1 − t) y; batches must agree in size.
    """

    def __init__(
        self,
        weight: float = 10.0,
        *,
        center: float = 1.0,
        power: float = 2.0,
        one_sided: bool = False,
        at: At = "interpolates",
    ) -> None:
        check_choice("at", at, ("interpolates", "real", "fake"))
        self.weight = check_number("weight", weight, at_least=0)
        self.center = check_number("center", center, at_least=0)
        self.power = check_number("power", power, at_least=1)
        self.one_sided, self.at = one_sided, at

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        points = {"real": real, "fake": fake}.get(self.at)
        points = between(real, fake) if points is None else points
        found = gradient_penalty(critic, points, center=self.center, power=self.power, one_sided=self.one_sided)
        return self.weight * found


def between(real: Tensor, fake: Tensor) -> Tensor:
    """A random point on the line between each pair of samples."""
    if real.shape != fake.shape:
        raise invalid("fake", f"have the shape of real, {tuple(real.shape)}", tuple(fake.shape), "Or take at='real'.")
    t = torch.rand(len(real), *[1] * (real.ndim - 1), dtype=real.dtype, device=real.device)
    return t * real + (1 - t) * fake


@torch.no_grad()
def clip_weights(critic: nn.Module, bound: float = 0.01) -> None:
    """Every parameter clamped to [−bound, bound], in place, after a step: the first WGAN's device."""
    check_number("bound", bound, above=0)
    for parameter in critic.parameters():
        parameter.clamp_(-bound, bound)


def refuse_mixing(critic: nn.Module) -> None:
    """ValueError where a layer mixes the samples of a batch, so that a gradient is no longer that of one sample."""
    for name, module in critic.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise invalid(
                "critic",
                "treat samples one by one where its gradient is penalised",
                f"{type(module).__name__} at {name!r}",
                "Use LayerNorm or GroupNorm.",
            )
