"""What every command ends with: one sentence on bad input, JSON, and consoles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def one_sentence(interrupted: str = "") -> Iterator[None]:
    """Bad input ends with one sentence and exit code 2, an interrupt with 130, saying what is left then."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"\nInterrupted. {interrupted}".rstrip(), err=True)
        raise typer.Exit(130) from None
    except BrokenPipeError:
        raise  # whoever reads our output has enough: Click ends quietly
    except (ValueError, TypeError, FloatingPointError, ModuleNotFoundError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}." if error.filename else str(error))
    except Exception as error:
        from gezhi.data import DataUnavailable  # only now: it loads the readers of data

        if not isinstance(error, DataUnavailable):
            raise
        fail(str(error))


def fail(sentence: str) -> None:
    """End with exit code 2."""
    typer.echo(f"gezhi: {sentence}", err=True)
    raise typer.Exit(2)


def echo_json(value: Any) -> None:
    """One JSON document on standard output."""
    import json

    typer.echo(json.dumps(value, ensure_ascii=False, indent=1))


def console(*, err: bool = False) -> Console:
    """Standard output, or standard error; nothing in a text is taken for markup or coloured as code."""
    from rich.console import Console

    return Console(stderr=err, highlight=False, markup=False, emoji=False)


def note(text: str, *, err: bool = False, style: str | None = None) -> None:
    """A line that a terminal may wrap anywhere: a path stays one path."""
    console(err=err).print(text, style=style, soft_wrap=True)


def harmless(cell: str) -> str:
    """A cell of a table that no spreadsheet runs."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
