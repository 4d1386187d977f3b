"""The report: what it says, that it stands alone, and that its HTML is sound."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from lab import records

from gezhi import _catalogue
from gezhi.lab.record import Record, Words, save
from gezhi.lab.report import render, write_report
from gezhi.lab.report.glyph import AT_LEAST, AT_MOST, CENTRE, FIRST, LAST, WIDEST, glyph
from gezhi.lab.report.math import math as mathml
from gezhi.lab.report.numbers import exact_number, measured, region, resolution
from gezhi.lab.report.pages import block, inline, page
from gezhi.lab.report.rows import rows_of, unique
from gezhi.lab.report.summary import chance, distance, surprising, tallies, unlike
from gezhi.lab.report.text import brief, count, duration, full_width, html

VOID = {"meta", "input", "br", "hr", "img", "link"}
SAME = "\u00a0"  # no-break space


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


QUICK, REFERENCE = records.quick_run(), records.reference_run()
REPORTS = {
    "both runs": lambda: render(QUICK, REFERENCE),
    "no reference": lambda: render(QUICK, None),
    "the reference itself": lambda: render(REFERENCE, REFERENCE, lang="zh"),
    "a reference of other methods": lambda: render(QUICK, records.record(records.method("other", []))),
    "nothing": lambda: render(records.record(), REFERENCE),
}


@pytest.fixture(scope="module")
def report() -> str:
    return render(QUICK, REFERENCE)


def rows_in(source: str) -> list[str]:
    return re.findall(r'<tr role="row" id="([^"]+)"', source)


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
    assert render(records.quick_run(), records.reference_run()) == report


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


def test_language_that_is_visible_first():
    assert '<html lang="en">' in render(QUICK, None)
    chinese = render(QUICK, None, lang="zh")
    assert '<html lang="zh-Hans">' in chinese
    assert re.search(r'id="zh" checked', chinese)
    assert not re.search(r'id="en" checked', chinese)


def test_every_claim_is_a_row_once(report):
    found = rows_in(report)
    assert found == list(unique(f"{m.stem}.{c.key}" for m, c in QUICK.claims()))
    assert len(set(found)) == len(list(QUICK.claims())) == 22


def test_ids_are_valid_and_distinct():
    assert list(unique(iter(["a.b@c d", "a.b@c-d", "a.x"]))) == ["a.b@c-d", "a.b@c-d-", "a.x"]


def test_texts_are_escaped(report):
    assert "&#34;&lt;&amp;&gt;&#34; or not" in report
    assert '"<&>"' not in report
    assert "a &lt; b" in report


def test_a_large_report_is_fast_and_small():
    run = records.many(37, 10)
    other = run.model_copy(update={"command": "gezhi run --all --budget full"})
    started = time.perf_counter()
    source = render(run, other)
    assert time.perf_counter() - started < 3
    assert len(source.encode()) < 1_500_000
    assert len(rows_in(source)) == 370


def test_written_whole_with_links_to_what_lies_beside_it(tmp_path):
    assert "result.json" not in render(QUICK, None, folder=tmp_path)
    save(QUICK, tmp_path)
    replicates = tmp_path / "results" / records.DRAWN / "replicates.csv"
    replicates.parent.mkdir(parents=True)
    replicates.write_text("study\n")
    path = write_report(QUICK, None, tmp_path / "report.html", "en")
    source = path.read_text(encoding="utf-8")
    assert 'href="result.json"' in source
    assert f'href="results/{records.DRAWN}/replicates.csv"' in source
    assert "every_verdict/replicates.csv" not in source
    assert {p.name for p in tmp_path.iterdir()} == {"report.html", "result.json", "results"}


# ---- what it says -----------------------------------------------------------------------------------------------------


def test_head_counts_both_runs():
    rows = rows_of(QUICK, REFERENCE)
    found = tallies(rows)
    assert sum(found["all"].counts) == len(rows) == 22
    assert found["all"].counts == tuple(
        a + b for a, b in zip(found["exact"].counts, found["noisy"].counts, strict=True)
    )
    assert found["exact"].words.en == f"3{SAME}supported, 1{SAME}refuted"
    assert sum(found["reference"].counts) == sum(row.other is not None for row in rows)


def test_chance_and_departures_are_counted():
    rows = rows_of(records.record(records.every_verdict()), records.record(records.every_verdict(half=0.002)))
    assert chance(rows).en == (
        f"7{SAME}noisy claims were judged. Were every truth exactly on its margin, fewer than one of the verdicts would "
        "be wrong by chance; the 2 exact ones cannot be."
    )
    assert unlike(rows).en == "1 supported there and inconclusive here"
    assert unlike(rows).zh == "1 条彼处成立、此处未定"
    exact = records.record(records.method("e", [records.claimed("x", records.outcome(1, low=0), exact=True)]))
    assert "none can be wrong" in chance(rows_of(exact, None)).en


def test_most_surprising_puts_exact_first_then_half_widths():
    def refuted(stem, *gaps):
        claims = [records.claimed(f"c{i}", records.outcome(-gap, 0.1, low=0.0)) for i, gap in enumerate(gaps)]
        return records.method(stem, claims)

    exact = records.method("exact", [records.claimed("e", records.outcome(0.5, high=0.4, how="value"), exact=True)])
    many = [refuted(f"m{i}", 1.0 + i) for i in range(6)]
    found = surprising(rows_of(records.record(refuted("far", 0.5, 9.0), exact, *many), None))
    assert [row.method.stem for row in found][:3] == ["exact", "far", "m5"]
    assert [row.mine.id for row in found][1] == "c1"
    assert len(found) == 8
    assert distance(found[1].mine) == (False, pytest.approx(90))
    assert render(records.record(*many, exact), None).count('<span class="verdict">') == 5


def test_surprising_takes_the_reference_run_where_this_one_did_not_ask():
    rows = rows_of(
        records.record(records.every_verdict(asked=False)), records.record(records.every_verdict(half=0.002))
    )
    row = next(row for row in rows if row.mine.id == "costs")
    assert row.from_reference
    assert row.shown.verdict == "refuted"
    assert "r" in row.classes.split()
    assert row.source.en == "reference run; not asked at quick"


def test_claims_of_ratios_are_measured_on_the_logarithm():
    claim = records.claimed("r", records.outcome(1.2, 1.1, high=0.95, how="ratio"))
    assert distance(claim) == (False, pytest.approx(math.log(1.2 / 0.95) / math.log(1.1)))


def test_one_column_where_there_is_nothing_to_compare_with():
    for reference in (None, records.record(records.method("other", []))):
        source = render(QUICK, reference)
        assert "Reference run" not in Page(source).text
        assert 'id="fd"' not in source
        assert source.count('role="columnheader"') == 4
    itself = render(REFERENCE, REFERENCE)
    assert itself.count('role="columnheader"') == 4
    assert "Your run" not in Page(itself).text
    assert "Reference run" in Page(itself).text


def test_methods_that_were_not_asked_for_are_only_counted():
    assert f"1{SAME}further method was not asked for" in render(QUICK, REFERENCE)
    two = render(records.record(records.open_ended()), REFERENCE)
    assert f"3{SAME}further methods were not asked for" in two
    assert "The every verdict" not in two


def test_rows_say_scope_basis_and_remark():
    rows = {row.mine.key: row for row in rows_of(records.record(records.every_verdict(), records.open_ended()), None)}
    assert rows["fast@n=4096"].scope.en == "n=4096; toy data, 200 rows; interleaved rounds on one machine"
    assert rows["rank"].scope.en.endswith("redrawn seeds; the deciding one of 2 tests")
    assert rows["items"].basis.en.startswith(f"1797{SAME}items, resolves")
    assert rows["exact-yes@a < b"].basis.en == "exact"
    assert rows["extended"].basis.en.startswith(f"5{SAME}seeds, 98{SAME}% interval")
    assert rows["level"].remark.en == f"weak, q{SAME}={SAME}.067; needs about 24 seeds"
    assert str(rows["nan"].result) == "—"
    assert str(rows["one"].result) == f"+0.500 [−∞,{SAME}∞]"
    assert rows["unasked"].result is None
    assert rows["unasked"].glyph is None


def test_a_reference_with_another_margin_is_not_compared():
    mine = records.record(records.method("m", [records.claimed("c", records.outcome(0.5, 0.1, low=0.3))]))
    theirs = records.record(records.method("m", [records.claimed("c", records.outcome(0.5, 0.1, low=0.2))]))
    row = rows_of(mine, theirs)[0]
    assert row.same_test is None
    assert row.glyph.other is None
    assert row.other_basis.en == "asked with another margin"


def test_timed_claims_do_not_draw_the_reference_run():
    rows = {
        row.mine.id: row
        for row in rows_of(records.record(records.every_verdict()), records.record(records.every_verdict(half=0.002)))
    }
    assert rows["fast"].glyph.other is None
    assert rows["fast"].glyph.y == 14.5
    assert rows["gains"].glyph.other is not None
    assert rows["gains"].glyph.y == 10


def test_a_method_that_did_not_run_says_why(report):
    text = Page(report).text
    assert "This method did not run" in text
    assert "data not at hand: gezhi data get newspaper" in text
    assert '<a href="#never_ran">' in report


def test_a_method_stands_with_its_cards_and_cost(report):
    text = Page(report).text
    assert "new minus old, accuracy" in text
    assert "old over new, seconds" in text
    assert "new, exponent of seconds" in text
    assert f"462{SAME}720" in text
    assert f"3{SAME}arms, 2{SAME}cases, 0.5{SAME}s each" in text


def test_a_record_without_methods():
    text = Page(render(records.record(), None)).text
    assert "No claim was asked" in text
    assert "All claims" not in text


def test_data_of_the_user_are_named():
    run = records.record(records.method("m", [records.claimed("c")], data="mine.csv"))
    assert "mine.csv" in Page(render(run, None)).text


# ---- glyphs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-3.0, 0.29, 0.31, 5.0])
@pytest.mark.parametrize("half", [0.001, 0.05])
def test_one_sided_regions_have_their_edge_at_a_fixed_place(value, half):
    for low, high, edge in ((0.3, None, AT_LEAST), (None, 0.3, AT_MOST)):
        test = records.outcome(value, half, low=low, high=high)
        drawn = glyph(test, None, exact=False)
        assert drawn.edges == (edge,)
        assert drawn.band == ((edge, 200.0) if low else (0.0, edge))
        assert FIRST <= drawn.mine.low <= drawn.mine.x <= drawn.mine.high <= LAST
        assert (drawn.mine.x > edge) == (value > 0.3)
        inside = drawn.band[0] <= drawn.mine.low and drawn.mine.high <= drawn.band[1]
        assert inside == (test.verdict == "supported")
        assert drawn.title == region(test)


@pytest.mark.parametrize(("value", "half"), [(0.0, 0.1), (0.29, 0.02), (5.0, 0.3), (-0.9, 0.001), (0.1, 40.0)])
def test_two_sided_regions_are_centred(value, half):
    test = records.outcome(value, half, low=-0.3, high=0.3)
    drawn = glyph(test, records.outcome(value / 2, half / 2, low=-0.3, high=0.3), exact=False)
    low, high = drawn.edges
    assert (low + high) / 2 == pytest.approx(CENTRE, abs=0.06)
    assert high - low <= WIDEST + 0.1
    for whisker in (drawn.mine, drawn.other):
        assert FIRST <= whisker.low <= whisker.x <= whisker.high <= LAST
    inside = low <= drawn.mine.low and drawn.mine.high <= high
    assert inside == (test.verdict == "supported")


def test_ratios_are_drawn_on_the_logarithm():
    drawn = glyph(records.outcome(20, 2, low=5, how="ratio"), records.outcome(10, 2, low=5, how="ratio"), exact=False)
    assert drawn.mine.x - AT_LEAST == pytest.approx(2 * (drawn.other.x - AT_LEAST), abs=0.2)


def test_an_exact_mark_is_seen_against_zero():
    tight = glyph(records.outcome(0.99, high=1, how="value"), None, exact=True)
    loose = glyph(records.outcome(0.01, high=1, how="value"), None, exact=True)
    assert AT_MOST - 2 < tight.mine.x < AT_MOST
    assert loose.mine.x < 40
    assert (tight.mine.low, tight.y) == (None, 14.5)
    assert glyph(records.outcome(8, high=8, how="value"), None, exact=True).mine.x == AT_MOST
    between = glyph(records.outcome(1.702, low=1.7015, high=1.7025, how="value"), None, exact=True)
    assert between.edges == (CENTRE - WIDEST / 2, CENTRE + WIDEST / 2)


def test_glyph_of_an_equality_and_of_open_intervals():
    equal = glyph(records.outcome(256, low=256, high=256, how="value"), None, exact=True)
    assert equal.edges == (CENTRE, CENTRE)
    assert equal.labels[0].text == f"={SAME}256"
    unbounded = glyph(records.outcome(0.5, math.inf, low=0.3), None, exact=False)
    assert (unbounded.mine.low, unbounded.mine.high) == (0.0, 200.0)
    assert glyph(records.outcome(None, low=0.1), None, exact=False).mine is None


def test_labels_of_a_narrow_region_turn_away_from_each_other():
    drawn = glyph(records.outcome(50, 1, low=-0.001, high=0.001), None, exact=False)
    assert [label.anchor for label in drawn.labels] == ["te", "ts"]
    assert [label.text for label in drawn.labels] == ["−0.001", "0.001"]


# ---- numbers and words ------------------------------------------------------------------------------------------------

NUMBERS = [
    ((0.0062, 0.0055), {"low": 0.002, "unit": "%"}, f"+0.62 [+0.07,{SAME}+1.17]{SAME}pp", f"≥{SAME}0.2{SAME}pp"),
    ((6.9, 1.5), {"low": 5, "how": "ratio"}, f"6.9× [4.6,{SAME}10.4]", f"≥{SAME}5×"),
    ((1.04, 0.07), {"low": 0.85, "high": 1.25, "how": "exponent"}, f"1.04 [0.97,{SAME}1.11]", f"0.85{SAME}…{SAME}1.25"),
    ((-0.14, 0.38), {"low": -0.3, "high": 0.3, "unit": "nat"}, f"−0.14 [−0.52,{SAME}+0.24]{SAME}nat", f"−0.3{SAME}…{SAME}0.3{SAME}nat"),
    ((0.881, 0.009), {"low": 0.87, "how": "value", "unit": "%"}, f"88.1 [87.2,{SAME}89.0]{SAME}%", f"≥{SAME}87{SAME}%"),
    ((3.1e-7, 2e-8), {"high": 1e-6, "how": "value"}, f"3.10 [2.90,{SAME}3.30]{SAME}×{SAME}10⁻⁷", f"≤{SAME}10⁻⁶"),
    ((12345.6, 400), {"low": 10000, "how": "value"}, f"12{SAME}346 [11{SAME}946,{SAME}12{SAME}746]", f"≥{SAME}10{SAME}000"),
    ((0.2005, 0.0004), {"low": 0.2, "how": "value"}, f"0.20050 [0.20010,{SAME}0.20090]", f"≥{SAME}0.2"),
    ((1e9, 1e8), {"low": 1e8, "how": "value"}, f"1.00 [0.90,{SAME}1.10]{SAME}×{SAME}10⁹", f"≥{SAME}10⁸"),
    ((0.0, 0.002), {"high": 0.01}, f"0.0000 [−0.0020,{SAME}+0.0020]", f"≤{SAME}0.01"),
]  # fmt: skip


@pytest.mark.parametrize(("size", "how", "number", "allowed"), NUMBERS)
def test_numbers_carry_the_digits_of_their_interval(size, how, number, allowed):
    test = records.outcome(*size, **how)
    assert str(measured(test, exact=False)) == number
    assert region(test) == allowed


@pytest.mark.parametrize("end", [0.20001, 0.199999])
def test_rounding_never_moves_an_end_across_the_edge(end):
    shown = measured(records.outcome(end + 0.5, 0.5, low=0.2, how="value"), exact=False).interval
    low = float(shown[1:].split(",")[0])
    assert (low > 0.2) == (end > 0.2)
    assert low != 0.2


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
    test = records.outcome(6.9, 1.5, low=5, how="ratio").model_copy(update={"resolution": 0.536})
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

## Question

Is $x_1$ *really* less than $x_2$, <b>or</b> [not](other.md)?

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
def pages(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(_catalogue, "pages", lambda: tmp_path)
    (tmp_path / "every_verdict.md").write_text(PAGE, encoding="utf-8")
    return tmp_path


def test_a_page_gives_question_formulas_and_when_not_to_use_it(pages):
    found = page("every_verdict", "en")
    assert "<em>really</em>" in found.question
    assert "&lt;b&gt;or&lt;/b&gt;" in found.question
    assert "href" not in found.question
    assert "<msub><mi>x</mi><mn>1</mn></msub>" in found.question
    assert [formula.tag for formula in found.formulas] == ["1", "2"]
    assert found.formulas[0].lead == "First comes"
    assert found.notation.endswith("is a number.")
    assert "<code>a_b_c</code>" in found.avoid
    assert page("every_verdict", "zh") is None


def test_a_page_in_one_language_stands_for_both(pages):
    source = render(records.record(records.every_verdict()), None)
    assert not Page(source).open
    assert source.count("When not to use it") == 1
    assert source.count('<p class="question"') == 2
    assert source.count('<math display="block"') == 2
    (pages / "every_verdict.zh.md").write_text(PAGE.replace("First comes", "首先,有"), encoding="utf-8")
    assert "首先，有" in render(records.record(records.every_verdict()), None)


def test_pages_shorter_than_expected_give_what_they_have(pages):
    (pages / "every_verdict.md").write_text("# A toy\n\n## Question\n\nWhy?\n", encoding="utf-8")
    found = page("every_verdict", "en")
    assert (found.question, found.formulas, found.avoid) == ("Why?", (), "")
    assert "When not to use it" not in render(records.record(records.every_verdict()), None)


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


def test_all_real_records_render(tmp_path):
    """The committed reference run, if there is one."""
    folder = _catalogue.reference()
    if not (folder / "result.json").exists():
        pytest.skip("there is no reference run yet")
    from gezhi.lab.record import load

    run: Record = load(folder)
    source = render(run, run)
    assert not Page(source).open
    assert len(rows_in(source)) == len(list(run.claims()))
