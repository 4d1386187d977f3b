"""Pictures: a strip an arm, below its name, with as many pictures in a row as have room."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from gezhi.lab.record import Words
from gezhi.lab.report.drawing import Canvas
from gezhi.lab.report.figure_data import Extents
from gezhi.lab.report.text import count, joined

WIDTH = 380.0
LINE, GAP = 17.0, 9.0  # height of a name; below a strip
NARROW, LARGE = 26.0, 4.0  # a picture is at least so wide, and a pixel at most


@dataclass(frozen=True, eq=False)
class Strip:
    """An arm's pictures in levels of 0 to 255, (count, height, width)."""

    name: Words
    tiles: NDArray[np.uint8]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Strip) and self.name == other.name and np.array_equal(self.tiles, other.tiles)


@dataclass(frozen=True)
class Pictures:
    """What a figure of pictures shows of one run and case."""

    strips: Sequence[Strip]

    @property
    def shaded(self) -> bool:
        return False

    def extents(self) -> Extents:
        return [], []

    def spoken(self) -> list[Words]:
        return [joined([s.name, count(len(s.tiles), "picture", "幅图像")]) for s in self.strips]

    def draw(self, extents: Extents, labelled_by: str) -> Markup:  # noqa: ARG002 - pictures have no axes
        """The strips below each other."""
        canvas, y = Canvas(), 0.0
        for strip in self.strips:
            canvas.text((0.0, y + 12), strip.name, "k")
            picture = laid_out(strip.tiles)
            scale = min(LARGE, WIDTH / picture.shape[1])
            height = picture.shape[0] * scale
            canvas.image((0.0, y + LINE), (picture.shape[1] * scale, height), png(picture))
            y += LINE + height + GAP
        return canvas.svg(WIDTH, y, labelled_by)


def laid_out(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """All pictures as one, a pixel apart, in rows of equal length where their number allows."""
    number, height, width = tiles.shape
    most = max(1, int(WIDTH // max(NARROW, width)))
    rows = math.ceil(number / most)
    across = math.ceil(number / rows)
    room = np.full((rows * across, height + 1, width + 1), 255, dtype=np.uint8)
    room[:number, :height, :width] = tiles
    room = room.reshape(rows, across, height + 1, width + 1).transpose(0, 2, 1, 3)
    return room.reshape(rows * (height + 1), across * (width + 1))[:-1, :-1]


def png(levels: NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(levels).save(file, format="PNG", optimize=True)
    return file.getvalue()
