"""Running toys without a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gezhi.lab.results import measured_of
from gezhi.lab.run import Outcome, Plan, execute
from gezhi.lab.verdicts import CaseResult, ClaimResult, Record, record_of


@dataclass(frozen=True)
class Run:
    """A finished run: its plan, its record, what is missing, and the events on the way."""

    plan: Plan
    record: Record
    outcome: Outcome
    events: list[tuple[str, str]]

    @property
    def claims(self) -> dict[str, ClaimResult]:
        """The claims by id."""
        return {claim.id: claim for _, claim in self.record.claims()}

    @property
    def cases(self) -> dict[str, CaseResult]:
        """Each claim's case by `id` or, where there are several, by `id@case`."""
        return {
            claim.id if claim.single else f"{claim.id}@{case.case}": case
            for claim in self.claims.values()
            for case in claim.cases
        }

    @property
    def notes(self) -> list[str]:
        return [text for kind, text in self.events if kind == "note"]

    @property
    def metrics(self) -> dict[tuple[str, str, int], dict[str, object]]:
        """What was measured in (case, arm, seed), for runs of one study."""
        (cells,) = self.outcome.cells.values()
        return {key: cell["metrics"] for key, cell in cells.items()}


def run_toys(home: Path, *toys: str, folder: Path | None = None, **asked: object) -> Run:
    """Measure and judge toys: `run_toys(home, "planted", seeds=5)`, in another folder if there is one."""
    plan = Plan([f"lab_toys.{toy}" for toy in toys], folder or home, **asked)  # type: ignore[arg-type]
    events: list[tuple[str, str]] = []
    outcome = execute(plan, lambda kind, text: events.append((kind, text)))
    record = record_of([measured_of(stem, plan, outcome, "a test") for stem in plan.stems])
    return Run(plan, record, outcome, events)
