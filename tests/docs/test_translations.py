"""Do two pages say the same? What counts, what does not, and what a stamp is."""

from __future__ import annotations

import pytest
from cli_toys.house import PAGE, PAGE_ZH


@pytest.fixture
def tool(docs):
    import translations

    return translations


@pytest.fixture
def stamped(tool):
    return tool.restamp(PAGE, PAGE_ZH)


def test_a_translation_agrees_once_it_is_stamped(tool, stamped):
    assert tool.compare(PAGE, stamped) == []
    assert all("the English changed" in said for said in tool.compare(PAGE, PAGE_ZH))


def test_a_changed_sentence_is_red_until_it_is_reread(tool, stamped):
    (said,) = tool.compare(PAGE.replace("Two towns,", "Both towns,"), stamped)
    assert said.startswith("### towns: the English changed since it was translated")


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("问 $n\\ge 2$ 次", "问 $n\\ge 3$ 次", "inline formulas"),
        ("各 100 位", "各 10 位", "numbers"),
        ("`sell` 即", "`buy` 即", "names"),
        ("\\tag{1}", "\\tag{2}", "display formulas"),
    ],
)
def test_what_must_be_equal(tool, stamped, old, new, part):
    assert old in stamped
    assert any(f"{part} differ" in said for said in tool.compare(PAGE, stamped.replace(old, new)))


def test_generated_parts_and_verdicts_that_an_answer_rests_on_are_left_out(tool, stamped):
    english = PAGE.replace("<!-- generated:results -->\n", "<!-- generated:results -->\n12 of 13\n")
    english = english.replace("sells-more divided", "sells-more refuted")
    assert tool.compare(english, stamped) == []


def test_a_draft_is_told_and_only_a_release_minds(tool, docs, capsys):
    for path in docs.rglob("*.zh.md"):
        path.unlink()
    assert tool.main([], docs) == 0
    assert "is a draft: it has no Chinese yet" in capsys.readouterr().out
    assert tool.main(["--release"], docs) == 1
    assert tool.main(["--stamp"], docs) == 0
