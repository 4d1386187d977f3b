"""What the lab reads from a method's page, in both languages, and what it says of malformed ones."""

from __future__ import annotations

import pytest

from gezhi import _catalogue
from gezhi.lab.pages import Page, Sentence, claims_of, display_formulas, page, page_path, section, sections

ENGLISH = r"""# A method

## In short

<!-- en:3f2a91bc -->
<!-- rests on: gain supported, two words divided,
     costs refuted -->
Only if you know the prior, e.g. of the test data; then it gains. It costs
nothing. Use it!

## Question

<!-- en:3f2a91bc -->
Is it
true?

## Derivation

### First step

$$a = b
\tag{1}$$

```python
## not a heading
```

$$c = d$$ and $$e = f \tag{2}$$

## Claims

Words before the studies.

### vectors

On digits, over re-drawn splits (ten classes)
and initialisations.

- `gain` (article, thesis) Vectors gain 0.02 (on digits), as (1) says.
  Supported when the gain is at least 2 points
  in every case.
- `two words` (field) A claim
over two lines.
- `costs` (ours) It costs 3 times as much.

### cost

- `exact-one` (ours) No scope here.

## References
"""
CHINESE = """# 方法

## 一言以蔽之

<!-- en:3f2a91bc -->
<!-- rests on: gain supported -->
只有知道先验才有用！此外无用。

## 问题

真的吗？

## 论断

### 向量

在数字上。

- `gain`（原文，论点）向量提高 0.02。
  提高至少 2 个百分点才算成立。
- `costs` (自设) 费时三倍。
"""


# ---- sections -------------------------------------------------------------------------------------------------------


def test_sections_are_found_by_heading_without_their_stamp():
    assert section(ENGLISH, "Question") == "Is it\ntrue?"
    assert section(ENGLISH, "References") == ""
    assert section(ENGLISH, "Notation") == ""
    assert section(ENGLISH, "First step") == "", "of level 2 alone"
    assert section(ENGLISH, "Derivation").startswith("### First step\n")


def test_headings_in_code_are_none():
    headings = [heading for heading, _ in sections(ENGLISH)]
    assert headings[:5] == ["# A method", "## In short", "## Question", "## Derivation", "### First step"]
    assert "not a heading" in dict(sections(ENGLISH))["### First step"]


def test_only_formulas_with_a_tag_are_shown():
    assert display_formulas(ENGLISH) == [r"a = b \tag{1}", r"e = f \tag{2}"]


# ---- in short -------------------------------------------------------------------------------------------------------


def test_in_short_rests_on_named_verdicts():
    short = Page(ENGLISH, "en").short
    assert short.text == ("Only if you know the prior, e.g. of the test data; then it gains. It costs nothing. Use it!")
    assert short.rests_on == {"gain": "supported", "two words": "divided", "costs": "refuted"}
    unasked = "## In short\n\nNot yet.\n\n<!-- rests on: two words not asked, gain divided -->\n"
    assert Page(unasked, "en").short.rests_on == {"two words": "not asked", "gain": "divided"}


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("It gains 0.02 points. It costs nothing.", "It gains 0.02 points."),
        ("Is it so? No.", "Is it so?"),
        ("No end", "No end"),
        ("", ""),
    ],
)
def test_the_first_sentence_of_in_short(text, first):
    assert Page(f"## In short\n\n{text}\n", "en").short.first == first


def test_in_short_and_question_in_chinese():
    short = Page(CHINESE, "zh").short
    assert (short.first, short.rests_on) == ("只有知道先验才有用！", {"gain": "supported"})
    assert Page(CHINESE, "zh").question == "真的吗？"
    assert Page(ENGLISH, "en").question == "Is it true?"


def test_a_page_without_in_short_has_none():
    assert (Page("# A\n", "en").short.text, Page("# A\n", "en").short.rests_on) == ("", {})


# ---- claims ---------------------------------------------------------------------------------------------------------


def test_claims_are_read_by_study_with_whose_they_are():
    found = Page(ENGLISH, "en").claims
    assert found.sentences == {
        "gain": Sentence(
            "gain", "article", True, "Vectors gain 0.02 (on digits), as (1) says.",
            "Supported when the gain is at least 2 points in every case.",
        ),
        "two words": Sentence("two words", "field", False, "A claim over two lines.", ""),
        "costs": Sentence("costs", "ours", False, "It costs 3 times as much.", ""),
        "exact-one": Sentence("exact-one", "ours", False, "No scope here.", ""),
    }  # fmt: skip
    assert found.scopes == {
        "vectors": "On digits, over re-drawn splits (ten classes) and initialisations.",
        "cost": "",
    }
    assert found.thesis == found.sentences["gain"]


def test_claims_in_chinese_with_either_punctuation():
    found = Page(CHINESE, "zh").claims
    assert found.sentences["gain"] == Sentence(
        "gain", "article", True, "向量提高 0.02。", "提高至少 2 个百分点才算成立。"
    )
    assert found.sentences["costs"] == Sentence("costs", "ours", False, "费时三倍。", "")
    assert found.scopes == {"向量": "在数字上。"}


@pytest.mark.parametrize(
    ("bullet", "message"),
    [
        ("- `c` (mine) A sentence.", r"marks of claim 'c' must be one of article, field, ours.*got 'mine'"),
        ("- `c` (article, these) A sentence.", "marks of claim 'c' must .*got 'article, these'"),
        ("- `c` () A sentence.", "marks of claim 'c' must .*got ''"),
        ("- `c` (thesis) A sentence.", "marks of claim 'c' must .*got 'thesis'"),
        ("- `c` A sentence.", "marks of claim 'c' must .*got 'none'"),
        ("- `c` A sentence (article).", "marks of claim 'c' must .*got 'none'"),
        ("- c (article) A sentence.", "a bullet under Claims must begin with the claim's id .*got '- c \\(article\\)"),
        ("- `c` (article)", "sentence of claim 'c' must follow its marks"),
        ("- `c` (article) One.\n- `c` (ours) Two.", "claim 'c' must stand once on the page"),
    ],
)
def test_malformed_claims_are_named(bullet, message):
    with pytest.raises(ValueError, match=message):
        claims_of(f"## Claims\n\n### s\n\nA scope.\n\n{bullet}\n", "en")


def test_a_page_without_claims_has_none():
    found = claims_of("# A method\n", "en")
    assert (found.sentences, found.scopes, found.thesis) == ({}, {}, None)


# ---- where pages lie ------------------------------------------------------------------------------------------------


def test_only_known_methods_have_a_page():
    assert page("cosent", "en").text.startswith("# ")
    for stem in ("../../etc/passwd", "lab_toys.planted", "no_such_method", "os"):
        assert page_path(stem, "en") is None
        assert page(stem, "zh") is None
    assert page_path("cosent", "zh") == _catalogue.pages() / "cosent.zh.md"
