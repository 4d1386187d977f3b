"""The gradient procedure: encode without gradients, differentiate the loss, encode again with gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from numbers import Integral
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from gezhi._checks import check_choice, check_number, invalid
from gezhi.training.contrastive_cache import chunks, distributed, guards


class Chunk(NamedTuple):
    """Rows start to stop of input `tower`."""

    tower: int
    start: int
    stop: int


class ContrastiveCache:
    r"""Adds to `.grad` the gradient of a loss over the whole batch, with the activations of one chunk in memory.

    $$\nabla_\theta\mathcal L=\nabla_\theta\sum_i\big\langle h_i,\operatorname{sg}(\tilde h_i)\big\rangle,\qquad
      \tilde h_i=\frac{\partial\mathcal L}{\partial h_i} \tag{7}$$

    The sum on the right is taken chunk by chunk. A call takes the place of forward and backward pass, and the caller's
    optimiser steps afterwards. The last chunk keeps its graph, so a batch of one chunk is a plain step.

    Args:
        encoder: a module or callable, or a list of them, one for each input; a single one serves all inputs.
        loss_fn: `loss_fn(*representations)`, one representation for each input, to a scalar. It sees float32 at least
            and no autocast. Leaves in it that require gradients (a learned temperature) get theirs as well.
        chunk_size: rows that are encoded at once, ≥ 1.
        representation: from the encoder's output to its (rows, …) tensor; None: the output is that tensor.
        replay_rng: the second pass draws what the first one drew, on the CPU and the devices of parameters and inputs.
            False saves the copies where an encoder draws nothing.
        batch_norm: `"error"` refuses batch normalisation in training mode, whose statistics would be those of chunks;
            `"allow"` takes that other gradient.
        process_group: the loss is that of the rows of all its processes, in their order, and has to be the same in
            each; None: of this process's rows. Under DDP the averaged gradients are the exact ones, and gradients are
            exchanged once; without DDP each process gets its share, to be summed over processes.
        backward: called on the surrogate of each chunk, never on the loss: `accelerator.backward`, or
            `lambda s: scaler.scale(s).backward()`.

    Returns: calling it, `procedure(*inputs)` with tensors, mappings (keyword arguments of the encoder), lists or tuples
        (positional arguments) or lists of rows such as texts: the detached loss. An input may have k rows for each of
        another's (n queries, k·n passages). Parameters stay as they are; the
        generators end where one encoding in chunks and the loss would have left them.
    Errors: ValueError for sizes that disagree, an empty batch, a loss that is no scalar or ignores a representation,
        and batch normalisation; FloatingPointError for a loss that is not finite, before any gradient is added;
        RuntimeError for an encoder that gives different outputs in the two passes.
    Cost: one more encoding of all chunks but one than a plain step, n·d numbers twice, and what the loss takes.
    Example:
        >>> encoder = torch.nn.Linear(3, 2)
        >>> x, cut = torch.randn(5, 3), []
        >>> for chunk_size in (2, 5):
        ...     encoder.zero_grad()
        ...     loss = ContrastiveCache(encoder, lambda h: (h @ h.mT).logsumexp(-1).sum(), chunk_size=chunk_size)(x)
        ...     cut.append(encoder.weight.grad)
        >>> torch.allclose(*cut, rtol=1e-4)
        True

    References: 苏剑林, 对比学习可以使用梯度累积吗?, 2021; L. Gao, Y. Zhang, J. Han and J. Callan, Scaling Deep
        Contrastive Learning Batch Size under Memory Limited Setup, 2021 (random states replayed).
    """

    def __init__(
        self,
        encoder: chunks.Encoder | Sequence[chunks.Encoder],
        loss_fn: Callable[..., Tensor],
        *,
        chunk_size: int,
        representation: Callable[[Any], Any] | None = None,
        replay_rng: bool = True,
        batch_norm: Literal["error", "allow"] = "error",
        process_group: Any = None,
        backward: Callable[[Tensor], Any] = torch.Tensor.backward,
    ) -> None:
        check_number("chunk_size", chunk_size, at_least=1, fix="Pass the number of rows that fit into memory.")
        check_choice("batch_norm", batch_norm, ("error", "allow"))
        if not isinstance(cast(Any, chunk_size), Integral):
            raise invalid("chunk_size", "be an integer", chunk_size, kind=TypeError)
        self.shared = not isinstance(encoder, Sequence | nn.ModuleList)
        encoders: list[Any] = list(encoder) if isinstance(encoder, Sequence | nn.ModuleList) else [encoder]
        self.encoders: list[chunks.Encoder] = encoders
        for one in self.encoders:
            if not callable(one):
                raise invalid("encoder", "be callable", type(one).__name__, kind=TypeError)
        self.loss_fn, self.chunk_size, self.representation = loss_fn, int(chunk_size), representation
        self.replay_rng, self.batch_norm = replay_rng, batch_norm
        self.process_group, self.backward = process_group, backward

    def __call__(self, *inputs: Any) -> Tensor:
        """Add the gradient of this batch to `.grad` and return the loss, detached."""
        step = _Step(self, inputs)
        with distributed.own_buffers(step.wrappers):
            cached, kept = step.encode()
            loss, gradients = step.differentiate(cached)
            step.accumulate(cached, gradients, kept)
        return loss


class _Step:
    """One call: its batch, and what has to be remembered between the passes."""

    def __init__(self, procedure: ContrastiveCache, inputs: tuple[Any, ...]) -> None:
        self.settings, self.inputs = procedure, inputs
        self.encoders = procedure.encoders * len(inputs) if procedure.shared else procedure.encoders
        if len(self.encoders) != len(inputs):
            raise invalid("inputs", f"be one for each of the {len(self.encoders)} encoders", len(inputs))
        behind = [chunks.module_of(encoder) for encoder in self.encoders]
        self.modules = list(dict.fromkeys(module for module in behind if module is not None))
        if procedure.batch_norm == "error":
            guards.refuse_batch_norm(self.modules)
        counts = chunks.count_rows(inputs)
        self.devices = guards.devices_of(self.modules, chunks.tensors(inputs))
        self.sizes = self._sizes(counts)
        for sizes in self.sizes:
            if min(sizes) == 0:
                fix = "Leave the step out in every process." if len(sizes) > 1 else "Leave the step out."
                raise invalid("inputs", "have rows", f"sizes {sizes}", fix)
        self.random = guards.RandomStates(self.devices)
        self.states: dict[Chunk, list[Tensor]] = {}
        found = {module: distributed.averaging([module]) for module in self.modules}
        self.wraps = [[] if module is None else found[module] for module in behind]
        self.wrappers = [wrapper for wrappers in found.values() for wrapper in wrappers]
        self.cuts = [
            Chunk(tower, start, min(start + procedure.chunk_size, count))
            for tower, count in enumerate(counts)
            for start in range(0, count, procedure.chunk_size)
        ]
        trains = [chunks.trains(*pair) for pair in zip(behind, inputs, strict=True)]
        work = [cut for cut in self.cuts if trains[cut.tower]]
        self.kept = work[-1] if work else None
        # the kept chunk's tower goes on first: DDP exchanges gradients in one order, whatever the number of chunks
        self.again = sorted(work[:-1], key=lambda cut: cut.tower != work[-1].tower)
        self.leaves: list[Tensor] = []

    def _sizes(self, counts: list[int]) -> list[list[int]]:
        """Rows of each input in each process."""
        if self.settings.process_group is None:
            return [[count] for count in counts]
        return distributed.gather_sizes(counts, self.devices[-1], self.settings.process_group)

    def encode(self) -> tuple[list[Tensor], Tensor | None]:
        """The representations of all inputs; only the last chunk that trains keeps its graph, and is returned too."""
        found: list[list[Tensor]] = [[] for _ in self.inputs]
        kept = None
        for cut in self.cuts:
            if cut == self.kept:
                torch.clear_autocast_cache()  # it holds casts of the parameters that know of no gradient
                with torch.enable_grad(), self._unsynchronised(cut, self.again):
                    h = kept = self._represent(cut)
            else:
                if self.settings.replay_rng:
                    self.states[cut] = self.random.save()
                with torch.no_grad():
                    h = self._represent(cut, copy=True)
            found[cut.tower].append(h.detach())
        torch.clear_autocast_cache()
        return [chunks.widened(torch.cat(parts)) for parts in found], kept

    def _unsynchronised(self, cut: Chunk, later: list[Chunk]) -> AbstractContextManager[None]:
        """Gradients wait in the wrappers that a later chunk goes through as well."""
        if not self.wraps[cut.tower]:
            return nullcontext()
        awaited = {id(wrapper) for other in later for wrapper in self.wraps[other.tower]}
        return distributed.unsynchronised(wrapper for wrapper in self.wraps[cut.tower] if id(wrapper) in awaited)

    def _represent(self, cut: Chunk, *, copy: bool = False) -> Tensor:
        """Encode a chunk, or a copy of it: a layer that writes into its input must not change the second pass."""
        batch = chunks.rows(self.inputs[cut.tower], cut.start, cut.stop, copy=copy)
        output = chunks.call(self.encoders[cut.tower], batch)
        return chunks.pooled(output, self.settings.representation, cut.stop - cut.start)

    def differentiate(self, cached: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The loss, and its gradient by each representation and by the leaves of its own."""
        group = self.settings.process_group
        with torch.enable_grad(), guards.without_autocast(self.devices):
            local = [h.detach().requires_grad_() for h in cached]
            whole = local
            if group is not None:
                pairs = zip(local, self.sizes, strict=True)
                whole = [distributed.gather_rows(h, sizes, group) for h, sizes in pairs]
            loss = self.settings.loss_fn(*whole)
            _check(loss)
            own = {id(h) for h in local}
            self.leaves = [leaf for leaf in guards.graph_leaves(loss) if id(leaf) not in own]
            gradients = torch.autograd.grad(loss, [*local, *self.leaves], allow_unused=True)  # (6)
        for tower, gradient in enumerate(gradients[: len(local)]):
            if gradient is None:
                fix = "Use it in the loss, or leave its input out."
                raise invalid("loss_fn", "depend on every representation", f"no gradient for input {tower}", fix)
        return loss.detach(), list(gradients)

    def accumulate(self, cached: list[Tensor], gradients: list[Tensor], kept: Tensor | None) -> None:
        """Encode all chunks but the kept one again with gradients, and call `backward` on each chunk's surrogate."""
        after = self.random.save() if self.states else None
        comparison = guards.Comparison(self.modules, self.devices, self.settings.replay_rng)
        added = self._loss_leaves(gradients[len(cached) :])
        if self.kept is not None and kept is not None:
            added |= self._backward(self.kept, kept, gradients)
            del kept
        try:
            for i, cut in enumerate(self.again, start=1):
                if cut in self.states:
                    self.random.restore(self.states[cut])
                with torch.enable_grad(), self._unsynchronised(cut, self.again[i:]):
                    h = self._represent(cut)
                    comparison.note(cut.tower, h, cached[cut.tower][cut.start : cut.stop])
                    added |= self._backward(cut, h, gradients)
        finally:
            if after is not None:
                self.random.restore(after)
        comparison.finish()
        if not added:
            raise invalid("encoder", "have a parameter that takes a gradient", "none", "Unfreeze one of the towers.")

    def _backward(self, cut: Chunk, h: Tensor, gradients: list[Tensor]) -> bool:
        if not h.requires_grad:
            return False
        with torch.enable_grad(), guards.without_autocast(self.devices):
            inner = (chunks.widened(h) * gradients[cut.tower][cut.start : cut.stop]).sum()  # (7)
            if self.settings.process_group is not None:
                inner = inner * distributed.processes(self.wraps[cut.tower])  # (10)
            self.settings.backward(inner)
        return True

    def _loss_leaves(self, gradients: list[Tensor]) -> bool:
        """Leaves of the loss get their gradient through a surrogate as well, in equal shares of all processes."""
        pairs = [(leaf, g) for leaf, g in zip(self.leaves, gradients, strict=True) if g is not None]
        if not pairs:
            return False
        module = chunks.module_of(self.settings.loss_fn)
        wrapped = distributed.averaging([module] if module is not None else [])
        averaged = {id(p) for wrapper in (*self.wrappers, *wrapped) for p in wrapper.parameters()}
        with torch.enable_grad(), distributed.unsynchronised(w for w in self.wrappers if w not in wrapped):
            terms = [(leaf * g).sum() / (1 if id(leaf) in averaged else len(self.sizes[0])) for leaf, g in pairs]
            self.settings.backward(torch.stack([chunks.widened(term) for term in terms]).sum())
        return True


def _check(loss: Any) -> None:
    if not isinstance(loss, Tensor):
        raise invalid("loss_fn", "return a tensor", type(loss).__name__, kind=TypeError)
    if loss.numel() != 1:
        raise invalid("loss_fn", "return a scalar", tuple(loss.shape), "Sum or average over the rows.")
    if not loss.requires_grad:
        fix = "Do not detach the representations in it."
        raise invalid("loss_fn", "depend on the representations", "a loss without a graph", fix)
    if not torch.isfinite(loss).all():
        fix = "No gradient was added; look at the inputs, the scale of the scores and the learning rate."
        raise invalid("loss_fn", "return a finite loss", float(loss.detach()), fix, kind=FloatingPointError)
