"""What size a perturbation has: steepest direction, projection and random points of a ball, and the dual penalty."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from gezhi._checks import check_choice, check_number, invalid


@dataclass(frozen=True)
class Norm:
    """A norm of perturbations: of each sample (the first axis) by itself, or of the whole tensor.

    Calling it gives the size of each row, or of the whole, as a tensor that broadcasts against its argument. Everything
    is computed in float32 at least.

    Args:
        order: 2, or `math.inf`.
        per_sample: a ball for each entry of the first axis; else one for all of them.
    """

    order: float
    per_sample: bool

    def __call__(self, x: Float[Tensor, "*any"]) -> Tensor:
        return self._per(x, torch.linalg.vector_norm(self._rows(x), self.order, -1))

    def dual(self, grad: Float[Tensor, "*any"]) -> Float[Tensor, " rows"]:
        """How fast the loss rises at most, a row: the L2 norm of its gradient, or the L1 norm for `linf`."""
        slope: Tensor = torch.linalg.vector_norm(self._rows(grad), 1 if self.order == math.inf else 2, -1)
        return slope

    def ascent(self, grad: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """The direction of size 1 in which the loss rises fastest; 0 in rows whose gradient is 0 or not finite."""
        rows = self._rows(grad)
        peak = _peak(rows)
        if self.order == math.inf:
            unit = rows.sign()
        else:
            unit = rows / peak.masked_fill(peak == 0, 1)  # squares of tiny or huge entries would leave float32
            length = torch.linalg.vector_norm(unit, 2, -1, keepdim=True)
            unit = unit / length.masked_fill(length == 0, 1)
        return unit.masked_fill(~peak.isfinite(), 0).reshape(grad.shape)

    def project(self, delta: Float[Tensor, "*any"], epsilon: float) -> Float[Tensor, "*any"]:
        """The nearest point whose size is ε or less."""
        wide = delta.to(torch.promote_types(delta.dtype, torch.float32))
        if self.order == math.inf:
            return wide.clamp(-epsilon, epsilon)
        size = self(wide)
        return torch.where(size > epsilon, wide * (epsilon / size.masked_fill(size == 0, 1)), wide)

    def draw(self, like: Tensor, counted: Tensor, generator: torch.Generator | None) -> Tensor:
        """A uniform point of the unit ball, 0 where `counted` is 0."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        place = like.device if generator is None else generator.device
        if self.order == math.inf:
            cube = torch.rand(like.shape, dtype=dtype, device=place, generator=generator).to(like.device)
            return (2 * cube - 1) * counted
        sphere = torch.randn(like.shape, dtype=dtype, device=place, generator=generator).to(like.device)
        rows = self._rows(sphere)
        radius = torch.rand(len(rows), 1, dtype=dtype, device=place, generator=generator).to(like.device)
        free = self._rows(counted.to(dtype).expand(like.shape)).sum(-1, keepdim=True).clamp(min=1)
        return self.ascent(sphere * counted) * self._per(like, (radius ** (1 / free)).squeeze(-1))

    def unreliable(self, grad: Tensor) -> Tensor:
        """How many rows have a gradient that is not finite."""
        return (~_peak(self._rows(grad)).isfinite()).sum()

    def whole(self) -> Norm:
        """The same over the whole tensor."""
        return replace(self, per_sample=False)

    def _rows(self, x: Tensor) -> Float[Tensor, "rows n"]:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return wide.reshape(len(x), -1) if self.per_sample and x.numel() else wide.reshape(1, -1)

    def _per(self, x: Tensor, values: Float[Tensor, " rows"]) -> Tensor:
        """One value a row, in a shape that broadcasts against x."""
        return values.reshape(-1, *[1] * (x.ndim - 1)) if x.ndim else values.reshape(())


def _peak(rows: Float[Tensor, "rows n"]) -> Float[Tensor, "rows 1"]:
    """The largest size of an entry, not finite where one is not."""
    if not rows.shape[-1]:
        return rows.new_zeros(len(rows), 1)
    peak: Tensor = torch.linalg.vector_norm(rows.detach(), math.inf, -1, keepdim=True)
    return peak


per_sample_l2 = Norm(2, True)
global_l2 = Norm(2, False)
linf = Norm(math.inf, True)


def fgm_delta(grad: Float[Tensor, "*any"], epsilon: float, *, norm: Norm = per_sample_l2) -> Float[Tensor, "*any"]:
    r"""The perturbation of size ε that raises the loss most, to first order.

    $$\Delta=\epsilon\frac g{\lVert g\rVert_2},\qquad
      \Delta=\epsilon\operatorname{sign}g\ \text{ for }\texttt{linf} \tag{2}$$

    Args:
        grad: g; its scale does not matter.
        epsilon: ε > 0.
        norm: `per_sample_l2` (each entry of the first axis by itself), `global_l2` or `linf`.
    Returns: Δ in the dtype of `grad`; 0 in rows whose gradient is 0 or not finite.
    Errors: ValueError for ε ≤ 0.
    Example:
        >>> fgm_delta(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), 1.0)
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])

    References: I. J. Goodfellow, J. Shlens and C. Szegedy, Explaining and Harnessing Adversarial Examples, 2014;
        T. Miyato, A. M. Dai and I. Goodfellow, Adversarial Training Methods for Semi-Supervised Text Classification,
        2016; 苏剑林, 对抗训练浅谈:意义、方法和思考, 2020.
    """
    check_epsilon(epsilon)
    return (epsilon * norm.ascent(grad)).to(grad.dtype)  # (2)


def project(delta: Float[Tensor, "*any"], epsilon: float, *, norm: Norm = per_sample_l2) -> Float[Tensor, "*any"]:
    """The nearest perturbation whose size is ε or less, in the dtype of `delta`.

    Errors: ValueError for ε ≤ 0.
    Example:
        >>> project(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), 1.0)
        tensor([[0.6000, 0.8000],
                [0.3000, 0.4000]])
    """
    check_epsilon(epsilon)
    return norm.project(delta, epsilon).to(delta.dtype)


def gradient_penalty(
    loss: Float[Tensor, ""], inputs: Float[Tensor, "*any"], *, power: Literal[1, 2] = 2, norm: Norm = per_sample_l2
) -> Float[Tensor, ""]:
    r"""Mean over samples of what an infinitely small attack gains, differentiable by the parameters.

    $$\frac1B\sum_i\lVert g_i\rVert\quad(\texttt{power}=1),\qquad\frac1{2B}\sum_i\lVert g_i\rVert^2\quad
      (\texttt{power}=2),\qquad g_i=B\,\frac{\partial L}{\partial x_i} \tag{5}$$

    Args:
        loss: L, a mean over the samples of the first axis of `inputs` (for `per_sample_l2` and `linf`), or any scalar
            (`global_l2`: one gradient $g=\partial L/\partial x$ for all).
        inputs: x, of which `loss` was computed.
        power: 1, whose gradient is that of FGM to first order, or 2.
        norm: that of the attack; `linf` takes the dual norm, the sum of absolute values.
    Returns: a scalar ≥ 0 in float32 at least, to be added times ε; its gradient is 0, not NaN, at g = 0.
    Errors: ValueError for another power and where `loss` does not depend on `inputs`.
    Example:
        >>> x = torch.tensor([[3.0, 4.0]], requires_grad=True)
        >>> gradient_penalty((x**2).sum() / 2, x).item()
        12.5

    References: A. S. Ross and F. Doshi-Velez, Improving the Adversarial Robustness and Interpretability of Deep Neural
        Networks by Regularizing their Input Gradients, 2017; 苏剑林, 对抗训练浅谈:意义、方法和思考, 2020.
    """
    check_choice("power", power, (1, 2))
    (grad,) = torch.autograd.grad(loss, inputs, create_graph=True, allow_unused=True)
    if grad is None:
        raise invalid("loss", "depend on inputs", "no gradient", "Compute the loss from these inputs.")
    return penalty(grad, power, norm)


def penalty(grad: Tensor, power: int, norm: Norm) -> Tensor:
    """(5) from the gradient of the mean."""
    slopes = norm.dual(grad) * (len(grad) if norm.per_sample else 1)
    return (slopes if power == 1 else slopes.square() / 2).mean()  # (5)


def check_epsilon(epsilon: float) -> None:
    check_number("epsilon", epsilon, above=0, below=math.inf, fix="Without a perturbation, train plainly.")
