"""Pages carry the sentences: every claim has one in both languages, its margins stand in it, every name is Chinese."""

from __future__ import annotations

import math
import re

import pytest

from gezhi import _catalogue
from gezhi.lab.claims import Test
from gezhi.lab.names import chinese, entry, lookup, needs_name, tables
from gezhi.lab.pages import MOST_WORDS, Page, page
from gezhi.lab.reference import reference_records
from gezhi.lab.study import Experiment, load_experiment

STEMS = sorted(_catalogue.methods())
BY_STEM = pytest.mark.parametrize("stem", STEMS)
MOST_CHARACTERS = 160  # of a thesis, and of the sentence that answers it
NUMBER = re.compile(r"(?<![\w.])[+−-]?\d[\d \u00a0]*(?:\.\d+)?(?:e[+-]?\d+)?")


def both(stem: str) -> tuple[Page, Page]:
    found = page(stem, "en"), page(stem, "zh")
    assert all(found), f"docs/methods/{stem}.md or its .zh.md is missing"
    return found  # type: ignore[return-value]


def asked_by(experiment: Experiment) -> dict[str, tuple[Test, ...]]:
    return {name: claim.tests for study in experiment.studies for name, claim in study.asked.items()}


@BY_STEM
def test_every_claim_has_its_sentence_in_both_languages_and_no_sentence_is_left_over(stem):
    asked = list(asked_by(load_experiment(stem)))
    for found in both(stem):
        assert sorted(found.claims.sentences) == sorted(asked)
    en, zh = (found.claims for found in both(stem))
    assert [(s.id, s.by, s.thesis) for s in en.sentences.values()] == [
        (s.id, s.by, s.thesis) for s in zh.sentences.values()
    ]
    for sentence in en.sentences.values():
        assert sentence.text.endswith("."), sentence.id
        assert sentence.criterion.startswith("Holds if "), sentence.id
    for sentence in zh.sentences.values():
        assert sentence.text.endswith("。"), sentence.id
        assert sentence.criterion.startswith("成立条件："), sentence.id


@BY_STEM
def test_there_is_one_thesis_of_an_article_and_about_a_dozen_claims(stem):
    sentences = both(stem)[0].claims.sentences.values()
    theses = [s for s in sentences if s.thesis]
    assert len(theses) == 1
    assert theses[0].by == "article"
    assert all(len(s.text) <= MOST_CHARACTERS for s in theses)
    assert len(sentences) <= 16


@BY_STEM
def test_every_margin_stands_in_the_criterion(stem):
    experiment = load_experiment(stem)
    for found in both(stem):
        for name, asked in asked_by(experiment).items():
            sentence = found.claims.sentences[name]
            numbers = {
                abs(float(re.sub(r"[ \u00a0]", "", n).replace("−", "-"))) for n in NUMBER.findall(sentence.criterion)
            }
            for test in asked:
                percent = experiment.units.get(test.number.metric) == "%" and test.number.how in ("value", "difference")
                for margin in test.margins:
                    shown = abs(margin) * (100 if percent else 1)
                    assert any(math.isclose(shown, n, rel_tol=1e-9) for n in numbers), (
                        f"{name}: {shown:g} in {sentence.criterion}"
                    )


@BY_STEM
def test_every_study_says_what_its_verdicts_speak_of(stem):
    en, zh = (found.claims.scopes for found in both(stem))
    for study in load_experiment(stem).studies:
        assert en.get(study.name), study.name
        assert zh.get(chinese(study.name, stem)), study.name


@BY_STEM
def test_in_short_is_short_and_rests_on_claims(stem):
    sentences = asked_by(load_experiment(stem))
    for found in both(stem):
        short = found.short
        assert short.text
        assert len(short.first) <= MOST_CHARACTERS
        assert short.rests_on
        assert set(short.rests_on) <= set(sentences)
    assert len(both(stem)[0].short.text.split()) <= MOST_WORDS
    assert both(stem)[0].short.rests_on == both(stem)[1].short.rests_on


def shown_names(stem: str) -> set[str]:
    """Everything an experiment shows by name."""
    experiment = load_experiment(stem)
    shown = {name for study in experiment.studies for name in (study.name, *study.arms, *study.cases)}
    shown |= {test.number.metric for tests in asked_by(experiment).values() for test in tests}
    figures = [figure for study in experiment.studies for figure in study.figures]
    return shown | {f.metric for f in figures} | {f.x for f in figures if getattr(f, "x", "")}


@BY_STEM
def test_every_shown_name_is_there_in_chinese(stem):
    missing = {name for name in shown_names(stem) if needs_name(name) and lookup(name, stem) is None}
    assert not missing, f"docs/names.zh.toml lacks [{stem}] {sorted(missing)}"


def measured_names() -> set[tuple[str, str]]:
    """What the reference run measured beside what claims ask: the report shows it as levels."""
    found = set()
    for record in reference_records():
        arms = (arm for study in record.studies for case in study.levels.values() for arm in case.values())
        found |= {entry(metric, record.stem) for arm in arms for metric in arm}
    return found


def test_no_chinese_name_is_unused():
    used = {entry(name, stem) for stem in STEMS for name in shown_names(stem)} | measured_names()
    extra = {(table, key) for table, names in tables().items() for key in names} - used
    waiting = set(STEMS) - {record.stem for record in reference_records()}
    kept = {("common", key) for key in tables()["common"] if key.startswith("training ")}  # shown, though no claim asks
    extra = {(table, key) for table, key in extra - kept if table not in waiting}
    assert not extra, f"docs/names.zh.toml names what no experiment shows: {sorted(extra)}"
