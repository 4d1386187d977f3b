"""`gezhi run`: what was asked, a progress bar, and what came out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, cast

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gezhi import _catalogue
from gezhi._checks import invalid
from gezhi.cli.commands.run import Run
from gezhi.cli.output import console, echo_json, note
from gezhi.cli.phrases import in_language
from gezhi.cli.reporting import REPORT
from gezhi.cli.verdicts import print_record
from gezhi.data import KINDS
from gezhi.lab.cells import Data
from gezhi.lab.conduct import conduct
from gezhi.lab.record import Words
from gezhi.lab.run import Event, Outcome, Plan, kind_fits
from gezhi.lab.study import load_experiment

PLANNING, MEASURING = Words(en="planning", zh="规划"), Words(en="measuring", zh="测量")
MISSING, FAILED = Words(en="data missing", zh="缺数据"), Words(en="failed", zh="失败")


def plan_of(asked: Run) -> Plan:
    """The checked plan; ValueError says which option does not hold."""
    methods = asked.methods or []
    if asked.every == bool(methods):
        raise invalid("METHOD", "name methods, or be --all", " ".join(methods) or "nothing")
    named = _catalogue.methods() if asked.every else dict.fromkeys(methods)
    stems = list(dict.fromkeys(_catalogue.find(name).stem for name in named))
    data = data_of(asked)
    plan = Plan(stems, asked.out.resolve(), asked.budget.value, asked.seeds, asked.jobs, data, asked.backend,
                look=asked.look)  # fmt: skip
    return plan if data is None else replace(plan, kinds=kinds_of(data, plan))


def data_of(asked: Run) -> Data | None:
    """The user's file with what reads it."""
    for option, value in (("--label", asked.label), ("--encoder", asked.encoder)):
        if value and not asked.data:
            raise invalid(option, "come with --data", repr(str(value)))
    if asked.encoder and not asked.encoder.is_dir():
        raise invalid("--encoder", "be an existing folder", str(asked.encoder))
    if asked.data is None:
        return None
    if not asked.data.exists():
        raise invalid("--data", "be an existing file", str(asked.data))
    return Data.of(asked.data.resolve(), asked.label, asked.encoder and asked.encoder.resolve())


def kinds_of(data: Data, plan: Plan) -> frozenset[str]:
    """Kinds as which the studies can read the file; ValueError, before the run, where no study can, with its fault."""
    fitting = sorted({str(study.accepts) for stem in plan.stems for study in plan.studies(stem)})
    if not fitting:
        raise not_taken(data, plan)
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


def not_taken(data: Data, plan: Plan) -> Exception:
    """Why no study takes the file: its kind, or the budget."""
    studies = [s for stem in plan.stems for s in load_experiment(stem).studies if s.accepts]
    budgets = sorted({b for s in studies if kind_fits(str(s.accepts), data.path) for b in s.sizes})
    if budgets:
        must = f"be a budget at which a study takes this file ({', '.join(budgets)})"
        return invalid("--budget", must, plan.budget)
    kinds = sorted({str(s.accepts) for s in studies})
    takes = ", ".join(f"*{kind}* ({' '.join(KINDS[kind].endings)})" for kind in kinds) or "no data of yours"
    return invalid("--data", f"be of a kind that the method takes: {takes}", data.path)


def run_and_print(asked: Run, arguments: Sequence[str]) -> int:
    """Run, print the outcome (or the record as JSON), and return the exit code: 1 where a measurement failed."""
    plan, lang = plan_of(asked), asked.lang.value
    command = "gezhi " + shlex.join(without_folder(arguments))
    with progress(lang, quiet=asked.json) as on_event:
        record, outcome = conduct(plan, command, on_event, cast(Literal["en", "zh"], lang))
    if asked.json:
        echo_json(json.loads(record.dumps()))
    else:
        print_record(record, lang, verbose=asked.verbose)
        print_end(plan, outcome, lang)
    return 1 if outcome.failed else 0


def without_folder(arguments: Sequence[str]) -> list[str]:
    """The arguments less `--out`: where a record lies changes nothing in it, and records are shown to others."""
    kept = [a for a in arguments if not a.startswith("--out=")]
    return [a for a, before in zip(kept, ["", *kept], strict=False) if "--out" not in (a, before)]


@contextmanager
def progress(lang: str, *, quiet: bool) -> Iterator[Event]:
    """A progress bar on standard error, where that is a terminal, fed by the lab's events."""
    out = console(err=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True, disable=quiet or not out.is_terminal) as bar:
        task = bar.add_task(in_language(PLANNING, lang), total=None)

        def on_event(kind: str, text: str) -> None:
            if kind == "plan":
                bar.update(task, total=int(text.split("/")[0]), description=in_language(MEASURING, lang))
            elif kind == "job":
                bar.update(task, advance=1, description=text)
            else:
                bar.console.print(text, style="yellow", soft_wrap=True)

        yield on_event


def print_end(plan: Plan, outcome: Outcome, lang: str) -> None:
    """What was not measured, and where the report lies."""
    for words, found in ((MISSING, outcome.missing), (FAILED, outcome.failed)):
        for (stem, study, case), text in found.items():
            note(f"{stem}, {study}, {case}: {in_language(words, lang)}: {text}", err=True, style="yellow")
    note(in_language(REPORT, lang).format(plan.folder / "report.html"))
