"""A whole run: measure what is missing, then write records, `result.json` and report."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock

from gezhi._checks import invalid
from gezhi.lab.pages import Lang
from gezhi.lab.record import Measured, load, load_all, save, write_atomically
from gezhi.lab.reference import reference_run
from gezhi.lab.results import measured_of
from gezhi.lab.run import Event, Outcome, Plan, check_folder, execute
from gezhi.lab.verdicts import Record, record_of


def conduct(plan: Plan, command: str, on_event: Event, lang: Lang = "en") -> tuple[Record, Outcome]:
    """Run the plan; the folder then holds `results/<stem>.json`, `result.json`, `report.html`, `cells/`.

    A folder that has results of other methods keeps them, also those that another run writes meanwhile.

    Errors: OSError where the folder cannot be written; ValueError for more seeds than a claim was looked at with.
    """
    from gezhi.lab.report import write_report  # templates and drawing load only when there is something to show

    check_folder(plan.folder)
    before = {record.stem: record for record in records_in(plan.folder)}
    for stem in plan.stems:
        check_look(plan, stem, before.get(stem))
    outcome = execute(plan, on_event)
    found = [measured_of(stem, plan, outcome, command, before.get(stem)) for stem in plan.stems]
    with FileLock(plan.folder / ".lock"):  # another run may join its results now
        for measured in found:
            save(measured, plan.folder / "results")
        together = record_of(load_all(plan.folder))
        write_atomically(plan.folder / "result.json", together.dumps())
        write_report(together, reference_run(), plan.folder / "report.html", lang)
    return record_of(found), outcome


def records_in(folder: Path) -> list[Measured]:
    """The records that a run's folder holds already, read before anything is measured."""
    return [load(path) for path in sorted((folder / "results").glob("*.json"))]


def check_look(plan: Plan, stem: str, before: Measured | None) -> None:
    """ValueError where these seeds were looked at with fewer of them: a verdict that did not please is not extended."""
    if before is None:
        return
    name = Path(plan.data.path).name if plan.data else None
    count = plan.replicates(stem)
    if (before.budget, before.data, before.look) == (plan.budget, name, plan.look) and count > before.seeds:
        raise invalid("--seeds", f"not extend a run of {before.seeds} seeds that was looked at", count,
                      f"Measure afresh: --look {plan.look + 1} takes new seeds.")  # fmt: skip
