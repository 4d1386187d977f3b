"""Run by torchrun: the gradients of two processes against those of one, for uneven batches."""

from __future__ import annotations

import copy
import datetime
import os
import sys

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from gezhi.training import ContrastiveCache


def loss_fn(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(2 * q @ k.mT, torch.arange(len(q)))


def ranked(q: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Rows 2i and 2i + 1 are passages of query i, the first of them the right one."""
    return nn.functional.cross_entropy(2 * q @ p.mT, 2 * torch.arange(len(q)))


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(self.scale * q @ k.mT, torch.arange(len(q)))


class WithBuffer(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
        self.register_buffer("shift", torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.shift


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    q, k = (torch.randn(11, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    return q, k


def check(name: str, found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10, msg=lambda m: f"{name}: {m}")
    print(f"{name} equal", flush=True)


def leave() -> None:
    """Together, and past the tear-down of gloo's threads, which aborts now and then after everything was checked."""
    dist.barrier()
    sys.stdout.flush()
    os._exit(0)


def main() -> None:
    dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=60))
    rank, world = dist.get_rank(), dist.group.WORLD
    mine = slice(0, 3) if rank == 0 else slice(3, 11)  # one chunk and two
    torch.manual_seed(0)
    whole = WithBuffer().double()

    expected = []
    for step in range(3):
        whole.zero_grad()
        loss = loss_fn(*map(whole, batch(step)))
        loss.backward()
        expected.append((loss.detach(), [p.grad.clone() for p in whole.parameters()]))

    plain = copy.deepcopy(whole)
    plain.zero_grad()
    loss = ContrastiveCache(plain, loss_fn, chunk_size=4, process_group=world)(*(x[mine] for x in batch(0)))
    for p in plain.parameters():
        dist.all_reduce(p.grad)
    check("plain parameters, summed", [loss, *(p.grad for p in plain.parameters())], [expected[0][0], *expected[0][1]])

    wrapped = DistributedDataParallel(copy.deepcopy(whole))
    for step in range(3):  # DDP rebuilds its buckets in the second step
        wrapped.zero_grad()
        procedure = ContrastiveCache(wrapped, loss_fn, chunk_size=4 if rank else 3, process_group=world)
        loss = procedure(*(x[mine] for x in batch(step)))
        check(
            f"DDP, step {step}",
            [loss, *(p.grad for p in wrapped.parameters())],
            [expected[step][0], *expected[step][1]],
        )

    wrapped.zero_grad()
    several, whole_batch = slice(2 * mine.start, 2 * mine.stop), batch(0)
    passages = torch.cat([whole_batch[1], whole_batch[1] + 1])
    loss = ContrastiveCache(wrapped, ranked, chunk_size=4, process_group=world)(whole_batch[0][mine], passages[several])
    whole.zero_grad()
    ranked(whole(whole_batch[0]), whole(passages)).backward()
    check("two passages a query", [p.grad for p in wrapped.parameters()], [p.grad for p in whole.parameters()])

    wrapped.zero_grad()
    with wrapped.no_sync():
        ContrastiveCache(wrapped, loss_fn, chunk_size=4, process_group=world)(*(x[mine] for x in batch(0)))
    ContrastiveCache(wrapped, loss_fn, chunk_size=4, process_group=world)(*(x[mine] for x in batch(1)))
    both = [a + b for a, b in zip(expected[0][1], expected[1][1], strict=True)]
    check("DDP, two batches accumulated", [p.grad for p in wrapped.parameters()], both)

    scaled, whole_scaled = Scaled(), Scaled()
    wrapped.zero_grad()
    ContrastiveCache(wrapped, scaled, chunk_size=4, process_group=world)(*(x[mine] for x in batch(0)))
    dist.all_reduce(scaled.scale.grad)
    whole.zero_grad()
    whole_scaled(*map(whole, batch(0))).backward()
    check("a scale in the loss, summed", [scaled.scale.grad], [whole_scaled.scale.grad])

    towers = [copy.deepcopy(whole), copy.deepcopy(whole)]
    towers[1].load_state_dict({name: value * 1.5 for name, value in towers[1].state_dict().items()})
    both_wrapped = [DistributedDataParallel(tower) for tower in towers]
    for step in range(2):
        for tower in both_wrapped:
            tower.zero_grad()
        ContrastiveCache(both_wrapped, loss_fn, chunk_size=4, process_group=world)(*(x[mine] for x in batch(step)))
        pair = nn.ModuleList(copy.deepcopy(towers))
        pair.zero_grad()
        loss_fn(*(tower(x) for tower, x in zip(pair, batch(step), strict=True))).backward()
        found = [p.grad for tower in both_wrapped for p in tower.parameters()]
        check(f"two towers, step {step}", found, [p.grad for p in pair.parameters()])

    wrapped_loss = DistributedDataParallel(Scaled())
    wrapped.zero_grad()
    ContrastiveCache(wrapped, wrapped_loss, chunk_size=2, process_group=world)(*(x[mine] for x in batch(0)))
    found = [wrapped_loss.module.scale.grad, *(p.grad for p in wrapped.parameters())]
    check("a scale in a loss under DDP", found, [whole_scaled.scale.grad, *(p.grad for p in whole.parameters())])

    counting, exchanged = DistributedDataParallel(copy.deepcopy(whole)), []
    counting.register_comm_hook(
        dist.group.WORLD, lambda group, bucket: exchanged.append(1) or allreduce_hook(group, bucket)
    )
    ContrastiveCache(counting, loss_fn, chunk_size=1, process_group=world)(*(x[mine] for x in batch(0)))
    assert len(exchanged) == 1, f"gradients were exchanged {len(exchanged)} times"
    print("one exchange for all chunks, equal", flush=True)

    with pytest.raises(ValueError, match=r"sizes \[0, 3\]"):
        ContrastiveCache(wrapped, loss_fn, chunk_size=4, process_group=world)(*(x[: rank * 3] for x in batch(0)))
    print("an empty batch raises in both, equal", flush=True)
    leave()


if __name__ == "__main__":
    main()
