"""From a record to the verdict of each claim, in each of its cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gezhi.lab.claims import Number, Test
from gezhi.lab.record import MeasuredStudy, Posed
from gezhi.lab.stats import (
    DISCORDANT,
    LEVEL,
    MIN_SEEDS,
    ROUNDING,
    SHARE,
    Estimate,
    Over,
    Values,
    Verdict,
    exactly,
    judge,
    mean_of_tested,
    over_items,
    over_rows,
    over_seeds,
    replicates_needed,
    seen,
    unknown,
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
        unsound = bends or moved is not None
        verdict: Verdict = "inconclusive" if unsound else judge(estimate, region)
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
            needs=replicates_needed(estimate, region) if noisy and verdict == "inconclusive" and not unsound else None,
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
            return self.over_replicates(slopes, scale=1.0, resolution=self.step(number, case))
        assert case is not None
        step = self.step(number, case)
        if self.study.varies in ("rows", "items") and not self.study.timed:
            return self.over_tests(number, [self.rows(case, arm, number.metric) for arm in number.arms], step)
        means = [self.means(case, arm, number.metric) for arm in number.arms]
        return self.over_replicates(_compared(number, means), scale=_scale(number, means), resolution=step)

    def over_replicates(self, x: ArrayLike, scale: float, resolution: float) -> Estimate:
        x = np.asarray(x, dtype=float)
        return exactly(float(x[0])) if self.study.exact else over_seeds(x, scale=scale, resolution=resolution)

    def over_tests(self, number: Number, values: Sequence[Values], step: float) -> Estimate:
        """Over the rows of a test set, and over seeds where they vary too."""
        over: Over = "items" if self.study.varies == "items" else "rows"
        if not _same_rows(values):
            return unknown(0, over)
        if values[0].shape[1] == 1:  # a number for all rows together says nothing of their spread
            return replace(unknown(1, over), value=float(np.mean(_compared(number, [v[:, 0] for v in values]))))
        matrix, pseudo, scale = _by_row(number, values), _pseudo(number, values), _scale(number, values)
        if over == "items":
            return over_items(matrix[0], pseudo, scale=scale, resolution=step)
        return over_rows(matrix, pseudo, scale=scale, resolution=step)

    def rows(self, case: str, arm: str, metric: str) -> Values:
        """(seeds, rows) of a metric; one column where it is a number, none where seeds differ in their rows."""
        levels = [np.atleast_1d(_number(level)) for level in self.study.levels[case][arm][metric]]
        if len({len(level) for level in levels}) > 1:
            return np.empty((len(levels), 0))
        return np.array(levels, dtype=float)

    def means(self, case: str, arm: str, metric: str, shorter: bool = False) -> Values:
        """Each seed's mean; only where rows vary may some of them be untested."""
        levels = (self.study.shorter if shorter else self.study.levels)[case][arm][metric]
        mean = mean_of_tested if self.study.varies == "rows" else np.mean
        return np.array([mean(np.atleast_1d(_number(level))) for level in levels], dtype=float)

    def slope(self, number: Number, seed: int, shorter: bool = False) -> float:
        """Least-squares slope of the logarithm of the metric along that of the cases."""
        x, y = self.log_log(number, seed, shorter)
        return float(_weights(x) @ (y - y[0])) if np.isfinite(y).all() else math.nan  # of a constant exactly 0

    def log_log(self, number: Number, seed: int, shorter: bool = False) -> tuple[Values, Values]:
        levels = self.study.shorter if shorter else self.study.levels
        cases = {case: place for case, place in self.study.cases.items() if case in levels}
        with np.errstate(divide="ignore", invalid="ignore"):
            found = [np.mean(_number(levels[case][number.arm][number.metric][seed])) for case in cases]
            return np.log(np.array(list(cases.values()), dtype=float)), np.log(np.array(found, dtype=float))

    def step(self, number: Number, case: str | None) -> float:
        """The stated resolution of the metric, on the scale where it is judged."""
        step = self.study.resolution.get(number.metric, 0.0)
        if not step or number.how in ("value", "difference"):
            return step
        if number.how == "exponent":
            x, y = self.log_log(number, 0)
            return float(np.abs(_weights(x)) @ (step * np.exp(-y)))
        assert case is not None
        smallest = min(abs(float(np.mean(self.means(case, arm, number.metric)))) for arm in number.arms)
        return step / smallest if smallest else math.inf

    # ---- marks -----------------------------------------------------------------------------------------------------

    def still_training(self, region: Test, case: str | None, estimate: Estimate) -> tuple[str, float] | None:
        """The arm that moved most in the last third of its steps, where that is more than half the margin."""
        number, shorter = region.number, self.study.shorter
        cases = [c for c in (self.study.cases if case is None else [case]) if c in shorter]
        arms = [arm for arm in number.arms if all(number.metric in shorter[c].get(arm, {}) for c in cases)]
        if not cases or not arms:
            return None
        moves = {arm: self.move(number, arm, case) for arm in arms}
        worst = max(moves, key=lambda arm: math.inf if math.isnan(moves[arm]) else abs(moves[arm]))
        return None if abs(moves[worst]) <= _half_margin(region, estimate) else (worst, moves[worst])

    def move(self, number: Number, arm: str, case: str | None) -> float:
        """By how much an arm changed from two thirds of its steps to all of them, mean over the seeds that ran both."""
        if number.how == "exponent":
            one = Number(number.metric, arm, how="exponent")
            n = min(len(v) for arms in self.study.shorter.values() for v in arms[arm].values())
            return float(np.mean([self.slope(one, i) - self.slope(one, i, shorter=True) for i in range(n)]))
        assert case is not None
        short = self.means(case, arm, number.metric, shorter=True)
        whole = self.means(case, arm, number.metric)[: len(short)]
        with np.errstate(divide="ignore", invalid="ignore"):
            change = np.log(whole) - np.log(short) if number.how == "ratio" else whole - short
        return float(np.mean(change))

    def bends(self, region: Test) -> bool:
        """Whether the law is no power: slopes between neighbouring cases leave the region in one direction.

        Such a slope lies outside, and off the slope of all cases by more than chance explains. Where all of them lie
        outside on one side the claim is refuted whatever the law.
        """
        seeds = range(len(self.study.seeds))
        slopes = np.array([_neighbouring(*self.log_log(region.number, seed)) for seed in seeds]).T
        whole = np.array([self.slope(region.number, seed) for seed in seeds])
        sides, bent = [], []
        for slope in slopes:
            low, high = self.over_replicates(slope, scale=1.0, resolution=0.0).interval()
            sides.append(int(low > region.high) - int(high < region.low))
            apart = self.over_replicates(slope - whole, scale=1.0, resolution=0.0)
            low, high = apart.interval(1 - (1 - LEVEL) / len(slopes))
            bent += [sides[-1]] * (sides[-1] != 0 and not low - ROUNDING <= 0 <= high + ROUNDING)
        return len(set(sides)) > 1 and bent != [] and bent in (sorted(bent), sorted(bent, reverse=True))


def _half_margin(region: Test, estimate: Estimate) -> float:
    """Half of what a claim asks of a difference, or of a number's distance to its nearest edge."""
    edges = [] if region.number.how in ("value", "exponent") else [abs(edge) for edge in region.margins if edge]
    return min(edges or [abs(estimate.value - edge) for edge in region.margins]) / 2


def _weights(x: Values) -> Values:
    """Of the logarithms of a metric in its least-squares slope along x."""
    centred = x - x.mean()
    weights: Values = centred / np.square(centred).sum()
    return weights


def _neighbouring(x: Values, y: Values) -> Values:
    """Slopes between neighbouring points."""
    order = np.argsort(x)
    with np.errstate(invalid="ignore"):
        return np.diff(y[order]) / np.diff(x[order])


def _same_rows(values: Sequence[Values]) -> bool:
    """Whether the arms have the same rows, and left the same ones untested."""
    untested = [np.isnan(v) for v in values]
    return values[0].shape[1] > 0 and all(np.array_equal(untested[0], other) for other in untested)


def _by_row(number: Number, values: Sequence[Values]) -> Values:
    """The number in each test row; the logarithm of a ratio of means as its linear part, so that rows add up."""
    if number.how == "value":
        return values[0]
    mine, other = values
    if number.how == "difference":
        return mine - other
    a, b = float(mean_of_tested(mine)), float(mean_of_tested(other))
    if not (a > 0 and b > 0):
        return np.full_like(mine, math.nan)
    return math.log(a / b) + (mine - a) / a - (other - b) / b


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
