"""Virtual adversarial training: the direction in which predictions change most, without labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gezhi._checks import check_number, invalid
from gezhi.training.adversarial.norms import Norm
from gezhi.training.adversarial.passes import Passes, Procedure, check_loss
from gezhi.training.adversarial.places import Target, given


class VirtualAdversarial(Procedure):
    r"""Adds to `.grad` the gradient of how much a small perturbation can change the prediction.

    $$\operatorname{KL}\big(\operatorname{sg}p(x)\,\Vert\,p(x+\Delta)\big),\qquad\Delta=\epsilon\frac g{\lVert g\rVert},
      \qquad g=\nabla_r\operatorname{KL}\big(p(x)\,\Vert\,p(x+r)\big)\Big|_{r=\xi d} \tag{7}$$

    Args:
        model: as in `FGM`.
        compute_logits: `compute_logits(model, batch)` to logits with classes on the last axis; p is their softmax.
        compute_loss: a loss whose gradient is added as well, `compute_loss(model, batch)`; None on unlabelled batches.
        target, epsilon, norm, backward: as in `FGM`.
        weight: of the divergence, > 0; 1 is the paper's.
        xi: size ξ of the random point d at which the divergence is differentiated (it is 0 at 0); small, > 0.
        replay_rng: draw the same dropout in all passes. Here it is on, else g is the noise of dropout.
        generator: of d; None: torch's global one.
    Returns: calling it, `procedure(batch)`: the detached loss, or the divergence without `compute_loss`.
    Errors: as in `FGM`; ValueError for weight ≤ 0 and ξ ≤ 0.
    Cost: three forward and two backward passes, and a plain step with `compute_loss`.
    Example:
        >>> model = torch.nn.Linear(2, 3)
        >>> VirtualAdversarial(model, lambda model, x: model(x), target="input")(torch.ones(4, 2)) > 0
        tensor(True)

    References: T. Miyato, A. M. Dai and I. Goodfellow, Adversarial Training Methods for Semi-Supervised Text
        Classification, 2016.
    """

    def __init__(
        self,
        model: nn.Module,
        compute_logits: Callable[[Any, Any], Tensor],
        *,
        compute_loss: Callable[[Any, Any], Tensor] | None = None,
        target: Target = None,
        epsilon: float = 1.0,
        norm: Norm | None = None,
        weight: float = 1.0,
        xi: float = 1e-2,
        replay_rng: bool = True,
        generator: torch.Generator | None = None,
        backward: Callable[[Tensor], Any] = torch.Tensor.backward,
    ) -> None:
        super().__init__(
            model,
            compute_loss or compute_logits,
            target=target,
            epsilon=epsilon,
            norm=norm,
            replay_rng=replay_rng,
            backward=backward,
        )
        check_number("weight", weight, above=0, below=math.inf)
        check_number("xi", xi, above=0, below=math.inf)
        self.compute_logits, self.supervised = compute_logits, compute_loss is not None
        self.weight, self.xi, self.generator = float(weight), float(xi), generator

    def __call__(self, batch: Any) -> Tensor:
        """Add the gradient of this batch to `.grad` and return its loss, detached."""
        passes = Passes(self, batch)
        reported = None
        if self.supervised:
            reported, _ = passes.loss(_unmoved)
            passes.back(reported)
        with torch.no_grad():
            logits, _ = passes.run(self.compute_logits, _unmoved)
        torch.clear_autocast_cache()  # it holds casts of the parameters that know of no gradient
        known = _log_probabilities(logits)
        near, leaves = self._divergence(passes, known, self._nearby)
        deltas = passes.ascend(None, passes.gradients(near, leaves), self.epsilon)
        divergence, _ = self._divergence(passes, known, given(deltas, False), last=True)
        check_loss(divergence)
        passes.back(self.weight * divergence, last=True)  # (7)
        return (divergence if reported is None else reported).detach()

    def _divergence(
        self, passes: Passes, known: Tensor, make: Any, *, last: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Mean over all predictions of KL(known ‖ now)."""
        logits, leaves = passes.run(self.compute_logits, make, last=last)
        now = _log_probabilities(logits)
        return (known.exp() * (known - now)).sum(-1).mean(), leaves

    def _nearby(self, _index: int, like: Tensor, counted: Tensor) -> Tensor:
        dtype = torch.promote_types(like.dtype, torch.float32)
        place = like.device if self.generator is None else self.generator.device
        drawn = torch.randn(like.shape, dtype=dtype, device=place, generator=self.generator).to(like.device)
        return (self.xi * self.norm.ascent(drawn * counted)).to(like.dtype).detach().requires_grad_()


def _unmoved(_index: int, like: Tensor, _counted: Tensor) -> Tensor:
    return torch.zeros_like(like)


def _log_probabilities(logits: Any) -> Tensor:
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or not logits.ndim:
        found = type(logits).__name__ if not isinstance(logits, Tensor) else logits.dtype
        raise invalid("compute_logits", "return floating-point logits, classes last", found, kind=TypeError)
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
