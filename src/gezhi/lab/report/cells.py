"""What one cell of a table says of a result: verdict, number, what it rests on, marks and reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gezhi.lab.record import MeasuredStudy, Words
from gezhi.lab.report.numbers import Named, in_both, measured, region, resolution
from gezhi.lab.report.text import count, joined, of_cases, text
from gezhi.lab.verdicts import AFTER, CaseResult, ClaimResult, MethodResult, TestResult


def nothing() -> Words:
    return text("")


@dataclass(frozen=True)
class Number:
    """An estimate and what stands behind it: interval, power of ten, unit."""

    estimate: str
    rest: Words

    @classmethod
    def of(cls, test: TestResult, named: Named) -> Number:
        whole = in_both(measured, test, named)
        estimate = measured(test).estimate
        return cls(estimate, Words(en=whole.en[len(estimate) :], zh=whole.zh[len(estimate) :]))


@dataclass(frozen=True)
class Cell:
    """A verdict with what stands below it."""

    verdict: str
    number: Number | None = None
    basis: Words = field(default_factory=nothing)
    reason: Words = field(default_factory=nothing)
    flags: Sequence[Words] = ()


@dataclass(frozen=True)
class TestLine:
    """One test of a conjunction: what it compares, what was found, what the claim allows."""

    __test__ = False

    verdict: str
    name: Words
    number: Number
    region: Words
    flags: Sequence[Words]
    beside: Number | None = None  # what the other run found


def case_cell(method: MethodResult, claim: ClaimResult, case: CaseResult) -> Cell:
    """A claim's result in one case."""
    test = case.test
    return Cell(
        case.verdict,
        Number.of(test, method.named) if test else None,
        basis(method.study(claim.study), test) if test else nothing(),
        case.reason or nothing(),
        test.marks if test else (),
    )


def claim_cell(method: MethodResult, claim: ClaimResult) -> Cell:
    """A claim's result over its cases; of a single case that case's."""
    flags = (AFTER,) if claim.after else ()
    if claim.single:
        cell = case_cell(method, claim, claim.single)
        return Cell(claim.verdict, cell.number, cell.basis, cell.reason, (*flags, *cell.flags))
    reasons = {case.reason.en: case.reason for case in claim.cases if case.reason and case.verdict == "not asked"}
    asked = of_cases(claim.supported, len(claim.asked)) if claim.asked else nothing()
    return Cell(claim.verdict, basis=asked, reason=joined(reasons.values(), "; ", "；"), flags=flags)


def basis(study: MeasuredStudy, test: TestResult) -> Words:
    """`5 seeds, resolves 0.33`; `exact`."""
    if test.over == "nothing":
        return text("exact", "精确")
    seen = resolution(test)
    resolves = text(f"resolves\u00a0{seen}", f"分辨\u00a0{seen}") if seen else nothing()
    return joined([replicates(study, test), resolves])


def replicates(study: MeasuredStudy, test: TestResult) -> Words:
    """How often a study measured: seeds, interleaved rounds, or items of a fixed test set."""
    if study.timed:
        return count(test.n, "round", "轮")
    return count(test.n, "item", "条") if test.over == "items" else count(test.n, "seed", "个种子")


def test_lines(method: MethodResult, case: CaseResult, others: Sequence[TestResult]) -> Iterator[TestLine]:
    """Every test behind a verdict, the deciding one first; `others`: those of the run beside it."""
    order = sorted(range(len(case.tests)), key=lambda i: i != case.deciding)
    for test in (case.tests[i] for i in order):
        other = same_test(test, others)
        yield TestLine(
            verdict=test.verdict,
            name=test_name(method, test),
            number=Number.of(test, method.named),
            region=in_both(region, test, method.named),
            flags=[*test.marks, *([test.reason] if test.reason else [])],
            beside=Number.of(other, method.named) if other else None,
        )


def same_test(test: TestResult, others: Sequence[TestResult]) -> TestResult | None:
    """The test that compares the same and allows the same region."""
    return next((other for other in others if _asks(other) == _asks(test)), None)


def _asks(test: TestResult) -> tuple[str | float | None, ...]:
    return test.metric, test.arm, test.than, test.how, test.low, test.high


def test_name(method: MethodResult, test: TestResult) -> Words:
    """`elu + 1 minus softmax, loss`; `elu + 1, exponent of seconds`."""
    metric, arm, than = (method.named(name) for name in (test.metric, test.arm, test.than))
    if test.how == "exponent":
        return text(f"{arm.en}, exponent of {metric.en}", f"{arm.zh}，{metric.zh}的指数")
    if test.how == "ratio":
        return text(f"{arm.en} over {than.en}, {metric.en}", f"{arm.zh} 比 {than.zh}，{metric.zh}")
    if test.how == "difference":
        return text(f"{arm.en} minus {than.en}, {metric.en}", f"{arm.zh} 减 {than.zh}，{metric.zh}")
    return joined([arm, metric])
