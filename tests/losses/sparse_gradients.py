"""Run by torchrun: the sparse gradient that DDP exchanges is the mean of both processes' own."""

from __future__ import annotations

import copy
import datetime
import os
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from gezhi.losses import SampledMarginSoftmaxLoss


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def step(loss: torch.nn.Module, seed: int) -> None:
    features, labels = torch.randn(3, 4, generator=drawn(seed)), torch.randint(50, (3,), generator=drawn(seed))
    loss.zero_grad()
    loss(features, labels, generator=drawn(seed)).backward()


def alone(loss: torch.nn.Module, seed: int) -> torch.Tensor:
    copied = copy.deepcopy(loss)
    step(copied, seed)
    return copied.weight.grad.to_dense()


def leave() -> None:
    """Together, and past the tear-down of gloo's threads, which aborts now and then after everything was checked."""
    dist.barrier()
    sys.stdout.flush()
    os._exit(0)


def main() -> None:
    dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=60))
    for share in (0.2, 1.0):
        torch.manual_seed(0)
        wrapped = DistributedDataParallel(SampledMarginSoftmaxLoss(50, 4, class_share=share, sparse=True))
        optimizer = torch.optim.SparseAdam(wrapped.parameters(), lr=0.1)
        for batch in range(3):
            expected = sum(alone(wrapped.module, 2 * batch + rank) for rank in range(2)) / 2
            step(wrapped, 2 * batch + dist.get_rank())
            gradient = wrapped.module.weight.grad
            assert gradient.is_sparse
            torch.testing.assert_close(gradient.to_dense(), expected)
            optimizer.step()
        print(f"share {share} equal", flush=True)
    leave()


if __name__ == "__main__":
    main()
