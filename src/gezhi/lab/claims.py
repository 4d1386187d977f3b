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


@dataclass(frozen=True)
class Test:
    """A number and the region [low, high] that the claim gives it; an open side is infinite."""

    __test__ = False  # not a test case of pytest

    number: Number
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not self.low < self.high and not self.low == self.high:
            raise invalid("low", "not exceed high", f"[{self.low}, {self.high}]")
        if not self.margins:
            raise invalid("low and high", "bound the claim on one side at least", f"[{self.low}, {self.high}]")

    @property
    def margins(self) -> list[float]:
        """The finite ends of the region."""
        return [edge for edge in (self.low, self.high) if math.isfinite(edge)]


def better(metric: str, arm: str, *, than: str, by: float) -> Test:
    """`arm` exceeds `than` by at least `by` (for metrics where more is better)."""
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


@dataclass(frozen=True)
class Claim:
    """A sentence in two languages and the tests that decide it.

    Args:
        id: stable name, unique in the experiment.
        en, zh: the sentence; it must be understood without its neighbours.
        tests: one test, or several that must all hold.
        at: the case it speaks of; None: it is judged in every case, and on the user's data.
    """

    id: str
    en: str
    zh: str
    tests: Test | tuple[Test, ...]
    at: str | None = None

    def __post_init__(self) -> None:
        if not self.all_tests:
            raise invalid(f"tests of claim {self.id!r}", "hold a test", "none")

    @property
    def all_tests(self) -> tuple[Test, ...]:
        return self.tests if isinstance(self.tests, tuple) else (self.tests,)

    @property
    def along_cases(self) -> bool:
        """Whether it speaks of a trend over all cases instead of one case."""
        return any(test.number.how == "exponent" for test in self.all_tests)
