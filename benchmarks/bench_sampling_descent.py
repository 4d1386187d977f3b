"""Guided parameter search: candidates in one call of vmap against one after another, on a small model."""

from __future__ import annotations

from functools import partial

from _bench import Benchmark, arguments

options = arguments()

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from gezhi.training import GuidedParameterSearch

torch.set_num_threads(1)
ROWS, CANDIDATES = 64, 8
AT_LEAST = 2.0


def search(evaluate: str) -> tuple[GuidedParameterSearch, nn.Module]:
    torch.manual_seed(0)
    model = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Linear(32, 32), nn.Tanh())), nn.Linear(32, 10))

    def surrogate(parameters: dict[str, Tensor], batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(functional_call(model, parameters, (batch[0],)), batch[1])

    def errors(parameters: dict[str, Tensor], batch: tuple[Tensor, Tensor]) -> Tensor:
        return (functional_call(model, parameters, (batch[0],)).argmax(-1) != batch[1]).float().mean()

    draw = torch.Generator().manual_seed(7)
    settings = {"sigma": 0.05, "temperature": 0.01, "eta": 0.5, "candidates": CANDIDATES, "generator": draw}
    return GuidedParameterSearch(model, surrogate, errors, evaluate=evaluate, **settings), model


def main() -> None:
    bench = Benchmark("sampling_descent")
    bench.peer("torch")
    batch = torch.randn(ROWS, 32, generator=torch.Generator().manual_seed(1000)), torch.arange(ROWS) % 10
    found = {name: search(name) for name in ("loop", "vmap")}
    for procedure, _ in found.values():
        procedure(batch)
    left, right = (torch.cat([p.grad.flatten() for p in model.parameters()]) for _, model in found.values())
    bench.same("vmap: loop", float((left - right).norm() / left.norm()), 1e-5)
    calls = {name: partial(procedure, batch) for name, (procedure, _) in found.items()}
    seconds = bench.time(f"{CANDIDATES} candidates", calls, 3 if options.quick else 9)
    bar = {} if options.quick else {"at_least": AT_LEAST}
    bench.ratio(f"{CANDIDATES} candidates: loop : vmap", seconds["loop"], seconds["vmap"], **bar)
    bench.finish(options.json)


main()
