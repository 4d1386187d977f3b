"""`gezhi run`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gezhi.cli.commands import LAB, Command, Json, Lang, Language


class Budget(StrEnum):
    smoke = "smoke"
    quick = "quick"
    full = "full"


@dataclass(frozen=True)
class Run:
    """Measure the claims of methods, on built-in data or on yours, and write a report."""

    methods: Annotated[list[str] | None, typer.Argument(metavar="[METHOD]...", help="Which methods.")] = None
    every: Annotated[bool, typer.Option("--all", help="All methods.")] = False
    budget: Annotated[Budget, typer.Option(help="How much to compute.")] = Budget.quick
    seeds: Annotated[int | None, typer.Option(help="Replicates; default 5 at quick, 10 at full.")] = None
    look: Annotated[int, typer.Option(help="The how manieth run of the question; each has seeds of its own.")] = 1
    jobs: Annotated[int, typer.Option(help="Processes; timed studies always run alone.")] = 1
    data: Annotated[Path | None, typer.Option(help="Your file, instead of the built-in cases.")] = None
    label: Annotated[str | None, typer.Option(help="Label column of a table; default: the last.")] = None
    encoder: Annotated[
        Path | None, typer.Option(help="Folder of the model that reads your texts; default: a packaged one.")
    ] = None
    out: Annotated[Path, typer.Option(help="Folder for results; measured cells in it are not measured again.")] = Path(
        "runs"
    )
    backend: Annotated[str, typer.Option(help="Any registered joblib backend.")] = "loky"
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print every claim, not the theses alone.")] = False
    lang: Lang = Language.en
    json: Json = False

    def __call__(self) -> int:
        from gezhi.cli.running import run_and_print

        return run_and_print(self, sys.argv[1:])


EXAMPLE = "gezhi run closed_form_logistic --data my.csv --label y"
RESUMES = "What was measured is kept; run the same command again to go on."
COMMAND = Command(Run, "run", LAB, EXAMPLE, RESUMES)
