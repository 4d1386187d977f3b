"""A whole run: look at what is there, measure what is missing, write record, replicates and report."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from gezhi import _catalogue
from gezhi._checks import invalid
from gezhi.lab.record import MethodResult, Record, load, merge, save, write_atomically
from gezhi.lab.results import record_of, with_q_values
from gezhi.lab.run import Event, Outcome, Plan, check_folder, execute

MOST_LOOKS = 3


def conduct(plan: Plan, command: str, on_event: Event, lang: Literal["en", "zh"] = "en") -> tuple[Record, Outcome]:
    """Run the plan; the folder then holds `result.json`, `report.html`, `results/<stem>/replicates.csv`, `cells/`.

    A folder that has results of other methods keeps them. A run with more seeds than the folder's last one is an
    extension: its verdicts are judged at 98 %, and there are at most three looks.

    Errors: OSError where the folder cannot be written; ValueError for a fourth look.
    """
    from gezhi.lab.report import write_report  # templates and drawing load only when there is something to show

    check_folder(plan.folder)
    before = load(plan.folder) if (plan.folder / "result.json").exists() else None
    looks = {stem: looks_so_far(plan, before, stem) for stem in plan.stems}
    outcome = execute(plan, on_event)
    record = record_of(plan, outcome, command, looks)
    together = with_q_values(merge(before, record))
    save(together, plan.folder)
    for method in record.methods:
        path = plan.folder / "results" / method.stem / "replicates.csv"
        write_atomically(path, replicates_csv(method))
    write_report(together, reference_run(), plan.folder / "report.html", lang)
    return record, outcome


def looks_so_far(plan: Plan, before: Record | None, stem: str) -> int:
    """How often these seeds were looked at, this run included: longer runs of the same question count."""
    name = Path(plan.data.path).name if plan.data else None
    for method in before.methods if before else ():
        if (method.stem, method.budget, method.data) == (stem, plan.budget, name):
            count = plan.replicates(stem)
            looks = method.looks + (count > method.seeds)
            if looks > MOST_LOOKS:
                raise invalid("--seeds", f"not extend a run more than {MOST_LOOKS - 1} times", count,
                              "Report what there is, or start afresh in another --out.")  # fmt: skip
            return looks
    return 1


def reference_run() -> Record | None:
    """The committed run, if this installation has one."""
    folder = _catalogue.reference()
    return load(folder) if (folder / "result.json").exists() else None


def replicates_csv(method: MethodResult) -> str:
    """Every number of the method, one a line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["study", "case", "arm", "metric", "seed", "index", "value"])
    writer.writerows(_replicates(method))
    return text.getvalue()


def _replicates(method: MethodResult) -> Iterator[list[Any]]:
    for study in method.studies:
        for case, arms in study.replicates.items():
            for arm, metrics in arms.items():
                for metric, values in metrics.items():
                    for seed, value in zip(study.seeds, values, strict=True):
                        points = value if isinstance(value, list) else [value]
                        yield from ([study.name, case, arm, metric, seed, i, v] for i, v in enumerate(points))
