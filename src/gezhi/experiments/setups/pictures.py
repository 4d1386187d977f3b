"""Pictures for generative models: from -1 to 1, pooled or padded to the size a bed asks for, and grids of them."""

from __future__ import annotations

import math
import secrets
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gezhi._checks import check_integer, invalid
from gezhi.data import Images, read
from gezhi.experiments.setups.views import digits


@lru_cache(maxsize=2)
def pictures(name: str, side: int | None = None, padded: int | None = None) -> Tensor:
    """All pictures of a source, or of several joined by "+", as `prepared` makes them."""
    parts = [digits() if part == "digits" else read(part) for part in name.split("+")]
    return torch.cat([prepared(part, side, padded) for part in parts])


def prepared(data: Images, side: int | None = None, padded: int | None = None) -> Tensor:
    """Pictures as (rows, channels, height, width) from -1 to 1.

    Args:
        data: whole numbers count as levels of 0 to 255, others as shares of the largest.
        side: what each side is averaged down to; None: as it is.
        padded: what each side is then filled up to with the darkest value, evenly; None: not at all.
    """
    images = np.asarray(data.images)
    x = torch.from_numpy(images.astype(np.float32))
    x = x.reshape(*x.shape[:3], -1).permute(0, 3, 1, 2)
    x = x / (255.0 if images.dtype == np.uint8 else x.max().clamp(min=1e-12)) * 2 - 1
    if side is not None:
        x = F.adaptive_avg_pool2d(x, side)
    if padded is not None:
        room = [padded - size for size in (x.shape[3], x.shape[2])]
        x = F.pad(x, [part for size in room for part in (size // 2, size - size // 2)], value=-1.0)
    return x.contiguous()


def dequantised(x: Tensor, levels: int, generator: torch.Generator) -> Tensor:
    """Even noise of one level's width on pictures of so many levels, so that they have a density; still from -1 to 1."""
    whole = (x + 1) / 2 * (levels - 1)
    return (whole + torch.rand(x.shape, generator=generator)) / levels * 2 - 1


def as_levels(x: Tensor) -> NDArray[np.float64]:
    """All pixels of pictures from -1 to 1 as levels of 0 to 255, in one row; what lies outside is clipped."""
    found: NDArray[np.float64] = ((x.detach().double().cpu().clamp(-1, 1) + 1) * 127.5).round().flatten().numpy()
    return found


def grid(x: Tensor, columns: int | None = None) -> NDArray[np.uint8]:
    """Pictures side by side as one, in levels of 0 to 255: (height, width), or (height, width, 3) for three channels.

    Args:
        x: (count, channels, height, width) from -1 to 1; what lies outside is clipped.
        columns: None: as many as rows.
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3) or not len(x):
        raise invalid("x", "be pictures (count, 1 or 3, height, width)", tuple(x.shape))
    across = check_integer("columns", columns or math.ceil(math.sqrt(len(x))), at_least=1)
    tiles = F.pad(torch.from_numpy(as_levels(x)).view(x.shape), (0, 1, 0, 1))
    rows = -(-len(x) // across)
    tiles = torch.cat([tiles, tiles.new_zeros(rows * across - len(x), *tiles.shape[1:])])
    channels, height, width = tiles.shape[1:]
    whole = tiles.view(rows, across, channels, height, width).permute(2, 0, 3, 1, 4)
    whole = whole.reshape(channels, rows * height, across * width)[:, :-1, :-1]
    found: NDArray[np.uint8] = whole.permute(1, 2, 0).squeeze(-1).numpy().astype(np.uint8)
    return found


def save_grid(path: Path, x: Tensor, columns: int | None = None) -> None:
    """`grid` as a PNG, written under another name first."""
    from PIL import Image

    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        Image.fromarray(grid(x, columns)).save(part, format="PNG")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
