"""Verdicts that changed between two reference runs: the last acknowledged ones, and a table with a reason a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from _tools.house import House, Problem
from gezhi.lab.verdicts import Record

Verdicts = dict[str, dict[str, str]]  # method, claim
HEAD = """---
orphan: true
---

# Verdicts that changed

Newest first. `make pages` writes a line for every verdict of the reference run that changed; the reason is typed.

| Date | Method | Claim | Before | After | Why |
|---|---|---|---|---|---|
"""
ROW = re.compile(r"^\| (\S+) \| `([^`]+)` \| `([^`]+)` \| ([^|]+?) \| ([^|]+?) \| *(.*?) *\|$", re.M)


@dataclass(frozen=True)
class Change:
    """A line of the table."""

    date: str
    stem: str
    claim: str
    before: str
    after: str
    why: str = ""

    def __str__(self) -> str:
        return f"| {self.date} | `{self.stem}` | `{self.claim}` | {self.before} | {self.after} | {self.why} |"


def follow(house: House, reference: Record | None, *, write: bool) -> Iterator[Problem]:
    """Write what changed, or tell of it; a line without a reason is told in either case."""
    acknowledged, table = house.results / "verdicts.json", house.results / "history.md"
    known, now = read(acknowledged), verdicts_of(reference)
    text = table.read_text("utf-8") if table.exists() else ""
    broken = list(unread(text))
    for number, line in broken:
        yield house.problem(table, number, f"cannot be read as a line of the table: {line}")
    if broken:
        return  # written anew they would be lost
    lines = changes_in(text)
    if write and (known != now or not text.startswith(HEAD)):
        lines = with_changes(lines, known, now, datetime.now(UTC).strftime("%Y-%m-%d"))
        house.results.mkdir(parents=True, exist_ok=True)
        acknowledged.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        table.write_text(HEAD + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    elif known != now:
        yield house.problem(acknowledged, 1, f"{'; '.join(differences(known, now))}: run make pages")
    text = table.read_text("utf-8") if table.exists() else ""
    for line in lines:
        if not line.why:
            place = text.count("\n", 0, text.find(str(line)[:-2].rstrip())) + 1
            yield house.problem(
                table, place, f"`{line.claim}` of {line.stem} needs a reason: {line.before} → {line.after}"
            )


def read(path: Path) -> Verdicts:
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def verdicts_of(reference: Record | None) -> Verdicts:
    """Every verdict of the reference run."""
    methods = reference.methods if reference else []
    return {method.stem: {claim.id: claim.verdict for claim in method.claims} for method in methods}


def changes_in(text: str) -> list[Change]:
    return [Change(*row) for row in ROW.findall(text)]


def unread(text: str) -> Iterator[tuple[int, str]]:
    """Lines below the table's head that are no change."""
    below = False
    for number, line in enumerate(text.splitlines(), 1):
        if below and line.strip() and not ROW.fullmatch(line):
            yield number, line
        below = below or line.startswith("|---")


def with_changes(lines: list[Change], known: Verdicts, now: Verdicts, date: str) -> list[Change]:
    """The table with a line for each changed verdict on top; a change without a reason yet is gone on from."""
    new = []
    for stem, claim, before, after in changed(known, now):
        open_line = next((x for x in lines if (x.stem, x.claim, x.why) == (stem, claim, "")), None)
        if open_line:
            lines = [line for line in lines if line is not open_line]
            before = open_line.before
        if before != after:
            new.append(Change(date, stem, claim, before, after))
    return [*new, *lines]


def changed(known: Verdicts, now: Verdicts) -> Iterator[tuple[str, str, str, str]]:
    """Claims whose verdict is another one now; new and dropped claims are no change."""
    for stem, claims in now.items():
        for claim, verdict in claims.items():
            before = known.get(stem, {}).get(claim)
            if before is not None and before != verdict:
                yield stem, claim, before, verdict


def differences(known: Verdicts, now: Verdicts) -> list[str]:
    """What of the acknowledged verdicts holds no more."""
    found = [f"{stem} `{claim}` was {before} and is {after}" for stem, claim, before, after in changed(known, now)]
    return found or ["the claims of the reference run are others"]
