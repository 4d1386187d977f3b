"""From a record to the verdict of each claim, in each of its cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from gezhi.lab.claims import Number, Test
from gezhi.lab.record import MeasuredStudy, Posed
from gezhi.lab.stats import (
    DISCORDANT,
    LEVEL,
    MIN_SEEDS,
    SHARE,
    Estimate,
    Values,
    Verdict,
    exactly,
    judge,
    over_items,
    over_rows,
    over_seeds,
    replicates_needed,
    seen,
)


@dataclass(frozen=True)
class Outcome:
    """One test of a claim in one case, on the scale a person reads (a ratio, not its logarithm).

    Attributes:
        seen: what the run could have seen; `needs`: replicates of a new run that would decide.
        n, over: how many replicates, and what they are.
        skewed, bends: marks; `moved`: the arm that was still training and by how much, else None.
    """

    test: Test
    verdict: Verdict
    estimate: float
    interval: tuple[float, float]
    n: int
    over: str
    seen: float | None
    needs: int | None
    coarse: bool
    skewed: bool
    bends: bool
    moved: tuple[str, float] | None

    @property
    def training(self) -> bool:
        return self.moved is not None


class Judged:
    """The levels of one study, asked test by test."""

    def __init__(self, study: MeasuredStudy) -> None:
        self.study = study

    def test(self, test: Test, case: str | None) -> Outcome:
        """The test judged in a case (None: along all cases)."""
        on_log = test.number.how == "ratio"
        scale: Callable[[float], float] = _log if on_log else float
        region = Test(test.number, scale(test.low), scale(test.high))
        estimate = self.estimate(test.number, case)
        moved = None if self.study.exact else self.still_training(region, case, estimate)
        bends = test.number.how == "exponent" and self.bends(region)
        verdict = judge(estimate, region)
        if verdict != "inconclusive" and (moved or bends):
            verdict = "inconclusive"
        back = _exp if on_log else float
        noisy = estimate.over != "nothing" and math.isfinite(estimate.error)
        low, high = estimate.interval()
        return Outcome(
            test=test,
            verdict=verdict,
            estimate=back(estimate.value),
            interval=(back(low), back(high)),
            n=estimate.n,
            over=estimate.over,
            seen=seen(estimate) if noisy else None,
            needs=replicates_needed(estimate, region) if noisy and verdict == "inconclusive" else None,
            coarse=estimate.without_spread,
            skewed=noisy and estimate.skewed and test.number.how == "difference",
            bends=bends,
            moved=moved,
        )

    # ---- the number of each replicate --------------------------------------------------------------------------------

    def estimate(self, number: Number, case: str | None) -> Estimate:
        """The mean over replicates with its error, as the study varies."""
        if number.how == "exponent":
            slopes = [self.slope(number, seed) for seed in range(len(self.study.seeds))]
            return exactly(slopes[0]) if self.study.exact else over_seeds(slopes)
        assert case is not None
        values = [self.values(case, arm, number.metric) for arm in number.arms]
        by_row = self.study.varies in ("rows", "items") and values[0].shape[1] > 1
        scale, step = _scale(number, values), self.step(number, values)
        if by_row:
            matrix, pseudo = _by_row(number, values), _pseudo(number, values)
            if self.study.varies == "items":
                return over_items(matrix[0], pseudo, scale=scale, resolution=step)
            return over_rows(matrix, pseudo, scale=scale, resolution=step)
        numbers = _compared(number, [self.mean(v) for v in values])
        return exactly(float(numbers[0])) if self.study.exact else over_seeds(numbers, scale=scale, resolution=step)

    def values(self, case: str, arm: str, metric: str, shorter: bool = False) -> Values:
        """(seeds, rows) of a metric; one column where it is a number."""
        levels = (self.study.shorter if shorter else self.study.levels)[case][arm][metric]
        return np.array([np.atleast_1d(_number(level)) for level in levels], dtype=float)

    def mean(self, values: Values) -> Values:
        """Each seed's mean; only where rows vary may some of them be untested."""
        return np.asarray((np.nanmean if self.study.varies == "rows" else np.mean)(values, axis=1))

    def slope(self, number: Number, seed: int, shorter: bool = False) -> float:
        """Least-squares slope of the logarithm of the metric along that of the cases."""
        x, y = self.log_log(number, seed, shorter)
        return (
            float((x - x.mean()) @ (y - y.mean()) / np.square(x - x.mean()).sum()) if np.isfinite(y).all() else np.nan
        )

    def log_log(self, number: Number, seed: int, shorter: bool = False) -> tuple[Values, Values]:
        levels = self.study.shorter if shorter else self.study.levels
        cases = {case: place for case, place in self.study.cases.items() if case in levels}
        with np.errstate(divide="ignore", invalid="ignore"):
            found = [np.mean(_number(levels[case][number.arm][number.metric][seed])) for case in cases]
            return np.log(np.array(list(cases.values()), dtype=float)), np.log(np.array(found, dtype=float))

    def step(self, number: Number, values: Sequence[Values]) -> float:
        """The stated resolution of the metric, on the scale where it is judged."""
        step = self.study.resolution.get(number.metric, 0.0)
        return step / max(min(abs(float(np.nanmean(v))) for v in values), 1e-300) if number.how == "ratio" else step

    # ---- marks -----------------------------------------------------------------------------------------------------

    def still_training(self, region: Test, case: str | None, estimate: Estimate) -> tuple[str, float] | None:
        """The arm that moved most in the last third of its steps, where that is more than half the margin."""
        number, shorter = region.number, self.study.shorter
        cases = [c for c in (self.study.cases if case is None else [case]) if c in shorter]
        arms = [arm for arm in number.arms if all(number.metric in shorter[c].get(arm, {}) for c in cases)]
        if not cases or not arms:
            return None
        if number.how in ("value", "exponent"):
            allowed = min(abs(estimate.value - edge) for edge in region.margins) / 2
        else:
            allowed = min(map(abs, region.margins)) / 2
        moves = {arm: self.move(number, arm, case) for arm in arms}
        worst = max(moves, key=lambda arm: abs(moves[arm]))
        return (worst, moves[worst]) if abs(moves[worst]) > allowed else None

    def move(self, number: Number, arm: str, case: str | None) -> float:
        """By how much an arm changed from two thirds of its steps to all of them, mean over the seeds that ran both."""
        if number.how == "exponent":
            one = Number(number.metric, arm, how="exponent")
            n = min(len(v) for arms in self.study.shorter.values() for v in arms[arm].values())
            return float(np.mean([self.slope(one, i) - self.slope(one, i, shorter=True) for i in range(n)]))
        assert case is not None
        short = self.mean(self.values(case, arm, number.metric, shorter=True))
        whole = self.mean(self.values(case, arm, number.metric))[: len(short)]
        with np.errstate(divide="ignore", invalid="ignore"):
            change = np.log(whole) - np.log(short) if number.how == "ratio" else whole - short
        return float(np.mean(change))

    def bends(self, region: Test) -> bool:
        """Whether slopes between neighbouring cases leave the region in one direction, and not all of them do."""
        count = len(self.study.seeds)
        neighbours: list[list[float]] = []
        for seed in range(count):
            x, y = self.log_log(region.number, seed)
            order = np.argsort(x)
            neighbours.append([(y[b] - y[a]) / (x[b] - x[a]) for a, b in pairwise(order)])
        columns = np.array(neighbours).T
        ends = [exactly(float(c[0])) if self.study.exact else over_seeds(c) for c in columns]
        below = sum(estimate.interval()[1] < region.low for estimate in ends)
        above = sum(estimate.interval()[0] > region.high for estimate in ends)
        return (below == 0) != (above == 0) and max(below, above) < len(ends)


def _by_row(number: Number, values: Sequence[Values]) -> Values:
    """The number in each test row; the logarithm of a ratio of means as its linear part, so that rows add up."""
    if number.how == "value":
        return values[0]
    mine, other = values
    if number.how == "difference":
        return mine - other
    a, b = float(np.nanmean(mine)), float(np.nanmean(other))
    return _log(a / b) + (mine - a) / a - (other - b) / b


def _compared(number: Number, means: Sequence[Values]) -> Values:
    """The number of each replicate from the metric of one arm or two."""
    if number.how == "value":
        return means[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return means[0] - means[1] if number.how == "difference" else np.asarray(np.log(means[0]) - np.log(means[1]))


def _pseudo(number: Number, values: Sequence[Values]) -> Sequence[float]:
    """Which pseudo-items a 0/1 metric gets; none for other metrics."""
    zero_one = all(np.isin(v[np.isfinite(v)], (0, 1)).all() for v in values)
    if number.how == "ratio" or not zero_one:
        return ()
    return SHARE if number.than is None else DISCORDANT


def _scale(number: Number, values: Sequence[Values]) -> float:
    """Size of the metrics whose difference is judged; logarithms differ by 1 where a metric does by itself."""
    if number.how != "difference":
        return float(number.how == "ratio")
    finite = [v[np.isfinite(v)] for v in values]
    return max((float(np.abs(v).max()) for v in finite if v.size), default=0.0)


def _number(level: Any) -> Any:
    return math.nan if level is None else level


def _log(value: float) -> float:
    return math.log(value) if 0 < value < math.inf else value if math.isinf(value) else math.nan


def _exp(value: float) -> float:
    """e to the value, infinite where that is too large for a float."""
    return math.inf if value > 709 else math.exp(value)


# ---- verdicts ------------------------------------------------------------------------------------------------------


def outcomes(study: MeasuredStudy, posed: Posed, case: str | None) -> list[Outcome]:
    """Every test of a claim in one case; none where something that it needs was not measured."""
    judged = Judged(study)
    try:
        return [judged.test(test, _case_of(test, posed, case)) for test in posed.claim.tests]
    except (KeyError, IndexError):  # a test posed after the run may ask for what was not measured
        return []


def _case_of(test: Test, posed: Posed, case: str | None) -> str | None:
    if test.number.how == "exponent":
        return None
    return case if case is not None or not posed.cases else posed.cases[0]


def deciding(tests: Sequence[Outcome]) -> int:
    """Index of the test that decides a conjunction: a refuted one, else an open one, else the tightest."""
    rank = {"refuted": 0, "inconclusive": 1, "supported": 2}
    return min(range(len(tests)), key=lambda i: (rank[tests[i].verdict], _slack(tests[i])))


def _slack(found: Outcome) -> float:
    """Distance from the interval to the nearest margin, in half-widths (exact: relative to the margin)."""
    gaps = [abs(end - edge) for end in found.interval for edge in found.test.margins]
    width = (found.interval[1] - found.interval[0]) / 2
    slack = min(gaps) / (width or max(*map(abs, found.test.margins), 1e-300))
    return slack if math.isfinite(slack) else math.inf


def conjunction(tests: Sequence[Outcome]) -> Verdict:
    verdicts = {test.verdict for test in tests}
    return "refuted" if "refuted" in verdicts else "inconclusive" if "inconclusive" in verdicts else "supported"


def over_cases(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict of a claim from those of its cases."""
    asked = {v for v in verdicts if v != "not asked"}
    if not asked:
        return "not asked"
    if len(asked) == 1:
        return asked.pop()
    return "divided" if {"supported", "refuted"} <= asked else "inconclusive"


def enough_seeds(study: MeasuredStudy) -> bool:
    """Whether there are seeds enough for a verdict, where seeds vary."""
    return study.exact or study.varies == "items" or len(study.seeds) >= MIN_SEEDS


def wrong_on_margin(judged: int) -> float:
    """How many of so many noisy verdicts would be wrong were every truth on its margin."""
    return judged * (1 - LEVEL)
