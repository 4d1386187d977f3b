"""A classifier trained with several settings side by side, on the same batches; the best state of any is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gezhi.experiments.setups.train import descend

Loss = Callable[[Tensor, Tensor], Tensor]
LOOKS, BATCH = 15, 128


class Sides(NamedTuple):
    """Rows to train on, to pick the setting and the state by, and to test with; their classes; which rows are tested."""

    x: tuple[Tensor, Tensor, Tensor]
    y: tuple[Tensor, Tensor, Tensor]
    tested: Tensor
    rows: int  # of the table or of the test set


@dataclass(frozen=True)
class Setting:
    """What is minimised in each phase (as many steps each), the size of the steps, and the decay of the weights."""

    losses: tuple[Callable[[], Loss], ...]
    rate: float
    decay: float = 0.0


class Copies:
    """A linear model (from 0) or a perceptron, once for every setting; all copies begin alike."""

    def __init__(self, widths: Sequence[int], count: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.layers: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(count)]
        for i, (n, m) in enumerate(pairwise(widths)):
            last = i == len(widths) - 2
            weight = torch.zeros(n, m) if last else torch.randn(n, m, generator=draw) * (2 / n) ** 0.5
            for layers in self.layers:
                layers.append((weight.clone().requires_grad_(), torch.zeros(1, m, requires_grad=True)))

    def __call__(self, x: Tensor) -> Tensor:
        """(settings, rows, classes)"""
        x = x.expand(len(self.layers), *x.shape)
        for i, layer in enumerate(zip(*self.layers, strict=True)):
            weight, bias = (torch.stack(part) for part in zip(*layer, strict=True))
            x = torch.baddbmm(bias, x.relu() if i else x, weight)
        return x

    def parameters(self, setting: int) -> list[Tensor]:
        return [tensor for layer in self.layers[setting] for tensor in layer]


@dataclass
class Trained:
    """The best state, by accuracy on the rows for picking."""

    picked: float = -1.0
    setting: int = 0
    training: float = 0.0  # accuracy on the training rows
    right: Tensor | None = None  # of each test row


def train_side_by_side(
    settings: Sequence[Setting], sides: Sides, widths: Sequence[int], steps: int, seed: int
) -> Trained:
    """Adam with steps that fall to 0 along half a cosine; fifteen looks at the rows for picking."""
    phases = len(settings[0].losses)
    losses = [[make() for make in setting.losses] for setting in settings]
    copies, best = Copies(widths, len(settings), seed), Trained()
    draw, step, look = torch.Generator().manual_seed(seed), 0, max(1, steps // LOOKS)

    def gradient() -> None:
        nonlocal step
        if step % look == 0 and step:
            note(best, copies, sides)
        phase = min(phases * step // steps, phases - 1)
        rows = torch.randint(len(sides.x[0]), (BATCH,), generator=draw)
        logits = copies(sides.x[0][rows])
        total = torch.stack([own[phase](z, sides.y[0][rows]) for own, z in zip(losses, logits, strict=True)]).sum()
        total.backward()  # type: ignore[no-untyped-call]
        step += 1

    groups: list[dict[str, object]] = []
    for i, setting in enumerate(settings):
        groups.append({"params": copies.parameters(i), "lr": setting.rate, "weight_decay": setting.decay})
        own = [p for loss in losses[i] if isinstance(loss, nn.Module) for p in loss.parameters()]
        groups += [{"params": own, "lr": setting.rate, "weight_decay": 0.0}] * bool(own)
    descend(groups, gradient, steps)
    note(best, copies, sides)
    return best


@torch.no_grad()
def note(best: Trained, copies: Copies, sides: Sides) -> None:
    """Keep what the copy that picks best says, if no earlier state picked as well."""
    picked = (copies(sides.x[1]).argmax(-1) == sides.y[1]).float().mean(-1)
    setting = int(picked.argmax())
    if picked[setting] > best.picked:
        best.picked, best.setting = float(picked[setting]), setting
        best.training = float((copies(sides.x[0])[setting].argmax(-1) == sides.y[0]).float().mean())
        best.right = copies(sides.x[2])[setting].argmax(-1) == sides.y[2]
