"""The claims of a report: both runs, cases, tests, the user's own file, and the levels of every arm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab import records
from lab.reports import REPORTS, Page, both, pair, part, row, said, section

from gezhi.lab.report import render
from gezhi.lab.report.levels import tables
from gezhi.lab.report.rows import pairs_of
from gezhi.lab.verdicts import record_of


@pytest.fixture(scope="module", autouse=True)
def _house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with records.house(tmp_path_factory.mktemp("pages")):
        yield


@pytest.fixture(scope="module")
def report(_house) -> str:
    return REPORTS["both runs"]()


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


def test_curves_are_no_levels_and_exact_ones_keep_five_digits():
    measured = records.speed()
    measured.studies[1].levels["line"]["new"]["largest error"] = [0.04471489]
    _, error = tables(record_of([measured]).methods[0])
    assert [metric.en for metric in error.metrics] == ["largest error"]
    assert error.cases[0][1][1].levels[0].mean == "0.044715"
