"""Two views of handwritten digits, a small encoder, and how well it finds one view by the other.

    sides = split(data, seed)                      # training and test images of this seed, cached
    generator = torch.Generator().manual_seed(seed)
    model = encoder(sides.pixels, seed)            # 64-128-32, initialised by the seed
    first, second = pairs(sides.train, 256, generator)   # images drawn with replacement, two views of each
    recalls(model, sides, seed)                    # whose second view is the nearest to the first

`data` is `Images`: `digits()`, or the user's file (`accepts="images"`). Global generators are left alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from gezhi.data import Images, read
from gezhi.experiments.setups.tables import Rows, by_row

TRAINED, TESTED = 1000, 797  # of the 1797 digits; of other images at most as many are tested, as recall falls with them
NOISE = 0.15  # standard deviation; pixels lie between 0 and 1


class Split(NamedTuple):
    """Training and test images from 0 to 1, (rows, height, width) or with channels last; which rows the tests are."""

    train: Tensor
    test: Tensor
    test_rows: Rows

    @property
    def pixels(self) -> int:
        return self.train[0].numel()


def digits() -> Images:
    """The 1797 digits of scikit-learn as pictures."""
    data = read("digits")
    return Images(data.X.reshape(-1, 8, 8) / 16, data.y, data.classes, data.name)


@lru_cache(maxsize=1)
def split(data: Images, seed: int) -> Split:
    """Random rows: 1000 and 797 of the digits, the same shares of a smaller set, all but 797 of a larger one."""
    images = torch.from_numpy(np.asarray(data.images, dtype=np.float32))
    images = images / images.max().clamp(min=1e-12)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    tested = min(TESTED, round(len(images) * TESTED / (TRAINED + TESTED)))
    train, test = order[: len(images) - tested], order[len(images) - tested :]
    return Split(images[train], images[test], test.numpy())


def encoder(pixels: int, seed: int, width: int = 128, dim: int = 32) -> nn.Sequential:
    """Two layers with a ReLU between, in torch's default initialisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(pixels, width), nn.ReLU(), nn.Linear(width, dim))


def views(images: Tensor, generator: torch.Generator) -> Tensor:
    """One view of each image, flattened: shifted by -1 to 1 pixels each way (zeros move in), with normal noise."""
    rows, height, width = images.shape[:3]
    channels = images.reshape(rows, height, width, -1)
    framed = pad(channels, (0, 0, 1, 1, 1, 1))
    down, right = torch.randint(3, (2, rows, 1), generator=generator)
    y, x = down + torch.arange(height), right + torch.arange(width)
    moved = framed[torch.arange(rows)[:, None, None], y[:, :, None], x[:, None, :]].flatten(1)
    return moved + NOISE * torch.randn(moved.shape, generator=generator)


def pairs(images: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two views of each of `count` images that are drawn with replacement."""
    drawn = images[torch.randint(len(images), (count,), generator=generator)]
    return views(drawn, generator), views(drawn, generator)


def recalls(model: nn.Module, sides: Split, seed: int) -> dict[str, Any]:
    """Of each image of the table, whether a test image's other view is found; and the share of training images."""
    found = recall(model, sides.test, torch.Generator().manual_seed(seed + 10**6))
    trained = recall(model, sides.train[: len(sides.test)], torch.Generator().manual_seed(seed + 10**6))
    rows = len(sides.train) + len(sides.test)
    return {"recall": by_row(rows, sides.test_rows, found.numpy()), "training recall": float(trained.mean())}


@torch.no_grad()
def recall(model: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
    """Of each image, whether its second view has, among all second views, the largest cosine with the first."""
    first, second = (normalize(model(views(images, generator)), dim=-1) for _ in range(2))
    return ((first @ second.mT).argmax(-1) == torch.arange(len(images))).double()
