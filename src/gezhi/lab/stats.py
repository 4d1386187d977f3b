"""Intervals, the verdict rule, what a run could have seen, and how many seeds of a new run would decide."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special  # scipy.stats takes a second to load

from gezhi.lab.claims import Test

Verdict = Literal["supported", "refuted", "divided", "inconclusive", "not asked"]
Over = Literal["seeds", "rows", "items", "nothing"]
Values = NDArray[np.float64]
LEVEL, POWER = 0.95, 0.8
MIN_SEEDS = 5
MOST_SEEDS = 200
MOST_TIMES = 40  # as many times the items: 200 seeds are 40 times the five of a quick run
ROUNDING = 1e-6  # of the size of what is compared: float32 arithmetic, which no seed explains
# Without pseudo-items a small or one-sided sample of a 0/1 metric has too narrow an interval.
DISCORDANT = (1.0, -1.0)  # paired differences: Bonett and Price, 2012
SHARE = (1.0, 1.0, 0.0, 0.0)  # plain shares: Agresti and Coull, 1998


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, on the scale where it is judged (ratios: the logarithm).

    Attributes:
        value: the plain estimate, which is shown.
        centre, error, df: of the Student interval; `widened`: what the metric's resolution adds on both sides.
        spread: standard deviation of one replicate; with `floor`, the part of the error that more replicates of this
            kind would not lower, it plans a new run.
        n, over: how many replicates, and what they are.
        skewed: whether the replicates are plainly skewed.
    """

    value: float
    centre: float
    error: float = 0.0
    df: float = math.inf
    spread: float = 0.0
    floor: float = 0.0
    widened: float = 0.0
    n: int = 1
    over: Over = "seeds"
    skewed: bool = False

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Two-sided Student interval."""
        half = (float(special.stdtrit(self.df, 0.5 + level / 2)) * self.error if self.error else 0.0) + self.widened
        return self.centre - half, self.centre + half

    @property
    def without_spread(self) -> bool:
        """Whether the replicates agree to within rounding, and no resolution of the metric is stated."""
        return self.over != "nothing" and self.error == 0 and self.widened == 0


def exactly(x: float) -> Estimate:
    """A number without anything random in it."""
    return Estimate(x, x, over="nothing")


def unknown(n: int, over: Over) -> Estimate:
    """What cannot be judged: no number at all, with an interval of all numbers."""
    return Estimate(math.nan, math.nan, math.inf, 1, math.inf, n=n, over=over)


def over_seeds(x: ArrayLike, *, scale: float = 0.0, resolution: float = 0.0) -> Estimate:
    """Student's interval from one number per seed.

    Args:
        scale: size of what was subtracted to get the numbers; a spread below `ROUNDING` of it is none.
        resolution: the metric's own step: it widens the interval on both sides.
    """
    x = np.asarray(x, dtype=float)
    n = len(x)
    if n < 2:
        return Estimate(float(x.mean()), float(x.mean()), math.inf, 1, math.inf, n=n)
    with np.errstate(invalid="ignore"):  # infinite replicates have no standard deviation, perhaps no mean
        mean, spread = float(x.mean()), float(x.std(ddof=1))
    if spread <= ROUNDING * max(scale, np.abs(x).max()):
        spread = 0.0
    return Estimate(mean, mean, spread / math.sqrt(n), n - 1, spread, widened=resolution, n=n, skewed=plainly_skewed(x))


def over_items(x: ArrayLike, pseudo: Sequence[float] = (), *, scale: float = 0.0, resolution: float = 0.0) -> Estimate:
    """Student's interval from one number per test item, with pseudo-items for 0/1 metrics (`DISCORDANT`, `SHARE`)."""
    x = np.asarray(x, dtype=float)
    found = over_seeds(np.concatenate([x, pseudo]), scale=scale, resolution=resolution)
    value = float(x.mean()) if len(x) else math.nan
    return Estimate(
        value, found.centre, found.error, found.df, found.spread, widened=resolution, n=len(x), over="items",
        skewed=found.skewed and len(x) < 30,  # a mean of more items is normal enough
    )  # fmt: skip


def over_rows(
    matrix: ArrayLike, pseudo: Sequence[float] = (), *, scale: float = 0.0, resolution: float = 0.0
) -> Estimate:
    """The sum of the variance over seeds and of that over test rows, with Satterthwaite's degrees of freedom.

    Args:
        matrix: (seeds, rows), NaN where a seed did not test a row.
        pseudo: rows that are added to the variance over rows for 0/1 metrics.
    """
    matrix = np.asarray(matrix, dtype=float)
    tested = ~np.isnan(matrix)
    if not tested.any(axis=1).all():
        return unknown(len(matrix), "rows")
    per_seed = mean_of_tested(matrix, axis=1)
    per_row = np.concatenate([mean_of_tested(matrix[:, tested.any(axis=0)], axis=0), pseudo])
    seeds, rows = over_seeds(per_seed, scale=scale), over_seeds(per_row, scale=scale)
    parts = np.square([seeds.error, rows.error])
    variance = float(parts.sum())
    df = variance**2 / float((parts**2 / (seeds.df, rows.df)).sum()) if variance else math.inf
    return Estimate(
        seeds.value, seeds.value, math.sqrt(variance), df, seeds.spread, rows.error,
        resolution, len(matrix), "rows", seeds.skewed,
    )  # fmt: skip


def mean_of_tested(x: Values, axis: int | None = None) -> Values:
    """Mean of what is not NaN; NaN where nothing was tested."""
    tested = ~np.isnan(x)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(tested, x, 0).sum(axis) / tested.sum(axis))


def plainly_skewed(x: ArrayLike) -> bool:
    """Whether the sample's skewness exceeds twice the standard error that it has under normality."""
    x = np.asarray(x, dtype=float)
    n = len(x)
    if n < MIN_SEEDS or not np.isfinite(x).all() or np.ptp(x) <= ROUNDING * np.abs(x).max():
        return False
    error = math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
    centred = (x - x.mean()) / np.abs(x).max()  # of size 1, so that no power leaves the range of floats
    skewness = np.mean(centred**3) / np.mean(centred**2) ** 1.5 * math.sqrt(n * (n - 1)) / (n - 2)
    return bool(abs(skewness) > 2 * error)


def judge(estimate: Estimate, test: Test, *, level: float = LEVEL) -> Verdict:
    """Supported: the whole interval inside the region; refuted: wholly outside; else inconclusive.

    A noisy number whose replicates agree to within rounding is inconclusive: it was not measured on a fine enough
    scale, unless its resolution is stated. So is one that is not finite.
    """
    low, high = estimate.interval(level)
    if not (math.isfinite(estimate.value) and math.isfinite(estimate.error)) or estimate.without_spread:
        return "inconclusive"
    if test.low <= low and high <= test.high:
        return "supported"
    if high < test.low or low > test.high:
        return "refuted"
    return "inconclusive"


def seen(estimate: Estimate, level: float = LEVEL, power: float = POWER) -> float:
    """Distance from the margin that such a run would have seen with 80 % power: (t₀.₉₇₅ + t₀.₈₀)·s/√n."""
    return float((special.stdtrit(estimate.df, 0.5 + level / 2) + special.stdtrit(estimate.df, power)) * estimate.error)


def replicates_needed(estimate: Estimate, test: Test, level: float = LEVEL, power: float = POWER) -> int | None:
    """Replicates of a new run that would decide with 80 % power, from the upper 80 % limit of s.

    None: more than 200 seeds, or than 40 times the items, or the rows of the test set alone leave it open.
    """
    gap = min(abs(estimate.value - margin) for margin in test.margins) - estimate.widened
    if estimate.n < 2 or not 0 < estimate.spread < math.inf or gap <= 0:
        return None
    upper = estimate.spread * math.sqrt((estimate.n - 1) / special.chdtri(estimate.n - 1, power))

    def decides(n: int) -> bool:
        error = math.hypot(upper / math.sqrt(n), estimate.floor)
        return bool((special.stdtrit(n - 1, 0.5 + level / 2) + special.stdtrit(n - 1, power)) * error < gap)

    most = MOST_TIMES * estimate.n if estimate.over == "items" else MOST_SEEDS
    needed = bisect_left(range(most + 1), True, lo=MIN_SEEDS, key=decides)
    return needed if needed <= most else None
