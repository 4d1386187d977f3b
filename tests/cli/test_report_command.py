"""`gezhi report`: a run rendered again, two runs compared."""

from __future__ import annotations

import json

import pytest
from cli.answers import words
from cli_toys import house
from cli_toys.house import STEM

from gezhi.lab.record import save


@pytest.fixture
def two_runs(docs, tmp_path):
    """The folders of two runs; in the second one the new seller wins in the south too."""
    turned = house.measured().model_copy(deep=True)
    turned.studies[0].levels["south"] = turned.studies[0].levels["north"]
    for name, measured in (("one", house.measured()), ("other", turned)):
        save(measured, tmp_path / name / "results")
    return tmp_path / "one", tmp_path / "other"


def test_report_is_written_again(gezhi, two_runs, tmp_path):
    result = gezhi("report", two_runs[0], "-o", "again.html")
    assert result.exit_code == 0
    assert words(result.stdout) == "Report: again.html"
    assert (tmp_path / "again.html").read_text("utf-8") == f"en: {STEM}"
    assert words(gezhi("report", two_runs[0] / "result.json", "-o", "3.html", "--lang", "zh").stdout) == "报告：3.html"
    assert (tmp_path / "3.html").read_text("utf-8") == f"zh: {STEM}"
    assert json.loads(gezhi("report", two_runs[0], "--json").stdout) == {"report": "report.html", "methods": [STEM]}


def test_two_runs_are_compared(gezhi, two_runs):
    one, other = two_runs
    text = words(gezhi("report", "--diff", one, other).stdout)
    assert text.startswith(f"claim {one} {other} ")
    assert f"{STEM}: The new seller sells more than the plain one. divided supported" in text
    assert "分歧 成立" in words(gezhi("report", "--diff", one, other, "--lang", "zh").stdout)
    assert words(gezhi("report", "--diff", one, one).stdout) == "The runs agree in every verdict."


def test_two_runs_are_compared_for_programs(gezhi, two_runs):
    one, other = two_runs
    rows = json.loads(gezhi("report", "--diff", one, other, "--json").stdout)
    verdicts = {row["claim"]: row["verdicts"] for row in rows}
    assert verdicts["sells-more"] == ["divided", "supported"]
    assert json.loads(gezhi("report", "--diff", one, one, "--json").stdout) == []
