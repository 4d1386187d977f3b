"""What an experiment wants to show; captions are made of the names of metrics and claims, drawing is the report's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Figure:
    """What all figures share.

    Args:
        metric: drawn on the vertical (`Lines`, `Profile`) or horizontal (`Dots`) axis.
        claims: ids of the claims whose region is shaded; one id, or several.
        arms, cases: which ones, in this order; None: all.
    """

    metric: str
    claims: str | tuple[str, ...] = ()
    arms: tuple[str, ...] | None = None
    cases: tuple[str, ...] | None = None
    kind: ClassVar[str] = ""

    @property
    def claim_ids(self) -> tuple[str, ...]:
        return (self.claims,) if isinstance(self.claims, str) else self.claims


@dataclass(frozen=True)
class Dots(Figure):
    """One row an arm, grouped by case: replicates, mean and 95 % interval; `than`: differences from that arm."""

    than: str | None = None
    log: bool = False
    kind: ClassVar[str] = "dots"


@dataclass(frozen=True)
class Lines(Figure):
    """A metric along the cases (their numbers), one line an arm, replicates as dots."""

    log: tuple[bool, bool] = (False, False)
    than: str | None = None
    kind: ClassVar[str] = "lines"


@dataclass(frozen=True)
class Profile(Figure):
    """A metric that is an array, over another array `x` of the same arm: a score after each pass, say."""

    x: str = ""
    log: tuple[bool, bool] = (False, False)
    kind: ClassVar[str] = "profile"


@dataclass(frozen=True)
class Grid(Figure):
    """Grey pictures of the first seed, one row an arm: a metric with the levels 0 to 255 of all their pixels.

    Args:
        picture: height and width of one, in pixels.
    """

    picture: tuple[int, int] = (1, 1)
    kind: ClassVar[str] = "grid"
