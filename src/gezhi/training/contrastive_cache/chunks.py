"""Batches of any nesting cut into chunks of rows, and encoders called on them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gezhi._checks import invalid

Encoder = Callable[..., Any]


def module_of(encoder: Encoder) -> nn.Module | None:
    """The module behind an encoder: itself, or the owner of a bound method."""
    if isinstance(encoder, functools.partial):
        return module_of(encoder.func)
    owner = encoder if isinstance(encoder, nn.Module) else getattr(encoder, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None


def call(encoder: Encoder, batch: Any) -> Any:
    """A mapping gives keyword arguments, a list of arguments positional ones, anything else is one argument."""
    if isinstance(batch, Mapping):
        return encoder(**batch)
    if isinstance(batch, list | tuple) and not is_rows(batch):
        return encoder(*batch)
    return encoder(batch)


def is_rows(batch: list[Any] | tuple[Any, ...]) -> bool:
    """Whether a list is one entry a row (texts, pictures) rather than several arguments."""
    return not any(isinstance(item, Tensor | Mapping | list | tuple) for item in batch)


def leaves(batch: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Everything in a batch that has rows, by the name it has there."""
    if isinstance(batch, Tensor):
        if batch.ndim:
            yield name, batch
    elif isinstance(batch, Mapping):
        for key, value in batch.items():
            if not isinstance(value, list | tuple) or not is_rows(value):
                yield from leaves(value, f"{name}[{key!r}]")
            else:
                yield f"{name}[{key!r}]", value
    elif isinstance(batch, list | tuple):
        if is_rows(batch):
            yield name, batch
        else:
            for i, item in enumerate(batch):
                yield from leaves(item, f"{name}[{i}]")


def count_rows(inputs: tuple[Any, ...]) -> list[int]:
    """How many rows each input has: the same number, or a multiple of the smallest (k passages for each query)."""
    found = [dict(leaves(batch, f"inputs[{i}]")) for i, batch in enumerate(inputs)]
    if not all(found) or not found:
        kinds = ", ".join(type(batch).__name__ for batch in inputs) or "none"
        raise invalid("inputs", "be tensors, mappings or lists with rows", kinds, "Pass one batch per encoder.")
    counts = [{len(leaf) for leaf in batch.values()} for batch in found]
    least = min(map(min, counts))
    if any(len(sizes) > 1 for sizes in counts) or any(least and max(sizes) % least for sizes in counts):
        sizes = ", ".join(
            f"{name} {tuple(leaf.shape) if isinstance(leaf, Tensor) else len(leaf)}"
            for batch in found
            for name, leaf in batch.items()
        )
        fix = "Pass one row per sample everywhere, or k rows per sample in an input."
        raise invalid("inputs", "have the same number of rows, or a multiple of it", sizes, fix)
    return [max(sizes) for sizes in counts]


def rows(batch: Any, start: int, stop: int, *, copy: bool = False) -> Any:
    """These rows of everything that has rows; numbers, strings and scalars stay. Mappings become plain dicts."""
    if isinstance(batch, Tensor):
        if not batch.ndim:
            return batch
        return batch[start:stop].clone() if copy else batch[start:stop]
    if isinstance(batch, Mapping):
        return {key: rows(value, start, stop, copy=copy) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        if is_rows(batch):
            return batch[start:stop]
        return [rows(item, start, stop, copy=copy) for item in batch]
    return batch


def tensors(batch: Any) -> Iterator[Tensor]:
    """All tensors of a batch."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from tensors(value)
    elif isinstance(batch, list | tuple):
        for item in batch:
            yield from tensors(item)


def trains(module: nn.Module | None, batch: Any) -> bool:
    """Whether going back through this encoder could add anything: a frozen module on plain inputs gets nothing."""
    given = any(tensor.requires_grad for tensor in tensors(batch))
    return given or module is None or any(p.requires_grad for p in module.parameters())


def pooled(output: Any, representation: Callable[[Any], Any] | None, count: int) -> Tensor:
    """The representation in an encoder's output: floating, with a row for each row of the input."""
    h = output if representation is None else representation(output)
    if not isinstance(h, Tensor):
        known = f" with {', '.join(map(str, h))}" if isinstance(h, Mapping) else ""
        fix = "Pass representation=, such as lambda out: out.pooler_output."
        raise invalid("encoder", "return a tensor", f"{type(h).__name__}{known}", fix, kind=TypeError)
    if not h.is_floating_point():
        raise invalid("representation", "hold floating-point numbers", h.dtype, kind=TypeError)
    if not h.ndim or len(h) != count:
        fix = "Pool over tokens, not over rows."
        raise invalid("representation", f"have one row for each of the {count} rows of its chunk", tuple(h.shape), fix)
    return h


def widened(h: Tensor) -> Tensor:
    """Float32 at least."""
    return h.to(torch.promote_types(h.dtype, torch.float32))
