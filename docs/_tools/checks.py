"""What a page must have: headings, a sentence a claim, names in Chinese, an answer that rests on verdicts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from _tools.house import LANGS, House, Problem, experiment_fault, experiment_of, line_of
from gezhi._catalogue import Method, methods
from gezhi.lab.names import chinese as study_name
from gezhi.lab.names import lookup, needs_name
from gezhi.lab.pages import CLAIMS, HEADINGS, MOST_WORDS, OPTIONAL, RESTS, SHORT, Page, claims_of, sections
from gezhi.lab.study import Experiment
from gezhi.lab.verdicts import MethodResult, Record

MOST_CHARACTERS = 160  # of a thesis, and of the first sentence of In short
Fault = tuple[int, str]  # line and text


def check(house: House, reference: Record | None) -> Iterator[Problem]:
    """Every fault of every page, with its file and line."""
    results = reference.by_stem if reference else {}
    for method in methods().values():
        path, experiment = house.page(method.stem), experiment_of(method.stem)
        if experiment is None:
            file = house.root / "src" / "gezhi" / "experiments" / f"{method.stem}.py"
            yield house.problem(file, 1, experiment_fault(method.stem))
        if not path.exists():
            yield house.problem(path, 1, "is missing")
        if experiment is None or not path.exists():
            continue
        page = Page(path.read_text("utf-8"), "en")
        yield from placed(house, path, faults(page, experiment, results.get(method.stem)))
        if not house.is_draft(method):
            yield from chinese(house, method, page, experiment)


def placed(house: House, path: Path, found: Iterator[Fault]) -> Iterator[Problem]:
    for line, text in found:
        yield house.problem(path, line, text)


def unreadable(house: House) -> Iterator[Problem]:
    """Marks of claims that say neither whose they are nor that they are the thesis."""
    for lang, suffix in LANGS:
        for path in (house.page(stem, suffix) for stem in methods()):
            text = path.read_text("utf-8") if path.exists() else ""
            try:
                claims_of(text, lang)
            except ValueError as error:
                claim = re.search(r"'([^']+)'", str(error))
                yield house.problem(path, line_of(text, f"- `{claim[1]}`") if claim else 1, str(error))


def faults(page: Page, experiment: Experiment, result: MethodResult | None) -> Iterator[Fault]:
    """Of the English page."""
    yield from heading_faults(page.text)
    yield from claim_faults(page, experiment)
    yield from thesis_faults(page)
    yield from short_faults(page, experiment, result)


def heading_faults(text: str) -> Iterator[Fault]:
    """Headings that are missing, unknown, or out of order."""
    found = [title.removeprefix("## ") for title, _ in sections(text) if title.startswith("## ")]
    for heading in HEADINGS:
        if heading not in found and heading not in OPTIONAL:
            yield 1, f"has no heading `## {heading}`"
    for heading in found:
        if heading not in HEADINGS:
            yield line_of(text, f"## {heading}"), f"has the unknown heading `## {heading}`"
    known = [heading for heading in found if heading in HEADINGS]
    if known != sorted(known, key=HEADINGS.index):
        yield 1, f"has its headings in another order than {', '.join(HEADINGS)}"


def claim_faults(page: Page, experiment: Experiment) -> Iterator[Fault]:
    """Claims without a sentence and sentences without a claim; studies without their heading."""
    claims, text = page.claims, page.text
    for study in experiment.studies:
        if study.name not in claims.scopes:
            yield line_of(text, "## Claims"), f"has no heading `### {study.name}` under Claims"
        for name in study.claims:
            if name not in claims.sentences:
                yield line_of(text, f"### {study.name}"), f"has no sentence for the claim `{name}`"
    asked = {name for study in experiment.studies for name in study.claims}
    for name, said in claims.sentences.items():
        place = line_of(text, f"- `{name}`")
        if name not in asked:
            yield place, f"says `{name}`, which the experiment does not ask"
        if not said.criterion:
            yield place, f"does not say when `{name}` holds: an indented line under the sentence"


def thesis_faults(page: Page) -> Iterator[Fault]:
    """One thesis, which the article says, in 160 characters."""
    theses = [said for said in page.claims.sentences.values() if said.thesis]
    if len(theses) != 1:
        yield line_of(page.text, "## Claims"), f"has {len(theses)} theses: mark one claim `(article, thesis)`"
    for thesis in theses:
        place = line_of(page.text, f"- `{thesis.id}`")
        if len(thesis.text) > MOST_CHARACTERS:
            yield place, f"has a thesis of {len(thesis.text)} characters, at most {MOST_CHARACTERS}"
        if thesis.by != "article":
            yield place, f"has a thesis that the article does not say: `{thesis.id}` ({thesis.by})"


def short_faults(page: Page, experiment: Experiment, result: MethodResult | None) -> Iterator[Fault]:
    """At most 60 words, a first sentence of 160 characters, and verdicts as the reference run has them."""
    short, place = page.short, line_of(page.text, f"## {SHORT['en']}")
    if not short.text:
        return  # the heading's own fault
    if (count := len(short.text.split())) > MOST_WORDS:
        yield place, f"has {count} words in short, at most {MOST_WORDS}"
    if len(short.first) > MOST_CHARACTERS:
        yield place, f"has a first sentence of {len(short.first)} characters in short, at most {MOST_CHARACTERS}"
    if not short.rests_on:
        yield place, "does not say what its answer rests on: `<!-- rests on: claim verdict, … -->`"
    comment = RESTS.search(page.text)
    place = line_of(page.text, comment[0]) if comment else place
    asked = {name for study in experiment.studies for name in study.claims}
    for name, verdict in short.rests_on.items():
        claim = result.claim(name) if result else None
        if name not in asked:
            yield place, f"rests on `{name}`, which the experiment does not ask"
        elif claim and claim.verdict != verdict:
            yield place, f"rests on `{name}` {verdict}, but the reference run says {claim.verdict}"


def chinese(house: House, method: Method, page: Page, experiment: Experiment) -> Iterator[Problem]:
    """Of the Chinese page and the table of names; a draft has neither."""
    path = house.page(method.stem, ".zh.md")
    other = Page(path.read_text("utf-8"), "zh")
    yield from placed(house, path, chinese_faults(page, other))
    for study in page.claims.scopes:
        if study_name(study, method.stem) not in other.claims.scopes:
            place = line_of(other.text, f"## {CLAIMS['zh']}")
            yield house.problem(
                path, place, f"has no heading `### {study_name(study, method.stem)}` for the study {study!r}"
            )
    names = house.names.read_text("utf-8") if house.names.exists() else ""
    for name in shown_names(experiment):
        if needs_name(name) and lookup(name, method.stem) is None:
            yield house.problem(
                house.names, line_of(names, f"[{method.stem}]"), f"has no name for {name!r} of {method.stem}"
            )


def chinese_faults(page: Page, other: Page) -> Iterator[Fault]:
    """The same claims with the same marks, and the same ground for the answer."""
    en, zh = page.claims.sentences, other.claims.sentences
    for name, said in en.items():
        if name not in zh:
            yield line_of(other.text, "## "), f"has no sentence for the claim `{name}`"
        elif (said.by, said.thesis) != (zh[name].by, zh[name].thesis):
            yield line_of(other.text, f"- `{name}`"), f"marks `{name}` otherwise than the English page"
    if page.short.rests_on != other.short.rests_on:
        yield line_of(other.text, f"## {SHORT['zh']}"), "rests on other verdicts than the English page"


def shown_names(experiment: Experiment) -> list[str]:
    """Every name that a reader sees: studies, arms, cases, metrics of claims and figures, units."""
    found: dict[str, None] = {}
    for study in experiment.studies:
        tests = [test for claim in study.asked.values() for test in claim.tests]
        drawn = [name for f in study.figures for name in (f.metric, getattr(f, "x", "")) if name]
        for name in (study.name, *study.arms, *study.cases, *(test.number.metric for test in tests), *drawn):
            found[name] = None
    return list(found)
