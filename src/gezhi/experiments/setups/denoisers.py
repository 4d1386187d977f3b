"""Small networks that predict the noise of a state: an MLP on all pixels, and a U-Net.

Both are called as `network(x, times)` with x of shape (batch, *shape). The output of `trunk` is what a variance head
reads: `with_features(network, "trunk")`; `features` is its width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi._checks import invalid

WAVES = 64  # numbers that tell the time


def waves(times: Tensor) -> Tensor:
    """Sines and cosines of the time, at lengths from 1 to 10 000 steps; (batch, 64)."""
    rates = torch.exp(torch.arange(WAVES // 2, device=times.device) * (-math.log(10_000) / (WAVES // 2)))
    angles = times[:, None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


class TimeBlock(nn.Module):
    """A residual block on rows of numbers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.time = nn.LayerNorm(width), nn.Linear(width, width)
        self.into, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        found: Tensor = x + self.out(F.silu(self.into(F.silu(self.norm(x))) + self.time(time)))
        return found


class MLP(nn.Module):
    """Residual blocks on all pixels at once."""

    def __init__(self, shape: tuple[int, ...], width: int = 256, depth: int = 6) -> None:
        super().__init__()
        self.features, pixels = width, math.prod(shape)
        self.time = nn.Sequential(nn.Linear(WAVES, width), nn.SiLU())
        self.into = nn.Linear(pixels, width)
        self.blocks = nn.ModuleList(TimeBlock(width) for _ in range(depth))
        self.trunk = nn.Identity()
        self.out = nn.Sequential(nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, pixels))

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        time, h = self.time(waves(times)), self.into(x.flatten(1))
        for block in self.blocks:
            h = block(h, time)
        out: Tensor = self.out(self.trunk(h))
        return out.view_as(x)


def normalise(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(8, channels), channels)


class PictureBlock(nn.Module):
    """A residual block of two 3 × 3 convolutions."""

    def __init__(self, into: int, out: int, time: int) -> None:
        super().__init__()
        self.first = nn.Sequential(normalise(into), nn.SiLU(), nn.Conv2d(into, out, 3, padding=1))
        self.time = nn.Linear(time, out)
        self.second = nn.Sequential(normalise(out), nn.SiLU(), nn.Conv2d(out, out, 3, padding=1))
        self.skip = nn.Conv2d(into, out, 1) if into != out else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        found: Tensor = self.skip(x) + self.second(self.first(x) + self.time(time)[:, :, None, None])
        return found


class UNet(nn.Module):
    """Three levels, each half as high and wide as the one before, of `width`, 2 and 2 times that many channels."""

    def __init__(self, shape: tuple[int, ...], width: int = 16) -> None:
        super().__init__()
        channels, height, breadth = shape
        if height % 4 or breadth % 4:
            raise invalid("shape", "have sides that 4 divides", shape, "Pad the pictures.")
        self.features, time, wide = width, 4 * width, 2 * width
        self.time = nn.Sequential(nn.Linear(WAVES, time), nn.SiLU(), nn.Linear(time, time), nn.SiLU())
        self.into = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList(PictureBlock(i, o, time) for i, o in ((width, width), (width, wide), (wide, wide)))
        self.middle = PictureBlock(wide, wide, time)
        joined = (2 * wide, wide), (2 * wide, wide), (wide + width, width)
        self.up = nn.ModuleList(PictureBlock(i, o, time) for i, o in joined)
        self.trunk = nn.Identity()
        self.out = nn.Sequential(normalise(width), nn.SiLU(), nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        time, h = self.time(waves(times)), self.into(x)
        kept: list[Tensor] = []
        for block in self.down:
            h = block(F.avg_pool2d(h, 2) if kept else h, time)
            kept.append(h)
        h = self.middle(h, time)
        for block in self.up:
            below = kept.pop()
            h = block(torch.cat([F.interpolate(h, below.shape[2:]), below], 1), time)
        out: Tensor = self.out(self.trunk(h))
        return out


NETWORKS: Mapping[str, Callable[..., nn.Module]] = {"mlp": MLP, "unet": UNet}
