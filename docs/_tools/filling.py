"""Generated parts of hand-written files: between `<!-- generated:NAME -->` and `<!-- /generated -->`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from _tools import attacked, index, lexicon, parts, sampled, swapped
from _tools.house import LANGS, House, Problem
from gezhi._catalogue import methods
from gezhi.lab.verdicts import Record


def generated(house: House, reference: Record | None) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """Every file that has generated parts, with these."""
    results = reference.by_stem if reference else {}
    for lang, suffix in LANGS:
        for method in methods().values():
            found = {"results": parts.results_part(results.get(method.stem), lang)}
            yield house.page(method.stem, suffix), found
        found = {"theses": parts.theses_part(house, results, lang), "methods": parts.methods_part(house, lang)}
        yield house.root / f"README{suffix}", found
        found = {"articles": index.articles_part(house, lang), "wings": index.wings_part(house, results, lang)}
        yield house.docs / f"index{suffix}", found
        yield house.docs / "guide" / f"finetune{suffix}", {"finetune": parts.finetune_part(house, lang)}
        yield house.docs / "guide" / f"attention{suffix}", {"attention": swapped.attention_part(house, lang)}
        yield house.docs / "guide" / f"diffusion{suffix}", {"diffusion": sampled.diffusion_part(house, lang)}
        yield house.docs / "guide" / f"adversarial{suffix}", {"adversarial": attacked.adversarial_part(house, lang)}
        yield house.docs / "guide" / f"words{suffix}", {"words": lexicon.words_part(house, lang)}


def fill(house: House, reference: Record | None, *, write: bool) -> Iterator[Problem]:
    """Bring every file up to date, or tell of those that are not; a missing marker is told in either case."""
    for path, found in generated(house, reference):
        if not path.exists():
            continue
        text = path.read_text("utf-8")
        filled, missing = filled_text(text, found)
        for name in missing:
            yield house.problem(path, 1, f"has no `<!-- generated:{name} -->` … `<!-- /generated -->`")
        if write and filled != text:
            path.write_text(filled, encoding="utf-8")
        elif filled != text:
            yield house.problem(
                path, first_difference(text, filled), "disagrees with the reference run: run make pages"
            )


def filled_text(text: str, found: Mapping[str, str]) -> tuple[str, list[str]]:
    """The text with its generated parts replaced, and the parts that have no place in it."""
    missing = []
    for name, body in found.items():
        pattern = re.compile(rf"(<!-- generated:{name} -->\n).*?(<!-- /generated -->)", re.S)
        if not pattern.search(text):
            missing.append(name)
        inside = f"{body}\n" if body else ""
        text = pattern.sub(lambda place, inside=inside: f"{place[1]}{inside}{place[2]}", text)
    return text, missing


def first_difference(text: str, other: str) -> int:
    """The first line in which two texts differ."""
    lines = zip(text.splitlines(), other.splitlines(), strict=False)
    return next((number for number, (a, b) in enumerate(lines, 1) if a != b), 1)
