"""What is said of one result: its names, what it rests on, and the remark under its verdict."""

from __future__ import annotations

from gezhi.lab.record import ClaimResult, MethodResult, StudyResult, Words
from gezhi.lab.report.numbers import resolution
from gezhi.lab.report.text import joined, replicates, text


def named(method: MethodResult, english: str) -> Words:
    """A name of the experiment in both languages."""
    return text(english, method.zh.get(english, english))


def study_of(method: MethodResult, claim: ClaimResult) -> StudyResult:
    return next(study for study in method.studies if study.name == claim.study)


def basis(method: MethodResult, claim: ClaimResult) -> Words:
    """`5 seeds, resolves 0.33`; `exact`; empty for what was not measured."""
    if not claim.tests:
        return text("")
    if claim.exact:
        return text("exact", "精确")
    test = claim.tests[claim.deciding]
    seen = resolution(test)
    level = "" if claim.level == 0.95 else f"{100 * claim.level:.0f}\u00a0%"
    parts = [
        replicates(study_of(method, claim), test.n),
        text(f"{level} interval", f"{level} 区间") if level else text(""),
        text(f"resolves\u00a0{seen}", f"分辨\u00a0{seen}") if seen else text(""),
    ]
    return joined(parts)


def remark(claim: ClaimResult) -> Words:
    """Weak with its q, the seeds that are needed, or the reason for not asking."""
    weak = text("")
    if claim.weak and claim.q is not None:
        q = f"q\u00a0=\u00a0{claim.q:.3f}".replace("0.", ".")
        weak = text(f"weak, {q}", f"弱，{q}")
    return joined([weak, claim.reason or text("")], "; ", "；")
