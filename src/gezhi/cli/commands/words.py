"""`gezhi words`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gezhi.cli.commands import TOOLS, Command, Json


class Engine(StrEnum):
    local = "local"
    spark = "spark"


class Preset(StrEnum):
    of_2017 = "2017"
    of_2019 = "2019"


class Errors(StrEnum):
    strict = "strict"
    replaced = "replace"


class Format(StrEnum):
    tsv = "tsv"
    json = "json"
    jieba = "jieba"


@dataclass(frozen=True)
class Words:
    """Find the words of raw text in a language written without blanks, such as Chinese."""

    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Files, folders or patterns, gzip and Zstandard too; - reads a pipe."),
    ]
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help=".tsv, .json, or .txt and .dict for jieba; default: TSV on standard output."
        ),
    ] = None
    format: Annotated[Format | None, typer.Option(help="Of the output, whatever its name.")] = None
    html: Annotated[Path | None, typer.Option(help="Write a page of the top words.")] = None
    min_count: Annotated[int | None, typer.Option(help="Occurrences below which nothing counts.")] = None
    thresholds: Annotated[
        str | None, typer.Option(help="Of 2, 3, … characters, such as 2,4,6; longer lists allow longer n-grams.")
    ] = None
    preset: Annotated[Preset, typer.Option(help="The settings of which article.")] = Preset.of_2019
    keep: Annotated[
        str | None, typer.Option(help="Inside of a regular-expression class; default: Han, digits, Latin letters.")
    ] = None
    min_length: Annotated[int, typer.Option(help="Leave out shorter words.")] = 1
    top: Annotated[int | None, typer.Option(help="Only so many words, the most frequent ones.")] = None
    known: Annotated[
        Path | None, typer.Option(help="A dictionary, a word first on each line: only words that it lacks.")
    ] = None
    encoding: Annotated[str | None, typer.Option(help="Of all files, such as gb18030; default: seen in each.")] = None
    errors: Annotated[Errors, typer.Option(help="What cannot be decoded ends the run, or separates words.")] = (
        Errors.strict
    )
    memory: Annotated[str, typer.Option(help="For text, counts and windows; the rest goes to temporary files.")] = "1GB"
    tmp: Annotated[Path | None, typer.Option(help="Folder for temporary files.")] = None
    jobs: Annotated[int, typer.Option(help="Threads; -1: all cores.")] = -1
    engine: Annotated[Engine, typer.Option(help="This machine, or Spark.")] = Engine.local
    master: Annotated[str | None, typer.Option(help="Where Spark runs; default: as spark-submit says.")] = None
    json: Json = False

    def __call__(self) -> None:
        from gezhi.cli.words import run_and_print

        run_and_print(self)


EXAMPLE = "gezhi words corpus/ -o words.tsv --html words.html"
COMMAND = Command(Words, "words", TOOLS, EXAMPLE)
