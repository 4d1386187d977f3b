"""What keeps the training of many groups steady: a warm-up of the divergence, its balance, and smooth convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi._checks import check_integer, check_number, invalid


def kl_warm_up(step: int, steps: float, start: float = 1.0) -> float:
    r"""$\beta=\max(\min((t-t_0)/T,1),10^{-4})$: the weight of the divergence, from nearly 0 to 1.

    Args:
        step: t, updates done.
        steps: T > 0 of the warm-up; the paper takes 0.3 of all.
        start: t₀ ≥ 0; the paper takes 1e-4 of all.
    """
    check_integer("step", step, at_least=0)
    return max(
        min((step - check_number("start", start, at_least=0)) / check_number("steps", steps, above=0), 1.0), 1e-4
    )


class KLBalancer:
    r"""Weights of the groups' divergences during warm-up, so that none falls silent.

    $$\gamma_l\propto\frac{\overline{\mathrm{KL}_l}+0.01}{\alpha_l}\ \text{with mean 1},\qquad\alpha_l=4^i/g_i$$

    for the $g_i$ groups of scale i, counted from the coarsest. Weights are constants of the gradient.

    Args:
        groups_per_scale: how many groups, the finest scale first: (10, 5) has 10 at the finest.
    Errors: ValueError for an empty list or a scale without groups.
    """

    def __init__(self, groups_per_scale: Sequence[int]) -> None:
        groups = [check_integer("groups_per_scale", g, at_least=1) for g in groups_per_scale]
        if not groups:
            raise invalid("groups_per_scale", "name a scale at least", "an empty list")
        alpha = torch.tensor([4.0**i / g for i, g in enumerate(reversed(groups)) for _ in range(g)])
        self.alpha = alpha / alpha.min()

    def __call__(self, kl: Tensor, beta: float = 0.0) -> tuple[Tensor, Tensor]:
        """Balanced divergence of each sample, (batch,), and the weights, the coarsest group first.

        Args:
            kl: (batch, groups), each group's summed over its coordinates, the coarsest first.
            beta: of the warm-up; from 1 on all weights are 1.
        """
        if kl.ndim != 2 or kl.shape[1] != len(self.alpha):
            raise invalid("kl", f"have the shape (batch, {len(self.alpha)})", tuple(kl.shape))
        if beta >= 1:
            gamma = torch.ones_like(kl[0])
        else:
            size = (kl.detach().abs().mean(0) + 0.01) / self.alpha.to(kl)
            gamma = size / size.mean()  # (6)
        return kl @ gamma, gamma


class SpectralRegularizer:
    """The sum of the largest singular values of all convolutions, and of the largest factors of batch norms.

    Args:
        model: whose `nn.Conv2d` (as matrices of output channels by all the rest) and affine `nn.BatchNorm2d` count.
        n_iterations: power iterations a call, from the vectors of the last one; the first call takes ten times as many.
    A call gives a scalar with gradients. Cost: matrices of one shape are handled together.
    """

    def __init__(self, model: nn.Module, n_iterations: int = 4) -> None:
        self.n_iterations = check_integer("n_iterations", n_iterations, at_least=1)
        by_shape: dict[tuple[int, ...], list[Tensor]] = {}
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                by_shape.setdefault(tuple(module.weight.flatten(1).shape), []).append(module.weight)
        self.weights = list(by_shape.values())
        self.factors = [m.weight for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.affine]
        self.vectors: list[Tensor | None] = [None] * len(self.weights)

    def __call__(self) -> Tensor:
        parts = [self._largest(i).sum() for i in range(len(self.weights))]
        parts += [factor.abs().max() for factor in self.factors]
        return torch.stack(parts).sum() if parts else torch.zeros(())

    def _largest(self, index: int) -> Tensor:
        matrices = torch.stack([weight.flatten(1) for weight in self.weights[index]])
        with torch.no_grad():
            known, constant = self.vectors[index], matrices.detach()
            v = F.normalize(torch.ones_like(constant[:, 0]) if known is None else known, dim=1)
            for _ in range(self.n_iterations * (10 if known is None else 1)):
                u = F.normalize(torch.einsum("kmn,kn->km", constant, v), dim=1)
                v = F.normalize(torch.einsum("kmn,km->kn", constant, u), dim=1)
            self.vectors[index] = v
        return torch.einsum("km,kmn,kn->k", u, matrices, v)  # (7)
