"""`gezhi run`: theses and counts, claims where they are asked for, levels on one's own data, trouble on the way."""

from __future__ import annotations

import errno
import json

import pytest
from cli.answers import sentence, words
from cli_toys import house
from cli_toys.house import STEM

from gezhi.cli.running import without_folder
from gezhi.lab import record
from gezhi.lab import run as lab_run
from gezhi.lab.verdicts import SCHEMA


def test_a_run_prints_a_line_a_method_and_counts(gezhi, tmp_path):
    result = gezhi("run", STEM, STEM)
    assert result.exit_code == 0
    text = words(result.stdout)
    assert "divided NS: The new seller sells more than the plain one." in text
    assert "1 of 2" in text
    assert "1 thesis: 1 divided" in text
    assert "4 claims: 1 supported, 2 divided, 1 not asked" in text
    assert "The bold seller" not in text
    assert f"Report: {tmp_path / 'runs/report.html'}" in text
    assert [found.stem for found in record.load_all(tmp_path / "runs")] == [STEM]


def test_in_short_stands_where_the_reference_run_agrees(gezhi, docs):
    assert "Only in the north" not in gezhi("run", STEM).stdout
    house.publish(docs)
    assert "Only in the north; in the south it sells less." in gezhi("run", STEM).stdout


def test_where_the_reference_run_says_otherwise_that_is_said(gezhi, docs):
    measured = house.measured().model_copy(deep=True)
    for arm in measured.studies[0].levels["south"].values():
        arm["sold"] = [0.5] * 5
    measured.studies[0].levels["south"]["new"]["sold"] = [0.59, 0.6, 0.6, 0.6, 0.61]
    house.publish(docs, measured)
    text = words(gezhi("run", STEM).stdout)
    assert "the reference run says: supported" in text
    assert "Only in the north" not in text


def test_verbose_prints_every_claim_that_was_measured(gezhi):
    text = words(gezhi("run", STEM, "--verbose").stdout)
    assert "refuted south: −10.0 [−12.0, −8.0] pp (≥ 2 pp)" in text
    assert "supported The formula is exact. (article) 10⁻¹⁴ (≤ 10⁻¹²)" in text
    assert "It wins on any table." not in text


def test_run_for_programs(gezhi):
    result = gezhi("run", STEM, "--json")
    content = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert content["schema"] == SCHEMA
    claims = {claim["id"]: claim["verdict"] for method in content["methods"] for claim in method["claims"]}
    assert (claims["sells-more"], claims["exact"]) == ("divided", "supported")


def test_another_look_has_seeds_of_its_own(gezhi, tmp_path):
    assert gezhi("run", STEM).exit_code == 0
    assert "Measure afresh: --look 2 takes new seeds." in sentence(gezhi("run", STEM, "--seeds", "7"))
    assert gezhi("run", STEM, "--seeds", "7", "--look", "2").exit_code == 0
    (found,) = record.load_all(tmp_path / "runs")
    assert (found.look, found.studies[0].seeds[0], len(found.studies[0].seeds)) == (2, 2000, 7)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_failed_measurement_is_told_and_the_exit_code_is_1(gezhi, form):
    result = gezhi("run", "lab_toys.troubles", *form)
    assert result.exit_code == 1
    errors = words(result.stderr)
    assert "lab_toys.troubles, failing: ZeroDivisionError: nothing to divide by in [/0.0] (troubles.py, line" in errors
    assert "lab_toys.troubles, absent: poems is not on this machine. Run: gezhi data get poems" in errors
    assert "lab_toys.troubles, warning: RuntimeWarning: seed 1000 is ill-conditioned" in errors


def test_a_smoke_run_gives_no_verdicts(gezhi):
    text = words(gezhi("run", STEM, "--budget", "smoke").stdout)
    assert "a smoke run gives no verdicts" in text
    assert "1 thesis: 1 not asked" in text
    assert "supported" not in text


# ---- one's own data -------------------------------------------------------------------------------------------------


def test_on_your_table_the_levels_of_every_arm_stand_beside_the_verdicts(gezhi, tmp_path):
    (tmp_path / "t.csv").write_text("y,x\na,1\nb,2\na,3\n")
    result = gezhi("run", STEM, "--data", "t.csv", "--label", "y")
    text = words(result.stdout)
    assert "It wins on any table. (field) +10.00 [+10.00, +10.00] pp (≥ 2 pp); replicates agree" in text
    assert "t.csv accuracy plain 60.2 [60.0, 60.4] % new 70.2 [70.0, 70.4] %" in text
    assert "The new seller sells more" not in text
    chinese = words(gezhi("run", STEM, "--data", "t.csv", "--label", "y", "--lang", "zh").stdout)
    assert "t.csv 准确率 普通 60.2 [60.0, 60.4] % 新 70.2 [70.0, 70.4] %" in chinese


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", ": found an empty file, expected data. Check how it was written."),
        (
            "t.csv",
            b"x,y\n1,a\n2\n",
            ", line 3, column 2: found 1 column, expected 2 columns (x, y). Look for a missing",
        ),
        ("t.csv", b"x,y\n1,a\n2,\xff\n", ", line 3, column 3: found byte 0xff, expected UTF-8 text. Convert it"),
        (
            "t.csv",
            b"x,y\n1,a\n2,a\n",
            ": found one class only ('a'), expected at least two. Add rows of another class.",
        ),
        ("t.txt", b"a text\n", None),
    ],
)
def test_a_fault_in_the_data_is_placed(gezhi, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    said = sentence(gezhi("run", STEM, "--data", name))
    assert said.startswith("--data must be of a kind that the method takes" if message is None else f"{path}{message}")
    assert str(path) in said


def test_a_label_that_is_no_column_is_named(gezhi, tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n1,a\n2,b\n")
    said = sentence(gezhi("run", STEM, "--data", "t.csv", "--label", "z"))
    assert said == f"{tmp_path / 't.csv'}: found no column 'z', expected one of x, y. Name the label's column."


# ---- trouble on disk ------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_refused(gezhi, tmp_path):
    (tmp_path / "file").write_text("")
    said = sentence(gezhi("run", STEM, "--out", "file/run"))
    assert (
        said
        == f"--out must be a folder that can be written: got {tmp_path}/file/run (Not a directory). Choose another."
    )


def test_a_full_disk_ends_with_one_sentence_and_nothing_half_written(gezhi, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record.Path, "replace", full)
    said = sentence(gezhi("run", STEM, "--out", "run", "--json"))
    assert said.startswith(f"{tmp_path}/run/cells/{STEM}/")
    assert said.endswith(".json: No space left on device.")
    assert [path for path in (tmp_path / "run").rglob("*") if path.is_file()] == []


def test_a_damaged_record_is_not_written_over(gezhi, tmp_path):
    (tmp_path / "runs/results").mkdir(parents=True)
    damaged = tmp_path / "runs/results" / f"{STEM}.json"
    damaged.write_text("{")
    said = sentence(gezhi("run", STEM, "--budget", "smoke"))
    assert said.endswith("Delete it and run gezhi again; what was measured is kept.")
    assert damaged.read_text() == "{"


def test_an_interrupt_has_its_own_code(gezhi, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(lab_run, "measured", interrupt)
    result = gezhi("run", STEM, "--json")
    assert result.exit_code == 130
    assert words(result.stderr) == "Interrupted. What was measured is kept; run the same command again to go on."


@pytest.mark.parametrize("folder", [("--out", "/home/me/x"), ("--out=/home/me/x",)])
def test_the_recorded_command_names_no_folder(folder):
    assert without_folder(["run", "gelu", *folder, "--jobs", "2"]) == ["run", "gelu", "--jobs", "2"]
