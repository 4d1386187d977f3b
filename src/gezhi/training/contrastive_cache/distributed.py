"""Rows of all processes in one tensor, and how much a process's gradient has to weigh."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def gather_sizes(counts: list[int], device: torch.device, group: Any) -> list[list[int]]:
    """Numbers of rows of each input in each process."""
    mine = torch.tensor(counts, device=device)
    found = [torch.zeros_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(found, mine, group=group)
    return torch.stack(found, -1).tolist()


def gather_rows(local: Tensor, sizes: list[int], group: Any) -> Tensor:
    """Rows of all processes in their order; gradients flow into the local ones alone."""
    largest = max(sizes)
    padded = local.detach().new_zeros(largest, *local.shape[1:])
    padded[: len(local)] = local.detach()
    parts = [torch.zeros_like(padded) for _ in sizes]
    dist.all_gather(parts, padded, group=group)
    whole = [part[:size] for part, size in zip(parts, sizes, strict=True)]
    whole[dist.get_rank(group)] = local
    return torch.cat(whole)


def averaging(modules: Iterable[nn.Module]) -> list[DistributedDataParallel]:
    """All DDP wrappers in these modules."""
    return [part for module in modules for part in module.modules() if isinstance(part, DistributedDataParallel)]


def processes(wrappers: Iterable[DistributedDataParallel]) -> int:
    """Over how many processes DDP averages gradients; 1 without DDP."""
    return max((dist.get_world_size(wrapper.process_group) for wrapper in wrappers), default=1)


@contextmanager
def own_buffers(wrappers: Iterable[DistributedDataParallel]) -> Iterator[None]:
    """DDP sends no buffers along: processes may encode different numbers of chunks, and would wait for each other."""
    wrappers = list(wrappers)
    for wrapper in wrappers:
        wrapper.require_forward_param_sync = False
    try:
        yield
    finally:
        for wrapper in wrappers:
            wrapper.require_forward_param_sync = True


@contextmanager
def unsynchronised(wrappers: Iterable[DistributedDataParallel]) -> Iterator[None]:
    """Gradients add up in this process and wait for the next pass outside."""
    with ExitStack() as stack:
        for wrapper in wrappers:
            stack.enter_context(wrapper.no_sync())
        yield
