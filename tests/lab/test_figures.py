"""Figures: axes, regions, labels, captions, and that every panel is sound SVG in both languages."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator
from io import BytesIO
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from lab import records
from PIL import Image

from gezhi.lab.claims import at, better, lower, ratio, same
from gezhi.lab.figures import Dots, Figure, Grid, Lines, Profile
from gezhi.lab.record import Words
from gezhi.lab.report.drawing import Axis, Canvas, linear_ticks, log_ticks, wrapped
from gezhi.lab.report.drawing_grid import laid_out, png
from gezhi.lab.report.drawing_lines import BINS, BOTTOM, envelope, spread
from gezhi.lab.report.estimates import metrics, summary
from gezhi.lab.report.figure_data import Run, Series, places
from gezhi.lab.report.figure_plots import dot_plot, lines_chart, picture_grid, plots, profile_chart
from gezhi.lab.report.figures import figures_of, reading
from gezhi.lab.report.rows import pairs_of
from gezhi.lab.results import drawn, levels_of
from gezhi.lab.stats import over_items, over_seeds
from gezhi.lab.verdicts import record_of

YOURS = Words(en="Your run", zh="本次运行")


@pytest.fixture(scope="module", autouse=True)
def _house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with records.house(tmp_path_factory.mktemp("pages")):
        yield


def run_of(measured, study: str, spec: Figure) -> Run:
    method = record_of([measured]).methods[0]
    return Run(YOURS, method, method.study(study), drawn(spec))


def views(stem: str):
    found = pairs_of(records.quick_run(), records.reference_run())
    return figures_of(next(pair for pair in found if pair.stem == stem), 1)


def panels(stem: str):
    return [panel for view in views(stem) for panel in view.panels]


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


def one_arm(values, **changes):
    return records.studied("s", {"toy": {"a": {"m": values}, "b": {"m": values}}}, {}, **changes)


def test_summary_has_the_students_interval_of_the_replicates():
    found = summary(one_arm([1.0, 2.0, 3.0]), "m", "toy", "a")
    assert found.mean == 2
    assert found.interval == pytest.approx((2 - 4.3027 / math.sqrt(3), 2 + 4.3027 / math.sqrt(3)), rel=1e-4)
    assert found.interval == over_seeds([1.0, 2.0, 3.0]).interval()
    assert summary(one_arm([10.0, 1000.0]), "m", "toy", "a", log=True).mean == pytest.approx(100)
    assert summary(one_arm([0.5, 0.7]), "m", "toy", "a", factor=100).mean == pytest.approx(60)
    assert summary(one_arm([5.0]), "m", "toy", "a").interval is None
    assert summary(one_arm([5.0], varies="nothing"), "m", "toy", "a").interval is None


def test_summary_leaves_out_what_is_not_finite_and_is_none_without_numbers():
    assert summary(one_arm([None, 2.0, 4.0]), "m", "toy", "a").mean == 3
    assert summary(one_arm([None, None]), "m", "toy", "a") is None
    assert summary(one_arm([0.0, -1.0]), "m", "toy", "a", log=True) is None
    assert summary(one_arm([1.0]), "absent", "toy", "a") is None
    assert summary(one_arm([1.0]), "m", "elsewhere", "a") is None
    assert summary(one_arm([1.0]), "m", "toy", "a", "gone") is None


def test_over_items_the_interval_is_that_of_the_judge():
    hits = [1.0] * 96 + [0.0] * 4
    found = summary(one_arm([hits], varies="items"), "m", "toy", "a")
    assert found.mean == 0.96
    assert found.interval == over_items(hits, (1.0, 1.0, 0.0, 0.0)).interval()


def test_cases_stand_at_their_numbers():
    def study(**cases):
        return records.studied("s", {}, {}, cases=cases)

    assert places(["a", "b"], study(a=1.0, b=10.0)) == [1, 10]
    assert places(["n=512", "n=1024"], study()) == [512, 1024]
    assert places(["10 000 rows", "20 000 rows"], study()) == [10000, 20000]
    assert places(["few", "many"], study()) is None
    assert places(["1 a", "1 b"], study()) is None


def test_dots_shade_the_row_of_the_claims_arm():
    plot = dot_plot(run_of(records.splits(), "cases", Dots("accuracy", "divided")))
    assert [group.name.zh for group in plot.groups] == ["少", "较多", "多", "最多"]
    old, new = plot.groups[0].rows
    assert (old.baseline, old.region) == (True, None)
    assert new.region == (pytest.approx(91), math.inf)
    assert plot.groups[0].baseline == old.summary.mean == pytest.approx(90)
    assert plot.shaded
    assert not dot_plot(run_of(records.splits(), "cases", Dots("accuracy"))).shaded


def test_differences_put_the_region_at_the_margin_itself():
    plot = dot_plot(run_of(records.splits(), "cases", Dots("accuracy", "divided", than="old", cases=("many",))))
    (group,) = plot.groups
    assert [row.name.en for row in group.rows] == ["new"]
    assert group.rows[0].region == (pytest.approx(1), math.inf)
    assert group.rows[0].summary.mean == pytest.approx(-2)
    assert group.baseline == 0
    assert plot.title == Words(en="accuracy minus old, pp", zh="准确率 减 旧法，pp")


def test_regions_of_several_claims_are_intersected():
    found = records.levels("toy", 5, old={"accuracy": (0.9, 0.01)}, new={"accuracy": (0.9, 0.01)})
    claims = {
        "a": better("accuracy", "new", than="old", by=-0.01),
        "b": same("accuracy", "new", than="old", within=0.02),
    }
    measured = records.measured("toy", records.studied("s", found, claims))
    row = dot_plot(run_of(measured, "s", Dots("accuracy", ("a", "b"), than="old"))).groups[0].rows[0]
    assert row.region == pytest.approx((-1, 2))


def test_a_users_file_stands_for_the_cases_of_the_figure():
    plot = dot_plot(run_of(records.on_file(), "test set", Dots("accuracy", "fewer", cases=("digits",))))
    assert [row.summary.mean for row in plot.groups[0].rows] == pytest.approx([90, 95])


def test_lines_have_a_wedge_for_an_exponent_and_its_estimate():
    chart = lines_chart(run_of(records.speed(), "time", Lines("seconds", "linear", log=(True, True))))
    old, new = chart.series
    assert (old.rank, new.rank, new.x) == (0, 1, [512, 1024, 2048, 4096])
    assert re.fullmatch(r"1\.00 \[0\.9\d, 1\.0\d\]", new.note)
    (wedge,) = chart.bands
    ends = (4096, pytest.approx(new.points[0].mean * 8**0.85), pytest.approx(new.points[0].mean * 8**1.25))
    assert wedge.points[-1] == ends
    assert chart.title.en == "n"


def test_lines_shade_the_case_of_a_claim():
    chart = lines_chart(run_of(records.speed(), "time", Lines("seconds", "faster")))
    (band,) = chart.bands
    (point,) = band.points
    assert point == (4096.0, pytest.approx(5 * chart.series[1].points[-1].mean, rel=0.01), math.inf)


def test_a_test_beside_an_exponent_shades_the_case_that_the_claim_names():
    measured = records.speed()
    study = measured.studies[0]
    both = at("n = 4096", *study.claims["linear"].claim.tests, ratio("seconds", "new", over="old", at_most=0.5))
    study.claims["linear"] = type(study.claims["linear"]).of(both)
    chart = lines_chart(run_of(measured, "time", Lines("seconds", "linear")))
    assert [point[0] for band in chart.bands if len(band.points) == 1 for point in band.points] == [4096.0]


def test_cases_without_numbers_are_named_on_the_axis():
    chart = lines_chart(run_of(records.splits(), "cases", Lines("accuracy")))
    assert [(x, name.zh) for x, name in chart.ticks] == [(0.0, "少"), (1.0, "较多"), (2.0, "多"), (3.0, "最多")]
    assert chart.title.en == ""


def test_one_case_makes_no_line():
    assert lines_chart(run_of(records.gains(), "training", Lines("accuracy"))) is None


def test_profiles_are_bounded_where_the_claim_says():
    spec = Profile("error", "small", x="x", log=(False, True))
    chart = profile_chart(run_of(records.speed(), "error", spec), "line")
    assert [band.everywhere for band in chart.bands] == [(-math.inf, 1e-3)]
    others = profile_chart(run_of(records.speed(), "error", Profile("error", "small", arms=("old",), x="x")), "line")
    assert others.bands == []  # the claim speaks of the arm that is not drawn
    measured = records.speed()
    curves = measured.studies[1].levels["line"]["new"]
    curves["error"] = [[-v if v else None for v in curves["error"][0]]]
    signed = profile_chart(run_of(measured, "error", spec), "line")
    assert [band.everywhere for band in signed.bands] == [(-1e-3, 1e-3)]


def test_profiles_of_several_seeds_are_their_mean():
    levels = {"toy": {arm: {"x": [[1.0, 2.0]] * 2, "y": [[1.0, 3.0], [3.0, 5.0]]} for arm in ("old", "new")}}
    measured = records.measured("toy", records.studied("s", levels, {}))
    assert profile_chart(run_of(measured, "s", Profile("y", x="x")), "toy").series[0].curve == [2.0, 4.0]
    levels["toy"]["old"]["y"] = [[1.0, 3.0], [3.0]]
    ragged = records.measured("toy", records.studied("s", levels, {}))
    assert [s.name.en for s in profile_chart(run_of(ragged, "s", Profile("y", x="x")), "toy").series] == ["new"]


def test_thinning_a_profile_keeps_its_peaks_and_its_gaps():
    x = np.linspace(0, 1, 5000)
    y = np.zeros(5000)
    y[1234], y[3000:3200] = 1, math.nan
    along, up = Axis(0, 1, 0, 300), Axis(0, 1, 200, 0)
    runs = list(envelope(Series(Words(en="", zh=""), 1, x.tolist(), curve=y.tolist()), along, up))
    assert len(runs) == 2
    assert sum(map(len, runs)) <= 2 * (BINS + 2)
    assert min(y for run in runs for _, y in run) == 0


PICTURES = Grid("pictures", picture=(2, 3))


def pictures(**of):
    """Two seeds of two arms, with pictures of 2 by 3 pixels; the later seed has none, as a record keeps it."""
    found = {arm: {"m": [1.0, 2.0], "pictures": [levels, []]} for arm, levels in of.items()}
    return records.measured("toy", records.studied("s", {"toy": found}, {}, figures=[drawn(PICTURES)]))


def test_pictures_are_those_of_the_first_seed_and_whole():
    levels = [0, 51, 255, 300, -4, 12.4] * 2
    (strip,) = picture_grid(run_of(pictures(old=levels, new=levels[:-1]), "s", PICTURES), "toy").strips
    assert strip.name.en == "old"
    assert strip.tiles.tolist() == [[[0, 51, 255], [255, 0, 12]]] * 2


def test_pictures_are_laid_out_in_equal_rows_a_pixel_apart():
    tiles = np.arange(30, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(3, 2)
    found = laid_out(tiles)
    assert found.shape == (3 * 3 - 1, 10 * 4 - 1)
    assert found[::3, ::4].ravel().tolist() == list(range(30))
    assert (found[2] == 255).all()
    assert (found[:, 3] == 255).all()
    assert laid_out(tiles[:1]).shape == (2, 3)
    assert laid_out(tiles[:15]).shape == (2 * 3 - 1, 8 * 4 - 1)
    assert (laid_out(tiles[:15])[3:, 28:] == 255).all()  # a free place


def test_pictures_are_no_level_and_are_drawn_as_they_are():
    measured = pictures(old=[0, 51, 255, 7, 8, 9], new=[1, 2, 3, 4, 5, 6])
    assert metrics(measured.studies[0]) == ["m"]
    run = run_of(measured, "s", PICTURES)
    ((title, plot),) = plots(run)
    assert title.en == "pictures"
    assert [words.zh for words in plot.spoken()] == ["旧法，1\u00a0幅图像", "新法，1\u00a0幅图像"]
    svg = ET.fromstring(plot.draw(([], []), "a b"))
    shown = [e for e in svg.iter() if e.tag == "image"]
    content = base64.b64decode(shown[1].get("href").removeprefix("data:image/png;base64,"))
    assert np.asarray(Image.open(BytesIO(content))).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert content == png(np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8))
    width, height = map(float, svg.get("viewBox").split()[2:])
    assert width == 380
    ends = [float(shown[1].get(a)) + float(shown[1].get(b)) for a, b in (("x", "width"), ("y", "height"))]
    assert (ends[0], ends[1]) <= (width, height)
    assert reading(run, [(YOURS, YOURS, plot)]).en == "Of the first seed."


def test_a_record_keeps_the_pictures_of_the_first_seed_alone():
    study = SimpleNamespace(figures=(PICTURES,), arms={"a": None})
    cells = {("c", "a", seed): {"metrics": {"m": seed, "pictures": [0.0] * 100}} for seed in (1, 2)}
    assert levels_of(study, cells, ["c"], [1, 2]) == {"c": {"a": {"m": [1, 2], "pictures": [[0.0] * 100, []]}}}


@pytest.mark.parametrize(
    "spec",
    [
        Dots("accuracy", arms=("gone",)),
        Dots("accuracy", than="gone"),
        Dots("absent"),
        Profile("accuracy", x="x"),
        Lines("absent"),
        Grid("accuracy"),
        Grid("absent"),
    ],
)
def test_what_was_not_measured_leaves_no_plot(spec):
    assert list(plots(run_of(records.splits(), "cases", spec))) == []


# ---- drawings ---------------------------------------------------------------------------------------------------------

STEMS = ("gains", "splits", "speed", "pairs")


def test_every_figure_is_drawn_for_both_runs_and_equal_ones_once():
    assert [len(view.panels) for view in views("speed")] == [2, 2, 1]
    assert [view.number for view in views("speed")] == [1, 2, 3]
    assert views("speed")[2].panels[0].title.en == "Both runs: error against x"
    assert views("gains")[0].panels[1].title.zh == "本次运行：准确率，%"
    assert views("gains")[0].panels[0].title.en == "Reference run: accuracy, %"


def test_the_users_file_is_drawn_first():
    (pair,) = pairs_of(record_of([records.on_file()]), records.reference_run())
    titles = [panel.title.en for panel in figures_of(pair, 1)[0].panels]
    assert [title.split(":")[0] for title in titles] == ["On your file", "Reference run"]


def test_panels_share_their_axes():
    one, other = (re.findall(r'class="mid">([\d−.]+)</text>', panel.svg) for panel in views("gains")[0].panels)
    assert one == other


@pytest.mark.parametrize("stem", STEMS)
def test_panels_are_sound_svg_in_both_languages(stem):
    for panel in panels(stem):
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
    assert [p.svg for p in panels("speed")] == [p.svg for p in panels("speed")]


def test_dots_on_one_pixel_are_one():
    canvas = Canvas()
    canvas.dots([(1.0, 2.0), (1.01, 2.0), (3.0, 2.0)], "sd")
    assert canvas.parts == ['<path class="sd" d="M1 2h0M3 2h0"/>']


def test_alternative_text_says_what_is_seen():
    assert re.match(r"few, old, 90 \[89\.\d, 90\.\d\]; few, new, 95 \[", panels("splits")[0].description.en)
    assert re.match(r"old, 0\.00\d+ at 512 to 0\.0\d+ at 4096; new, ", panels("speed")[0].description.en)


def test_captions_are_made_of_names_and_of_the_sentences_of_the_claims():
    one, two = views("splits")[0], views("gains")[0]
    assert one.finding.en == "Divided: “The new one is better by 1 point.”"
    assert one.caption.en == (
        "Accuracy, %: old, new; 4 cases. Dashed: old. Each dot is one seed; mean and 95\u00a0% interval. "
        "Shaded: what the claim allows."
    )
    assert two.finding == Words(en="1 supported, 1 refuted.", zh="成立 1，推翻 1。")
    assert (
        "Supported: “The new one gains at least 2 points.” Refuted: “It costs at least 0.2 points.”" in two.caption.en
    )
    assert (
        views("speed")[0].caption.zh
        == "秒：旧法、新法；4 种情形。虚线：旧法。每点为一轮；均值与 95\u00a0% 区间。阴影：论断允许的范围。"
    )
    assert views("speed")[2].caption.en == "Error: old, new. Dashed: old. Shaded: what the claim allows."


def test_a_run_without_data_of_the_study_is_left_out():
    run = record_of([records.unmeasured().model_copy(update={"stem": "gains", "studies": []})])
    (pair,) = pairs_of(run, records.reference_run())
    assert {len(view.panels) for view in figures_of(pair, 1)} == {1}
    (alone,) = pairs_of(record_of([records.unmeasured()]), None)
    assert figures_of(alone, 1) == []


def test_a_claim_of_another_study_is_told_and_not_shaded():
    spec = drawn(Dots("accuracy", "divided"))
    measured = records.splits()
    measured.studies[1].figures.append(spec)
    (pair,) = pairs_of(record_of([measured]), None)
    figure = figures_of(pair, 1)[1]
    assert figure.finding.en == "Divided: “The new one is better by 1 point.”"
    assert "Shaded" not in figure.caption.en


def test_a_figure_of_claims_that_are_not_there_shades_nothing():
    found = records.levels("toy", 5, old={"loss": (2.0, 0.1)}, new={"loss": (1.0, 0.1)})
    measured = records.measured("toy", records.studied("s", found, {"a": lower("loss", "new", than="old", by=0.1)}))
    assert not dot_plot(run_of(measured, "s", Dots("loss", "gone"))).shaded


def test_a_canvas_escapes_what_it_writes():
    canvas = Canvas()
    canvas.text((0, 0), "a < b & c")
    assert ET.fromstring(canvas.svg(10, 10, "x")).find("text").text == "a < b & c"
