"""The signatures: a command is a frozen dataclass whose fields are the options, and calling it does the work.

They load Typer alone, so that `gezhi --help` is there at once; what does the work is imported when it is asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from gezhi.cli.output import one_sentence

LAB, TOOLS = "The lab", "The tools"
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


class Language(StrEnum):
    en = "en"
    zh = "zh"


Lang = Annotated[Language, typer.Option(help="Language of what is printed.")]


@dataclass(frozen=True)
class Command:
    """A dataclass with its name, where the help shows it, and what is left of it when it is interrupted."""

    request: Callable[..., Callable[[], int | None]]
    name: str
    panel: str
    example: str
    interrupted: str = "Nothing half-written is left."

    def add_to(self, app: typer.Typer) -> None:
        """Register it; Typer reads its options from the dataclass, so that each is typed once."""

        def call(**options: Any) -> None:
            with one_sentence(self.interrupted):
                code = self.request(**options)()
            if code:
                raise typer.Exit(code)

        call.__doc__ = self.request.__doc__
        signature = inspect.signature(self.request, eval_str=True)
        call.__signature__ = signature.replace(return_annotation=None)  # type: ignore[attr-defined]
        app.command(self.name, rich_help_panel=self.panel, epilog=f"Example: {self.example}")(call)
