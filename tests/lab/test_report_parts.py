"""The parts of a report: glyphs, numbers, words, and what is read from pages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import records

from gezhi.lab.record import Words
from gezhi.lab.report import render
from gezhi.lab.report.glyph import AT_LEAST, AT_MOST, CENTRE, FIRST, LAST, WIDEST, glyph
from gezhi.lab.report.math import math as mathml
from gezhi.lab.report.numbers import exact_number, measured, region, resolution
from gezhi.lab.report.pages import block, inline, page
from gezhi.lab.report.text import brief, count, duration, full_width, html

SAME = "\u00a0"  # no-break space

# ---- glyphs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-3.0, 0.29, 0.31, 5.0])
@pytest.mark.parametrize("half", [0.001, 0.05])
def test_one_sided_regions_have_their_edge_at_a_fixed_place(value, half):
    for low, high, edge in ((0.3, None, AT_LEAST), (None, 0.3, AT_MOST)):
        test = records.outcome(value, half, low=low, high=high)
        drawn = glyph(test, None)
        assert drawn.edges == (edge,)
        assert drawn.band == ((edge, 200.0) if low else (0.0, edge))
        assert FIRST <= drawn.lead.low <= drawn.lead.x <= drawn.lead.high <= LAST
        assert (drawn.lead.x > edge) == (value > 0.3)
        inside = drawn.band[0] <= drawn.lead.low and drawn.lead.high <= drawn.band[1]
        assert inside == (test.verdict == "supported")
        assert drawn.title.en == region(test)


@pytest.mark.parametrize(("value", "half"), [(0.0, 0.1), (0.29, 0.02), (5.0, 0.3), (-0.9, 0.001), (0.1, 40.0)])
def test_two_sided_regions_are_centred(value, half):
    test = records.outcome(value, half, low=-0.3, high=0.3)
    drawn = glyph(test, records.outcome(value / 2, half / 2, low=-0.3, high=0.3))
    low, high = drawn.edges
    assert (low + high) / 2 == pytest.approx(CENTRE, abs=0.06)
    assert high - low <= WIDEST + 0.1
    for whisker in (drawn.lead, drawn.other):
        assert FIRST <= whisker.low <= whisker.x <= whisker.high <= LAST
    inside = low <= drawn.lead.low and drawn.lead.high <= high
    assert inside == (test.verdict == "supported")


def test_ratios_are_drawn_on_the_logarithm():
    drawn = glyph(records.outcome(20, 2, low=5, how="ratio"), records.outcome(10, 2, low=5, how="ratio"))
    assert drawn.lead.x - AT_LEAST == pytest.approx(2 * (drawn.other.x - AT_LEAST), abs=0.2)


def test_an_exact_mark_is_seen_against_zero():
    tight = glyph(records.outcome(0.99, high=1, how="value"), None)
    loose = glyph(records.outcome(0.01, high=1, how="value"), None)
    assert AT_MOST - 2 < tight.lead.x < AT_MOST
    assert loose.lead.x < 40
    assert (tight.lead.low, tight.y) == (None, 14.5)
    assert glyph(records.outcome(8, high=8, how="value"), None).lead.x == AT_MOST
    between = glyph(records.outcome(1.702, low=1.7015, high=1.7025, how="value"), None)
    assert between.edges == (CENTRE - WIDEST / 2, CENTRE + WIDEST / 2)


def test_glyph_of_an_equality_and_of_open_intervals():
    equal = glyph(records.outcome(256, low=256, high=256, how="value"), None)
    assert equal.edges == (CENTRE, CENTRE)
    assert equal.labels[0].text.en == f"={SAME}256"
    unbounded = glyph(records.outcome(0.5, math.inf, low=0.3), None)
    assert (unbounded.lead.low, unbounded.lead.high) == (0.0, 200.0)
    assert glyph(records.outcome(None, low=0.1), None).lead is None


def test_labels_of_a_narrow_region_turn_away_from_each_other():
    drawn = glyph(records.outcome(50, 1, low=-0.001, high=0.001), None)
    assert [label.anchor for label in drawn.labels] == ["te", "ts"]
    assert [label.text.en for label in drawn.labels] == ["−0.001", "0.001"]


def test_units_are_named_in_both_languages():
    test = records.outcome(-0.8, 0.1, high=-0.1, unit="nat")
    drawn = glyph(test, None, lambda name: Words(en=name, zh={"nat": "奈特"}.get(name, name)))
    assert drawn.labels[0].text == Words(en=f"≤{SAME}−0.1{SAME}nat", zh=f"≤{SAME}−0.1{SAME}奈特")


# ---- numbers and words ------------------------------------------------------------------------------------------------

NUMBERS = [
    ((0.0062, 0.0055), {"low": 0.002, "unit": "%"}, f"+0.62 [+0.07,{SAME}+1.17]{SAME}pp", f"≥{SAME}0.2{SAME}pp"),
    ((6.9, 1.5), {"low": 5, "how": "ratio"}, f"6.9× [4.6,{SAME}10.4]", f"≥{SAME}5×"),
    ((1.04, 0.07), {"low": 0.85, "high": 1.25, "how": "exponent"}, f"1.04 [0.97,{SAME}1.11]", f"0.85{SAME}…{SAME}1.25"),
    ((-0.14, 0.38), {"low": -0.3, "high": 0.3, "unit": "nat"}, f"−0.14 [−0.52,{SAME}+0.24]{SAME}nat", f"−0.3{SAME}…{SAME}0.3{SAME}nat"),
    ((0.881, 0.009), {"low": 0.87, "how": "value", "unit": "%"}, f"88.1 [87.2,{SAME}89.0]{SAME}%", f"≥{SAME}87{SAME}%"),
    ((3.1e-7, 2e-8), {"high": 1e-6, "how": "value"}, f"3.10 [2.90,{SAME}3.30]{SAME}×{SAME}10⁻⁷", f"≤{SAME}10⁻⁶"),
    ((12345.6, 400), {"low": 10000, "how": "value"}, f"12{SAME}346 [11{SAME}946,{SAME}12{SAME}746]", f"≥{SAME}10{SAME}000"),
    ((0.2005, 0.0004), {"low": 0.2, "how": "value"}, f"0.2005 [0.2001,{SAME}0.2009]", f"≥{SAME}0.2"),
    ((1e9, 1e8), {"low": 1e8, "how": "value"}, f"1.00 [0.90,{SAME}1.10]{SAME}×{SAME}10⁹", f"≥{SAME}10⁸"),
    ((186.9, 1.02), {"low": 10, "how": "ratio"}, f"187× [183,{SAME}191]", f"≥{SAME}10×"),
    ((0.00062, 0.0004), {"low": -0.01, "unit": "%"}, f"+0.062 [+0.022,{SAME}+0.102]{SAME}pp", f"≥{SAME}−1{SAME}pp"),
    ((0.0, 0.002), {"high": 0.01}, f"0.0000 [−0.0020,{SAME}+0.0020]", f"≤{SAME}0.01"),
]  # fmt: skip


@pytest.mark.parametrize(("size", "how", "number", "allowed"), NUMBERS)
def test_numbers_carry_the_digits_of_their_interval_and_three_at_most(size, how, number, allowed):
    test = records.outcome(*size, **how)
    assert str(measured(test)) == number
    assert region(test) == allowed


@pytest.mark.parametrize("end", [0.20001, 0.199999])
def test_rounding_never_moves_an_end_across_the_edge(end):
    shown = measured(records.outcome(end + 0.5, 0.5, low=0.2, how="value")).interval
    low = float(shown[1:].split(",")[0])
    assert (low > 0.2) == (end > 0.2)
    assert low != 0.2


@pytest.mark.parametrize(
    ("value", "region_of", "number"),
    [
        (0.0447149, {"low": 0.04}, "0.0447"),
        (1.70182, {"low": 1.7015, "high": 1.7025}, "1.7018"),
        (61.0, {"low": 33}, "61"),
        (12345.0, {"low": 33}, f"12{SAME}345"),
        (-2.2204e-16, {"high": 1e-9}, f"−2.2{SAME}×{SAME}10⁻¹⁶"),
    ],
)
def test_exact_results_have_three_digits_or_as_many_as_tell_them_from_the_edge(value, region_of, number):
    assert str(measured(records.outcome(value, how="value", **region_of))) == number


@pytest.mark.parametrize(
    ("value", "edges", "text"),
    [
        (8.0, [8], "8"),
        (0.0447149, [0.04], "0.0447149"),
        (1.1e-16, [1e-8], f"1.1{SAME}×{SAME}10⁻¹⁶"),
        (1e-8, [], "10⁻⁸"),
        (0.0500000001, [0.05], "0.0500000001"),
        (462720.0, [], f"462{SAME}720"),
        (1234567.0, [], f"1.23457{SAME}×{SAME}10⁶"),
        (-3.5e-12, [], f"−3.5{SAME}×{SAME}10⁻¹²"),
        (0.0, [1e-9], "0"),
        (-0.0, [], "0"),
    ],
)
def test_exact_numbers(value, edges, text):
    assert exact_number(value, edges) == text


def test_resolution_of_a_ratio_is_a_factor():
    test = records.outcome(6.9, 1.5, low=5, how="ratio").model_copy(update={"seen": 0.536})
    assert resolution(test) == "1.71×"
    assert resolution(records.outcome(0.5, low=0.1)) == ""
    assert resolution(records.outcome(0.0062, 0.001, low=0.002, unit="%")) == "0.13"


@pytest.mark.parametrize(
    ("typed", "printed"),
    [
        ("训练样本为 1200 行时,解析解(行向量)更好", "训练样本为 1200 行时，解析解（行向量）更好"),
        ("softmax: 线性", "softmax：线性"),
        ("区间 [.5, .5] 与 1,000 个", "区间 [.5, .5] 与 1,000 个"),
        ("L2,C = 1", "L2，C = 1"),
        ("由 (3) 与 f(x, y)", "由 (3) 与 f(x, y)"),
    ],
)
def test_chinese_punctuation_is_full_width(typed, printed):
    assert full_width(typed) == printed


def test_words():
    assert html("a < b") == "a &lt; b"
    assert html(Words(en="yes", zh="是,对")) == '<i lang="en">yes</i><i lang="zh">是，对</i>'
    assert (count(1, "seed", "个种子").en, count(5, "seed", "个种子").en) == (f"1{SAME}seed", f"5{SAME}seeds")
    assert [duration(s).en.replace(SAME, " ") for s in (3.84, 41, 1440, 9000)] == ["3.8 s", "41 s", "24 min", "2.5 h"]
    assert [brief(s).replace(SAME, " ") for s in (2e-5, 4.1e-4, 0.054, 1.2)] == ["20 µs", "0.41 ms", "54 ms", "1.2 s"]


# ---- pages ------------------------------------------------------------------------------------------------------------

PAGE = r"""# A toy

## In short

Is $x_1$ *really* less than $x_2$, <b>or</b> [not](other.md)?

<!-- rests on: gains supported -->

## Question

Why?

## Notation

$x_i$ is a number.

| here | in code |
|---|---|

## Derivation

1. First comes

$$x_1 < x_2, \tag{1}$$

$$\text{untagged}$$

2. then $\ln p(x)=-\tfrac12(x-\mu)\Sigma^{-1}(x-\mu)^\top+\text{const}$:

$$\sum_i x_i \tag{2}$$

## From formula to code
## Claims
## Result of the reference run
## When not to use it

- With `a_b_c` columns.
- When $\ln k$ is 0.

## References
"""


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    with records.house(tmp_path) as found:
        yield found


def written(folder: Path, **files: str) -> None:
    """Pages of the toys, read again from now on."""
    for name, source in files.items():
        (folder / f"{name.replace('_zh', '.zh')}.md").write_text(source, encoding="utf-8")
    records.forget()


def test_a_page_gives_what_is_short_its_formulas_and_when_not_to_use_it(folder):
    written(folder, speed=PAGE)
    found = page("speed", "en")
    assert "<em>really</em>" in found.short
    assert "&lt;b&gt;or&lt;/b&gt;" in found.short
    assert "href" not in found.short
    assert "rests on" not in found.short
    assert "<msub><mi>x</mi><mn>1</mn></msub>" in found.short
    assert [formula.tag for formula in found.formulas] == ["1", "2"]
    assert found.formulas[0].lead == "First comes"
    assert found.notation.endswith("is a number.")
    assert "<code>a_b_c</code>" in found.avoid
    assert page("speed", "zh") is None
    assert page("toy.stranger", "en") is None


def test_a_page_in_one_language_stands_for_both(folder):
    written(folder, speed=PAGE)
    source = render(records.record_of([records.speed()]), None)
    assert source.count("When not to use it") == 1
    assert source.count('<p class="plain"') == 2
    assert source.count('<math display="block"') == 2
    written(folder, speed_zh=PAGE.replace("First comes", "首先,有").replace("## Derivation", "## 推导"))
    assert "首先，有" in render(records.record_of([records.speed()]), None)


def test_pages_shorter_than_expected_give_what_they_have(folder):
    found = page("unmeasured", "en")
    assert (found.short, found.formulas, found.avoid) == ("", (), "")
    assert "When not to use it" not in render(records.record_of([records.unmeasured()]), None)


def test_long_inline_formulas_may_break():
    assert mathml("x_1").count("<math>") == 1
    long = mathml(r"\ln p(x\mid i)=-\tfrac12(x-\mu_i)\Sigma^{-1}(x-\mu_i)^\top+\text{const}")
    assert long.count("<math>") == long.count("</math>") == 4
    assert '<mo form="infix">=</mo>' in long


def test_display_formulas_keep_their_source_and_space_their_functions():
    found = mathml(r"H=-\frac{1}{\ln k}\sum_{i\le k}p_i \tag{1}", display=True)
    assert found.startswith('<math display="block" alttext="H=-\\frac{1}{\\ln k}\\sum_{i\\le k}p_i">')
    assert '<mi>ln</mi><mspace width=".17em"></mspace><mi>k</mi>' in found
    assert "<munder>" in found
    assert "<mspace" not in mathml(r"\ln(x)")


def test_no_line_begins_with_the_punctuation_behind_a_formula():
    formula = '<span class="nw"><math><mi>j</mi></math>'
    assert inline("all $j$, hence") == f"all {formula},</span> hence"
    assert block("对所有 $j$,因此", chinese=True) == f"<p>对所有 {formula}，</span>因此</p>"


def test_markdown_keeps_code_and_formulas_apart():
    assert inline("`$a_b$` and $a_b$").startswith("<code>$a_b$</code> and <math>")
    assert block("其中,`a,b` 为行(row)。", chinese=True) == "<p>其中，<code>a,b</code> 为行（row）。</p>"
