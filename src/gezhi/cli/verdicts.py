"""The end of `gezhi run`: theses and counts, every claim where it is asked for, levels on the user's own data."""

from __future__ import annotations

import numpy as np
from rich.console import Console

from gezhi import _catalogue
from gezhi.cli.flow import Flow, grid
from gezhi.cli.output import console
from gezhi.cli.phrases import claim_rows, counted, in_language, sentence, share, short_name, verdict_flow
from gezhi.lab.record import MeasuredStudy, Words
from gezhi.lab.reference import reference_run
from gezhi.lab.report.numbers import in_both, measured
from gezhi.lab.report.text import VERDICTS
from gezhi.lab.stats import over_seeds
from gezhi.lab.verdicts import ClaimResult, MethodResult, Record, TestResult

DISAGREES = Words(en="the reference run says: {}", zh="参考运行的判定：{}")
THESES, CLAIMS = (("thesis", "theses"), "论点"), (("claim", "claims"), "论断")


def print_record(record: Record, lang: str, *, verbose: bool) -> None:
    """A line a method; with `verbose` every claim; on the user's own data what each arm reached."""
    out = console()
    own = [method for method in record.methods if method.data is not None]
    built_in = [method for method in record.methods if method.data is None]
    for method in own:
        print_own(out, method, lang, verbose=verbose)
    if verbose:
        for method in built_in:
            print_claims(out, method, [c for c in method.claims if any(case.tests for case in c.cases)], lang)
    elif built_in:
        out.print(grid([thesis_row(method, lang) for method in built_in], fixed=(0,)))
    print_counts(out, record, lang)


def thesis_row(method: MethodResult, lang: str) -> tuple[Flow, Flow]:
    """The verdict of the thesis, its sentence, and why it is open or the answer in short."""
    claim, colon = method.thesis, "：" if lang == "zh" else ": "
    if claim is None:
        return Flow(""), Flow(f"{name_of(method, lang)}{colon}{counted(method.claims, lang)}")
    text = f"{name_of(method, lang)}{colon}{sentence(claim, lang)}"
    return verdict_flow(claim.verdict, lang, share(claim, lang)), Flow(
        f"{text}\n{answer(method, claim, lang)}".rstrip()
    )


def name_of(method: MethodResult, lang: str) -> str:
    known = _catalogue.methods().get(method.stem)
    return short_name(known, lang) if known else in_language(method.title, lang)


def answer(method: MethodResult, claim: ClaimResult, lang: str) -> str:
    """In short, which rests on the reference run; where this run says otherwise, what that one says."""
    reasons = [case.reason for case in claim.cases if case.reason]
    if claim.verdict in ("inconclusive", "not asked") and reasons:
        return in_language(reasons[0], lang)
    reference = reference_run()
    other = reference.by_stem.get(method.stem) if reference else None
    theirs = other.claim(claim.id) if other else None
    if theirs and theirs.verdict not in ("not asked", claim.verdict):
        return in_language(DISAGREES, lang).format(in_language(VERDICTS[theirs.verdict], lang))
    return in_language(method.short, lang) if theirs else ""


def print_counts(out: Console, record: Record, lang: str) -> None:
    """How the theses ended, and the claims."""
    claims = [claim for _, claim in record.claims()]
    for (english, chinese), found in ((THESES, [c for c in claims if c.thesis]), (CLAIMS, claims)):
        if found and lang == "zh":
            out.print(Flow(f"{len(found)} 条{chinese}：{counted(found, lang)}"))
        elif found:
            out.print(Flow(f"{len(found)} {english[len(found) > 1]}: {counted(found, lang)}"))


def print_claims(out: Console, method: MethodResult, claims: list[ClaimResult], lang: str) -> None:
    """The claims of a method that were measured, with their cases beneath."""
    out.print(Flow(name_of(method, lang), "bold"))
    out.print(grid([row for claim in claims for row in claim_rows(claim, method, lang)], fixed=(0,)))
    out.print()


def print_own(out: Console, method: MethodResult, lang: str, *, verbose: bool) -> None:
    """The claims that were asked of the user's file, and the level of every arm in each metric they name."""
    asked = [c for c in method.claims if any(case.tests for case in c.cases)]
    print_claims(out, method, method.claims if verbose else asked, lang)
    for study in method.measured.studies:
        if study.levels and any(claim.study == study.name for claim in asked):
            print_levels(out, method, study, lang)


def print_levels(out: Console, method: MethodResult, study: MeasuredStudy, lang: str) -> None:
    """A row an arm, a column a metric, means over replicates."""
    asked = dict.fromkeys(test.metric for posed in study.claims.values() for test in posed.tests)
    for case, arms in study.levels.items():
        metrics = [metric for metric in asked if any(metric in levels for levels in arms.values())]
        rows = []
        for arm, levels in arms.items():
            found = [level(method, levels[metric], metric, lang) if metric in levels else "" for metric in metrics]
            rows.append([Flow(text) for text in (in_language(method.named(arm), lang), *found)])
        out.print(grid(rows, heads=(case, *(in_language(method.named(metric), lang) for metric in metrics))))
        out.print()


def level(method: MethodResult, values: list[float | list[float] | None], metric: str, lang: str) -> str:
    """The mean of an arm's metric with its 95 % interval over seeds, in the metric's unit."""
    numbers = [np.nan if v is None else float(np.nanmean(v)) for v in values]
    found = over_seeds(numbers)
    low, high = found.interval()
    alone = len(numbers) < 2
    test = TestResult(
        metric=metric, arm="", than=None, how="value", low=None, high=None, unit=method.measured.units.get(metric, ""),
        verdict="not asked", estimate=found.value, interval=(None, None) if alone else (low, high), n=found.n,
        over="nothing" if alone else "seeds", seen=None, needs=None, marks=[], reason=None,
    )  # fmt: skip
    return in_language(in_both(measured, test, method.named), lang)
