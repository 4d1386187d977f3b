"""`gezhi data`: what is at hand and how to get the rest."""

from __future__ import annotations

from gezhi import data
from gezhi.cli.flow import Flow, grid
from gezhi.cli.output import console, echo_json, note

HEADS = ("name", "kind", "rows", "licence", "here", "how to get it")


def print_sources(as_json: bool) -> None:
    """Name, kind, rows, licence, and whether it is here."""
    sources = data.describe()
    if as_json:
        echo_json(sources)
        return
    rows = []
    for row in sources:
        here, how = ("yes", "") if row["available"] else ("no", row["how_to_get"])
        count = "" if row["rows"] is None else str(row["rows"])
        rows.append([Flow(text) for text in (row["name"], row["kind"], count, row["licence"], here, how)])
    console().print(grid(rows, fixed=(0, 2, 4), heads=HEADS))


def get(name: str) -> None:
    """Fetch a source into the cache."""
    with console(err=True).status(f"fetching {name}"):
        path = data.fetch(name)
    note(str(path))
