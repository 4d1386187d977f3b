"""`gezhi run`: what was asked, a progress bar, the table of verdicts."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from gezhi import _catalogue
from gezhi._checks import invalid
from gezhi.cli.words import claim_text, estimate_text
from gezhi.lab.cells import Data
from gezhi.lab.conduct import conduct
from gezhi.lab.record import Record
from gezhi.lab.run import Event, Outcome, Plan
from gezhi.lab.study import load_experiment

STYLE = {"supported": "blue", "refuted": "red", "inconclusive": "yellow", "not asked": "dim"}


@dataclass(frozen=True)
class Request:
    """The options of `gezhi run`."""

    methods: tuple[str, ...]
    every: bool
    budget: str
    seeds: int | None
    jobs: int
    data: Path | None
    label: str | None
    encoder: Path | None
    out: Path
    backend: str
    lang: str

    def plan(self) -> Plan:
        """The checked plan; ValueError says which option does not hold."""
        if self.every == bool(self.methods):
            raise invalid("METHOD", "name methods, or be --all", " ".join(self.methods) or "nothing")
        asked = _catalogue.methods() if self.every else dict.fromkeys(self.methods)
        stems = [_catalogue.find(stem).stem for stem in asked]
        if self.label and not self.data:
            raise invalid("--label", "come with --data", repr(self.label))
        if self.encoder and not self.data:
            raise invalid("--encoder", "come with --data", repr(str(self.encoder)))
        if self.encoder and not self.encoder.is_dir():
            raise invalid("--encoder", "be an existing folder", str(self.encoder))
        data = None
        if self.data is not None:
            if not self.data.exists():
                raise invalid("--data", "be an existing file", str(self.data))
            data = Data.of(self.data.resolve(), self.label, self.encoder and self.encoder.resolve())
        plan = Plan(stems, self.out.resolve(), self.budget, self.seeds, self.jobs, data, self.backend)
        return plan if data is None else replace(plan, kinds=kinds_of(data, plan))


def kinds_of(data: Data, plan: Plan) -> frozenset[str]:
    """Kinds as which the studies can read the file; ValueError, before the run, where no study can, with its fault."""
    wanted = {s.accepts for stem in plan.stems for s in load_experiment(stem).studies if s.accepts}
    fitting = sorted({str(study.accepts) for stem in plan.stems for study in plan.studies(stem)})
    if not fitting:
        takes = ", ".join(sorted(wanted)) or "no data of yours"
        raise invalid("--data", f"be of a kind that the method takes ({takes})", data.path)
    found, faults = set(), []
    for kind in fitting:
        try:
            data.load(kind)
            found.add(kind)
        except ValueError as fault:
            faults.append(fault)
    if not found:
        raise faults[0]
    return frozenset(found)


def run_and_print(request: Request, arguments: Sequence[str], as_json: bool) -> int:
    """Run, print verdicts (or the record as JSON), and return the exit code: 1 where a measurement failed."""
    from gezhi.cli.app import echo_json

    plan = request.plan()
    command = "gezhi " + shlex.join(arguments)
    with progress(quiet=as_json) as on_event:
        record, outcome = conduct(plan, command, on_event, cast(Literal["en", "zh"], request.lang))
    if as_json:
        import json

        echo_json(json.loads(record.dumps()))
    else:
        print_verdicts(record, request.lang)
        print_end(plan, outcome)
    return 1 if outcome.failed else 0


@contextmanager
def progress(quiet: bool) -> Iterator[Event]:
    """A progress bar on standard error, where that is a terminal, fed by the lab's events."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("planning", total=None)

        def on_event(kind: str, text: str) -> None:
            if kind == "plan":
                bar.update(task, total=int(text.split("/")[0]), description="measuring")
            elif kind == "job":
                bar.update(task, advance=1, description=text)
            else:
                bar.console.print(text, style="yellow", highlight=False, markup=False)

        yield on_event


def print_verdicts(record: Record, lang: str) -> None:
    """One row a claim that was asked, and a count of the others."""
    zh = lang == "zh"
    table = Table(box=None, pad_edge=False, show_edge=False)
    for name, options in (("verdict", {"no_wrap": True}), ("claim", {"ratio": 3}), ("estimate", {"justify": "right"}),
                          ("", {"style": "dim", "ratio": 1})):  # fmt: skip
        table.add_column(name, **options)
    for method in record.methods:
        table.add_row("", f"[bold]{escape(method.title.zh if zh else method.title.en)}[/]", "", "")
        for claim in (c for c in method.claims if c.verdict != "not asked" or c.tests):
            reason = (claim.reason.zh if zh else claim.reason.en) if claim.reason else ""
            weak = f"weak, q = {claim.q:.2g}" if claim.weak else ""
            verdict = f"[{STYLE[claim.verdict]}]{claim.verdict}[/]"
            texts = (claim_text(claim, method, lang), estimate_text(claim), reason or weak)
            table.add_row(verdict, *map(escape, texts))
    Console().print(table)
    silent = sum(not claim.tests for _, claim in record.claims())
    if silent:
        Console().print(f"{silent} claims were not asked in this run; the report says why.", style="dim")


def print_end(plan: Plan, outcome: Outcome) -> None:
    for kind, found in (("data missing", outcome.missing), ("failed", outcome.failed)):
        for (stem, study, case), text in found.items():
            line = f"{stem}, {study}, {case}: {kind}: {text}"
            Console(stderr=True).print(line, style="yellow", highlight=False, markup=False)
    Console().print(f"\nReport: {plan.folder / 'report.html'}", highlight=False, soft_wrap=True, markup=False)
