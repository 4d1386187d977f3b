"""Static SVG without a renderer: axes with round ticks, and marks whose colours come from the page's classes."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from gezhi.lab.record import Words
from gezhi.lab.report.numbers import exact_number
from gezhi.lab.report.text import full_width

LATIN, HAN = 6.3, 12.0  # widths of characters at 12 px
Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """Values `low … high` on pixels `start … end`, linear or logarithmic; what lies outside is put on the ends."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float, *, log: bool = False, pad: float = 0.05) -> Axis:
        """An axis that holds the values with some air; equal values get room on both sides."""
        scaled = [math.log(v) if log else v for v in values if math.isfinite(v) and (v > 0 or not log)] or [0.0]
        low, high = min(scaled), max(scaled)
        air = pad * (high - low) or max(abs(high), 1.0) * 0.05
        ends = (math.exp(low - air), math.exp(high + air)) if log else (low - air, high + air)
        return cls(*ends, start, end, log)

    def __call__(self, value: float) -> float:
        low, high = self._scaled(self.low), self._scaled(self.high)
        share = (self._scaled(min(max(value, self.low), self.high)) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def holds(self, value: float) -> bool:
        """Whether the value has a place on the axis at all."""
        return math.isfinite(value) and (value > 0 or not self.log)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value

    def ticks(self, most: int = 6) -> list[float]:
        """Round numbers within the axis, at most so many."""
        if not self.log or self.high / self.low < 4:
            return linear_ticks(self.low, self.high, most)
        return log_ticks(self.low, self.high, most)


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (power, 2 * power, 5 * power, 10 * power):
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first < most:
            break
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten, every so many; between few of them also their multiples by 2 and 5, or by 3."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for multiples in ((1, 2, 5), (1, 3), (1,)):
        ticks = [m * 10.0**k for k in range(first, last + 1) for m in multiples if low <= m * 10.0**k <= high]
        if len(ticks) <= most:
            return [float(f"{tick:.12g}") for tick in ticks]
    return [10.0**k for k in range(first, last + 1, math.ceil((last - first) / most)) if low <= 10.0**k <= high]


def tick_label(value: float) -> str:
    return exact_number(value, digits=6)


def px(value: float) -> str:
    """A coordinate to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def polyline(points: Iterable[Point]) -> str:
    return "M" + "L".join(f"{px(x)} {px(y)}" for x, y in points)


def text_width(text: str) -> float:
    return sum(HAN if ord(c) > 0x2E7F else LATIN for c in text)


def widest(names: Iterable[Words]) -> float:
    """Width of the longest of the names, in the wider language."""
    return max((text_width(text) for name in names for text in (name.en, full_width(name.zh))), default=0.0)


def wrapped(text: str, width: float) -> list[str]:
    """Lines of at most this width, broken at spaces or between Han characters."""
    lines = [""]
    for piece in re.findall(r"[\u2e80-\uffff]|[^\s\u2e80-\uffff]+\s*|\s+", text):
        if lines[-1] and text_width((lines[-1] + piece).rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return [line.strip() for line in lines]


@dataclass
class Canvas:
    """SVG elements in the order of painting."""

    parts: list[str] = field(default_factory=list)

    def rect(self, x: Sequence[float], y: Sequence[float], name: str) -> None:
        left, top = min(x), min(y)
        size = f'width="{px(max(x) - left)}" height="{px(max(y) - top)}"'
        self.parts.append(f'<rect class="{name}" x="{px(left)}" y="{px(top)}" {size}/>')

    def path(self, data: str, name: str) -> None:
        self.parts.append(f'<path class="{name}" d="{data}"/>')

    def line(self, start: Point, end: Point, name: str) -> None:
        self.path(polyline([start, end]), name)

    def dots(self, points: Iterable[Point], name: str) -> None:
        """Small round points: strokes without length; those on one pixel are one."""
        data = "".join(dict.fromkeys(f"M{px(x)} {px(y)}h0" for x, y in points))
        if data:
            self.path(data, name)

    def image(self, at: Point, size: Point, png: bytes) -> None:
        """A picture whose pixels stay sharp."""
        place = f'x="{px(at[0])}" y="{px(at[1])}" width="{px(size[0])}" height="{px(size[1])}"'
        content = base64.b64encode(png).decode()
        self.parts.append(f'<image class="pixels" {place} href="data:image/png;base64,{content}"/>')

    def circle(self, at: Point, name: str, radius: float = 3.4) -> None:
        self.parts.append(f'<circle class="{name}" cx="{px(at[0])}" cy="{px(at[1])}" r="{radius:g}"/>')

    def text(self, at: Point, words: Words | str, name: str = "", width: float = math.inf) -> None:
        """A text in both languages, in lines of at most this width around the given height."""
        pair = Words(en=words, zh=words) if isinstance(words, str) else words
        if pair.en == pair.zh:
            self._text(at, pair.en, name, width, "")
            return
        self._text(at, pair.en, name, width, ' lang="en"')
        self._text(at, full_width(pair.zh), name, width, ' lang="zh"')

    def _text(self, at: Point, text: str, name: str, width: float, attributes: str) -> None:
        lines = wrapped(text, width) if text_width(text) > width else [text]
        for number, line in enumerate(lines):
            y = at[1] + 13 * (number - (len(lines) - 1) / 2)
            css = f' class="{name}"' if name else ""
            self.parts.append(f'<text x="{px(at[0])}" y="{px(y)}"{css}{attributes}>{escape(line)}</text>')

    def svg(self, width: float, height: float, labelled_by: str) -> Markup:
        """The whole figure; its name and description are elements of the page."""
        head = f'<svg class="fig" viewBox="0 0 {px(width)} {px(height)}" role="img" aria-labelledby="{labelled_by}">'
        return Markup(head + "".join(self.parts) + "</svg>")
