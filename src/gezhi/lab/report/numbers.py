"""Numbers as a report prints them: three significant digits at most, true minus signs, nothing that can wrap."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gezhi.lab.record import Words
from gezhi.lab.verdicts import TestResult

MINUS, SPACE = "\u2212", "\u00a0"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SMALL, LARGE = 1e-4, 1e6  # outside, numbers are printed as a power of ten
MOST_DIGITS = 12
SIGNIFICANT = 3
Named = Callable[[str], Words]  # an experiment's name in both languages


@dataclass(frozen=True)
class Scale:
    """How the values of a test are printed: shares as percent, differences with a sign, ratios with ×."""

    factor: float = 1.0
    unit: str = ""
    signed: bool = False
    times: str = ""

    @classmethod
    def of(cls, test: TestResult) -> Scale:
        difference, percent = test.how == "difference", test.unit == "%"
        unit = "pp" if percent and difference else test.unit
        return cls(100.0 if percent else 1.0, unit, difference, "×" if test.how == "ratio" else "")

    @property
    def tail(self) -> str:
        """The unit behind a number, held to it by a no-break space."""
        return f"{SPACE}{self.unit}" if self.unit else ""


@dataclass(frozen=True)
class Measured:
    """An estimate, its interval (empty for exact numbers) and what follows them."""

    estimate: str
    interval: str = ""
    tail: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.estimate, self.interval) if part) + self.tail


def measured(test: TestResult) -> Measured:
    """The outcome of a test; its rounding never moves an end of the interval across an edge of the region."""
    scale = Scale.of(test)
    if test.estimate is None:
        return Measured("—")
    edges = [edge * scale.factor for edge in (test.low, test.high) if edge is not None]
    if test.over == "nothing":
        estimate = exact_number(scale.factor * test.estimate, edges, digits=SIGNIFICANT, signed=scale.signed)
        return Measured(estimate + scale.times, tail=scale.tail)
    power = _power([scale.factor * v for v in (test.estimate, *test.interval) if v is not None])
    factor = scale.factor / 10.0**power
    low, high = (None if v is None else v * factor for v in test.interval)
    digits = decimals(test.estimate * factor, low, high, [edge / 10.0**power for edge in edges])
    ends = [infinity if v is None else fixed(v, digits, signed=scale.signed)
            for v, infinity in ((low, f"{MINUS}∞"), (high, "∞"))]  # fmt: skip
    return Measured(
        fixed(test.estimate * factor, digits, signed=scale.signed) + scale.times,
        f"[{ends[0]},{SPACE}{ends[1]}]",
        (f"{SPACE}×{SPACE}{ten_to(power)}" if power else "") + scale.tail,
    )


def in_both(say: Callable[[TestResult], object], test: TestResult, named: Named) -> Words:
    """What is said of a test, with its unit in either language."""
    translated = test.model_copy(update={"unit": named(test.unit).zh})
    return Words(en=str(say(test)), zh=str(say(translated)))


def region(test: TestResult) -> str:
    """The region of a test: `≥ 5×`, `≤ −0.3 nat`, `−0.3 … 0.3 pp`."""
    low, high = edges(test)
    if test.low == test.high:
        return f"={SPACE}{low}"
    if low and high:
        return f"{low.removesuffix(Scale.of(test).tail)}{SPACE}…{SPACE}{high}"
    return f"≥{SPACE}{low}" if low else f"≤{SPACE}{high}"


def edges(test: TestResult) -> tuple[str, str]:
    """The ends of the region, empty where it is open."""
    scale = Scale.of(test)
    low, high = (
        "" if end is None else exact_number(end * scale.factor) + scale.times + scale.tail
        for end in (test.low, test.high)
    )
    return low, high


def resolution(test: TestResult) -> str:
    """The distance from the margin that the run could have seen; for a ratio the factor."""
    if test.seen is None:
        return ""
    if test.how == "ratio":
        return exact_number(math.exp(min(test.seen, 700.0)), digits=SIGNIFICANT) + "×"
    return exact_number(test.seen * Scale.of(test).factor, digits=2)


def decimals(value: float, low: float | None, high: float | None, edges: Sequence[float] = ()) -> int:
    """Decimals of three significant digits, or fewer that resolve a sixth of the interval's half-width.

    More where the ends of the interval would not be seen to lie beside an edge.
    """
    digits = max(0, SIGNIFICANT - 1 - _magnitude(max(abs(v) for v in (value, low, high) if v is not None)))
    if low is None or high is None:
        return min(digits, 2)
    if low < high:
        digits = min(digits, max(0, math.ceil(math.log10(12 / (high - low)))))
    while digits < MOST_DIGITS and any(_blurred(end, edge, digits) for end in (low, high) for edge in edges):
        digits += 1
    return min(digits, MOST_DIGITS)


def fixed(value: float, digits: int, *, signed: bool = False) -> str:
    """A number with so many decimals; thousands are set apart from five figures on."""
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    if not text.strip("+-0.,"):
        text = text.lstrip("+-")  # zero has no sign
    grouped = text.replace(",", SPACE if abs(value) >= 10_000 else "")
    return grouped.replace("-", MINUS)


def exact_number(value: float, edges: Sequence[float] = (), *, digits: int = 6, signed: bool = False) -> str:
    """A number without an interval: 8, 0.0447149, 1.1 × 10⁻¹⁶; told apart from the edges if that takes more digits.

    Whole numbers below a million keep all their figures.
    """
    power = _power([value])
    digits = min(digits, 2) if power < 0 else digits
    if power == 0 and value == round(value):
        digits = max(digits, _magnitude(value) + 1)
    while digits < MOST_DIGITS and any(_sign(float(f"{value:.{digits}g}") - e) != _sign(value - e) for e in edges):
        digits += 2
    mantissa = float(f"{value / 10.0**power:.{digits}g}")
    if power and mantissa in (1, -1):
        return (MINUS if mantissa < 0 else "") + ten_to(power)
    text = fixed(mantissa, max(0, digits - 1 - _magnitude(mantissa)), signed=signed)
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{text}{SPACE}×{SPACE}{ten_to(power)}" if power else text


def ten_to(power: int) -> str:
    return "10" + str(power).translate(SUPERSCRIPTS)


def _power(values: Sequence[float]) -> int:
    """The power of ten to print in front of, 0 for numbers of everyday size."""
    largest = max((abs(v) for v in values), default=0.0)
    if largest == 0 or SMALL <= largest < LARGE or not math.isfinite(largest):
        return 0
    return math.floor(math.log10(largest))


def _magnitude(value: float) -> int:
    """The place of the first figure: 2 for hundreds."""
    return math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0


def _blurred(end: float, edge: float, digits: int) -> bool:
    return _sign(round(end, digits) - edge) != _sign(end - edge)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
