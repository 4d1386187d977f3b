"""FGM, PGD, FreeLB and the gradient penalty: callables that add to `.grad`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from gezhi._checks import check_choice, check_integer, check_number
from gezhi.training.adversarial.norms import Norm, penalty
from gezhi.training.adversarial.passes import Passes, Procedure
from gezhi.training.adversarial.places import Maker, Target, given, zeros


class FGM(Procedure):
    r"""Adds to `.grad` the gradient at the point of a small ball where the loss is highest, to first order.

    $$\nabla_\theta L(x+\Delta,y;\theta),\qquad\Delta=\operatorname{sg}\Big(\epsilon\frac g{\lVert g\rVert}\Big),\qquad
      g=\nabla_xL(x,y;\theta) \tag{1}$$

    A call takes the place of forward and backward pass; the caller's optimiser steps afterwards.

    Args:
        model: a module in training mode. Its parameters are never written to, so they are bit-equal after the call,
            whatever happens in it; buffers such as running statistics see every pass.
        compute_loss: `compute_loss(model, batch)` to a scalar, the mean over the batch. It calls the model it is given.
        target: what is perturbed: a module (its output), a parameter, the name of either, where `*` stands for
            anything, `"input"` (the first floating-point argument of the model), or None: the output of the input
            embedding. Each call of a module in one pass, and each parameter, has a perturbation of its own. Padding
            stays in place where the embedding has a `padding_idx` or the batch is a mapping with an `attention_mask`.
        epsilon: ε > 0, in units of what is perturbed; 1 on the embedding matrix is the article's default, 0.5 its
            example. A good size is a few hundredths to tenths of the norm of an embedded text.
        norm: `per_sample_l2`, `global_l2` or `linf`; None: `per_sample_l2` for outputs and inputs, whose first axis is
            then the sample, and `global_l2` for parameters, as in the article: every occurrence of a token moves alike.
        clean: add the gradient at Δ = 0 as well; else the adversarial one alone, as in the article.
        replay_rng: draw the same dropout in all passes; False (the article's) draws anew.
        backward: called on the loss: `accelerator.backward`, or `lambda loss: scaler.scale(loss / n).backward()`. The
            direction is taken from this batch alone and not from `.grad`, so gradients may be accumulated.
    Returns: calling it, `procedure(batch)`: the detached loss at Δ = 0. `procedure.skipped` counts the rows whose
        gradient was not finite: they are left where they are.
    Errors: ValueError for ε ≤ 0, a name that is not there (the error lists what is), evaluation mode, a target that
        takes no part in the loss, and a parameter that is also an output layer; RuntimeError under `no_grad`.
    Cost: two forward and two backward passes, of which one stops at the target. A module inside a compiled model runs
        uncompiled in these passes; perturb a parameter, or compile the parts behind the embedding, to keep the speed.
    Example:
        >>> model = torch.nn.Sequential(torch.nn.Embedding(5, 3), torch.nn.Flatten(), torch.nn.Linear(6, 2))
        >>> def loss(model, batch):
        ...     return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])
        >>> batch = torch.tensor([[0, 1], [2, 3]]), torch.tensor([0, 1])
        >>> clean = FGM(model, loss, epsilon=0.5)(batch)
        >>> clean.requires_grad, model[2].weight.grad.shape
        (False, torch.Size([2, 6]))

    References: I. J. Goodfellow, J. Shlens and C. Szegedy, Explaining and Harnessing Adversarial Examples, 2014;
        T. Miyato, A. M. Dai and I. Goodfellow, Adversarial Training Methods for Semi-Supervised Text Classification,
        2016; 苏剑林, 对抗训练浅谈:意义、方法和思考, 2020.
    """

    def __init__(
        self,
        model: nn.Module,
        compute_loss: Callable[[Any, Any], Tensor],
        *,
        target: Target = None,
        epsilon: float = 1.0,
        norm: Norm | None = None,
        clean: bool = False,
        replay_rng: bool = False,
        backward: Callable[[Tensor], Any] = torch.Tensor.backward,
    ) -> None:
        super().__init__(
            model,
            compute_loss,
            target=target,
            epsilon=epsilon,
            norm=norm,
            replay_rng=replay_rng,
            backward=backward,
        )
        self.clean = clean

    def __call__(self, batch: Any) -> Tensor:
        """Add the gradient of this batch to `.grad` and return its clean loss, detached."""
        passes = Passes(self, batch)
        loss, deltas = self._start(passes)
        self._finish(passes, deltas)
        return loss

    def _start(self, passes: Passes) -> tuple[Tensor, list[Tensor]]:
        """The clean loss and the first step from 0, whose direction comes with the clean gradient if that is wanted."""
        loss, leaves = passes.loss(zeros)
        if self.clean:
            passes.back(loss)
            gradients = passes.checked([leaf.grad for leaf in leaves])
        else:
            gradients = passes.gradients(loss, leaves)
        return loss.detach(), passes.ascend(None, gradients, self._first_step())  # (1)

    def _first_step(self) -> float:
        return self.epsilon

    def _finish(self, passes: Passes, deltas: list[Tensor]) -> None:
        adversarial, _ = passes.loss(given(deltas, False), last=True)
        passes.back(adversarial, last=True)


class PGD(FGM):
    r"""FGM by several smaller steps, each from where the last one ended.

    $$\Delta_{k+1}=\Pi_{\lVert\cdot\rVert\le\epsilon}\Big(\Delta_k+\alpha\frac{g_k}{\lVert g_k\rVert}\Big),\qquad
      g_k=\nabla_xL(x+\Delta_k),\qquad\Delta_0=0 \tag{3}$$

    Args:
        model, compute_loss, settings: as in `FGM`.
        alpha: α > 0, the size of a step. 0.3 is what is usual for text.
        steps: K ≥ 1. For a loss that is linear in what is perturbed PGD is FGM once K·α ≥ ε.
    Cost: K + 1 forward and K + 1 backward passes, of which K stop at the target.
    Example:
        >>> model = torch.nn.Linear(2, 1)
        >>> attack = PGD(model, lambda model, x: model(x).exp().mean(), target="input", alpha=0.3, steps=3)
        >>> attack(torch.ones(4, 2)).shape
        torch.Size([])

    References: A. Madry, A. Makelov, L. Schmidt, D. Tsipras and A. Vladu, Towards Deep Learning Models Resistant to
        Adversarial Attacks, 2017.
    """

    def __init__(
        self,
        model: nn.Module,
        compute_loss: Callable[[Any, Any], Tensor],
        *,
        alpha: float = 0.3,
        steps: int = 3,
        **settings: Any,
    ) -> None:
        super().__init__(model, compute_loss, **settings)
        check_number("alpha", alpha, above=0, below=math.inf)
        self.alpha, self.steps = float(alpha), check_integer("steps", steps, at_least=1)

    def __call__(self, batch: Any) -> Tensor:
        """Add the gradient of this batch to `.grad` and return its clean loss, detached."""
        passes = Passes(self, batch)
        loss, deltas = self._start(passes)
        for _ in range(1, self.steps):
            there, leaves = passes.loss(given(deltas, True))
            deltas = passes.ascend(deltas, passes.gradients(there, leaves), self.alpha)  # (3)
        self._finish(passes, deltas)
        return loss

    def _first_step(self) -> float:
        return self.alpha


class FreeLB(PGD):
    r"""PGD whose every ascent step also gives a gradient by the parameters, from a random start.

    $$\frac1K\sum_{k=0}^{K-1}\nabla_\theta L(x+\Delta_k),\qquad\Delta_0\sim U(\lVert\Delta\rVert\le\epsilon) \tag{4}$$

    Args:
        model, compute_loss, alpha, steps, settings: as in `PGD`.
        generator: of Δ₀; None: torch's global one.
    Returns: as in `FGM`; without `clean` no pass is free of perturbations, and the loss is the one at Δ₀.
    Cost: K forward and K backward passes, one more of each with `clean`.

    References: C. Zhu, Y. Cheng, Z. Gan, S. Sun, T. Goldstein and J. Liu, FreeLB: Enhanced Adversarial Training for
        Natural Language Understanding, 2019.
    """

    def __init__(
        self,
        model: nn.Module,
        compute_loss: Callable[[Any, Any], Tensor],
        *,
        generator: torch.Generator | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(model, compute_loss, **settings)
        self.generator = generator

    def __call__(self, batch: Any) -> Tensor:
        """Add the gradient of this batch to `.grad` and return its loss, detached."""
        passes = Passes(self, batch)
        reported = None
        if self.clean:
            reported, _ = passes.loss(zeros)
            passes.back(reported)
        make: Maker = self._start_anywhere
        for step in range(self.steps):
            last = step == self.steps - 1
            loss, leaves = passes.loss(make, last=last)
            reported = loss if reported is None else reported
            passes.back(loss / self.steps, last=last)  # (4)
            if not last:
                deltas = passes.ascend(leaves, passes.checked([leaf.grad for leaf in leaves]), self.alpha)
                make = given(deltas, True)
        assert reported is not None  # steps ≥ 1
        return reported.detach()

    def _start_anywhere(self, _index: int, like: Tensor, counted: Tensor) -> Tensor:
        start = self.epsilon * self.norm.draw(like, counted, self.generator)
        return start.to(like.dtype).detach().requires_grad_()


class GradientPenalty(Procedure):
    r"""Adds to `.grad` the gradient of the loss plus a penalty on its gradient by what is perturbed.

    $$L+\epsilon\lVert g\rVert\quad(\texttt{power}=1),\qquad
      L+\frac\epsilon2\lVert g\rVert^2\quad(\texttt{power}=2) \tag{6}$$

    With power 1 this is what FGM does, up to terms of order ε² in the gradient by the parameters; with power 2 it is
    what Δ = εg does.

    Args:
        model, compute_loss, target, epsilon, norm, backward: as in `FGM`. Per sample, the penalty is the mean over
            samples of the norm of each sample's own gradient.
        power: 1, or 2 (the article's, with ε = 1 on the embedding matrix).
    Returns: as in `FGM`. A gradient that is not finite stays in the loss, as in plain training.
    Errors: as in `FGM`, and torch's RuntimeError for layers whose gradient cannot be differentiated. Attention runs by
        torch's plain kernel, which can.
    Cost: about two to three plain steps.

    References: A. S. Ross and F. Doshi-Velez, Improving the Adversarial Robustness and Interpretability of Deep Neural
        Networks by Regularizing their Input Gradients, 2017; 苏剑林, 对抗训练浅谈:意义、方法和思考, 2020.
    """

    def __init__(
        self,
        model: nn.Module,
        compute_loss: Callable[[Any, Any], Tensor],
        *,
        power: Literal[1, 2] = 2,
        target: Target = None,
        epsilon: float = 1.0,
        norm: Norm | None = None,
        backward: Callable[[Tensor], Any] = torch.Tensor.backward,
    ) -> None:
        super().__init__(model, compute_loss, target=target, epsilon=epsilon, norm=norm, backward=backward)
        check_choice("power", power, (1, 2))
        self.power = power

    def __call__(self, batch: Any) -> Tensor:
        """Add the gradient of this batch to `.grad` and return its loss without the penalty, detached."""
        passes = Passes(self, batch)
        with sdpa_kernel(SDPBackend.MATH):
            loss, leaves = passes.loss(zeros, last=True)
            gradients = passes.gradients(loss, leaves, create_graph=True)
            costs = torch.stack([penalty(g, self.power, self.norm) for g in gradients])
            passes.back(loss + self.epsilon * costs.sum(), last=True)  # (6)
        return loss.detach()
