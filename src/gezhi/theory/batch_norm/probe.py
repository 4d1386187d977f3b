"""How a loss and its gradient change along a step, as Santurkar et al. look at a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gezhi._checks import check_number, invalid


@dataclass(frozen=True, eq=False)
class Landscape:
    r"""What `landscape_probe` found; g is the gradient where the model stands, Δ(η) its change after the step -ηg.

    Attributes:
        loss: where the model stands.
        gradient_norm: ‖g‖ there.
        step_sizes: η.
        losses: after each step, (steps,).
        gradient_changes: ‖Δ(η)‖/‖g‖, (steps,), without a unit.
    """

    loss: float
    gradient_norm: float
    step_sizes: Tensor
    losses: Tensor
    gradient_changes: Tensor

    @property
    def smoothness(self) -> float:
        r"""Effective β: the largest ‖Δ(η)‖/(η‖g‖). It depends on the scale of the weights: compare with care."""
        return float((self.gradient_changes / self.step_sizes).max())  # (7)


def landscape_probe(
    model: nn.Module,
    loss_fn: Callable[[Any, Any], Tensor],
    batch: tuple[Any, Any],
    *,
    step_sizes: Sequence[float] = (0.05, 0.1, 0.2, 0.4),
    relative: bool = False,
) -> Landscape:
    r"""Loss and gradient after steps against the gradient of one batch.

    $$\frac{\lVert\nabla f(\theta-\eta g)-g\rVert}{\lVert g\rVert},\qquad\eta=s\,\frac{f}{\lVert g\rVert^2}
      \text{ (relative)} \tag{7}$$

    Args:
        model: as it stands; its mode is kept. Parameters, buffers, `.grad` and the random generators are as before
            afterwards, and every evaluation draws the same random numbers.
        loss_fn: `loss_fn(model(inputs), targets)`, a scalar.
        batch: inputs and targets.
        step_sizes: η > 0. The default is ours.
        relative: the sizes are shares s of the loss that a step would take away, were it a straight line. Networks
            are compared at equal s and equal loss: η and β in themselves depend on the scale of the weights.
    Errors: ValueError for a model without parameters that need a gradient, for no step, and where the gradient is 0.
    Cost: 1 + steps gradients.
    Example:
        >>> line = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(line.weight, 1.0)
        >>> half_square = lambda z, t: (z - t).square().mean() / 2
        >>> found = landscape_probe(line, half_square, (torch.full((1, 1), 2.0), torch.zeros(1, 1)))
        >>> round(found.smoothness, 4)  # x² = 4
        4.0

    References: S. Santurkar, D. Tsipras, A. Ilyas, A. Mądry, How Does Batch Normalization Help Optimization?, 2018.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise invalid("model", "have parameters that need a gradient", "none")
    if not len(step_sizes):
        raise invalid("step_sizes", "name a step", "none")
    sizes = torch.tensor([check_number("step_sizes", size, above=0) for size in step_sizes], dtype=torch.float64)
    kept = [tensor.detach().clone() for tensor in (*parameters, *model.buffers())]
    state = _random_state()

    def at(step: float | None, direction: list[Tensor]) -> tuple[float, list[Tensor]]:
        _restore([*parameters, *model.buffers()], kept)
        _set_random_state(state)
        if step is not None:
            with torch.no_grad():
                for parameter, gradient in zip(parameters, direction, strict=True):
                    parameter.sub_(step * gradient)
        with torch.enable_grad():
            loss = loss_fn(model(batch[0]), batch[1])
            found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        return loss.item(), list(found)

    try:
        loss, gradient = at(None, [])
        norm = _norm(gradient)
        if norm == 0:
            raise invalid("the gradient of loss_fn", "not be 0", norm, "There is no direction to step in.")
        if relative:
            sizes = sizes * loss / norm**2  # (7)
        found = [at(float(size), gradient) for size in sizes]
        changes = [_norm([a - b for a, b in zip(g, gradient, strict=True)]) / norm for _, g in found]  # (7)
    finally:
        _restore([*parameters, *model.buffers()], kept)
        _set_random_state(state)
    losses = torch.tensor([value for value, _ in found], dtype=torch.float64)
    return Landscape(loss, norm, sizes, losses, torch.tensor(changes, dtype=torch.float64))


def _norm(tensors: list[Tensor]) -> float:
    return float(torch.stack([t.double().square().sum() for t in tensors]).sum().sqrt())


@torch.no_grad()
def _restore(tensors: list[Tensor], kept: list[Tensor]) -> None:
    for tensor, before in zip(tensors, kept, strict=True):
        tensor.copy_(before)


def _random_state() -> tuple[Tensor, list[Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _set_random_state(state: tuple[Tensor, list[Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])
