"""What judges the samples of diffusion models: a classifier's features, trained on pictures that no other network sees.

The 70 000 pictures of MNIST and of Fashion-MNIST are split once: 20 000 are the classifier's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gezhi.data import Images, read
from gezhi.diffusion.gaussian_mixture import frechet_distance
from gezhi.experiments.setups.diffusion import Bed
from gezhi.experiments.setups.pictures import prepared
from gezhi.experiments.setups.store import kept
from gezhi.experiments.setups.train import fit
from gezhi.lab.reach import reach

ASIDE = 20_000  # pictures of the classifier
FEATURES, KEPT = 32, 16  # of the classifier; principal components of them
SIDE = 14  # pixels


@dataclass(frozen=True)
class Case:
    """A source, and the network that is trained on it."""

    name: str

    @property
    def bed(self) -> Bed:
        return BEDS[self.name]


BEDS = {
    name: Bed("unet", source, (1, 16, 16), width=16, steps=6000, batch=64, side=SIDE, padded=16)
    for name, source in (("digits", "mnist"), ("clothes", "fashion-mnist"))
}


@lru_cache(maxsize=1)
def source(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """All pictures of a source, their labels, and their order, of which the first 20 000 are the classifier's."""
    parts = [read(f"{name}-{part}") for part in ("train", "test")]
    images, labels = (np.concatenate([getattr(part, field) for part in parts]) for field in ("images", "labels"))
    return images, labels, np.random.default_rng(0).permutation(len(images))


def at(case: Case, rows: NDArray[np.int64]) -> Tensor:
    """Some pictures as the case's network gets them."""
    images, *_ = source(case.bed.source)
    return prepared(Images(images[rows], None, (), case.name), case.bed.side, case.bed.padded)


# ---- features and distances --------------------------------------------------------------------------------------------------------


class Classifier(nn.Module):
    """Two convolutions and a layer of 32, whose outputs are whitened principal components of them."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        channels, height, width = shape
        layers = [nn.Conv2d(channels, 16, 3, padding=1), nn.SiLU(), nn.AvgPool2d(2)]
        layers += [nn.Conv2d(16, 32, 3, padding=1), nn.SiLU(), nn.AvgPool2d(2), nn.Flatten()]
        layers += [nn.Linear(32 * (height // 4) * (width // 4), FEATURES), nn.SiLU()]
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(FEATURES, 10)
        self.register_buffer("centre", torch.zeros(FEATURES))
        self.register_buffer("axes", torch.zeros(FEATURES, KEPT))

    centre: Tensor
    axes: Tensor

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        found = torch.cat([self.layers(part) for part in x.split(1000)])  # type: ignore[no-untyped-call]
        return ((found - self.centre) @ self.axes).double()

    @torch.inference_mode()
    def whiten(self, x: Tensor) -> None:
        """Let the outputs of these pictures be uncorrelated, with mean 0 and variance 1."""
        found = torch.cat([self.layers(part) for part in x.split(1000)]).double()  # type: ignore[no-untyped-call]
        values, axes = torch.linalg.eigh(torch.cov(found.T, correction=0))
        self.centre.copy_(found.mean(0))
        self.axes.copy_(axes[:, -KEPT:] * values[-KEPT:].rsqrt())


def taught(case: Case) -> dict[str, Tensor]:
    """A classifier after six passes over the 20 000 pictures that are its own."""
    _, labels, order = source(case.bed.source)
    x, y = at(case, order[:ASIDE]), torch.from_numpy(labels[order[:ASIDE]])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, draw = Classifier(case.bed.shape), torch.Generator().manual_seed(0)

        def loss() -> Tensor:
            rows = torch.randint(len(x), (128,), generator=draw)
            return F.cross_entropy(model.head(model.layers(x[rows])), y[rows])

        fit(model.parameters(), loss, 6 * ASIDE // 128)
    model.whiten(x)
    return dict(model.state_dict())


@lru_cache(maxsize=2)
def classifier(case: Case) -> Classifier:
    state = kept("classifier", {"code": reach(taught, case, BEDS[case.name])}, lambda: taught(case))
    model = Classifier(case.bed.shape)
    model.load_state_dict(state)
    return model.eval()


class Judge:
    """Distances of samples from real pictures that no network saw."""

    def __init__(self, case: Case, real: Tensor, floor: Tensor) -> None:
        self.features, self.real = classifier(case), real
        self.moments = moments(self.features(real))
        self.floor = self.raw_distance(floor)

    def raw_distance(self, x: Tensor) -> float:
        """Fréchet distance in features, the squared one."""
        return frechet_distance(*moments(self.features(x)), *self.moments)

    def distance(self, x: Tensor) -> float:
        """The same less the floor: that of as many other real pictures."""
        return self.raw_distance(x) - self.floor

    def energy(self, x: Tensor) -> float:
        """Energy distance in pixels, without bias: twice the mean distance across, less those within."""
        left, right = x.flatten(1), self.real.flatten(1)
        return 2 * float(torch.cdist(left, right).mean()) - within(left) - within(right)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean(0), torch.cov(x.T)


def within(x: Tensor) -> float:
    """Mean distance of two different rows."""
    return float(torch.pdist(x).mean())
