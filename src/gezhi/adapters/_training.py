"""What the trainers of transformers and of its descendants share: a step whose gradient is made by a procedure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from gezhi._checks import invalid
from gezhi.training.contrastive_cache import ContrastiveCache, chunks


class HostTrainer:
    """What a mixin uses of the trainer beside it, and what both mixins let a subclass set."""

    chunk_size: int = 32
    batch_norm: Literal["error", "allow"] = "error"
    accelerator: Any
    args: Any
    loss: Any
    optimizer: Any
    compute_loss: Any
    compute_loss_context_manager: Any
    label_names: Any
    _prepare_inputs: Any


def begin_step(trainer: HostTrainer, model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Training mode, and the batch on the device, as at the start of the trainer's own step."""
    kind = str(getattr(trainer.accelerator.distributed_type, "value", "NO"))
    if kind in ("DEEPSPEED", "MEGATRON_LM", "FSDP"):
        fix = "Use DDP or a single process."
        raise invalid("trainer", "run where several backward passes make a step", kind, fix)
    model.train()
    if callable(getattr(trainer.optimizer, "train", None)):
        trainer.optimizer.train()
    prepared: dict[str, Any] = trainer._prepare_inputs(inputs)
    return prepared


def procedure_step(
    trainer: HostTrainer,
    build: Callable[[Callable[[Tensor], Any]], Callable[..., Tensor]],
    inputs: Sequence[Any],
    share: float,
) -> Tensor:
    """Any gradient procedure for the trainer's own forward and backward: its accelerator goes back, through its loss
    scaler if it has one, and what is accumulated is averaged."""
    with trainer.accelerator.autocast():
        procedure = build(lambda surrogate: trainer.accelerator.backward(surrogate / share))
        loss = procedure(*inputs)
    reported: Tensor = loss / share
    return reported


def cached_step(
    trainer: HostTrainer,
    model: Any,
    loss_fn: Callable[..., Tensor],
    representation: Callable[[Any], Any],
    inputs: Sequence[Any],
) -> Tensor:
    """A step by `ContrastiveCache`."""

    def build(backward: Callable[[Tensor], Any]) -> ContrastiveCache:
        return ContrastiveCache(
            model,
            loss_fn,
            chunk_size=trainer.chunk_size,
            representation=representation,
            batch_norm=trainer.batch_norm,
            backward=backward,
        )

    return procedure_step(trainer, build, inputs, accumulated(trainer))


def accumulated(trainer: HostTrainer) -> int:
    """How many batches make the present step of the optimiser."""
    steps: int = getattr(trainer, "current_gradient_accumulation_steps", trainer.args.gradient_accumulation_steps)
    return steps


def encoded(model: Any, batch: Any, representation: Callable[[Any], Any], chunk_size: int) -> Tensor:
    """The representations of one input without gradients, float32 at least, a chunk at a time as in training."""
    (count,) = chunks.count_rows((batch,))
    parts = []
    for start in range(0, count, chunk_size):
        stop = min(start + chunk_size, count)
        output = chunks.call(model, chunks.rows(batch, start, stop))
        parts.append(chunks.pooled(output, representation, stop - start))
    return chunks.widened(torch.cat(parts))
