"""What is generated on pages, in the README and in the index, and whether pages, records and history agree.

`python docs/generate.py` writes; `--check` only tells what disagrees and exits with 1; `--release` also wants every
page in both languages.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from _tools import checks, filling, history, posing
from _tools.house import House, Problem

from gezhi.lab.names import tables
from gezhi.lab.pages import page
from gezhi.lab.verdicts import record_of

ROOT = Path(__file__).parent.parent


def main(arguments: list[str], root: Path = ROOT) -> int:
    write, house = "--check" not in arguments and "--release" not in arguments, House(root)
    for cached in (page, tables):
        cached.cache_clear()
    problems = list(found(house, write=write))
    for problem in problems:
        print(problem)
    for text in posing.other_code(posing.records(house)):
        print(f"note: {text}")
    drafts = list(house.drafts())
    for method in drafts:
        print(f"note: {house.page(method.stem).relative_to(root)} is a draft: it has no Chinese yet")
    return bool(problems) or ("--release" in arguments and bool(drafts))


def found(house: House, *, write: bool) -> Iterator[Problem]:
    """Records first, since verdicts follow from them, and pages from verdicts; nothing while marks cannot be read."""
    unreadable = list(checks.unreadable(house))
    if unreadable:
        yield from unreadable
        return
    yield from posing.follow(house, posing.records(house), write=write)
    records = posing.records(house)
    reference = record_of(records) if records else None
    yield from history.follow(house, reference, write=write)
    yield from filling.fill(house, reference, write=write)
    yield from checks.check(house, reference)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
