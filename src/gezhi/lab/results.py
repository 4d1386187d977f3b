"""From a run's cells to its record: verdicts, scopes, costs, environment."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gezhi
from gezhi._catalogue import PACKAGE, methods
from gezhi.lab import cells as on_disk
from gezhi.lab.judge import Judged, result
from gezhi.lab.record import ClaimResult, Compute, Environment, MethodResult, Record, StudyResult, Words
from gezhi.lab.run import Outcome, Plan, median_cost
from gezhi.lab.stats import benjamini_hochberg
from gezhi.lab.study import Study, load_experiment

LEVEL, LEVEL_WHEN_EXTENDED = 0.95, 0.98
WEAK = 0.05


def record_of(plan: Plan, outcome: Outcome, command: str, looks: Mapping[str, int]) -> Record:
    """The record of a finished run."""
    where = environment(plan.stems)
    found = [method_result(stem, plan, outcome, looks.get(stem, 1), where) for stem in plan.stems]
    return with_q_values(Record(environment=where, command=command, methods=found))


def method_result(stem: str, plan: Plan, outcome: Outcome, looks: int, where: Environment) -> MethodResult:
    """Claims and studies of one method; its seconds are those of all its cells, whenever they were measured."""
    experiment = load_experiment(stem)
    method = methods().get(stem)
    title = Words(en=method.title, zh=method.title_zh) if method else Words(en=stem, zh=stem)
    asked = {study.name for study in plan.studies(stem)}
    level = LEVEL if looks == 1 else LEVEL_WHEN_EXTENDED
    claims: list[ClaimResult] = []
    studies: list[StudyResult] = []
    for study in experiment.studies:
        unasked = None if study.name in asked else why_not_asked(plan, study)
        reasons = reasons_by_case(plan, outcome, stem, study, unasked)
        cells = outcome.cells.get((stem, study.name), {})
        measured = {key: cell for key, cell in cells.items() if reasons.get(key[0]) is None}
        claims += claim_results(plan, study, measured, reasons, level)
        studies.append(study_result(plan, study, measured, reasons))
    return MethodResult(
        stem=stem,
        wing=method.wing if method else "",
        title=title,
        articles=list(method.articles) if method else [],
        budget=plan.budget,  # type: ignore[arg-type]
        seeds=plan.replicates(stem),
        looks=looks,
        data=Path(plan.data.path).name if plan.data else None,
        when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seconds=round(
            sum(c["seconds"] for s in experiment.studies for c in outcome.cells.get((stem, s.name), {}).values()), 1
        ),
        environment=where,
        zh=dict(experiment.zh),
        claims=claims,
        studies=studies,
    )


Reasons = Mapping[str | None, Words | None]  # why a case was not measured; None stands for a study without cases


def reasons_by_case(plan: Plan, outcome: Outcome, stem: str, study: Study, unasked: Words | None) -> Reasons:
    """Why each case of a study has no figures, or None where it has."""
    found: dict[str | None, Words | None] = {None: unasked}
    for case in plan.cases(study):
        found[case] = unasked
        for kind, texts in (("missing", outcome.missing), ("failed", outcome.failed)):
            text = texts.get((stem, study.name, case))
            found[case] = _problem(kind, text) if text else found[case]
    return found


def claim_results(
    plan: Plan, study: Study, cells: Mapping[Any, Any], reasons: Reasons, level: float
) -> list[ClaimResult]:
    """Every claim of a study in every case it speaks of; a trend over cases needs them all."""
    seeds = study.replicates(plan.budget, plan.seeds)
    names = plan.cases(study)
    cases = dict(study.cases) if plan.data is None else dict.fromkeys(names)
    judged = Judged(study, {k: c["metrics"] for k, c in cells.items()}, seeds, cases, level)
    found = []
    for claim in study.claims:
        elsewhere = plan.data is not None and (claim.at is not None or claim.along_cases)
        where: Sequence[str | None] = [claim.at] if claim.at else [None] if claim.along_cases else names
        for case in where or [None]:
            spoken_of = reasons.values() if claim.along_cases else [reasons.get(case)]
            why = next(filter(None, spoken_of), None) or (NOT_OF_YOUR_DATA if elsewhere else None)
            tests = judged.claim(claim, case) if why is None else []
            why = why or (NO_VERDICTS if plan.budget == "smoke" else None)
            single = case if len(study.cases) != 1 or plan.data else None
            found.append(result(study, claim, single, tests=tests, not_asked=why, level=level, seeds=len(seeds)))
    return found


NOT_OF_YOUR_DATA = Words(en="not asked of your data", zh="不针对你的数据")
NO_VERDICTS = Words(en="a smoke run gives no verdicts", zh="smoke 档不下判定")


def why_not_asked(plan: Plan, study: Study) -> Words:
    if plan.data is not None and not plan.accepts(study):
        return NOT_OF_YOUR_DATA
    if not study.cases and plan.data is None:
        return Words(en=f"needs your data (--data, {study.accepts})", zh=f"需要你的数据（--data，{study.accepts}）")
    return Words(en=f"not asked at {plan.budget}", zh=f"{plan.budget} 档未问")


def _problem(kind: str, text: str) -> Words:
    if kind == "missing":
        return Words(en=f"data not at hand: {text}", zh=f"数据不在手边：{text}")
    return Words(en=f"the measurement failed: {text}", zh=f"测量失败：{text}")


def study_result(plan: Plan, study: Study, cells: Mapping[Any, Any], reasons: Reasons) -> StudyResult:
    seeds, cases = study.replicates(plan.budget, plan.seeds), plan.cases(study)
    complete = {case for case in cases if all((case, arm, seed) in cells for arm in study.arms for seed in seeds)}
    replicates = {
        case: {arm: _series([cells[case, arm, seed]["metrics"] for seed in seeds], study) for arm in study.arms}
        for case in cases if case in complete
    }  # fmt: skip
    cost = {
        case: {arm: Compute.model_validate({name: median_cost(cells, case, arm, name) for name in Compute.model_fields})
               for arm in study.arms}
        for case in cases if case in complete
    }  # fmt: skip
    return StudyResult(
        name=study.name,
        varies=study.varies,
        alone=study.alone,
        threads=study.threads if study.alone else 1,
        arms=list(study.arms),
        cases=cases,
        seeds=seeds,
        size=repr(study.sizes.get(plan.budget)),
        replicates=replicates,
        compute=cost,
        reason=None if complete else next(filter(None, reasons.values()), None),
    )


def _series(metrics: Sequence[Mapping[str, Any]], study: Study) -> dict[str, list[Any]]:
    """Each metric's number per seed; arrays over test items become their mean, profiles of exact studies stay."""

    def reduced(value: Any) -> Any:
        array: NDArray[np.float64] = np.asarray(value, dtype=float)
        if array.ndim and study.exact:
            return [float(v) if np.isfinite(v) else None for v in array]
        mean = float(array.mean()) if array.size else float("nan")
        return mean if np.isfinite(mean) else None

    common = [name for name in metrics[0] if all(name in cell for cell in metrics)]
    return {name: [reduced(cell[name]) for cell in metrics] for name in common}


def with_q_values(record: Record) -> Record:
    """Benjamini-Hochberg q over the run's noisy claims; verdicts with q > .05 are marked weak."""
    noisy = [c for _, c in record.claims() if c.verdict != "not asked" and not c.exact and c.tests]
    ps = [1.0 if (p := c.tests[c.deciding].p) is None else p for c in noisy]
    for claim, p, q in zip(noisy, ps, benjamini_hochberg(ps), strict=True):
        decided = claim.verdict in ("supported", "refuted")
        claim.q = max(q, p)
        claim.weak = decided and q > WEAK
    return record


def environment(stems: Iterable[str]) -> Environment:
    others = sorted({package for stem in stems for package in load_experiment(stem).packages})
    versions = dict(on_disk.versions(*others))
    versions.pop("python")
    return Environment(
        gezhi=gezhi.__version__,
        python=platform.python_version(),
        packages=versions,
        machine=platform.machine(),
        cpu=on_disk.cpu(),
        cores=os.cpu_count() or 1,
        commit=_commit(),
    )


def _commit() -> str | None:
    """Short hash of gezhi's repository, where the package runs from it; another may hold the environment."""
    if not (PACKAGE.parents[1] / ".git").exists():
        return None
    try:
        call = ["git", "-C", str(PACKAGE), "rev-parse", "--short", "HEAD"]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None
