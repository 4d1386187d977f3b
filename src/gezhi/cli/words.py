"""How claims and numbers read in a terminal, on a page and in the README."""

from __future__ import annotations

from gezhi.lab.record import ClaimResult, MethodResult, TestResult


def claim_text(claim: ClaimResult, method: MethodResult, lang: str = "en") -> str:
    """The sentence, with its case where there are several."""
    text = claim.text_zh if lang == "zh" else claim.text
    if claim.case is None:
        return text
    case = method.zh.get(claim.case, claim.case) if lang == "zh" else claim.case
    return f"{text} ({case})" if lang == "en" else f"{text}({case})"


def estimate_text(claim: ClaimResult) -> str:
    """Estimate and interval of the deciding test, with its unit: `+0.62 [+0.07, +1.17] pp`."""
    return test_text(claim.tests[claim.deciding], exact=claim.exact) if claim.tests else ""


def test_text(test: TestResult, *, exact: bool) -> str:
    """Estimate and interval as a person reads them."""
    if test.estimate is None:
        return "–"
    factor = 100.0 if test.unit == "%" else 1.0
    unit = {"%": " pp" if test.how == "difference" else " %", "": "×" if test.how == "ratio" else ""}.get(
        test.unit, f" {test.unit}"
    )
    low, high = test.interval
    if exact or low is None or high is None:
        return number(test.estimate * factor) + unit
    digits = decimals((high - low) * factor / 2)
    signed = test.how == "difference"
    shown = [number(v * factor, digits, signed=signed) for v in (test.estimate, low, high)]
    if test.how == "ratio":
        return f"{shown[0]}{unit} [{shown[1]}, {shown[2]}]"
    return f"{shown[0]} [{shown[1]}, {shown[2]}]{unit}"


def number(value: float, digits: int | None = None, *, signed: bool = False) -> str:
    """A number with so many decimals (None: six significant digits), true minus sign, powers of ten written out."""
    if value != 0 and (abs(value) < 1e-4 or abs(value) >= 1e6) and digits in (None, *range(5, 40)):
        mantissa, _, power = f"{value:.3g}".partition("e") if "e" in f"{value:.3g}" else f"{value:.2e}".partition("e")
        return f"{mantissa} × 10{str(int(power)).translate(SUPERSCRIPT)}".replace("-", "−")
    text = f"{value:.6g}" if digits is None else f"{value:.{digits}f}"
    sign = "+" if signed and value > 0 else ""
    return sign + text.replace("-", "−")


SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def decimals(half_width: float) -> int:
    """Decimals that show an interval of this half width with two digits."""
    import math

    return max(0, 1 - math.floor(math.log10(half_width))) if half_width > 0 else 3
