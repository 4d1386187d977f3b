"""Steps of FGM, PGD and the gradient penalty against a plain step on a small Transformer, and the usual class."""

from __future__ import annotations

from collections.abc import Callable

from _bench import Benchmark, arguments

options = arguments()

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi.training import FGM, PGD, GradientPenalty

torch.set_num_threads(1)
WIDTH, ROWS, TOKENS, VOCABULARY = (32, 4, 8, 500) if options.quick else (128, 32, 32, 50_000)
EPSILON = 0.5


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(WIDTH, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.body(self.embed(ids)).mean(1))


def loss_of(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def usual(model: Classifier, batch: tuple[Tensor, Tensor]) -> None:
    """The widely copied class: back, add to the weight in place, back again, put the copy back."""
    loss_of(model, batch).backward()
    weight = model.embed.weight
    kept = weight.data.clone()
    norm = torch.linalg.vector_norm(weight.grad)
    weight.data.add_(EPSILON * weight.grad / norm)
    loss_of(model, batch).backward()
    weight.data = kept


def gradients(model: nn.Module, call: Callable[[], object]) -> list[Tensor]:
    model.zero_grad()
    call()
    return [p.grad.clone() for p in model.parameters()]


def main() -> None:
    bench = Benchmark("adversarial")
    bench.peer("torch")
    model, draw = Classifier(), torch.Generator().manual_seed(1000)
    batch = torch.randint(VOCABULARY, (ROWS, TOKENS), generator=draw), torch.arange(ROWS) % 2
    steps: dict[str, Callable[[], object]] = {"plain": lambda: loss_of(model, batch).backward()}
    procedures = {
        "FGM": FGM(model, loss_of, epsilon=EPSILON),
        "FGM on the weight, clean": FGM(model, loss_of, epsilon=EPSILON, target=model.embed.weight, clean=True),
        "PGD-3": PGD(model, loss_of, epsilon=EPSILON, steps=3),
        "penalty": GradientPenalty(model, loss_of, epsilon=EPSILON),
    }
    steps |= {name: lambda p=procedure: p(batch) for name, procedure in procedures.items()}
    steps["the usual class"] = lambda: usual(model, batch)
    pairs = zip(*(gradients(model, steps[n]) for n in ("FGM on the weight, clean", "the usual class")), strict=True)
    error = max(float((a - b).norm() / b.norm()) for a, b in pairs)
    bench.same("FGM on the weight, clean: the usual class", error, 1e-4)

    def cleared(step: Callable[[], object]) -> Callable[[], None]:
        def call() -> None:
            model.zero_grad()
            step()

        return call

    seconds = bench.time("a step", {name: cleared(step) for name, step in steps.items()}, 3 if options.quick else 7)
    bars = {"FGM": 2.1, "PGD-3": 4.4}
    for name in steps:
        if name != "plain":
            bar = {"at_most": bars[name]} if name in bars and not options.quick else {}
            bench.ratio(f"{name} : plain", seconds[name], seconds["plain"], **bar)
    bench.finish(options.json)


main()
