"""Intervals, the verdict rule, what a run could have seen, and how many seeds would decide."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from gezhi.lab.claims import Test

Verdict = Literal["supported", "refuted", "inconclusive", "not asked"]
MIN_SEEDS = 5
# Without pseudo-items a small or one-sided sample of a 0/1 metric has too narrow an interval.
DISCORDANT = (1.0, -1.0)  # paired differences: Bonett and Price, 2012
SHARE = (1.0, 1.0, 0.0, 0.0)  # plain shares: Agresti and Coull, 1998
MOST_SEEDS = 200
MOST_TIMES = 40  # as many times the items: 200 seeds are 40 times the five of a quick run


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error, on the scale where it is judged (ratios: the logarithm)."""

    value: float
    error: float = 0.0
    df: float = math.inf
    spread: float = 0.0  # standard deviation of the replicates
    n: int = 1
    over: Literal["seeds", "items"] = "seeds"  # what the replicates are

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided Student interval."""
        half = stats.t.ppf(0.5 + level / 2, self.df) * self.error if self.error else 0.0
        return self.value - half, self.value + half


def of_replicates(x: ArrayLike, scale: float = 0.0) -> Estimate:
    """Estimate from one number per replicate; `scale`: size of what was subtracted to get them."""
    x = np.asarray(x, dtype=float)
    with np.errstate(invalid="ignore"):  # infinite replicates have no standard deviation, perhaps no mean
        mean, spread = float(x.mean()), float(x.std(ddof=1)) if len(x) > 1 else math.inf
    if len(x) < 2:
        return Estimate(mean, math.inf, 1, math.inf, len(x))
    if spread <= 1e-14 * max(scale, np.abs(x).max()):  # rounding of equal numbers is not variance
        spread = 0.0
    return Estimate(mean, spread / math.sqrt(len(x)), len(x) - 1, spread, len(x))


def of_items(x: ArrayLike, pseudo: Sequence[float] = (), scale: float = 0.0) -> Estimate:
    """Estimate from one number per test item, with pseudo-items for 0/1 metrics (`DISCORDANT` or `SHARE`)."""
    return replace(of_replicates(np.concatenate([np.asarray(x, dtype=float), pseudo]), scale), over="items")


def of_both(matrix: ArrayLike, pseudo: Sequence[float] = (), scale: float = 0.0) -> Estimate:
    """Wider of the interval over seeds (rows) and the interval over items (columns)."""
    matrix = np.asarray(matrix, dtype=float)
    seeds, items = of_replicates(matrix.mean(axis=1), scale), of_items(matrix.mean(axis=0), pseudo, scale)
    return max(seeds, items, key=lambda e: e.interval()[1] - e.interval()[0])


def judge(estimate: Estimate, test: Test, *, exact: bool = False, level: float = 0.95) -> Verdict:
    """Supported: the whole interval inside the region; refuted: wholly outside; else inconclusive.

    A noisy number without any variance is inconclusive: it was not measured on a fine enough scale. So is one that is
    not finite.
    """
    low, high = estimate.interval(level)
    if not math.isfinite(estimate.value) or (estimate.error == 0 and not exact):
        return "inconclusive"
    if test.low <= low and high <= test.high:
        return "supported"
    if high < test.low or low > test.high:
        return "refuted"
    return "inconclusive"


def p_value(estimate: Estimate, test: Test) -> float:
    """Smallest 1 - level at which the verdict of a noisy number would be given; 1 where no level gives one."""
    if estimate.error == 0 or not math.isfinite(estimate.error):
        return 1.0
    inner = [estimate.value - test.low, test.high - estimate.value]  # negative: outside
    distance = min(inner) if min(inner) >= 0 else -min(inner)
    return float(2 * stats.t.sf(distance / estimate.error, estimate.df))


def resolution(estimate: Estimate, level: float = 0.95, power: float = 0.8) -> float:
    """Distance from the margin that such a run would have seen with 80 % power: (t₀.₉₇₅ + t₀.₈₀)·s/√n."""
    return float((stats.t.ppf(0.5 + level / 2, estimate.df) + stats.t.ppf(power, estimate.df)) * estimate.error)


def seeds_needed(estimate: Estimate, test: Test, level: float = 0.95, power: float = 0.8) -> int | None:
    """Replicates that would decide with 80 % power, from the upper 80 % limit of s; None: more than 200.

    Test items instead of seeds: None where more than 40 times as many are needed.
    """
    gap = min(abs(estimate.value - margin) for margin in test.margins)
    if estimate.n < 2 or not math.isfinite(estimate.spread) or gap == 0:
        return None
    upper = estimate.spread * math.sqrt((estimate.n - 1) / stats.chi2.ppf(1 - power, estimate.n - 1))

    def decides(n: int) -> bool:
        return bool((stats.t.ppf(0.5 + level / 2, n - 1) + stats.t.ppf(power, n - 1)) * upper / math.sqrt(n) < gap)

    most = MOST_SEEDS if estimate.over == "seeds" else MOST_TIMES * estimate.n
    needed = bisect_left(range(most + 1), True, lo=estimate.n + 1, key=decides) if most > estimate.n else most + 1
    return needed if needed <= most else None


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """q value of each p value: the false discovery rate at which it would be reported."""
    if not len(p):
        return []
    order = np.argsort(p)[::-1]
    ranked = np.asarray(p, float)[order] * len(p) / np.arange(len(p), 0, -1)
    q = np.empty(len(p))
    q[order] = np.minimum.accumulate(np.minimum(ranked, 1.0))
    return [float(value) for value in q]
