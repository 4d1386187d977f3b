"""The gradient procedure: sample steps, measure each, weigh them, and hand their mean to any optimiser."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gezhi._checks import check_choice, check_integer, check_number, invalid
from gezhi.training.contrastive_cache import chunks, guards
from gezhi.training.sampling_descent.proposals import Block, FullNoise, Step, SubspaceNoise, flat, plan
from gezhi.training.sampling_descent.weights import log_mixture, snis_weights

Function = Callable[[Any, Any], Any]


class NoValidCandidateWarning(UserWarning):
    """No candidate has a finite task loss, so nothing was added. Remedy: a smaller sigma or eta."""


@dataclass(frozen=True)
class SearchStep:
    """What the last call found.

    Attributes:
        task_loss: at the parameters themselves.
        losses: of the candidates, in the order they were drawn (guided first, then in turn).
        weights: of the candidates, with sum 1; 0 where the loss is not finite.
        ess: effective sample size, from 1 to the number of candidates.
        invalid: candidates whose loss is not finite.
        cosine: of the step with the descent direction of the surrogate; NaN without one.
    """

    task_loss: float
    losses: tuple[float, ...]
    weights: Float[Tensor, " candidates"]
    ess: float
    invalid: int
    cosine: float


class GuidedParameterSearch:
    r"""Adds to `.grad` a pseudo-gradient for a metric: minus the weighted mean of a few sampled parameter steps.

    $$\Delta^*=\mathbb E_p[\Delta]\approx\sum_i\bar w_i\Delta_i,\qquad
      p(\Delta)\propto e^{-[l(\theta+\Delta)-l(\theta)]/\alpha},\qquad
      q=\lambda N(0,\sigma^2I)+(1-\lambda)N(-\eta\nabla\tilde l,\sigma^2I) \tag{1}$$

    Any `torch.optim` optimiser steps afterwards: SGD with lr 1 moves by Δ*. All candidates see the same batch and the
    same random numbers.

    Args:
        parameters: tensors by name, or a module, whose named parameters are taken; those that require no gradient are
            passed on as they are.
        surrogate: `surrogate(parameters, batch)` to a differentiable scalar, usually through
            `torch.func.functional_call`; None: unguided search (λ = 1).
        task_loss: `task_loss(parameters, batch)` to a float, lower is better; any function. A candidate whose loss is
            not finite gets weight 0.
        candidates: n ≥ 1; 4 is the paper's.
        sigma: σ > 0, the standard deviation of the noise: the smaller, the nearer to gradient descent on the surrogate.
        temperature: α > 0, in units of the task loss. Towards 0 the best candidate takes all; `math.inf` weighs all
            alike.
        mix: λ from 0 to 1, the share of candidates around 0 instead of around the surrogate's step.
        eta: η > 0, the length of the surrogate's step in units of its gradient. 1 (with `clip=1`) is the paper's, for
            models of 10⁸ parameters; small models need far less: tune it.
        clip: the gradient of the surrogate is cut to this norm; None: as it is.
        correction: `"none"` weighs by the task loss alone: with the exact 1/q the weights hold a term with standard
            deviation √(D/2), so that with many parameters one candidate takes all whatever its loss. `"exact"` has it;
            `"subspace"` has it with noise in `rank` random directions, drawn anew each call, the first along ∇l̃.
        rank: dimension of that subspace.
        noise: `"relative"` scales the noise of each tensor by the mean size of its gradient, as the official code does.
        antithetic: candidates of one kind share their noise in pairs of opposite sign.
        evaluate: `"loop"`, or `"vmap"`: all candidates in one call of `torch.func.vmap`, for a task loss of tensors;
            2n + 1 copies of the parameters.
        generator: of the seeds of all noise; None: torch's global one.
        backward: called on the surrogate of the step; as in the other procedures.
    Returns: calling it, `procedure(batch)`: the detached task loss before the step; `procedure.last` is a `SearchStep`.
        The parameters are never written to.
    Errors: ValueError for sizes out of range; TypeError for a task loss that is no float or a whole number;
        FloatingPointError for a gradient of the surrogate that is not finite. `NoValidCandidateWarning` where no
        candidate counts: then nothing is added.
    Cost: n + 1 task losses and one backward pass; one copy of the parameters at a time with `"loop"`.
    Example:
        >>> theta = {"x": torch.nn.Parameter(torch.tensor([2.0]))}
        >>> search = GuidedParameterSearch(
        ...     theta, lambda p, _: p["x"].square().sum(), lambda p, _: float(p["x"].abs().round()), sigma=0.5,
        ...     temperature=0.1, eta=0.25, generator=torch.Generator().manual_seed(0))
        >>> search(None), theta["x"].grad > 0
        (tensor(2.), tensor([True]))

    References: S. Welleck and K. Cho, MLE-guided parameter search for task loss minimization in neural sequence
        modeling, 2021; 苏剑林, 从采样看优化:可导优化与不可导优化的统一视角, 2020.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor] | nn.Module,
        surrogate: Function | None,
        task_loss: Function,
        *,
        sigma: float,
        temperature: float,
        candidates: int = 4,
        mix: float = 0.5,
        eta: float = 1.0,
        clip: float | None = None,
        correction: Literal["none", "exact", "subspace"] = "none",
        rank: int | None = None,
        noise: Literal["constant", "relative"] = "constant",
        antithetic: bool = False,
        evaluate: Literal["loop", "vmap"] = "loop",
        generator: torch.Generator | None = None,
        backward: Callable[[Tensor], Any] = torch.Tensor.backward,
    ) -> None:
        self.parameters = dict(parameters.named_parameters() if isinstance(parameters, nn.Module) else parameters)
        if not any(p.requires_grad for p in self.parameters.values()):
            raise invalid("parameters", "hold a tensor that requires a gradient", ", ".join(self.parameters) or "none")
        check_choice("correction", correction, ("none", "exact", "subspace"))
        check_choice("noise", noise, ("constant", "relative"))
        check_choice("evaluate", evaluate, ("loop", "vmap"))
        self.candidates = check_integer("candidates", candidates, at_least=1)
        self.sigma = float(check_number("sigma", sigma, above=0, below=math.inf))
        self.temperature = float(check_number("temperature", temperature, above=0))
        self.mix = float(check_number("mix", mix, at_least=0, at_most=1)) if surrogate is not None else 1.0
        self.eta = float(check_number("eta", eta, above=0, below=math.inf))
        self.clip = None if clip is None else float(check_number("clip", clip, above=0))
        if noise == "relative" and (surrogate is None or correction == "subspace"):
            fix = "Use noise='constant'."
            raise invalid("noise", "be constant without a surrogate and in a subspace", "'relative'", fix)
        if (rank is None) == (correction == "subspace"):
            raise invalid("rank", "be given with correction='subspace', and only then", f"{rank} with {correction!r}")
        self.rank = None if rank is None else check_integer("rank", rank, at_least=1, at_most=self._size())
        self.surrogate, self.task_loss, self.correction, self.noise = surrogate, task_loss, correction, noise
        self.antithetic, self.evaluate, self.generator, self.backward = antithetic, evaluate, generator, backward
        self.last: SearchStep | None = None

    def __call__(self, batch: Any) -> Tensor:
        """Add minus the weighted mean step to `.grad` and return the task loss, detached."""
        gradient = self._gradient(batch)
        guide = None if gradient is None else {name: -self.eta * g for name, g in gradient.items()}
        drawn = plan(self.candidates, round(self.mix * self.candidates), self.antithetic, self.generator)
        proposal = self._proposal(guide)
        steps: list[Callable[[], Step]] = [partial(proposal.step, candidate) for candidate in drawn]
        blocks = proposal.blocks(drawn) if self.evaluate == "vmap" else None
        now, *losses = self._measure(steps, batch) if blocks is None else self._together(blocks, batch)
        log_proposal = None
        if self.correction != "none":
            pairs = torch.tensor([proposal.distances(candidate) for candidate in drawn], dtype=torch.float64)
            log_proposal = log_mixture(pairs[:, 0], pairs[:, 1], mix=self.mix)
        weights, ess = snis_weights(self._log_target(losses), log_proposal)
        cosine = math.nan
        if ess > 0:
            counted = [(w, step) for w, step in zip(weights.tolist(), steps, strict=True) if w > 0]
            if blocks is None:
                cosine = self._add(_mean_step((w, step()) for w, step in counted), gradient)
            else:
                cosine = self._add_rows(
                    [(block.like, weights.to(block.rows) @ block.rows) for block in blocks], gradient
                )
        else:
            text = f"None of the {len(losses)} candidates has a finite task loss: nothing was added."
            warnings.warn(f"{text} Lower sigma or eta.", NoValidCandidateWarning, stacklevel=2)
        wrong = sum(not math.isfinite(loss) for loss in losses)
        self.last = SearchStep(now, tuple(losses), weights, ess, wrong, cosine)
        return torch.tensor(now)

    def _size(self) -> int:
        return sum(p.numel() for p in self.parameters.values() if p.requires_grad)

    def _moving(self) -> Step:
        return {name: p.detach() for name, p in self.parameters.items() if p.requires_grad}

    def _gradient(self, batch: Any) -> Step | None:
        """∇l̃, cut to `clip`."""
        if self.surrogate is None:
            return None
        moving = {name: p for name, p in self.parameters.items() if p.requires_grad}
        with torch.enable_grad():
            loss = self.surrogate(self.parameters, batch)
            if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
                found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
                raise invalid("surrogate", "return a differentiable scalar of the parameters", found)
            found_by = torch.autograd.grad(loss, list(moving.values()), allow_unused=True)
        pairs = zip(moving.items(), found_by, strict=True)
        gradient = {name: torch.zeros_like(p) if g is None else g.to_dense() for (name, p), g in pairs}
        size = _size_of(gradient)
        if not math.isfinite(size):
            fix = "Nothing was added; look at the batch and the step size."
            raise invalid("surrogate", "have a finite gradient", size, fix, kind=FloatingPointError)
        if self.clip is not None and size > self.clip:
            gradient = {name: g * (self.clip / size) for name, g in gradient.items()}
        return gradient

    def _proposal(self, guide: Step | None) -> FullNoise | SubspaceNoise:
        like = self._moving()
        if self.rank is None:
            return FullNoise(like, guide, self.sigma, self.noise == "relative")
        device = None if self.generator is None else self.generator.device
        seed = int(torch.randint(2**62, (), generator=self.generator, device=device))
        return SubspaceNoise(like, guide, self.sigma, self.rank, seed)

    def _measure(self, steps: list[Callable[[], Step]], batch: Any) -> list[float]:
        """Task losses at the parameters and after each step, on the same random numbers."""
        like, fixed = self._moving(), {name: p.detach() for name, p in self.parameters.items()}
        random = guards.RandomStates({p.device for p in fixed.values()} | {t.device for t in chunks.tensors(batch)})
        before, found = random.save(), []
        with torch.no_grad():
            for step in (dict, *steps):
                random.restore(before)
                moved = {name: (like[name] + d).to(like[name].dtype) for name, d in step().items()}
                found.append(_number(self.task_loss(fixed | moved, batch)))
        return found

    def _together(self, blocks: list[Block], batch: Any) -> list[float]:
        """As `_measure`, all in one call."""
        fixed = {name: p.detach() for name, p in self.parameters.items()}
        stacked = {name: part for block in blocks for name, part in block.moved().items()}
        with torch.no_grad():
            together = torch.func.vmap(lambda moved: self.task_loss(fixed | moved, batch), randomness="same")
            found: Tensor = together(stacked)
        _number(found[0])
        losses: list[float] = found.flatten().double().tolist()
        return losses

    def _log_target(self, losses: list[float]) -> Tensor:
        """-l/α above the best loss; -inf where it is not finite."""
        best = min((loss for loss in losses if math.isfinite(loss)), default=0.0)
        found = [(best - loss) / self.temperature if math.isfinite(loss) else -math.inf for loss in losses]
        return torch.tensor(found, dtype=torch.float64)

    def _add(self, update: Step, gradient: Step | None) -> float:
        """-Δ* into `.grad`; the cosine of Δ* with -∇l̃."""
        with torch.enable_grad():
            terms = [(p * -update[name].to(p.dtype)).sum() for name, p in self.parameters.items() if name in update]
            self.backward(torch.stack([chunks.widened(term).to(terms[0].device) for term in terms]).sum())
        if gradient is None:
            return math.nan
        pairs = ((update[name].flatten().to(g), g.flatten()) for name, g in gradient.items())
        return _cosine(pairs)

    def _add_rows(self, means: list[tuple[Step, Tensor]], gradient: Step | None) -> float:
        """The same, where all numbers of a device stand in one row: a few operations for all tensors."""
        with torch.enable_grad():
            rows = [torch.cat([self.parameters[n].flatten().to(mean) for n in like]) for like, mean in means]
            terms = [row @ -mean for row, (_, mean) in zip(rows, means, strict=True)]
            self.backward(torch.stack([term.to(terms[0].device) for term in terms]).sum())
        if gradient is None:
            return math.nan
        return _cosine((mean, flat({n: gradient[n] for n in like}, mean.dtype)) for like, mean in means)


def _cosine(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Of Δ* with -∇l̃, from the parts of both."""
    parts = [torch.stack([a @ b, a @ a, b @ b]).double().cpu() for a, b in pairs]
    inner, *squares = torch.stack(parts).sum(0).tolist()
    return -inner / math.sqrt(math.prod(squares)) if min(squares) > 0 else math.nan


def _mean_step(weighted: Iterator[tuple[float, Step]]) -> Step:
    """Σ w Δ, one candidate at a time."""
    total: Step = {}
    for weight, step in weighted:
        for name, delta in step.items():
            total[name] = total[name].add_(delta, alpha=weight) if name in total else delta * weight
    return total


def _size_of(step: Step) -> float:
    """The norm of all tensors together."""
    sizes = [torch.linalg.vector_norm(part, dtype=torch.float64).cpu() for part in step.values()]
    return float(torch.linalg.vector_norm(torch.stack(sizes)))


def _number(value: Any) -> float:
    """A task loss as a float."""
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise invalid("task_loss", "return a scalar", f"shape {tuple(value.shape)}", "Average over the rows.")
        if not value.is_floating_point():
            raise invalid("task_loss", "return a float", value.dtype, "Divide counts by their number.", kind=TypeError)
        return float(value)
    if isinstance(value, bool | Integral) or not isinstance(value, Real):
        found = f"{value!r} ({type(value).__name__})"
        raise invalid("task_loss", "return a float", found, "Divide counts by their number.", kind=TypeError)
    return float(value)
