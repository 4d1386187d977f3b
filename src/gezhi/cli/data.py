"""`gezhi data`: what is at hand and how to get the rest."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gezhi import data


def print_sources(as_json: bool) -> None:
    """Name, kind, rows, licence, and whether it is here."""
    from gezhi.cli.app import echo_json

    sources = data.describe()
    if as_json:
        echo_json(sources)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("name", "kind", "rows", "licence", "here", "how to get it"):
        table.add_column(name, justify="right" if name == "rows" else "left", no_wrap=name in ("name", "rows", "here"))
    for row in sources:
        here = "yes" if row["available"] else "no"
        how = "" if row["available"] else row["how_to_get"]
        rows = "" if row["rows"] is None else str(row["rows"])
        table.add_row(row["name"], row["kind"], rows, row["licence"], here, escape(how))
    Console().print(table)


def get(name: str) -> None:
    """Fetch a source into the cache."""
    console = Console(stderr=True)
    with console.status(f"fetching {escape(name)}"):
        path = data.fetch(name)
    Console().print(str(path), highlight=False, soft_wrap=True, markup=False)
