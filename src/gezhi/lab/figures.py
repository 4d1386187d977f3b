"""What an experiment wants to show, and its drawing as static SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Figure:
    """What all figures share.

    Args:
        metric: drawn on the vertical (`Lines`, `Profile`) or horizontal (`Dots`) axis.
        en, zh: caption: what is shown, never what was found (findings come from the claims' verdicts).
        claims: ids of the claims whose region is shaded and whose verdicts head the caption.
        arms, cases: which ones, in this order; None: all.
    """

    metric: str
    en: str
    zh: str
    claims: tuple[str, ...] = ()
    arms: tuple[str, ...] | None = None
    cases: tuple[str, ...] | None = None
    kind: ClassVar[str] = ""


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
    """A metric that is an array, over another array `x` of the same arm: an error along the real line, say.

    Shaded: the regions of those named claims whose metric is a figure of this one by its name (`largest error` of
    `error`).
    """

    x: str = ""
    log: tuple[bool, bool] = (False, False)
    kind: ClassVar[str] = "profile"
