"""Several passes over one batch: random numbers, mixed precision and distributed gradients between them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gezhi._checks import invalid
from gezhi.training.adversarial.norms import Norm, check_epsilon, global_l2, per_sample_l2
from gezhi.training.adversarial.places import Activations, Maker, Place, Target, find
from gezhi.training.contrastive_cache import chunks, distributed, guards

Result = TypeVar("Result")
HALF_SCALE = 2.0**12  # of a loss under float16 autocast, so that gradients by inputs do not vanish


class Procedure:
    """What all procedures are bound to: a model, a loss, a place, a ball and a way back."""

    def __init__(
        self,
        model: nn.Module,
        compute_loss: Callable[[Any, Any], Tensor],
        *,
        target: Target = None,
        epsilon: float = 1.0,
        norm: Norm | None = None,
        replay_rng: bool = False,
        backward: Callable[[Tensor], Any] = torch.Tensor.backward,
    ) -> None:
        check_epsilon(epsilon)
        if not isinstance(model, nn.Module):
            raise invalid("model", "be a torch.nn.Module", type(model).__name__, kind=TypeError)
        self.model, self.compute_loss, self.epsilon = model, compute_loss, float(epsilon)
        self.place: Place = find(model, target)
        self.norm = self._fitting(norm)
        self.replay_rng, self.backward = replay_rng, backward
        self._skipped: Tensor | int = 0

    @property
    def skipped(self) -> int:
        """Rows so far (for a parameter: calls) that were not perturbed because their gradient was not finite."""
        return int(self._skipped)

    def _fitting(self, norm: Norm | None) -> Norm:
        if isinstance(self.place, Activations):
            return per_sample_l2 if norm is None else norm
        if norm == per_sample_l2:
            fix = "The rows of a parameter are no samples. Pass global_l2 or linf, or perturb a module's output."
            raise invalid("norm", "be that of the whole parameter", "per_sample_l2", fix)
        return (norm or global_l2).whole()


class Passes:
    """The passes of one call."""

    def __init__(self, procedure: Procedure, batch: Any) -> None:
        self.procedure, self.batch = procedure, batch
        model = procedure.model
        if not model.training:
            raise invalid("model", "be in training mode", "evaluation mode", "Call model.train() first.")
        if not torch.is_grad_enabled():
            fix = "Call the procedure outside torch.no_grad()."
            raise invalid("gradients", "be enabled", "disabled", fix, kind=RuntimeError)
        self.random = None
        if procedure.replay_rng:
            self.random = guards.RandomStates(guards.devices_of([model], chunks.tensors(batch)))
        self.states: list[Tensor] | None = None
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.wrappers = distributed.averaging([model]) if together else []
        self.counts: list[Tensor] = []

    def loss(self, make: Maker, *, last: bool = False) -> tuple[Tensor, list[Tensor]]:
        """The loss with perturbations, and these; gradients of all passes but the last wait in this process."""
        loss, leaves = self.run(self.procedure.compute_loss, make, last=last)
        check_loss(loss)
        return loss, leaves

    def run(
        self, function: Callable[[Any, Any], Result], make: Maker, *, last: bool = False
    ) -> tuple[Result, list[Tensor]]:
        """As `loss`, for any function of model and batch."""
        self._replay()
        with self._waiting(last):
            result, leaves, self.counts = self.procedure.place.run(function, self.batch, make)
        return result, leaves

    def back(self, loss: Tensor, *, last: bool = False) -> None:
        """Add the gradient of a loss to `.grad`."""
        with self._waiting(last):
            self.procedure.backward(loss)

    def gradients(self, loss: Tensor, leaves: list[Tensor], create_graph: bool = False) -> list[Tensor]:
        """Gradients by the perturbations alone."""
        kind = loss.device.type
        half = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
        scale = HALF_SCALE if half else 1.0
        found = torch.autograd.grad(loss * scale, leaves, create_graph=create_graph, allow_unused=True)
        return self.checked(
            [None if g is None else g.to_dense() / scale if scale != 1 else g.to_dense() for g in found]
        )

    def checked(self, found: list[Tensor | None]) -> list[Tensor]:
        """Gradients without padding; those that are not finite are counted."""
        gradients = []
        for index, gradient in enumerate(found):
            if gradient is None:
                fix = "Give a target that the loss goes through."
                raise invalid("target", "take part in the loss", f"no gradient by call {index} of it", fix)
            counted = self.counts[index].to(gradient.dtype)
            gradient = gradient.to_dense()
            gradients.append(gradient if counted.numel() == 1 else gradient * counted)
        bad = torch.stack([self.procedure.norm.unreliable(g.detach()) for g in gradients]).sum()
        self.procedure._skipped = bad + self.procedure._skipped
        return gradients

    def ascend(self, deltas: list[Tensor] | None, gradients: list[Tensor], alpha: float) -> list[Tensor]:
        """One step up of size α from the perturbations (None: from 0), and back into the ball."""
        norm, epsilon = self.procedure.norm, self.procedure.epsilon
        steps = [alpha * norm.ascent(g.detach()) for g in gradients]
        if deltas is None:
            return steps if alpha <= epsilon else [norm.project(step, epsilon) for step in steps]
        return [norm.project(d.detach() + step, epsilon) for d, step in zip(deltas, steps, strict=True)]  # (3)

    def _replay(self) -> None:
        if self.random is None:
            return
        if self.states is None:
            self.states = self.random.save()
        else:
            self.random.restore(self.states)

    def _waiting(self, last: bool) -> AbstractContextManager[None]:
        return nullcontext() if last or not self.wrappers else distributed.unsynchronised(self.wrappers)


def check_loss(loss: Any) -> None:
    if not isinstance(loss, Tensor):
        raise invalid("compute_loss", "return a tensor", type(loss).__name__, kind=TypeError)
    if loss.numel() != 1:
        raise invalid("compute_loss", "return a scalar", tuple(loss.shape), "Average over the rows.")
    if not loss.requires_grad:
        raise invalid("compute_loss", "return a loss with a graph", "a loss without one", "Do not detach the model.")
