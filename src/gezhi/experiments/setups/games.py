"""Small generators and critics, pictures that a seed draws for them, and their training with a constant step size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi._checks import invalid
from gezhi.data import Images
from gezhi.gan import Game, GameTrainer

SIDE = 14  # pixels, after pooling


@dataclass(frozen=True)
class Layers:
    """Widths of a generator, noise first and samples last, and of its critic; pictures come out between 0 and 1."""

    generator: tuple[int, ...]
    critic: tuple[int, ...]
    pictures: bool = True

    def build(self) -> tuple[nn.Module, nn.Module]:
        last = nn.Sigmoid() if self.pictures else nn.Identity()
        return (
            nn.Sequential(*layers(self.generator, nn.ReLU), last),
            nn.Sequential(*layers((*self.critic, 1), lambda: nn.LeakyReLU(0.2))),
        )


def layers(widths: Sequence[int], activation: Callable[[], nn.Module]) -> list[nn.Module]:
    """Linear layers with an activation between each two."""
    found: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        found += [nn.Linear(inputs, outputs), activation()]
    return found[:-1]


# ---- data -----------------------------------------------------------------------------------------------------------


def ring(count: int, draw: torch.Generator) -> Tensor:
    """Points of eight normal clouds of standard deviation 0.05 on a circle of radius 1."""
    angle = torch.randint(8, (count,), generator=draw) * (math.pi / 4)
    centres = torch.stack([angle.cos(), angle.sin()], 1)
    return centres + 0.05 * torch.randn(count, 2, generator=draw)


class Sides(NamedTuple):
    """Rows of pixels between 0 and 1 for training and for judging, and the classes of both."""

    train: Tensor
    judge: Tensor
    train_classes: Tensor
    judge_classes: Tensor


@lru_cache(maxsize=2)
def sides(data: Images, seed: int, trained: int, judged: int) -> Sides:
    """So many pictures of each side, drawn by the seed, pooled to 14 × 14 where they are larger."""
    if len(data.images) < trained + judged:
        raise invalid("images", f"be at least {trained + judged}", len(data.images))
    rows = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(seed))[: trained + judged]
    images = np.asarray(data.images)
    x = torch.from_numpy(images[rows.numpy()].astype(np.float32))
    x = x.reshape(*x.shape[:3], -1).permute(0, 3, 1, 2)
    x = x / (255.0 if images.dtype == np.uint8 else max(float(images.max()), 1e-12))
    height, width = (min(SIDE, side) for side in x.shape[2:])
    x = F.adaptive_avg_pool2d(x, (height, width)).flatten(1)
    classes = torch.from_numpy(np.asarray(data.labels))[rows]
    return Sides(x[:trained], x[trained:], classes[:trained], classes[trained:])


# ---- training -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Play:
    """How a game is trained: updates of the generator, samples of a batch, step size, critic steps a generator step."""

    steps: int
    batch: int
    rate: float
    critic_steps: int = 1


def play(
    game: Game,
    real: Callable[[int], Tensor],
    noise: Callable[[int], Tensor],
    how: Play,
    *,
    watch: Callable[[int], object] | None = None,
    optimiser: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    after_critic: Callable[[nn.Module], object] | None = None,
) -> None:
    """Train with Adam (0, 0.9) and a constant step size, the critic first.

    Args:
        real, noise: draw so many samples.
        watch: told the number of updates, from 0 on.
        optimiser, after_critic: another optimiser, without betas; what follows each update of the critic.
    """
    choices = {"betas": (0.0, 0.9)} if optimiser is torch.optim.Adam else {}
    both = [optimiser(player.parameters(), lr=how.rate, **choices) for player in (game.critic, game.generator)]
    update = GameTrainer(game, both[0], both[1], critic_steps=how.critic_steps, after_critic=after_critic)
    for step in range(how.steps):
        if watch is not None:
            watch(step)
        update(real(how.batch), lambda: noise(how.batch))
    if watch is not None:
        watch(how.steps)


# ---- judging --------------------------------------------------------------------------------------------------------


def energy_distance(x: Tensor, y: Tensor) -> float:
    """Twice the mean distance between two sets of points less the mean distances within them."""
    between, inside_x, inside_y = (torch.cdist(a, b).mean() for a, b in ((x, y), (x, x), (y, y)))
    return float(2 * between - inside_x - inside_y)


def principal(x: Tensor, count: int) -> Callable[[Tensor], Tensor]:
    """The projection on the first principal components of rows; as it is where there are no more columns than that."""
    if x.shape[1] <= count:
        return lambda rows: rows
    mean = x.mean(0)
    axes = torch.linalg.svd(x - mean, full_matrices=False).Vh[:count].T
    return lambda rows: (rows - mean) @ axes
