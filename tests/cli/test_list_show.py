"""`gezhi list`, `gezhi show` and `gezhi data`: for people, for programs, with and without a reference run."""

from __future__ import annotations

import json
import webbrowser

import pytest
from cli.answers import sentence, words
from cli_toys import house
from cli_toys.house import STEM


@pytest.fixture
def published(docs):
    house.publish(docs)
    return docs


def listed(result):
    return {entry["stem"]: entry for entry in json.loads(result.stdout)}


def test_list_answers_the_thesis(gezhi, published):
    text = words(gezhi("list", "--wing", "toys").stdout)
    assert (
        "NS The new seller sells more than the plain one. divided Only in the north; in the south it sells less."
        in text
    )
    assert "1 of 2" in text


def test_list_in_chinese(gezhi, published):
    text = words(gezhi("list", "--wing", "toys", "--lang", "zh").stdout)
    assert "NS 新卖家比普通卖家卖得多。 分歧 只在北方如此；在南方反而卖得更少。" in text
    assert "2 例中 1" in text


def test_list_for_programs(gezhi, published):
    entry = listed(gezhi("list", "--json"))[STEM]
    assert entry == {
        "stem": STEM,
        "aliases": ["NS", "1234"],
        "wing": "toys",
        "title": "The new seller",
        "articles": ["玩具:卖得更多吗?"],
        "tags": ["toy"],
        "public": ["sell"],
        "page": f"docs/methods/{STEM}.md",
        "thesis": {
            "id": "sells-more",
            "en": "The new seller sells more than the plain one.",
            "zh": "新卖家比普通卖家卖得多。",
            "verdict": "divided",
            "estimate": None,
            "interval": None,
        },
        "short": {
            "en": "Only in the north; in the south it sells less.",
            "zh": "只在北方如此；在南方反而卖得更少。",
        },
    }


def test_without_a_reference_run_the_commands_say_so(gezhi):
    assert "There is no reference run yet." in gezhi("list").stdout
    assert "尚无参考运行。" in gezhi("list", "--lang", "zh").stdout
    assert listed(gezhi("list", "--json"))[STEM]["thesis"]["verdict"] == "not asked"
    shown = words(gezhi("show", STEM).stdout)
    assert "not asked The new seller sells more than the plain one. (article, thesis)" in shown
    assert "not asked The bold seller sells more than both others. (ours)" in shown
    assert "There is no reference run yet." in shown
    claims = json.loads(gezhi("show", STEM, "--json").stdout)["claims"]
    assert (claims[0]["id"], claims[0]["verdict"]) == ("sells-more", "not asked")


def test_a_method_without_a_thesis_is_listed_by_name(gezhi, published):
    assert "not asked" in next(line for line in gezhi("list").stdout.splitlines() if line.startswith("A toy "))
    assert listed(gezhi("list", "--json"))["lab_toys.planted"]["thesis"] is None


def test_an_unknown_wing_is_named(gezhi):
    assert sentence(gezhi("list", "--wing", "loses")).startswith("--wing must be one of 'toys', 'classification', ")


@pytest.mark.parametrize("name", [STEM, "NS", "ns", "1234", "CLI-TOYS.shop"])
def test_show_finds_a_method_by_any_name(gezhi, published, name):
    assert gezhi("show", name).stdout.startswith("The new seller")


def test_show_for_people(gezhi, published):
    text = words(gezhi("show", "NS").stdout)
    assert "Only in the north; in the south it sells less. The bold seller is no way out of it." in text
    assert "who asks n ≥ 2 times" in text
    assert "L = log(1+∑_(y_b<y_a)e^(s_b−s_a)) (1)" in text
    assert "divided The new seller sells more than the plain one. (article, thesis) 1 of 2" in text
    assert "supported north: +10.0 [+8.0, +12.0] pp (≥ 2 pp)" in text
    assert "refuted south: −10.0 [−12.0, −8.0] pp (≥ 2 pp)" in text
    assert "not asked It wins on any table. (field) needs your data (--data, features)" in text
    assert "supported The formula is exact. (article) 10⁻¹⁴ (≤ 10⁻¹²)" in text


def test_every_test_of_a_conjunction_is_shown_the_deciding_one_first(gezhi, published):
    text = words(gezhi("show", "NS").stdout)
    assert "south: −20.0 [−23.9, −16.1] pp (≥ 2 pp); −10.0 [−12.0, −8.0] pp (≥ 2 pp)" in text


def test_show_in_chinese(gezhi, published):
    text = words(gezhi("show", "NS", "--lang", "zh").stdout)
    assert "新卖家比普通卖家卖得多。（原文，论点）" in text
    assert "成立 北方：+10.0 [+8.0, +12.0] pp（≥ 2 pp）" in text


def test_a_claim_posed_after_the_run_is_marked(gezhi, docs):
    measured = house.measured().model_copy(deep=True)
    measured.studies[0].claims["sells-more"].after = True
    house.publish(docs, measured)
    assert "(article, thesis, posed after the run)" in gezhi("show", "NS").stdout


def test_show_for_programs(gezhi, published):
    shown = json.loads(gezhi("show", "NS", "--json").stdout)
    assert shown["question"] == r"Does the new seller, who asks $n\ge 2$ times, sell more?"
    assert all(r"\tag{" in formula for formula in shown["formulas"])
    (claim,) = (claim for claim in shown["claims"] if claim["thesis"])
    assert [(case["case"], case["verdict"]) for case in claim["cases"]] == [
        ("north", "supported"),
        ("south", "refuted"),
    ]


def test_show_opens_the_page_and_a_draft_in_english(gezhi, docs, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    for lang in ("en", "zh"):
        assert gezhi("show", "NS", "--open", "--lang", lang).exit_code == 0
    (docs / "methods" / f"{STEM}.zh.md").unlink()
    assert gezhi("show", "NS", "--open", "--lang", "zh").exit_code == 0
    assert [url.rpartition("/")[2] for url in opened] == [f"{STEM}.md", f"{STEM}.zh.md", f"{STEM}.md"]


def test_data_for_people_and_for_programs(gezhi, monkeypatch, tmp_path):
    monkeypatch.setenv("GEZHI_DATA", str(tmp_path))
    rows = {row["name"]: row for row in json.loads(gezhi("data", "--json").stdout)}
    assert {tuple(row) for row in rows.values()} == {("name", "kind", "rows", "licence", "available", "how_to_get")}
    assert (rows["digits"]["kind"], rows["digits"]["rows"], rows["digits"]["available"]) == ("features", 1797, True)
    assert rows["sanguo"]["available"] is False
    text = words(gezhi("data").stdout)
    assert "digits features 1797 BSD-3-Clause yes" in text
    assert "gezhi data get sanguo" in text
    assert "None" not in text
