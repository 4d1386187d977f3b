"""From a run's cells to its records: levels, costs, the tests as they are posed, environment."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import gezhi
from gezhi._catalogue import PACKAGE
from gezhi.lab import cells as on_disk
from gezhi.lab.figures import Figure
from gezhi.lab.record import Compute, Drawn, Environment, Levels, Measured, MeasuredStudy, Posed, Words, rounded
from gezhi.lab.run import Cells, Outcome, Plan
from gezhi.lab.study import Study, case_numbers, load_experiment
from gezhi.lab.verdicts import NOT_OF_YOUR_DATA


def measured_of(stem: str, plan: Plan, outcome: Outcome, command: str, before: Measured | None = None) -> Measured:
    """The record of one method; its seconds are those of all its cells, whenever they were measured.

    Args:
        before: the record that the folder held: a claim that it does not pose, of figures that it has, is posed after
            the run.
    """
    experiment = load_experiment(stem)
    cells = [c for s in experiment.studies for found in (outcome.cells, outcome.shorter)
             for c in found.get((stem, s.name), {}).values()]  # fmt: skip
    return Measured(
        stem=stem,
        budget=plan.budget,  # type: ignore[arg-type]
        seeds=plan.replicates(stem),
        look=plan.look,
        data=Path(plan.data.path).name if plan.data else None,
        when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seconds=round(sum(cell["seconds"] for cell in cells), 1),
        command=command,
        environment=environment(stem),
        units=dict(experiment.units),
        studies=[
            posed_since(measured_study(stem, study, plan, outcome), before, plan.data) for study in experiment.studies
        ],
    )


def posed_since(study: MeasuredStudy, before: Measured | None, data: on_disk.Data | None) -> MeasuredStudy:
    """The study with the claims marked that were posed, or changed, when its figures were known."""
    name = Path(data.path).name if data else None
    same = [old for old in before.studies if old.name == study.name] if before and before.data == name else []
    for old in same:
        if old.levels and (old.code, old.size, old.seeds) == (study.code, study.size, study.seeds):
            for claim, posed in study.claims.items():
                earlier = old.claims.get(claim)
                posed.after = earlier is None or earlier.after or not earlier.asks(posed.claim)
    return study


def measured_study(stem: str, study: Study, plan: Plan, outcome: Outcome) -> MeasuredStudy:
    """Levels and costs of a study, or why it has none."""
    asked = study.name in {s.name for s in plan.studies(stem)}
    cases = plan.cases(study) if asked else []
    seeds = plan.seeds_of(study)
    reasons = reasons_of(stem, study, outcome, cases) if asked else {"": why_not_asked(plan, study)}
    whole, shorter = (found.get((stem, study.name), {}) for found in (outcome.cells, outcome.shorter))
    done = [case for case in cases if case not in reasons]
    return MeasuredStudy(
        name=study.name,
        varies=study.varies,
        timed=study.timed,
        threads=study.threads if study.timed else 1,
        repeats=study.repeats if study.timed else 1,
        arms=list(study.arms),
        cases=places(study, cases),
        seeds=seeds,
        size=repr(study.sizes.get(plan.budget)),
        code=on_disk.study_code(stem, study.name, plan.budget),
        claims={name: Posed.of(claim) for name, claim in study.asked.items()},
        figures=[drawn(figure) for figure in study.figures],
        resolution=dict(study.resolution),
        levels=levels_of(study, whole, done, seeds),
        shorter=levels_of(study, shorter, done, plan.settling(study)),
        compute={case: {arm: cost_of(whole, case, arm) for arm in study.arms} for case in done},
        reasons=reasons,
    )


def reasons_of(stem: str, study: Study, outcome: Outcome, cases: Sequence[str]) -> dict[str, Words]:
    """Why cases have no figures."""
    found = {}
    for case in cases:
        for text, words in ((outcome.missing.get((stem, study.name, case)), _missing),
                            (outcome.failed.get((stem, study.name, case)), _failed)):  # fmt: skip
            if text:
                found[case] = words(text)
    return found


def _missing(text: str) -> Words:
    return Words(en=f"data not at hand: {text}", zh=f"数据不在手边：{text}")


def _failed(text: str) -> Words:
    return Words(en=f"the measurement failed: {text}", zh=f"测量失败：{text}")


def why_not_asked(plan: Plan, study: Study) -> Words:
    if plan.data is not None and not plan.accepts(study):
        return NOT_OF_YOUR_DATA
    if not study.cases and plan.data is None:
        return Words(en=f"needs your data (--data, {study.accepts})", zh=f"需要你的数据（--data，{study.accepts}）")
    return Words(en=f"not asked at {plan.budget}", zh=f"{plan.budget} 档未问")


def places(study: Study, cases: Sequence[str]) -> dict[str, float | None]:
    """Each case's number, where the cases have one."""
    try:
        return dict(zip(cases, case_numbers({case: study.cases[case] for case in cases}), strict=True))
    except (KeyError, TypeError, ValueError):
        return dict.fromkeys(cases)


def levels_of(study: Study, cells: Cells, cases: Sequence[str], seeds: Sequence[int]) -> Levels:
    """Each metric's level per seed, of the cases that are complete."""
    pictures = {figure.metric for figure in study.figures if figure.kind == "grid"}
    whole = [c for c in cases if seeds and all((c, arm, seed) in cells for arm in study.arms for seed in seeds)]
    return {
        case: {arm: _series([cells[case, arm, seed]["metrics"] for seed in seeds], pictures) for arm in study.arms}
        for case in whole
    }


def _series(metrics: Sequence[Mapping[str, Any]], pictures: Container[str]) -> dict[str, list[Any]]:
    """One level a seed; pictures of the first seed alone, since no more are shown."""
    common = [name for name in metrics[0] if all(name in cell for cell in metrics)]
    return {
        name: [[] if number and name in pictures else _rounded(cell[name]) for number, cell in enumerate(metrics)]
        for name in common
    }


def _rounded(level: Any) -> Any:
    """Rows as the file holds them."""
    return rounded(level) if isinstance(level, list) else level


def cost_of(cells: Cells, case: str, arm: str) -> Compute:
    """Median over seeds of what an arm cost."""
    mine = [cell for (c, a, _), cell in cells.items() if (c, a) == (case, arm)]
    found = {name: [cell[name] for cell in mine if cell[name] is not None] for name in Compute.model_fields}
    return Compute(**{name: float(np.round(median(v), 6)) if v else None for name, v in found.items()})  # type: ignore[arg-type]


def drawn(figure: Figure) -> Drawn:
    fields = {name: value for name, value in vars(figure).items() if name != "claims"}
    return Drawn(kind=figure.kind, claims=list(figure.claim_ids), **fields)  # type: ignore[arg-type]


def environment(*stems: str) -> Environment:
    versions = dict(on_disk.versions(*sorted(_packages(stems))))
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


def _packages(stems: Iterable[str]) -> set[str]:
    return {package for stem in stems for package in load_experiment(stem).packages}


def _commit() -> str | None:
    """Short hash of gezhi's repository, where the package runs from it; another may hold the environment."""
    if not (PACKAGE.parents[1] / ".git").exists():
        return None
    try:
        call = ["git", "-C", str(PACKAGE), "rev-parse", "--short", "HEAD"]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None
