"""Figures: axes, regions, labels, and that every panel is sound SVG in both languages."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from lab import records

from gezhi.lab.figures import Dots, Lines, Profile
from gezhi.lab.record import Words
from gezhi.lab.report import render
from gezhi.lab.report.drawing import Axis, Canvas, linear_ticks, log_ticks, wrapped
from gezhi.lab.report.drawing_lines import BINS, BOTTOM, envelope, spread
from gezhi.lab.report.figure_data import Run, Series, places, summary
from gezhi.lab.report.figure_plots import dot_plot, lines_chart, plots, profile_chart
from gezhi.lab.report.figures import experiment_of, figures_of, finding
from gezhi.lab.report.rows import rows_of

YOURS, REFERENCE = Words(en="Your run", zh="本次运行"), Words(en="Reference run", zh="参考运行")
MINE, THEIRS = records.drawn(5), records.drawn(10)
ROWS = rows_of(records.record(MINE), records.record(THEIRS))


def run_of(study: str, method=MINE, *claims: str) -> Run:
    result = next(s for s in method.studies if s.name == study)
    chosen = [claim for claim in method.claims if claim.id in claims]
    return Run(YOURS, method, result, chosen, records.EXPERIMENT.study(study).units)


def views():
    return figures_of(records.EXPERIMENT, [(YOURS, MINE), (REFERENCE, THEIRS)], ROWS, 1)


# ---- axes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (81.6, 96.1, [85, 90, 95]), (-4.2, 1.4, [-4, -3, -2, -1, 0, 1]), (0.1, 0.13, [0.1, 0.11, 0.12, 0.13])],
)  # fmt: skip
def test_linear_ticks_are_round(low, high, ticks):
    assert linear_ticks(low, high, 6) == ticks


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1, 12, [1, 2, 5, 10]),
        (0.5, 200, [1, 3, 10, 30, 100]),
        (0.9, 120, [1, 3, 10, 30, 100]),
        (1e-9, 10, [1e-9, 1e-7, 1e-5, 1e-3, 0.1, 10]),
    ],
)
def test_logarithmic_ticks_are_round(low, high, ticks):
    assert log_ticks(low, high, 6) == pytest.approx(ticks)


def test_axis_places_its_ends_and_keeps_what_lies_outside():
    axis = Axis(1, 100, 50, 250, log=True)
    assert (axis(1), axis(10), axis(100)) == pytest.approx((50, 150, 250))
    assert (axis(1e-9), axis(math.inf)) == pytest.approx((50, 250))
    assert not axis.holds(0)
    assert not axis.holds(math.nan)
    flat = Axis.over([3.0, 3.0], 0, 100)
    assert flat.low < 3 < flat.high
    assert Axis.over([], 0, 100).low < Axis.over([], 0, 100).high


def test_names_are_wrapped_at_spaces_and_between_han_characters():
    assert wrapped("closed form, Ledoit-Wolf", 90) == ["closed form,", "Ledoit-Wolf"]
    assert wrapped("名字很长的最新方法", 60) == ["名字很长的", "最新方法"]
    assert wrapped("short", 60) == ["short"]


def test_labels_are_moved_apart_and_keep_their_order():
    placed = spread([100, 101, 30, 225], [15, 28, 15, 28])
    assert placed[0] < placed[1]
    assert placed[1] - placed[0] >= 21.5
    assert placed[2] == 30
    assert placed[3] == BOTTOM - 14


# ---- data -------------------------------------------------------------------------------------------------------------


def test_summary_has_the_students_interval_of_the_replicates():
    found = summary([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.interval == pytest.approx((2 - 4.3027 / math.sqrt(3), 2 + 4.3027 / math.sqrt(3)), rel=1e-4)
    assert summary([10.0, 1000.0], log=True).mean == pytest.approx(100)
    assert summary([5.0]).interval is None
    assert summary([math.nan]) is None
    assert summary([0.0, -1.0], log=True) is None


def test_cases_stand_at_their_numbers():
    assert places(["a", "b"], {"a": 1, "b": 10}) == [1, 10]
    assert places(["n=512", "n=1024"], {}) == [512, 1024]
    assert places(["10 000 rows", "20 000 rows"], {}) == [10000, 20000]
    assert places(["few", "many"], {}) is None
    assert places(["1 a", "1 b"], {}) is None


def test_dots_shade_the_row_of_the_claims_arm():
    plot = dot_plot(run_of("accuracy", MINE, "above"), Dots("accuracy", "", "", claims=("above",)))
    few, many = plot.groups
    assert (few.name.zh, many.name.zh) == ("少", "多")
    old, new, newest = few.rows
    assert (old.baseline, old.region, newest.region) == (True, None, None)
    assert new.region == (-math.inf, pytest.approx(old.summary.mean - 2))
    assert few.baseline == old.summary.mean == pytest.approx(88, abs=2)
    assert plot.shaded


def test_differences_put_the_region_at_the_margin_itself():
    spec = Dots("accuracy", "", "", claims=("above",), than="old", cases=("many",))
    plot = dot_plot(run_of("accuracy", MINE, "above"), spec)
    assert [row.name.en for row in plot.groups[0].rows] == ["new", "newest, with a long name"]
    assert plot.groups[0].rows[0].region == (-math.inf, pytest.approx(-2))
    assert plot.groups[0].baseline == 0
    assert plot.title == Words(en="accuracy minus old, pp", zh="准确率 减 旧法，pp")


def test_regions_of_several_claims_are_intersected():
    method = records.drawn(5)
    tests = records.outcome(0.0, 0.1, low=-0.01, unit="%"), records.outcome(0.0, 0.1, low=-0.03, high=0.02, unit="%")
    method.claims = [records.claimed("above", *tests, study="accuracy", case="few")]
    row = dot_plot(run_of("accuracy", method, "above"), Dots("accuracy", "", "", than="old")).groups[0].rows[0]
    assert row.region == pytest.approx((-1, 2))


def test_items_take_the_interval_of_the_test():
    plot = dot_plot(run_of("items", MINE, "agree"), Dots("accuracy", "", "", claims=("agree",), than="old"))
    summary = plot.groups[0].rows[0].summary
    assert summary.mean == pytest.approx(0.5)
    assert summary.interval == pytest.approx((-0.5, 1.5))


def test_lines_have_a_wedge_for_an_exponent_and_its_estimate():
    spec = Lines("seconds", "", "", claims=("slope",), log=(True, True))
    chart = lines_chart(run_of("time", MINE, "slope"), spec, records.SIZES)
    old, new = chart.series
    assert (old.rank, new.rank, new.x) == (0, 1, [512, 1024, 2048, 4096])
    assert new.note == "1.020 [0.990, 1.050]"
    (wedge,) = chart.bands
    first, low, high = wedge.points[-1]
    assert (first, low, high) == (
        4096,
        pytest.approx(new.points[0].mean * 8**0.85),
        pytest.approx(new.points[0].mean * 8**1.25),
    )
    assert chart.title.en == "n"


def test_lines_shade_the_case_of_a_claim():
    chart = lines_chart(run_of("time", MINE, "faster"), Lines("seconds", "", "", claims=("faster",)), records.SIZES)
    (band,) = chart.bands
    assert band.points == ((4096.0, 0.0, pytest.approx(0.2 * chart.series[0].points[-1].mean, rel=0.01)),)


def test_cases_without_numbers_are_named_on_the_axis():
    chart = lines_chart(run_of("accuracy"), Lines("accuracy", "", ""), {})
    assert [(x, name.zh) for x, name in chart.ticks] == [(0.0, "少"), (1.0, "多")]
    assert chart.title.en == ""


def test_one_case_makes_no_line():
    assert lines_chart(run_of("items"), Lines("accuracy", "", ""), {}) is None


def test_profiles_are_bounded_where_the_claim_says():
    spec = Profile("error", "", "", claims=("small",), x="x", log=(False, True))
    chart = profile_chart(run_of("error", MINE, "small"), spec, "line")
    assert [band.everywhere for band in chart.bands] == [(-math.inf, 1e-3)]
    method = records.drawn(5)
    study = next(s for s in method.studies if s.name == "error")
    study.replicates["line"]["new"]["error"] = [
        [-v if v else None for v in study.replicates["line"]["new"]["error"][0]]
    ]
    signed = profile_chart(run_of("error", method, "small"), spec, "line")
    assert [band.everywhere for band in signed.bands] == [(-1e-3, 1e-3)]


def test_thinning_a_profile_keeps_its_peaks_and_its_gaps():
    x = np.linspace(0, 1, 5000)
    y = np.zeros(5000)
    y[1234], y[3000:3200] = 1, math.nan
    along, up = Axis(0, 1, 0, 300), Axis(0, 1, 200, 0)
    runs = list(envelope(Series(Words(en="", zh=""), 1, x.tolist(), curve=y.tolist()), along, up))
    assert len(runs) == 2
    assert sum(map(len, runs)) <= 2 * (BINS + 2)
    assert min(y for run in runs for _, y in run) == 0


def test_arms_that_the_record_does_not_know_leave_no_plot():
    assert list(plots(run_of("accuracy"), Dots("accuracy", "", "", arms=("gone",)), {})) == []
    assert list(plots(run_of("accuracy"), Dots("accuracy", "", "", than="gone"), {})) == []


def test_metrics_that_were_not_measured_leave_no_plot():
    assert list(plots(run_of("accuracy"), Dots("absent", "", ""), {})) == []
    assert list(plots(run_of("accuracy"), Profile("accuracy", "", "", x="x"), {})) == []


# ---- drawings ---------------------------------------------------------------------------------------------------------


def test_every_figure_is_drawn_for_both_runs_and_exact_ones_once():
    found = views()
    assert [len(view.panels) for view in found] == [2, 2, 2, 2, 2, 1, 1]
    assert [view.number for view in found] == list(range(1, 8))
    assert found[5].panels[0].title.en == "Both runs: error against x"
    assert found[0].panels[1].title.zh == "参考运行：准确率，%"


def test_panels_share_their_axes():
    one, other = (re.findall(r'class="mid">([\d−.]+)</text>', panel.svg) for panel in views()[0].panels)
    assert one == other


@pytest.mark.parametrize("number", range(7))
def test_panels_are_sound_svg_in_both_languages(number):
    for panel in views()[number].panels:
        svg = ET.fromstring(panel.svg)
        width, height = map(float, svg.get("viewBox").split()[2:])
        assert 360 <= width <= 380
        assert not [e for e in svg.iter() if e.get("id") or e.get("style")]
        assert {e.tag for e in svg.iter()} <= {"svg", "path", "rect", "circle", "text"}
        numbers = [float(v) for e in svg.iter() for name in ("x", "y", "cx", "cy") if (v := e.get(name))]
        assert all(-1 <= v <= max(width, height) for v in numbers)
        assert "nan" not in panel.svg
        assert panel.svg.count('lang="zh"') > 0
        assert panel.description.en
        assert svg.get("aria-labelledby") == f"{panel.anchor} {panel.anchor}-d"


def test_drawing_is_deterministic():
    assert [p.svg for v in views() for p in v.panels] == [p.svg for v in views() for p in v.panels]


def test_alternative_text_says_what_is_seen():
    dots, lines = views()[0].panels[0], views()[3].panels[0]
    assert re.match(r"few, old, 8\d\.?\d* \[8", dots.description.en)
    assert re.match(r"old, 0\.00\d+ at 512 to 0\.0\d+ at 4096; new, ", lines.description.en)


def test_the_caption_begins_with_the_verdicts_of_its_claims():
    found = views()
    assert found[0].finding.en == "1 supported, 1 inconclusive: “The new one is at least 2 points worse.”"
    assert found[3].finding.en.startswith("Supported: “")
    assert found[2].finding.en == ""
    assert found[0].caption.en == (
        "Accuracy by arm. Dashed: old. Each dot is one seed; mean and 95\u00a0% interval. Shaded: what the claim allows."
    )
    assert found[3].caption.zh.startswith("秒数与词元数。虚线：旧法。每点为一轮")
    assert found[5].caption.en == "Error along the line. Dashed: old. Shaded: what the claim allows."


def test_findings_say_when_they_are_the_reference_runs():
    rows = rows_of(
        records.record(records.every_verdict(asked=False)), records.record(records.every_verdict(half=0.002))
    )
    gains, costs, level = rows[:3]
    assert finding([gains]).en == "Supported in the reference run: “It gains at least 0.2 points.”"
    assert finding([gains, level]).en == "2 claims: supported in the reference run."
    assert finding([costs, gains]).zh == "2 条论断：参考运行中成立 1，参考运行中推翻 1。"


def test_a_run_without_data_of_the_study_is_left_out():
    alone = figures_of(records.EXPERIMENT, [(YOURS, records.never_ran()), (REFERENCE, THEIRS)], ROWS, 1)
    assert {len(view.panels) for view in alone} == {1}
    assert figures_of(records.EXPERIMENT, [(YOURS, records.never_ran())], ROWS, 1) == []


def test_an_experiment_that_cannot_be_imported_is_said():
    assert experiment_of(records.DRAWN) is records.EXPERIMENT or experiment_of(records.DRAWN).question
    assert experiment_of("no_such_method") is None
    assert "Figures are left out" in render(records.record(records.open_ended()), None)
    assert "Figures are left out" not in render(records.record(MINE), None)


def test_a_canvas_escapes_what_it_writes():
    canvas = Canvas()
    canvas.text((0, 0), "a < b & c")
    assert ET.fromstring(canvas.svg(10, 10, "x")).find("text").text == "a < b & c"
