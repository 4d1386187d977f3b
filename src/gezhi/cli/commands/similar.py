"""`gezhi similar`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gezhi.cli.commands import TOOLS, Command, Json


class Metric(StrEnum):
    wmd = "wmd"
    wrd = "wrd"
    cosine = "cosine"


@dataclass(frozen=True)
class Similar:
    """Find the documents nearest to each query by word mover's or word rotator's distance, exactly."""

    documents: Annotated[str, typer.Argument(metavar="DOCS", help="Documents, one a line; - reads a pipe.")]
    query: Annotated[str, typer.Option("-q", "--query", help="Queries, one a line; - reads a pipe.")]
    vectors: Annotated[
        str,
        typer.Option(
            help="Word vectors (text, or word2vec's .bin), or an encoder: minilm, or a folder of Hugging Face."
        ),
    ]
    metric: Annotated[Metric, typer.Option(help="wrd: angles weighted by lengths; cosine: angles alone.")] = Metric.wrd
    neighbors: Annotated[int, typer.Option("-k", "--neighbors", help="Documents for each query.")] = 10
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help=".tsv or .json; default: TSV on standard output.")
    ] = None
    encoding: Annotated[str | None, typer.Option(help="Of the texts, such as gb18030; default: seen in each.")] = None
    json: Json = False

    def __call__(self) -> None:
        from gezhi.cli.similar import run_and_print

        run_and_print(self)


EXAMPLE = "gezhi similar docs.txt --query q.txt --vectors glove.txt --metric wrd -k 10"
COMMAND = Command(Similar, "similar", TOOLS, EXAMPLE)
