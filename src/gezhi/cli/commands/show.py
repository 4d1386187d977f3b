"""`gezhi show`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from gezhi.cli.commands import LAB, Command, Json, Lang, Language


@dataclass(frozen=True)
class Show:
    """Show a method: the answer in short, question, formulas, and claims with their verdicts in the reference run."""

    method: Annotated[str, typer.Argument(help="A method's stem or another name of it, however it is spelt.")]
    open_page: Annotated[bool, typer.Option("--open", help="Open the method's page.")] = False
    lang: Lang = Language.en
    json: Json = False

    def __call__(self) -> None:
        from gezhi import _catalogue
        from gezhi.cli import showing

        method = _catalogue.find(self.method)
        if self.open_page:
            showing.open_page(method, self.lang.value)
        elif self.json:
            showing.print_json(method, self.lang.value)
        else:
            showing.print_method(method, self.lang.value)


COMMAND = Command(Show, "show", LAB, "gezhi show alternating_normalization")
