"""`make pages`: what it writes, and every fault that its check tells with file and line."""

from __future__ import annotations

import json

import pytest
from cli_toys import house
from cli_toys.house import STEM

PAGE, CHINESE = f"docs/methods/{STEM}.md", f"docs/methods/{STEM}.zh.md"
RESULT, HISTORY = f"docs/results/{STEM}.json", "docs/results/history.md"


@pytest.fixture
def settled(docs, generate):
    """A house in which everything agrees."""
    house.publish(docs)
    assert generate() == (0, [])
    assert generate("--check") == (0, [])
    return docs.parent


def edit(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def turned():
    """Measurements in which the new seller wins in the south too."""
    measured = house.measured().model_copy(deep=True)
    measured.studies[0].levels["south"] = measured.studies[0].levels["north"]
    return measured


# ---- what is written ------------------------------------------------------------------------------------------------


def test_a_page_gets_a_row_a_claim_with_its_cases_beneath(settled):
    lines = (settled / PAGE).read_text("utf-8").replace("\u00a0", " ").splitlines()
    first = lines.index("| **divided** | The new seller sells more than the plain one. (article, thesis) | 1 of 2 |  |")
    assert lines[first + 1 : first + 3] == [
        "| supported | — north | +10.0 [+8.0, +12.0] pp | ≥ 2 pp |",
        "| refuted | — south | −10.0 [−12.0, −8.0] pp | ≥ 2 pp |",
    ]
    assert "| **not asked** | It wins on any table. (field) | needs your data (--data, features) |  |" in lines
    assert "| **supported** | The formula is exact. (article) | 10⁻¹⁴ | ≤ 10⁻¹² |" in lines
    chinese = (settled / CHINESE).read_text("utf-8").replace("\u00a0", " ")
    assert "| 成立 | — 北方 | +10.0 [+8.0, +12.0] pp | ≥ 2 pp |" in chinese


def test_the_guide_to_diffusion_gets_differences_from_ddim(settled, generate):
    guide, names = settled / "docs" / "guide", ("DDPM", "DDIM", "analytic", "analytic, η = 1", "learned")
    guide.mkdir()
    for suffix in (".md", ".zh.md"):
        (guide / f"diffusion{suffix}").write_text("# D\n\n<!-- generated:diffusion -->\n<!-- /generated -->\n", "utf-8")

    def arms(seed):
        return {name: {"10": {"Fréchet": 1.0 + seed + k / 10, "energy": 0.5}} for k, name in enumerate(names)}

    runs = [{"training images": {"Fréchet": 0.25, "energy": 0.01}, "arms": arms(seed)} for seed in (0, 1)]
    record = {"updates": 7, "head": 3, "count": 9, "packages": {"torch": "2"}, "seconds": 61.0, "runs": runs}
    (settled / "docs" / "results" / "diffusion.json").write_text(json.dumps(record), "utf-8")
    assert generate() == (0, [])
    english, chinese = ((guide / f"diffusion{suffix}").read_text("utf-8").splitlines() for suffix in (".md", ".zh.md"))
    assert english[3] == (
        "2 seeds, 7 updates each (3 of the head), 9 pictures a cell, one thread, 61 s of CPU time in all; torch 2. "
        "The training images themselves have 0.250, 0.010."
    )
    assert english[5:9] == [
        "| Fréchet distance | 10 steps |",
        "| --- | --- |",
        "| `DDPMScheduler` | −0.100 [−0.100, −0.100] |",
        "| `DDIMScheduler` | 1.600 |",
    ]
    assert english[-2] == "| `ExtendedAnalyticDPMScheduler` | +0.000 [+0.000, +0.000] |"
    assert "| 能量距离 | 10 步 |" in chinese


def test_readme_and_index_answer_the_thesis(settled):
    readme = (settled / "README.md").read_text("utf-8")
    says, short = "The new seller sells more than the plain one.", "Only in the north; in the south it sells less."
    assert f"| [NS]({PAGE}) | {says} | divided (1 of 2) | {short} |" in readme
    assert f"| toys | [The new seller]({PAGE}) | `from gezhi.toys import sell` |" in readme
    index = (settled / "docs/index.zh.md").read_text("utf-8")
    link = f"[NS](methods/{STEM}.zh.md)"
    assert f"- {link}：新卖家比普通卖家卖得多。**分歧。**只在北方如此；在南方反而卖得更少。" in index
    english = (settled / "docs/index.md").read_text("utf-8")
    assert f"- [NS](methods/{STEM}.md): {says} **Divided.** {short}" in english
    article = "[玩具：卖得更多吗？](https://kexue.fm/archives/1234)"
    assert f"- {article} → {link}：只在北方如此；在南方反而卖得更少。" in index


def test_without_a_reference_run_the_page_says_so(docs, generate):
    assert generate() == (0, [])
    assert "Not yet in the reference run." in (docs.parent / PAGE).read_text("utf-8")
    assert generate("--check") == (0, [])


def test_a_page_in_english_alone_is_a_draft(settled, generate):
    (settled / CHINESE).unlink()
    note = [f"note: {PAGE} is a draft: it has no Chinese yet"]
    assert generate() == (0, note)
    assert generate("--check") == (0, note)
    assert generate("--release") == (1, note)
    assert f"[NS]({PAGE}) (draft)" in (settled / "README.md").read_text("utf-8")
    assert f"[NS]({PAGE})（草稿）" in (settled / "README.zh.md").read_text("utf-8")


# ---- records, verdicts, history -------------------------------------------------------------------------------------


def test_a_test_that_changed_after_the_run_is_posed_again_and_marked(settled, generate):
    measured = house.measured().model_copy(deep=True)
    measured.studies[0].claims["sells-more"].tests[0].low = 0.03
    house.publish(settled / "docs", measured)
    code, lines = generate("--check")
    assert (code, lines[0]) == (1, f"{RESULT}:1: the tests of claim `sells-more` changed after the run: run make pages")
    assert generate() == (0, [])
    claims = json.loads((settled / RESULT).read_text("utf-8"))["studies"][0]["claims"]
    assert {name: posed["after"] for name, posed in claims.items()} == {"sells-more": True, "bold-too": False}
    assert claims["sells-more"]["tests"][0]["low"] == 0.02
    assert "posed after the run" in (settled / PAGE).read_text("utf-8")
    assert generate("--check") == (0, [])


def test_a_claim_that_is_asked_no_more_leaves_the_record(settled, generate):
    measured = house.measured().model_copy(deep=True)
    measured.studies[0].claims["old"] = measured.studies[0].claims["sells-more"]
    house.publish(settled / "docs", measured)
    assert "claim `old` is asked no more" in generate("--check")[1][0]
    assert generate() == (0, [])
    assert "old" not in json.loads((settled / RESULT).read_text("utf-8"))["studies"][0]["claims"]


def test_other_code_is_told_and_no_fault(settled, generate):
    measured = house.measured().model_copy(deep=True)
    measured.studies[0].code = "0" * 16
    house.publish(settled / "docs", measured)
    assert generate("--check") == (0, [f"note: {STEM}, towns: measured with other code"])


def test_a_changed_verdict_is_red_until_it_has_a_reason(settled, generate):
    house.publish(settled / "docs", turned())
    code, lines = generate("--check")
    assert code == 1
    assert (
        lines[0]
        == f"docs/results/verdicts.json:1: {STEM} `sells-more` was divided and is supported; {STEM} `bold-too` was divided and is supported: run make pages"
    )
    code, lines = generate()
    assert code == 1
    assert f"{HISTORY}:11: `sells-more` of {STEM} needs a reason: divided → supported" in lines
    assert f"{HISTORY}:12: `bold-too` of {STEM} needs a reason: divided → supported" in lines
    for claim in ("sells-more", "bold-too"):
        edit(
            settled / HISTORY, f"`{claim}` | divided | supported |  |", f"`{claim}` | divided | supported | New data. |"
        )
    assert not [line for line in generate("--check")[1] if HISTORY in line]


def test_a_verdict_that_goes_back_before_a_reason_is_given_needs_none(settled, generate):
    house.publish(settled / "docs", turned())
    generate()
    house.publish(settled / "docs", house.measured())
    assert generate() == (0, [])
    assert "sells-more" not in (settled / HISTORY).read_text("utf-8")


def test_a_later_change_stands_above_an_older_one(settled, generate):
    for measured, verdicts in ((turned(), "divided | supported"), (house.measured(), "supported | divided")):
        house.publish(settled / "docs", measured)
        generate()
        edit(settled / HISTORY, f"{verdicts} |  |", f"{verdicts} | A reason. |")
    rows = [line for line in (settled / HISTORY).read_text("utf-8").splitlines() if "`sells-more`" in line]
    assert ["supported | divided" in row for row in rows] == [True, False]
    assert generate("--check") == (0, [])


def test_a_line_that_cannot_be_read_is_told_and_kept(settled, generate):
    with (settled / HISTORY).open("a", encoding="utf-8") as file:
        file.write("2026-01-01, a change told in prose\n")
    house.publish(settled / "docs", turned())
    code, lines = generate()
    assert code == 1
    assert f"{HISTORY}:11: cannot be read as a line of the table: 2026-01-01, a change told in prose" in lines
    assert "told in prose" in (settled / HISTORY).read_text("utf-8")


def test_the_head_of_the_history_is_renewed(settled, generate):
    edit(settled / HISTORY, "---\norphan: true\n---\n\n", "")
    assert generate() == (0, [])
    assert (settled / HISTORY).read_text("utf-8").startswith("---\norphan: true")


# ---- faults of pages ------------------------------------------------------------------------------------------------


def test_an_answer_that_rests_on_another_verdict_is_red(settled, generate):
    edit(settled / PAGE, "sells-more divided, bold", "sells-more refuted, bold")
    edit(settled / CHINESE, "sells-more divided, bold", "sells-more refuted, bold")
    said = f"{PAGE}:7: rests on `sells-more` refuted, but the reference run says divided"
    assert generate("--check") == (1, [said])
    assert generate() == (1, [said])


LONG = "word " * 61
FAULTS = {
    "heading": (PAGE, "## Notation", "## Symbols", [(1, "has no heading `## Notation`"), (13, "has the unknown heading `## Symbols`")]),
    "marker": (PAGE, "<!-- generated:results -->", "", [(1, "has no `<!-- generated:results -->` … `<!-- /generated -->`")]),
    "sentence": (PAGE, "- `exact` (article) The formula is exact.\n  Holds if the error is at most 1e-12.", "", [(47, "has no sentence for the claim `exact`")]),
    "claim": (PAGE, "- `exact` (", "- `exacter` (", [(47, "has no sentence for the claim `exact`"), (51, "says `exacter`, which the experiment does not ask")]),
    "criterion": (PAGE, "\n  Holds if its accuracy is at least 2 points higher.", "", [(44, "does not say when `any-table` holds: an indented line under the sentence")]),
    "study": (PAGE, "### table", "### desk", [(29, "has no heading `### table` under Claims")]),
    "marks": (PAGE, "(ours)", "(mine)", [(37, "marks of claim 'bold-too' must be one of article, field, ours, perhaps with 'thesis': got 'mine'. Write `- `id` (article, thesis) Sentence.`")]),
    "no thesis": (PAGE, "(article, thesis)", "(article)", [(29, "has 0 theses: mark one claim `(article, thesis)`")]),
    "whose thesis": (PAGE, "(article, thesis)", "(ours, thesis)", [(35, "has a thesis that the article does not say: `sells-more` (ours)")]),
    "long thesis": (PAGE, "sells more than the plain one.", "sells " + "more " * 40, [(35, "has a thesis of 220 characters, at most 160")]),
    "long answer": (PAGE, "The bold seller is no way out of it.", LONG, [(3, "has 71 words in short, at most 60")]),
    "long first": (PAGE, "Only in the north; in", "Only " + "very " * 40 + "in", [(3, "has a first sentence of 232 characters in short, at most 160")]),
    "no ground": (PAGE, "<!-- rests on: sells-more divided, bold-too divided -->", "", [(3, "does not say what its answer rests on: `<!-- rests on: claim verdict, … -->`")]),
    "unknown ground": (PAGE, "sells-more divided, bold", "sells divided, bold", [(7, "rests on `sells`, which the experiment does not ask")]),
    "Chinese sentence": (CHINESE, "- `exact`（", "- `exacter`（", [(3, "has no sentence for the claim `exact`")]),
    "Chinese marks": (CHINESE, "（原文，论点）", "（自设，论点）", [(35, "marks `sells-more` otherwise than the English page")]),
    "Chinese ground": (CHINESE, "sells-more divided", "sells-more refuted", [(3, "rests on other verdicts than the English page")]),
    "Chinese study": (CHINESE, "### 城镇", "### 城市", [(29, "has no heading `### 城镇` for the study 'towns'")]),
    "name": ("docs/names.zh.toml", '"south" = "南方"\n', "", [(1, f"has no name for 'south' of {STEM}")]),
}  # fmt: skip


@pytest.mark.parametrize(("path", "old", "new", "found"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_told_with_file_and_line(settled, generate, path, old, new, found):
    edit(settled / path, old, new)
    code, lines = generate("--check")
    assert code == 1
    ours = [line for line in lines if line.startswith(f"{path}:") and "disagrees with" not in line]
    for line, text in found:
        assert f"{path}:{line}: {text}" in ours


def test_why_ours_may_be_missing_and_the_order_counts(settled, generate):
    text = (settled / PAGE).read_text("utf-8")
    parts = text.split("## References")
    (settled / PAGE).write_text(f"{parts[0]}## Why ours\n\nIt is.\n\n## References{parts[1]}", encoding="utf-8")
    assert generate("--check")[0] == 0
    (settled / PAGE).write_text(f"{parts[0]}## References{parts[1]}\n## Why ours\n\nIt is.\n", encoding="utf-8")
    assert "has its headings in another order" in generate("--check")[1][0]
