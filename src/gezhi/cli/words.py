"""How a claim reads in a terminal, on a page and in the README."""

from __future__ import annotations

from gezhi.lab.record import ClaimResult, MethodResult
from gezhi.lab.report.numbers import measured


def claim_text(claim: ClaimResult, method: MethodResult, lang: str = "en") -> str:
    """The sentence, with its case where there are several."""
    if lang == "zh":
        return claim.text_zh + (f"({method.zh.get(claim.case, claim.case)})" if claim.case else "")
    return claim.text + (f" ({claim.case})" if claim.case else "")


def estimate_text(claim: ClaimResult) -> str:
    """Estimate and interval of the deciding test, with its unit: `+0.62 [+0.07, +1.17] pp`."""
    return str(measured(claim.tests[claim.deciding], exact=claim.exact)) if claim.tests else ""
