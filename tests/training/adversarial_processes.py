"""Run by torchrun: under DDP each process has its batch, and gradients are the mean of what each would have alone."""

from __future__ import annotations

import datetime
import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from gezhi.training import FGM, PGD, FreeLB, GradientPenalty, VirtualAdversarial


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.out = nn.Embedding(9, 4).double(), nn.Linear(4, 2).double()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(self.embed(ids).tanh().mean(1).tanh())


def loss_of(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def logits_of(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return model(batch[0])


def batch_of(rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(rank)
    return torch.randint(9, (3 + rank, 5), generator=draw), torch.randint(2, (3 + rank,), generator=draw)


def procedures(model: nn.Module) -> dict[str, object]:
    def draw() -> torch.Generator:
        return torch.Generator().manual_seed(5)

    return {
        "FGM": FGM(model, loss_of, epsilon=0.5),
        "FGM on the weight": FGM(model, loss_of, epsilon=0.5, target="*embed.weight"),
        "FGM clean": FGM(model, loss_of, epsilon=0.5, clean=True),
        "PGD": PGD(model, loss_of, epsilon=0.5, steps=2),
        "FreeLB": FreeLB(model, loss_of, epsilon=0.5, steps=2, generator=draw()),
        "penalty": GradientPenalty(model, loss_of, power=1),
        "virtual": VirtualAdversarial(model, logits_of, compute_loss=loss_of, generator=draw()),
    }


def main() -> None:
    dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=60))
    rank = dist.get_rank()
    wrapped = DistributedDataParallel(Words())
    for name in procedures(wrapped):
        expected = None
        for other in range(2):
            alone = Words()
            procedures(alone)[name](batch_of(other))
            grads = [p.grad / 2 for p in alone.parameters()]
            expected = grads if expected is None else [a + b for a, b in zip(expected, grads, strict=True)]
        for _ in range(2):  # a second step meets what the first one left in the wrapper
            wrapped.zero_grad()
            procedures(wrapped)[name](batch_of(rank))
        for parameter, grad in zip(wrapped.module.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, grad, atol=1e-12, rtol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
    dist.barrier()
    print(f"process {rank}: {len(procedures(wrapped))} procedures agree", flush=True)
    dist.barrier()
    dist.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
