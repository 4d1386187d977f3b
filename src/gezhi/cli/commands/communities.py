"""`gezhi communities`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gezhi.cli.commands import TOOLS, Command, Json


class TeleportTo(StrEnum):
    links = "links"
    nodes = "nodes"


@dataclass(frozen=True)
class Communities:
    """Find the communities of a graph by the map equation (Infomap)."""

    file: Annotated[
        str, typer.Argument(help="A table of edges, GraphML, GEXF, GML, Pajek, a link list; - reads a table.")
    ]
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help=".csv, .json or .tree; default: CSV on standard output.")
    ] = None
    plot: Annotated[Path | None, typer.Option(help="Draw the graph into this HTML file.")] = None
    directed: Annotated[
        bool | None,
        typer.Option("--directed/--undirected", help="Default: as the file says; a table is undirected."),
    ] = None
    header: Annotated[
        bool | None,
        typer.Option("--header/--no-header", help="Whether the first row names columns; default: seen."),
    ] = None
    weighted: Annotated[bool, typer.Option("--weighted/--unweighted", help="Whether weights count.")] = True
    tree: Annotated[bool, typer.Option("--tree/--two-level", help="Modules inside modules, or one level.")] = False
    trials: Annotated[int, typer.Option(help="Searches; the best is kept.")] = 10
    seed: Annotated[int, typer.Option(help="The same seed finds the same modules.")] = 0
    markov_time: Annotated[float, typer.Option(help="Larger: fewer modules.")] = 1.0
    teleportation: Annotated[float, typer.Option(help="Chance of a jump, on directed graphs.")] = 0.15
    recorded: Annotated[bool, typer.Option("--recorded", help="Encode the jumps, as the article does.")] = False
    teleport_to: Annotated[TeleportTo, typer.Option(help="Where jumps land.")] = TeleportTo.links
    json: Json = False

    def __call__(self) -> None:
        from gezhi.cli.communities import Request, run_and_print

        request = Request(
            path=self.file,
            output=self.output,
            plot=self.plot,
            directed=self.directed,
            header=self.header,
            weighted=self.weighted,
            two_level=not self.tree,
            trials=self.trials,
            seed=self.seed,
            markov_time=self.markov_time,
            teleportation=self.teleportation,
            recorded=self.recorded,
            teleport_to=self.teleport_to.value,
        )
        run_and_print(request, self.json)


EXAMPLE = "gezhi communities edges.csv -o communities.csv --plot communities.html"
COMMAND = Command(Communities, "communities", TOOLS, EXAMPLE)
