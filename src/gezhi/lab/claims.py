"""A claim is one number per replicate and the interval that this number must lie in, both fixed before the run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from gezhi._checks import check_number, invalid

How = Literal["value", "difference", "ratio", "exponent"]


@dataclass(frozen=True)
class Number:
    """What is computed from each replicate: a metric of an arm, compared with another arm or along the cases."""

    metric: str
    arm: str
    than: str | None = None
    how: How = "value"

    @property
    def arms(self) -> tuple[str, ...]:
        return (self.arm,) if self.than is None else (self.arm, self.than)


@dataclass(frozen=True)
class Test:
    """A number and the region [low, high] that the claim gives it; an open side is infinite."""

    __test__ = False  # not a test case of pytest

    number: Number
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise invalid("low", "not exceed high", f"[{self.low}, {self.high}]")
        if not self.margins:
            raise invalid("low and high", "bound the claim on one side at least", f"[{self.low}, {self.high}]")

    @property
    def margins(self) -> list[float]:
        """The finite ends of the region."""
        return [edge for edge in (self.low, self.high) if math.isfinite(edge)]


@dataclass(frozen=True)
class Claim:
    """The tests that must all hold, and the cases it speaks of (None: every case, and the user's data)."""

    tests: tuple[Test, ...]
    cases: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.tests:
            raise invalid("a claim", "hold a test", "none")
        if self.cases == ():
            raise invalid("cases of a claim", "name a case, or be None for all", "none")

    @property
    def along_cases(self) -> bool:
        """Whether it speaks of a trend over all cases instead of each one."""
        return any(test.number.how == "exponent" for test in self.tests)


Asked = Test | tuple[Test, ...] | Claim


def as_claim(asked: Asked) -> Claim:
    """A claim from what a study may be given: a test, several, or a claim."""
    if isinstance(asked, Claim):
        return asked
    return Claim(asked if isinstance(asked, tuple) else (asked,))


def at(cases: str | tuple[str, ...], *tests: Test) -> Claim:
    """A claim about some of the cases alone."""
    return Claim(tests, (cases,) if isinstance(cases, str) else cases)


def better(metric: str, arm: str, *, than: str, by: float) -> Test:
    """`arm` exceeds `than` by at least `by` (for metrics where more is better); a negative `by` allows a small loss."""
    return Test(Number(metric, arm, than, "difference"), low=by)


def lower(metric: str, arm: str, *, than: str, by: float) -> Test:
    """`arm` lies below `than` by at least `by`."""
    return Test(Number(metric, arm, than, "difference"), high=-by)


def same(metric: str, arm: str, *, than: str, within: float) -> Test:
    """`arm` and `than` differ by at most `within`."""
    return Test(Number(metric, arm, than, "difference"), -within, within)


def ratio(metric: str, arm: str, *, over: str, at_least: float = 0.0, at_most: float = math.inf) -> Test:
    """`arm` over `over` lies in [at_least, at_most]; judged on the logarithm, for positive metrics."""
    check_number("at_least", at_least, at_least=0)
    check_number("at_most", at_most, above=0)
    return Test(Number(metric, arm, over, "ratio"), at_least if at_least > 0 else -math.inf, at_most)


def exponent(metric: str, arm: str, low: float = -math.inf, high: float = math.inf) -> Test:
    """The least-squares slope of log metric against log case lies in [low, high]."""
    return Test(Number(metric, arm, how="exponent"), low, high)


def inside(metric: str, arm: str, low: float = -math.inf, high: float = math.inf) -> Test:
    """The metric itself lies in [low, high]: a rank, an error, an exact value."""
    return Test(Number(metric, arm), low, high)
