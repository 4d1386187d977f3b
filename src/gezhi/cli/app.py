"""The commands joined, in two panels: the lab measures, the tools do a job."""

from __future__ import annotations

from typing import Annotated

import typer

import gezhi
from gezhi.cli.commands import TOOLS, communities, data, list, report, run, sample, show, similar, words

app = typer.Typer(
    name="gezhi",
    help="Methods from the notes of 科学空间: import them, read why they work, measure whether they do.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def version(value: bool) -> None:
    if value:
        typer.echo(gezhi.__version__)
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Nothing to do before a command."""


for command in (list, show, run, report, words, communities, similar, sample):
    command.COMMAND.add_to(app)
app.add_typer(data.app, name="data", rich_help_panel=TOOLS)
