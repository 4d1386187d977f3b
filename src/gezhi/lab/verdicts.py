"""What a record says once its claims are judged and their sentences looked up; also `result.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Final, Literal

from pydantic import Field

from gezhi import _catalogue
from gezhi.lab.judge import Outcome, conjunction, deciding, enough_seeds, outcomes, over_cases
from gezhi.lab.names import chinese
from gezhi.lab.pages import Claims, Sentence, page
from gezhi.lab.record import Compute, Environment, Finite, Levels, Measured, MeasuredStudy, Model, Posed, Words
from gezhi.lab.stats import MIN_SEEDS, MOST_SEEDS, MOST_TIMES, Verdict

SCHEMA: Final = "gezhi.result/2"
SAME = ("budget", "seeds", "look", "data", "when", "seconds", "environment")  # of a record and its judged form
NOT_OF_YOUR_DATA = Words(en="not asked of your data", zh="不针对你的数据")
NO_VERDICTS = Words(en="a smoke run gives no verdicts", zh="smoke 档不下判定")
AFTER = Words(en="posed after the run", zh="测量之后才提出")


class TestResult(Model):
    """One test of a claim, on the scale a person reads (a ratio, not its logarithm)."""

    metric: str
    arm: str
    than: str | None
    how: Literal["value", "difference", "ratio", "exponent"]
    low: Finite
    high: Finite
    unit: str
    verdict: Verdict
    estimate: Finite
    interval: tuple[Finite, Finite]
    n: int
    over: Literal["seeds", "rows", "items", "nothing"]
    seen: Finite
    needs: int | None
    marks: list[Words]
    reason: Words | None


class CaseResult(Model):
    """A claim in one case (None: along all cases); `tests[deciding]` decided."""

    case: str | None
    verdict: Verdict
    estimate: Finite
    interval: tuple[Finite, Finite] | None
    deciding: int
    tests: list[TestResult]
    reason: Words | None

    @property
    def test(self) -> TestResult | None:
        """The deciding test."""
        return self.tests[self.deciding] if self.tests else None


class ClaimResult(Model):
    """A claim with its cases; `asked` counts those with a verdict."""

    id: str
    by: Literal["article", "field", "ours"]
    thesis: bool
    text: str
    text_zh: str
    criterion: Words
    study: str
    scope: Words
    exact: bool
    timed: bool
    after: bool
    verdict: Verdict
    cases: list[CaseResult]

    @property
    def words(self) -> Words:
        return Words(en=self.text, zh=self.text_zh)

    @property
    def asked(self) -> list[CaseResult]:
        return [case for case in self.cases if case.verdict != "not asked"]

    @property
    def supported(self) -> int:
        return sum(case.verdict == "supported" for case in self.asked)

    @property
    def single(self) -> CaseResult | None:
        """Its only case, where it has one."""
        return self.cases[0] if len(self.cases) == 1 else None

    @property
    def noisy(self) -> bool:
        """Whether an interval decided."""
        return not self.exact and self.verdict != "not asked"


class StudyResult(Model):
    """Levels and costs of a study, for readers of `result.json`."""

    name: str
    varies: Literal["seed", "rows", "items", "nothing"]
    timed: bool
    arms: list[str]
    cases: list[str]
    seeds: list[int]
    levels: Levels
    compute: dict[str, dict[str, Compute]]
    reasons: dict[str, Words]


class MethodResult(Model):
    """All claims of one method, judged."""

    stem: str
    wing: str
    title: Words
    articles: list[str]
    budget: Literal["smoke", "quick", "full"]
    seeds: int
    look: int
    data: str | None
    when: str
    seconds: float
    environment: Environment
    short: Words
    claims: list[ClaimResult]
    studies: list[StudyResult]
    measured: Measured = Field(exclude=True)

    @property
    def thesis(self) -> ClaimResult | None:
        return next((claim for claim in self.claims if claim.thesis), None)

    def claim(self, name: str) -> ClaimResult | None:
        return next((claim for claim in self.claims if claim.id == name), None)

    def study(self, name: str) -> MeasuredStudy:
        return next(study for study in self.measured.studies if study.name == name)

    def named(self, name: str | None) -> Words:
        """A shown name in both languages."""
        return Words(en=name or "", zh=chinese(name, self.stem) if name else "")


class Record(Model):
    """A run: every method with its claims."""

    environment: Environment
    methods: list[MethodResult]

    @cached_property
    def by_stem(self) -> dict[str, MethodResult]:
        return {method.stem: method for method in self.methods}

    def claims(self) -> Iterator[tuple[MethodResult, ClaimResult]]:
        for method in self.methods:
            for claim in method.claims:
                yield method, claim

    def dumps(self) -> str:
        """`result.json`: for other programs, which need not judge."""
        content = {"schema": SCHEMA, **self.model_dump(mode="json")}
        return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def record_of(measured: Sequence[Measured]) -> Record:
    """The judged record of some methods, in the house's order; its environment is that of the newest."""
    methods = sorted((result_of(m) for m in measured), key=lambda m: (m.wing, m.stem))
    newest = max(measured, key=lambda m: m.when)
    return Record(environment=newest.environment, methods=methods)


def result_of(measured: Measured) -> MethodResult:
    """One method's claims: sentences from its pages, verdicts from its levels."""
    known = _catalogue.methods().get(measured.stem)
    en, zh = page(measured.stem, "en"), page(measured.stem, "zh")
    spoken = (en.claims if en else Claims(), zh.claims if zh else Claims())
    words = [p.short.first if p else "" for p in (en, zh)]
    title = Words(en=known.title, zh=known.title_zh) if known else Words(en=measured.stem, zh=measured.stem)
    return MethodResult(
        stem=measured.stem,
        wing=known.wing if known else "",
        title=title,
        articles=list(known.articles) if known else [],
        **{name: getattr(measured, name) for name in SAME},
        short=Words(en=words[0], zh=words[1] or words[0]),
        claims=[claim_result(measured, *found, spoken) for found in measured.posed()],
        studies=[study_result(study) for study in measured.studies],
        measured=measured,
    )


def study_result(study: MeasuredStudy) -> StudyResult:
    same = ("name", "varies", "timed", "arms", "seeds", "levels", "compute", "reasons")
    checked = {name: getattr(study, name) for name in same}  # when the record was read; levels may be millions
    return StudyResult.model_construct(**checked, cases=list(study.cases))


def claim_result(
    measured: Measured, study: MeasuredStudy, name: str, posed: Posed, spoken: tuple[Claims, Claims]
) -> ClaimResult:
    """A claim judged in every case that it speaks of."""
    en, zh = (claims.sentences.get(name) for claims in spoken)
    fallback = en or Sentence(name, "ours", False, name.replace("-", " "), "")
    scope = (spoken[0].scopes.get(study.name, ""), spoken[1].scopes.get(chinese(study.name, measured.stem), ""))
    cases = [case_result(measured, study, posed, case) for case in cases_of(measured, study, posed)]
    return ClaimResult(
        id=name,
        by=fallback.by,  # type: ignore[arg-type]
        thesis=fallback.thesis,
        text=fallback.text,
        text_zh=zh.text if zh else fallback.text,
        criterion=Words(en=fallback.criterion, zh=zh.criterion if zh else fallback.criterion),
        study=study.name,
        scope=Words(en=scope[0], zh=scope[1] or scope[0]),
        exact=study.exact,
        timed=study.timed,
        after=posed.after,
        verdict=over_cases([case.verdict for case in cases]),
        cases=cases,
    )


def cases_of(measured: Measured, study: MeasuredStudy, posed: Posed) -> list[str | None]:
    """The cases that a claim is judged in; None stands for all together, or for none that could be measured."""
    if posed.claim.along_cases:
        return [None]
    if measured.data is not None and posed.cases is not None:
        return [None]
    return [case for case in study.cases if posed.cases is None or case in posed.cases] or [None]


def case_result(measured: Measured, study: MeasuredStudy, posed: Posed, case: str | None) -> CaseResult:
    """A claim in one case: judged, or not asked and why."""
    why = why_not_asked(measured, study, posed, case)
    tests = [] if why else outcomes(study, posed, case)
    if not tests and why is None:
        why = Words(en="not measured in this run", zh="本次运行未测量")
    if tests and measured.budget == "smoke":
        why = NO_VERDICTS
    elif tests and not enough_seeds(study):
        n = len(study.seeds)
        why = Words(en=f"{n} seeds; a verdict needs {MIN_SEEDS}", zh=f"仅 {n} 个种子，下判定至少需 {MIN_SEEDS} 个")
    chosen = deciding(tests) if tests else 0
    results = [test_result(measured, test) for test in tests]
    verdict: Verdict = "not asked" if why else conjunction(tests)
    return CaseResult(
        case=case,
        verdict=verdict,
        estimate=results[chosen].estimate if results else None,
        interval=results[chosen].interval if results else None,
        deciding=chosen,
        tests=results,
        reason=why or (results[chosen].reason if verdict == "inconclusive" else None),
    )


def why_not_asked(measured: Measured, study: MeasuredStudy, posed: Posed, case: str | None) -> Words | None:
    """Why a claim has no figures in a case."""
    if "" in study.reasons:
        return study.reasons[""]
    if measured.data is not None and (posed.cases is not None or posed.claim.along_cases):
        return NOT_OF_YOUR_DATA
    if case is not None:
        return study.reasons.get(case)
    if not posed.claim.along_cases:  # none of its cases has a size
        return Words(en=f"not asked at {measured.budget}", zh=f"{measured.budget} 档未问")
    spoken_of = study.cases if posed.cases is None else posed.cases
    return next((study.reasons[c] for c in spoken_of if c in study.reasons), None)


def test_result(measured: Measured, found: Outcome) -> TestResult:
    number = found.test.number
    marks = [Words(en="skewed", zh="偏斜")] if found.skewed else []
    return TestResult(
        **vars(number),
        low=found.test.low,
        high=found.test.high,
        unit=measured.units.get(number.metric, "") if number.how in ("value", "difference") else "",
        verdict=found.verdict,
        estimate=found.estimate,
        interval=found.interval,
        n=found.n,
        over=found.over,  # type: ignore[arg-type]
        seen=found.seen,
        needs=found.needs,
        marks=marks,
        reason=open_reason(measured, found) if found.verdict == "inconclusive" else None,
    )


def open_reason(measured: Measured, found: Outcome) -> Words:
    """Why a test is inconclusive, and what would decide it."""
    if found.moved:
        arm, _ = found.moved
        return Words(en=f"still training: {arm}", zh=f"仍在训练：{chinese(arm, measured.stem)}")
    if found.bends:
        return Words(en="bends: no power law", zh="弯曲：不是幂律")
    by_row = found.over in ("rows", "items")
    if by_row and found.n == 0:
        return Words(en="arms or seeds differ in their test rows", zh="各臂或各种子的测试样本不一致")
    if not math.isfinite(found.estimate):
        return Words(en="not a finite number in every replicate", zh="并非每次重复都得到有限的数")
    if by_row and found.n == 1:
        return Words(en="one number where the study needs one per test row", zh="只有一个数，而本研究须每个样本一个")
    if found.coarse:
        return Words(en="replicates agree to within rounding: too coarse", zh="各次重复在舍入之内相同：指标太粗")
    if found.needs is None:
        if found.over == "rows":
            return Words(en="more test rows are needed, not seeds", zh="需要更多测试样本，而非更多种子")
        if found.over == "items":
            most = MOST_TIMES * found.n
            return Words(en=f"open with {most} test items too", zh=f"{most} 个测试样本也不能判定")
        return Words(en=f"open with {MOST_SEEDS} seeds too", zh=f"{MOST_SEEDS} 个种子也不能判定")
    if found.over == "items":
        return Words(en=f"a new run needs about {found.needs} test items", zh=f"新的运行约需 {found.needs} 个测试样本")
    return Words(en=f"a new run needs about {found.needs} seeds", zh=f"新的运行约需 {found.needs} 个种子")


def difference(left: Record, right: Record) -> list[dict[str, Any]]:
    """Claims whose verdict differs between two runs, or that only one of them has."""
    a, b = ({(m.stem, c.id): c for m, c in record.claims()} for record in (left, right))
    rows = []
    for stem, name in dict.fromkeys([*a, *b]):
        old, new = a.get((stem, name)), b.get((stem, name))
        if old is None or new is None or old.verdict != new.verdict:
            found = [c for c in (old, new) if c]
            rows.append({
                "stem": stem,
                "claim": name,
                "text": found[-1].text,
                "verdicts": [c.verdict if c else None for c in (old, new)],
                "estimates": [c.single.estimate if c and c.single else None for c in (old, new)],
            })  # fmt: skip
    return rows
