"""`gezhi list`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from gezhi.cli.commands import LAB, Command, Json, Lang, Language


@dataclass(frozen=True)
class List:
    """List the methods: what each article says, whether it is true, and the answer in short."""

    wing: Annotated[str | None, typer.Option(help="Only the methods of this wing, such as losses.")] = None
    lang: Lang = Language.en
    json: Json = False

    def __call__(self) -> None:
        from gezhi.cli import listing

        methods = listing.methods_of(self.wing)
        if self.json:
            listing.print_json(methods)
        else:
            listing.print_theses(methods, self.lang.value)


COMMAND = Command(List, "list", LAB, "gezhi list --wing losses")
