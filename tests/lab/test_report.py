"""The report: what it says, that it stands alone, and that its HTML is sound."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from lab import records

from gezhi.lab.judge import wrong_on_margin
from gezhi.lab.record import save
from gezhi.lab.report import render, write_report
from gezhi.lab.report.facts import chance, facts, tallies
from gezhi.lab.report.levels import tables
from gezhi.lab.report.render import content
from gezhi.lab.report.rows import Pair, pairs_of
from gezhi.lab.report.theses import Thesis, board, empty_pairs, headline, wings_of
from gezhi.lab.verdicts import Record, record_of

VOID = {"meta", "input", "br", "hr", "img", "link"}


class Page(HTMLParser):
    """Reads a report: its ids, references, resources and texts, and whether every tag is closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.refers: set[str] = set()
        self.tags: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.texts: list[tuple[str, list[tuple[str, dict[str, str | None]]]]] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append((tag, found))

    def handle_startendtag(self, tag, attrs):
        found = dict(attrs)
        self.tags[tag] += 1
        if tag not in ("html", "text"):  # a text of a figure may take two lines in one language
            self.languages[found.get("lang", "")] += 1
        if "id" in found:
            self.ids.append(found["id"])
        self.refers |= {found["href"][1:]} if str(found.get("href", "")).startswith("#") else set()
        for name in ("for", "aria-labelledby"):
            self.refers |= set(str(found[name]).split()) if name in found else set()

    def handle_endtag(self, tag):
        assert self.open[-1][0] == tag, f"</{tag}> closes <{self.open[-1][0]}>"
        self.open.pop()

    def handle_data(self, data):
        if data.strip() and self.open[-1][0] != "style":
            self.texts.append((data.strip(), list(self.open)))

    @property
    def text(self) -> str:
        return " ".join(text for text, _ in self.texts)


@pytest.fixture(scope="module", autouse=True)
def _house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with records.house(tmp_path_factory.mktemp("pages")):
        yield


REPORTS = {
    "both runs": lambda: render(records.quick_run(), records.reference_run()),
    "no reference": lambda: render(records.quick_run(), None),
    "the reference itself": lambda: render(records.reference_run(), records.reference_run(), lang="zh"),
    "a reference of other methods": lambda: render(
        record_of([records.gains()]), record_of([records.speed(budget="full")])
    ),
    "a file": lambda: render(file_run(), records.reference_run()),
    "a file without reference": lambda: render(file_run(), None),
    "a stranger's": lambda: render(record_of([records.gains().model_copy(update={"stem": "toy.stranger"})]), None),
    "smoke": lambda: render(record_of([records.gains(2, budget="smoke")]), None),
}


@pytest.fixture(scope="module")
def report(_house) -> str:
    return REPORTS["both runs"]()


def file_run() -> Record:
    return record_of([records.on_file()])


def pair(stem: str, run: Record, reference: Record | None) -> Pair:
    return next(pair for pair in pairs_of(run, reference) if pair.stem == stem)


def both(stem: str) -> Pair:
    return pair(stem, records.quick_run(), records.reference_run())


def row(of: Pair, claim: str):
    return next(row for row in of.rows if row.shown.id == claim)


def part(source: str, start: str, end: str) -> str:
    """The report between two marks."""
    return source[source.index(start) :].split(end, 1)[0]


def said(source: str) -> str:
    """The text without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", source[source.find(">") + 1 :])).split())


def section(source: str, stem: str) -> str:
    return part(source, f'<details class="method" id="m-{stem}"', "Back to the table")


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
    done = subprocess.run([sys.executable, "-c", "\n".join(lines), str(path)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_large_report_is_small_and_fast():
    run = records.many(36)
    other = record_of([m.measured.model_copy(update={"budget": "full"}) for m in run.methods])
    started = time.process_time()
    source = render(run, other)
    assert time.process_time() - started < 30
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
    assert columns[0].theses[2].alias == "TOY"  # and no number of an article


def test_a_row_says_name_thesis_answer_verdict_and_estimate(report):
    assert said(part(report, 'id="t-gains"', "</tr>")) == (
        "The gains 玩具 gains TOY The new one gains at least 2 points. 新法至少提高 2 个百分点。 Yes: by three points. 是：高三个百分点。 "
        "supported 成立 +3.00 [+2.71, +3.29] pp your run 本次运行 inconclusive 未定 ≥ 2 pp"
    )
    divided = part(report, 'id="t-splits"', "</tr>")
    assert "2 of 4 cases" in divided
    assert '<b class="S"></b><b class="S"></b><b class="R"></b><b class="R"></b>' in divided
    assert "few, more, many, most" in divided


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
    assert lines["Asked of you"] == ["4 theses were judged in both runs, 3 alike", "1 further method not asked for: gezhi run --all"]
    assert lines["Measured afresh"] == ["Your run: The splits, look 2, on fresh seeds"]
    assert lines["Machine"] == ["x86_64, Example CPU, 8 cores", "reference: x86_64, Other CPU, 8 cores"]


# ---- claims, cases and tests ------------------------------------------------------------------------------------------


def test_the_reference_run_leads_and_yours_is_the_thin_line():
    of = both("gains")
    assert (of.name.en, of.lead.budget, of.beside.budget) == ("Reference run", "full", "quick")
    claim = row(of, "gains")
    assert (claim.cell.verdict, claim.other_cell.verdict, claim.differs) == ("supported", "inconclusive", True)
    drawn = claim.single.glyph
    assert drawn.lead.high - drawn.lead.low < drawn.other.high - drawn.other.low


def test_alone_a_run_leads_itself():
    for run, reference, name in ((records.quick_run(), None, "Your run"), (records.reference_run(), records.reference_run(), "Reference run")):  # fmt: skip
        found = pairs_of(run, reference)
        assert {pair.name.en for pair in found} == {name}
        assert {pair.beside for pair in found} == {None}
    assert "Your run" not in Page(REPORTS["the reference itself"]()).text


def test_timed_and_exact_claims_draw_one_run():
    of = both("speed")
    assert row(of, "faster").single.glyph.other is None
    assert row(of, "small").single.glyph.other is None
    assert row(both("gains"), "gains").single.glyph.other is not None


def test_the_thesis_stands_first_and_a_claim_of_one_run_alone_last():
    assert [row.shown.id for row in both("gains").rows] == ["gains", "costs", "both", "level", "lopsided", "unasked"]
    old = records.gains(10, budget="full")
    old.studies[0].claims.pop("costs")
    found = pair("gains", record_of([records.gains()]), record_of([old]))
    assert [row.shown.id for row in found.rows][-1] == "costs"
    assert found.rows[-1].cell is None
    assert found.rows[-1].other_cell.verdict == "refuted"


def test_every_test_of_a_conjunction_stands_with_its_region_the_deciding_one_first(report):
    claim = row(both("gains"), "both")
    lines = claim.single.lines
    assert [line.name.en for line in lines] == ["new minus old, loss", "new minus old, accuracy"]
    assert claim.lead.cases[0].deciding == 1
    assert [line.region.en.replace("\u00a0", " ") for line in lines] == ["≤ −0.1 nat", "≥ 1 pp"]
    assert lines[1].number.estimate == "+3.00"
    assert lines[0].beside.estimate == "−0.80"
    shown = part(section(report, "gains"), '<ul class="tests">', "</ul>")
    assert shown.index("loss") < shown.index("accuracy")
    assert "奈特" in shown


def test_a_claim_with_cases_is_one_row_with_its_cases_inside(report):
    shown = section(report, "splits")
    assert shown.count('<details class="cases"') == 1
    assert '<details class="cases" open>' in shown  # of the thesis
    cases = part(shown, '<table class="inner"', "</table>")
    assert cases.count("<tr ") == 4
    assert cases.index("few") < cases.index("most")
    assert cases.count("<svg") == 4


def test_marks_and_reasons_are_told(report):
    text = {stem: said(section(report, stem)) for stem in ("gains", "splits")}
    assert "posed after the run" in text["gains"]
    assert "skewed" in text["gains"]
    assert "a new run needs about 52 seeds" in text["gains"]
    assert "still training: old" in text["splits"]
    assert "仍在训练：旧法" in text["splits"]
    assert "look 2" in text["splits"]
    assert "10 seeds, resolves 0.4" in text["gains"]


def test_scope_says_what_was_measured_and_what_varies():
    assert row(both("gains"), "gains").scope.en == "Toy data, 200 rows; over redrawn seeds"
    assert row(both("pairs"), "fewer").scope.zh == "玩具数据,200 行；固定测试集，逐条统计"
    assert row(both("speed"), "faster").scope.en == "Toy data, 200 rows; interleaved rounds on one machine"
    assert row(both("speed"), "small").scope.en == "Toy data, 200 rows; exact"


def test_an_arm_that_bends_is_told():
    bent = records.speed()
    for case, times in bent.studies[0].levels.items():
        times["new"]["seconds"] = [v * (4 if case == "n = 4096" else 1) for v in times["new"]["seconds"]]
    assert row(pair("speed", record_of([bent]), None), "linear").cell.reason.en == "bends: no power law"


def test_a_smoke_run_shows_numbers_and_no_verdicts():
    claim = row(pair("gains", record_of([records.gains(2, budget="smoke")]), None), "gains")
    assert claim.cell.verdict == "not asked"
    assert claim.cell.reason.en == "a smoke run gives no verdicts"
    assert claim.cell.number.estimate.startswith("+3")


# ---- the user's own file ----------------------------------------------------------------------------------------------


def test_the_users_file_goes_first_and_built_in_rows_are_folded():
    source = REPORTS["a file"]()
    assert source.index('id="h-file"') < source.index('id="theses"')
    mine = part(source, 'id="y-pairs"', 'id="theses"')
    text = said(mine)
    assert "mine.csv" in text
    assert "Your file; over the items of a fixed test set" in text
    assert "It errs less by 2 points." in text
    assert "It gains 2 points on toys." not in text  # tied to a case
    levels = part(mine, '<table class="levels"', "</table>")
    assert all(arm in levels for arm in ("old", "new"))
    built = part(source, '<details class="built">', "</table>")
    assert "mine.csv" not in built
    assert "It gains 2 points on toys." in built
    assert "on your file" in said(section(source, "pairs"))


def test_the_users_file_stands_under_the_reference_verdict(report):
    source = part(REPORTS["a file"](), 'id="t-pairs"', "</tr>")
    assert "On your file" in source
    assert "On your file" not in report


def test_a_file_without_reference_gives_the_other_claims_their_reason():
    source = REPORTS["a file without reference"]()
    assert "not asked of your data" in said(part(source, '<details class="built">', "</table>"))
    assert "Reference run" not in Page(source).text


def test_a_file_of_which_nothing_was_asked_says_why():
    nothing = records.on_file()
    nothing.studies = nothing.studies[1:]
    assert "No claim of this method could be asked of your file" in render(record_of([nothing]), None)


# ---- levels -----------------------------------------------------------------------------------------------------------


def test_levels_of_every_arm_stand_with_training_metrics_and_costs(report):
    (table,) = tables(record_of([records.gains()]).methods[0])
    assert [metric.en for metric in table.metrics] == ["accuracy, %", "loss, nat", "training accuracy", "skew"]
    assert [cost.zh for cost in table.costs] == ["每次重复秒数", "模型调用", "参数"]
    old, new = table.cases[0][1]
    assert (old.baseline, new.baseline) == (True, False)
    assert (new.levels[0].mean, new.levels[0].interval) == ("93.0", "[92.8, 93.2]")
    assert new.costs == ["0.5", "408", "462\u00a0720"]
    assert "training accuracy" in section(report, "gains")


def test_levels_of_rows_are_means_over_the_rows():
    (table, _) = tables(record_of([records.pairs()]).methods[0])
    old, new = table.cases[0][1]
    assert [line.levels[0].mean for line in (old, new)] == ["90.0", "96.0"]
    assert old.drawn.base == old.drawn.x
    assert float(new.drawn.low) > float(old.drawn.high)


def test_curves_are_no_levels():
    _, error = tables(record_of([records.speed()]).methods[0])
    assert [metric.en for metric in error.metrics] == ["largest error"]


def test_what_the_template_gets_is_counted():
    found = content(records.quick_run(), records.reference_run(), "en", None)
    assert sum(found["counts"].values()) == len(found["sections"]) == 5
    assert [figure.number for section in found["sections"] for figure in section.figures] == list(range(1, 8))
