"""The mean of a metric with its interval, as the judge would give it, for tables and figures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gezhi.lab.claims import Number
from gezhi.lab.judge import Judged
from gezhi.lab.record import MeasuredStudy
from gezhi.lab.report.numbers import exact_number
from gezhi.lab.stats import Values, over_seeds

Region = tuple[float, float]


@dataclass(frozen=True)
class Summary:
    """Replicates with their mean and 95 % interval (None: nothing varies, or it is unknown)."""

    values: tuple[float, ...]
    mean: float
    interval: Region | None

    @property
    def extent(self) -> tuple[float, ...]:
        return (*self.values, self.mean, *(self.interval or ()))

    def spoken(self) -> str:
        """`0.881 [0.872, 0.890]`."""
        mean = exact_number(self.mean, digits=4 if self.interval is None else 3)
        if self.interval is None:
            return mean
        return f"{mean} [{', '.join(exact_number(end, digits=3) for end in self.interval)}]"


def profiles(study: MeasuredStudy) -> set[str]:
    """Metrics that are curves or pictures and not levels."""
    return {name for f in study.figures if f.kind in ("profile", "grid") for name in (f.metric, f.x)}


def metrics(study: MeasuredStudy) -> list[str]:
    """The study's metrics that have a level, in the order in which they were measured."""
    names = dict.fromkeys(name for arms in study.levels.values() for found in arms.values() for name in found)
    return [name for name in names if name not in profiles(study) and not _is_curve(study, name)]


def _is_curve(study: MeasuredStudy, metric: str) -> bool:
    return study.varies not in ("rows", "items") and any(isinstance(level, list) for level in _levels(study, metric))


def _levels(study: MeasuredStudy, metric: str) -> Iterator[object]:
    for arms in study.levels.values():
        for found in arms.values():
            yield from found.get(metric, ())


def summary(
    study: MeasuredStudy,
    metric: str,
    case: str,
    arm: str,
    than: str | None = None,
    *,
    log: bool = False,
    factor: float = 1.0,
) -> Summary | None:
    """Mean and interval of an arm (or of its difference from `than`) in a case; None where nothing was measured.

    Args:
        log: mean and interval of the logarithms, for a logarithmic axis.
        factor: 100 for shares that are shown as percent.
    """
    judged, number = Judged(study), Number(metric, arm, than, "value" if than is None else "difference")
    if any(metric not in study.levels.get(case, {}).get(name, {}) for name in number.arms):
        return None
    means = [judged.means(case, name, metric) for name in number.arms]
    values = means[0] if than is None else means[0] - means[1]
    kept = values[np.isfinite(values) & ((values > 0) | (not log))]
    if not kept.size:
        return None
    shown = tuple(float(v) * factor for v in kept)
    if log or len(kept) < len(values):
        return _over_kept(kept, shown, log, factor)
    estimate = judged.estimate(number, case)
    ends = tuple(end * factor for end in estimate.interval())
    return Summary(shown, estimate.value * factor, ends if _is_interval(ends) else None)  # type: ignore[arg-type]


def _over_kept(kept: Values, shown: tuple[float, ...], log: bool, factor: float) -> Summary:
    """Over the finite replicates alone; on a logarithmic axis of their logarithms."""
    estimate = over_seeds(np.log(kept) if log else kept)
    value, *ends = ((math.exp(v) if log else v) * factor for v in (estimate.value, *estimate.interval()))
    return Summary(shown, value, (ends[0], ends[1]) if len(kept) > 1 and _is_interval(tuple(ends)) else None)


def _is_interval(ends: tuple[float, ...]) -> bool:
    return all(map(math.isfinite, ends)) and ends[0] < ends[1]
