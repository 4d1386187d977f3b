"""From measured cells to the verdict of each claim."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gezhi.lab.claims import Claim, Number, Test
from gezhi.lab.record import ClaimResult, TestResult, Words
from gezhi.lab.stats import (
    DISCORDANT,
    MIN_SEEDS,
    SHARE,
    Estimate,
    judge,
    of_both,
    of_items,
    of_replicates,
    p_value,
    resolution,
    seeds_needed,
)
from gezhi.lab.study import Study, case_numbers

Values = NDArray[np.float64]
Cells = Mapping[tuple[str, str, int], Mapping[str, Any]]  # (case, arm, seed) -> metrics


class Judged:
    """The cells of one study in one run, asked claim by claim."""

    def __init__(self, study: Study, cells: Cells, seeds: Sequence[int], cases: Mapping[str, Any], level: float):
        self.study, self.cells, self.seeds, self.cases, self.level = study, cells, seeds, cases, level

    def claim(self, claim: Claim, case: str | None) -> list[TestResult]:
        """Every test of the claim, judged."""
        return [self.test(test, case) for test in claim.all_tests]

    def test(self, test: Test, case: str | None) -> TestResult:
        number = test.number
        judged_on_log = number.how == "ratio"
        scale: Callable[[float], float] = math.log if judged_on_log else lambda v: v
        back: Callable[[float], float] = _exp if judged_on_log else lambda v: v
        low, high = (edge if math.isinf(edge) else scale(edge) for edge in (test.low, test.high))
        region = Test(number, low, high)
        estimate = self.estimate(number, case)
        interval = estimate.interval(self.level)
        verdict = judge(estimate, region, exact=self.study.exact, level=self.level)
        noisy = not self.study.exact and math.isfinite(estimate.error)
        return TestResult(
            metric=number.metric,
            arm=number.arm,
            than=number.than,
            how=number.how,
            low=test.low,
            high=test.high,
            unit=self.study.units.get(number.metric, "") if number.how in ("value", "difference") else "",
            verdict=verdict,
            estimate=back(estimate.value),
            interval=(
                back(interval[0]) if math.isfinite(interval[0]) else -math.inf,
                back(interval[1]) if math.isfinite(interval[1]) else math.inf,
            ),
            n=estimate.n,
            p=p_value(estimate, region) if noisy else None,
            resolution=resolution(estimate, self.level) if noisy else None,
            needs=seeds_needed(estimate, region, self.level) if noisy and verdict == "inconclusive" else None,
            over=estimate.over,
        )

    def estimate(self, number: Number, case: str | None) -> Estimate:
        """The number of each replicate, and its mean and standard error as the study varies."""
        per_seed = [self.number(number, case, seed) for seed in self.seeds]
        if self.study.exact:
            return Estimate(float(per_seed[0].mean()))
        pseudo, scale = self.pseudo_items(number, case), self.scale(number, case)
        if self.study.varies == "items":
            return of_items(per_seed[0], pseudo, scale)
        if self.study.varies == "both" and number.how != "exponent":
            return of_both(per_seed, pseudo, scale)
        return of_replicates([x.mean() for x in per_seed], scale)

    def number(self, number: Number, case: str | None, seed: int) -> Values:
        """The number in one replicate: an array over test items, or of length one."""
        if number.how == "exponent":
            with np.errstate(divide="ignore", invalid="ignore"):
                y = np.log([self.metric(name, number.arm, seed, number.metric).mean() for name in self.cases])
            return np.array([_slope(np.log(case_numbers(self.cases)), y)])
        assert case is not None
        mine = self.metric(case, number.arm, seed, number.metric)
        if number.than is None:
            return mine
        other = self.metric(case, number.than, seed, number.metric)
        if number.how == "ratio" and (self.study.varies == "seed" or self.study.exact):
            mine, other = mine.mean(keepdims=True), other.mean(keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            return mine - other if number.how == "difference" else np.asarray(np.log(mine) - np.log(other))

    def metric(self, case: str, arm: str, seed: int, metric: str) -> Values:
        return np.atleast_1d(np.asarray(self.cells[case, arm, seed][metric], dtype=float))

    def pseudo_items(self, number: Number, case: str | None) -> Sequence[float]:
        """Which pseudo-items a 0/1 metric gets; none for other metrics."""
        if case is None or number.how in ("ratio", "exponent") or not np.isin(self.values(number, case), (0, 1)).all():
            return ()
        return SHARE if number.than is None else DISCORDANT

    def scale(self, number: Number, case: str | None) -> float:
        """Size of the metrics whose difference is judged; logarithms differ by 1 where a metric does by itself."""
        if number.how != "difference" or case is None:
            return float(number.how == "ratio")
        return float(np.abs(self.values(number, case)).max())

    def values(self, number: Number, case: str) -> Values:
        """The metric of both arms, in all replicates."""
        arms = [arm for arm in (number.arm, number.than) if arm is not None]
        return np.concatenate([self.metric(case, arm, seed, number.metric) for arm in arms for seed in self.seeds])


def _slope(x: Values, y: Values) -> float:
    """Least-squares slope of y along x; NaN where a y is not finite."""
    return float((x - x.mean()) @ (y - y.mean()) / np.square(x - x.mean()).sum()) if np.isfinite(y).all() else math.nan


def _exp(value: float) -> float:
    """e to the value, infinite where that is too large for a float."""
    return math.inf if value > 709 else math.exp(value)


def deciding(tests: Sequence[TestResult]) -> int:
    """Index of the test that decides a conjunction: a refuted one, else an open one, else the tightest."""
    rank = {"refuted": 0, "inconclusive": 1, "supported": 2}
    return min(range(len(tests)), key=lambda i: (rank[tests[i].verdict], _slack(tests[i])))


def _slack(test: TestResult) -> float:
    """Distance from the interval to the nearest margin, in half-widths (exact: relative to the margin)."""
    ends = [v for v in test.interval if v is not None]
    gaps = [abs(end - edge) for end in ends for edge in (test.low, test.high) if edge is not None]
    width = (max(ends) - min(ends)) / 2 if len(ends) == 2 else 0.0
    return min(gaps, default=math.inf) / (width or max(abs(e) for e in (test.low, test.high, 1e-300) if e is not None))


def conjunction(tests: Sequence[TestResult]) -> str:
    verdicts = {test.verdict for test in tests}
    return "refuted" if "refuted" in verdicts else "inconclusive" if "inconclusive" in verdicts else "supported"


def result(
    study: Study,
    claim: Claim,
    case: str | None,
    *,
    tests: Sequence[TestResult] = (),
    not_asked: Words | None = None,
    level: float = 0.95,
    seeds: int = MIN_SEEDS,
) -> ClaimResult:
    """The record of a claim: judged, or not asked and why."""
    chosen = deciding(tests) if tests else 0
    unasked = not_asked or _too_few(study, seeds)
    reason = unasked or (_open_reason(tests[chosen]) if tests else None)
    asked = bool(tests) and unasked is None
    return ClaimResult(
        id=claim.id,
        text=claim.en,
        text_zh=claim.zh,
        study=study.name,
        case=None if claim.along_cases else case,
        scope=Words(en=study.scope[0], zh=study.scope[1]),
        exact=study.exact,
        timed=study.alone,
        verdict=conjunction(tests) if asked else "not asked",  # type: ignore[arg-type]
        reason=reason,
        estimate=tests[chosen].estimate if tests else None,
        interval=tests[chosen].interval if tests else None,
        deciding=chosen,
        level=level,
        q=None,
        weak=False,
        tests=list(tests),
    )


def _too_few(study: Study, seeds: int) -> Words | None:
    if study.exact or study.varies == "items" or seeds >= MIN_SEEDS:
        return None
    return Words(en=f"{seeds} seeds; a verdict needs {MIN_SEEDS}", zh=f"仅 {seeds} 个种子，下判定至少需 {MIN_SEEDS} 个")


def _open_reason(test: TestResult) -> Words | None:
    if test.verdict != "inconclusive":
        return None
    if test.estimate is None:
        return Words(en="not a finite number in every replicate", zh="并非每次重复都得到有限的数")
    if test.over == "items" and test.n < 2:
        return Words(en="one number where the study needs one per test item", zh="只有一个数，而本研究须每个样本一个")
    if test.interval[0] == test.interval[1]:
        return Words(en="no variance between replicates: the metric is too coarse", zh="各次重复毫无差别：指标太粗")
    if test.needs is None:
        return Words(en="practically on the margin", zh="实际上就在界限上")
    if test.over == "items":
        return Words(en=f"needs about {test.needs} test items", zh=f"约需 {test.needs} 个测试样本")
    return Words(en=f"needs about {test.needs} seeds", zh=f"约需 {test.needs} 个种子")
