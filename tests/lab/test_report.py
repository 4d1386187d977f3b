"""The report: what its first screen says, that it stands alone, and that its HTML is sound."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from lab import records
from lab.reports import REPORTS, Page, file_run, pair, part, said

from gezhi.lab.judge import wrong_on_margin
from gezhi.lab.record import save
from gezhi.lab.report import render, write_report
from gezhi.lab.report.facts import chance, facts, tallies
from gezhi.lab.report.render import content
from gezhi.lab.report.rows import pairs_of
from gezhi.lab.report.theses import Thesis, board, empty_pairs, headline, wings_of
from gezhi.lab.verdicts import record_of


@pytest.fixture(scope="module", autouse=True)
def _house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with records.house(tmp_path_factory.mktemp("pages")):
        yield


@pytest.fixture(scope="module")
def report(_house) -> str:
    return REPORTS["both runs"]()


# ---- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REPORTS)
def test_html_is_balanced_and_every_reference_has_its_target(name):
    found = Page(REPORTS[name]())
    assert not found.open
    assert not [i for i, n in Counter(found.ids).items() if n > 1]
    assert found.refers <= set(found.ids)


@pytest.mark.parametrize("name", REPORTS)
def test_it_needs_no_script_no_network_and_no_other_file(name):
    source = REPORTS[name]()
    assert "<script" not in source
    assert "http" not in source
    assert not re.search(r"\ssrc=|@import|url\(|<link|<img|<iframe|<object", source)
    assert not re.search(r"\son\w+=", source)


def test_rendering_is_deterministic(report):
    assert REPORTS["both runs"]() == report


@pytest.mark.parametrize("name", REPORTS)
def test_both_languages_stand_for_every_text(name):
    found = Page(REPORTS[name]())
    assert found.languages["en"] == found.languages["zh"] > 5
    han = re.compile(r"[\u3400-\u9fff]")
    for text, around in found.texts:
        if han.search(text) and text != "格致 gezhi":
            languages = [str(a.get("lang", "")) for _, a in around[1:]]
            named = any(language.startswith("zh") for language in languages)
            assert named or around[-1][0] in ("title", "legend"), text


OURS = {"gezhi", "data", "get", "toys", "run", "all", "csv", "mine", "quick", "full", "pp", "numpy", "torch", "gains", "splits",
        "unmeasured", "pairs"}  # commands, files, packages, and names without a Chinese one  # fmt: skip


def test_no_english_word_of_ours_stands_in_the_chinese():
    run = record_of([records.gains(), records.splits(look=2), records.unmeasured(), records.pairs()])
    source = render(run, records.reference_run()) + REPORTS["a file"]()
    for text, around in Page(source).texts:
        if any(a.get("lang") == "zh" for _, a in around[1:]):
            assert set(re.findall(r"\b[a-z]{2,}", text)) <= OURS, text


def test_language_that_is_visible_first():
    assert '<html lang="en">' in render(file_run(), None)
    chinese = render(file_run(), None, lang="zh")
    assert '<html lang="zh-Hans">' in chinese
    assert re.search(r'id="zh" checked', chinese)
    assert not re.search(r'id="en" checked', chinese)


def test_texts_are_escaped(report):
    assert "&#34;&lt;&amp;&gt;&#34; its loss" in report
    assert '"<&>"' not in report


def test_a_record_without_methods():
    here = records.quick_run()
    text = Page(render(here.model_copy(update={"methods": []}), None)).text
    assert "No method was asked" in text
    assert "Is it true?" not in text


def test_written_whole_with_links_to_what_lies_beside_it(tmp_path):
    run = records.quick_run()
    assert "result.json" not in render(run, None, folder=tmp_path)
    (tmp_path / "result.json").write_text(run.dumps(), encoding="utf-8")
    save(records.gains(), tmp_path / "results")
    path = write_report(run, None, tmp_path / "report.html", "en")
    source = path.read_text(encoding="utf-8")
    assert 'href="result.json"' in source
    assert 'href="results/gains.json"' in source
    assert "results/splits.json" not in source
    assert {p.name for p in tmp_path.iterdir()} == {"report.html", "result.json", "results"}


def test_no_experiment_is_imported(tmp_path):
    """A record may come from a stranger: its stem is never imported."""
    lines = ["import sys; from pathlib import Path", "from gezhi.lab.record import load; from gezhi.lab.verdicts import record_of",
             "from gezhi.lab.report import render", "render(record_of([load(Path(sys.argv[1]))]), None)",
             "assert 'toy_evil' not in sys.modules and not [m for m in sys.modules if m.startswith('gezhi.experiments')]"]  # fmt: skip
    path = save(records.gains().model_copy(update={"stem": "toy_evil"}), tmp_path)
    (tmp_path / "toy_evil.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), str(path)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_large_report_is_small_and_fast():
    run = records.many(36)
    other = record_of([m.measured.model_copy(update={"budget": "full"}) for m in run.methods])
    started = time.process_time()
    source = render(run, other)
    assert time.process_time() - started < 10
    assert len(source.encode()) < 4_000_000
    assert source.count('<details class="method"') == 36
    assert source.count('<tbody role="rowgroup"') > 36 * 12


# ---- the first screen -------------------------------------------------------------------------------------------------


def test_the_board_counts_every_method_under_one_verdict():
    run = records.reference_run()
    columns = board(wings_of(pairs_of(run, run)))
    assert [(column.verdict, len(column.theses)) for column in columns] == [
        ("supported", 3), ("refuted", 0), ("divided", 1), ("inconclusive", 0), ("not asked", 2),
    ]  # fmt: skip
    assert [thesis.short_name.en for thesis in columns[0].theses] == ["The pairs", "The speed", "TOY"]
    toy, speed = columns[0].theses[2], columns[0].theses[1]
    assert toy.alias == "TOY"  # and no number of an article
    assert speed.alias == ""  # what the title says is not said twice


def test_a_row_says_name_thesis_answer_verdict_and_estimate(report):
    assert said(part(report, 'id="t-gains"', "</tr>")) == (
        "The gains 玩具 gains TOY The new one gains at least 2 points. 新法至少提高 2 个百分点。 Yes: by three points. 是：高三个百分点。 "
        "supported 成立 +3.00 [+2.71, +3.29] pp your run 本次运行 inconclusive 未定 ≥ 2 pp"
    )
    divided = part(report, 'id="t-splits"', "</tr>")
    assert "2 of 4 cases" in divided
    assert '<b class="S"></b><b class="S"></b><b class="R"></b><b class="R"></b>' in divided
    assert "few; more; many; most" in divided


def test_wings_stand_in_the_houses_order_and_strangers_last():
    found = wings_of(pairs_of(record_of([records.gains(), records.splits(), records.speed(),
                                         records.gains().model_copy(update={"stem": "toy"})]), None))  # fmt: skip
    assert [(wing.key, wing.name.zh) for wing in found] == [("nn", "网络"), ("losses", "损失函数"), ("theory", "理论"), ("other", "其他")]  # fmt: skip


def test_every_pair_of_choices_shows_rows_or_says_that_there_are_none(report):
    run = records.reference_run()
    wings = wings_of(pairs_of(run, run))
    found = set(empty_pairs(wings))
    assert ("S", "nn") not in found
    assert ("D", "losses") not in found
    assert {mark for mark, wing in found if wing == "all"} == {"R", "I"}
    assert len(found) == 2 + 5 * len(wings) - len({(t.mark, w.key) for w in wings for t in w.theses})
    for mark, wing in found:
        assert f"html:has(#v-{mark}:checked):has(#w-{wing}:checked) .none" in report


def test_a_method_whose_page_names_no_thesis_still_stands():
    thesis = Thesis(pair("unmeasured", records.quick_run(), None))
    assert (thesis.row, thesis.verdict) == (None, "not asked")
    source = render(record_of([records.unmeasured()]), None)
    assert "its page names no thesis yet" in source
    assert "data not at hand: gezhi data get toys" in source


def test_the_title_says_what_was_measured():
    assert headline(pairs_of(records.quick_run(), None)).en == "5 theses, measured"
    assert headline(pairs_of(record_of([records.gains()]), None)).zh == "玩具 gains，测量所得"
    assert headline(pairs_of(file_run(), None)).en == "mine.csv, measured"


def test_chance_is_told_of_the_noisy_verdicts():
    found = pairs_of(records.reference_run(), records.reference_run())
    claims = [row.shown for pair in found for row in pair.rows]
    cases = sum(len(claim.asked) for claim in claims if claim.noisy)
    assert (len(claims), sum(claim.noisy for claim in claims), cases) == (15, 12, 15)
    assert chance(found).en == (
        "Verdicts are those of the reference run. Of 15\u00a0claims 12 noisy ones were judged, in 15 cases: were every truth "
        f"exactly on its margin, about {wrong_on_margin(15):.0f} of these verdicts would be wrong by chance."
    )
    exact = records.measured("speed", records.speed().studies[1])
    assert "none can be wrong" in chance(pairs_of(record_of([exact]), None)).en


# ---- what was run -----------------------------------------------------------------------------------------------------


def test_claims_are_counted_once_by_who_says_them():
    rows = [row for pair in pairs_of(records.reference_run(), None) for row in pair.rows]
    found = {tally.name.en: tally.counts for tally in tallies(rows)}
    assert found == {
        "theses": (3, 0, 1, 0, 0), "articles, besides": (2, 0, 0, 0, 0), "the field": (2, 1, 0, 0, 0), "ours": (1, 0, 0, 3, 2),
    }  # fmt: skip


def test_facts_name_both_runs_commands_machines_and_looks():
    found = {fact.name.en: fact for fact in facts(pairs_of(records.quick_run(), records.reference_run()), 1)}
    lines = {name: [line.en.replace("\u00a0", " ") for line in fact.lines] for name, fact in found.items()}
    assert lines["Reference run"] == ["full budget, 5 to 10 seeds, 82 s, 2025-11-02 12:00 UTC, commit b1801a2"]
    assert found["Your run"].commands == ("gezhi run --all --budget quick",)
    assert lines["Asked of you"] == [
        "4 theses were judged in both runs, 3 alike",
        "1 further method not asked for: gezhi run --all",
    ]
    assert lines["Measured afresh"] == ["Your run: The splits, look 2, on fresh seeds"]
    assert lines["Machine"] == ["x86_64, Example CPU, 8 cores", "reference: x86_64, Other CPU, 8 cores"]


def test_what_the_template_gets_is_counted():
    found = content(records.quick_run(), records.reference_run(), "en", None)
    assert sum(found["counts"].values()) == len(found["sections"]) == 5
    assert [figure.number for section in found["sections"] for figure in section.figures] == list(range(1, 8))
