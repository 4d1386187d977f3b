"""Every command: what it prints for people and for programs, and one sentence where the input is wrong."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import webbrowser

import numpy as np
import pytest
from lab_toys.running import run_toys

from gezhi.cli import main
from gezhi.lab import record
from gezhi.lab import run as lab_run

COMMANDS = (("list",), ("show",), ("run",), ("report",), ("data",), ("data", "get"))
GEZHI = (sys.executable, "-m", "gezhi.cli")
METHOD = "closed_form_logistic"


def words(text):
    """The text as if it stood on one line."""
    return " ".join(text.split())


def sentence(result):
    """The one sentence of a refused command."""
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line.removeprefix("gezhi: ")


# ---- start ----------------------------------------------------------------------------------------------------------


def cpu_seconds(*command):
    """Processor time of a process, which other processes beside it lengthen less than its wall time."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime


@pytest.mark.parametrize(
    "command", [(sys.executable, "-c", "import gezhi"), (*GEZHI, "--help")], ids=("import", "help")
)
def test_starting_is_quick(command):
    assert min(cpu_seconds(*command) for _ in range(3)) < 0.3


@pytest.mark.parametrize(
    "code", ["import gezhi", "import gezhi.cli.app", "from gezhi.cli.app import app; app(['--help'])"]
)
def test_starting_loads_no_torch(code):
    probe = (
        f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules or 'numpy' in sys.modules)); {code}"
    )
    output = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "False"


def test_help_has_two_panels(gezhi):
    text = gezhi("--help").stdout
    lab, tools = text.index(" The lab "), text.index(" The tools ")
    places = {name: text.index(f"│ {name} ") for name in ("list", "show", "run", "report", "data")}
    assert lab < places["list"] < places["show"] < places["run"] < places["report"] < tools < places["data"]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command_has_an_example(gezhi, command):
    result = gezhi(*command, "--help")
    assert result.exit_code == 0
    assert f"Example: gezhi {command[0]} " in words(result.stdout)
    assert gezhi(*command, "-h").stdout == result.stdout


def test_version(gezhi):
    import gezhi as package

    assert gezhi("--version").stdout.strip() == package.__version__


def test_a_missing_extra_says_how_to_install_it():
    start = "import sys; sys.modules['typer'] = None; from gezhi.cli import main; main()"
    ended = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.strip() == "The command line is not installed. Run: pip install 'gezhi[lab]'"


# ---- list, show, data -----------------------------------------------------------------------------------------------


def test_list_for_people_and_for_programs(gezhi):
    assert "Closed-form logistic regression" in words(gezhi("list").stdout)
    entries = {entry["stem"]: entry for entry in json.loads(gezhi("list", "--json").stdout)}
    assert {tuple(entry) for entry in entries.values()} == {
        ("stem", "wing", "title", "articles", "tags", "public", "page")
    }
    entry = entries[METHOD]
    assert (entry["wing"], entry["page"]) == ("classification", f"docs/methods/{METHOD}.md")
    assert "ClosedFormLogisticRegression" in entry["public"]
    assert "概率视角下的线性模型:逻辑回归有解析解吗?" in entry["articles"]


def test_show_for_people(gezhi):
    text = words(gezhi("show", METHOD).stdout)
    assert "Closed-form logistic regression" in text
    assert r"\tag{2}" in text
    assert "The closed form gives the probabilities of linear discriminant analysis, to 8 digits." in text
    assert "解析解给出的概率与线性判别分析一致" in gezhi("show", METHOD, "--lang", "zh").stdout


def test_show_for_programs(gezhi):
    shown = json.loads(gezhi("show", METHOD, "--json").stdout)
    assert set(shown) == {
        "stem",
        "wing",
        "title",
        "articles",
        "tags",
        "public",
        "page",
        "question",
        "formulas",
        "claims",
    }
    assert shown["question"].endswith("?")
    assert all(r"\tag{" in formula for formula in shown["formulas"])


def test_show_opens_the_page(gezhi, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert gezhi("show", METHOD, "--open").exit_code == 0
    assert gezhi("show", METHOD, "--open", "--lang", "zh").exit_code == 0
    assert [url.partition("docs/methods/")[2] for url in opened] == [f"{METHOD}.md", f"{METHOD}.zh.md"]


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


# ---- run ------------------------------------------------------------------------------------------------------------


def test_run_prints_verdicts_and_where_the_report_is(gezhi, tmp_path):
    result = gezhi("run", "lab_toys.planted", "lab_toys.planted")
    assert result.exit_code == 0
    text = words(result.stdout)
    assert "supported The claim true holds. +10.0 [+8.0, +12.0] pp" in text
    assert "refuted The claim null holds. 0" in text
    assert "inconclusive The claim on the margin holds. +2.0" in text
    assert "pp practically on the margin" in text
    assert f"Report: {tmp_path / 'runs/report.html'}" in text
    assert [method.stem for method in record.load(tmp_path / "runs").methods] == ["lab_toys.planted"]


def test_run_in_chinese(gezhi):
    text = words(gezhi("run", "lab_toys.planted", "--lang", "zh").stdout)
    assert "论断 true 成立。" in text
    assert "实际上就在界限上" in text


def test_run_for_programs(gezhi):
    result = gezhi("run", "lab_toys.planted", "--json")
    content = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert content["schema"] == record.SCHEMA
    claims = {claim["id"]: claim["verdict"] for method in content["methods"] for claim in method["claims"]}
    assert (claims["true"], claims["null"]) == ("supported", "refuted")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_failed_measurement_is_told_and_the_exit_code_is_1(gezhi, form):
    result = gezhi("run", "lab_toys.troubles", *form)
    assert result.exit_code == 1
    errors = words(result.stderr)
    assert "lab_toys.troubles, failing: ZeroDivisionError: nothing to divide by in [/0.0] (troubles.py, line" in errors
    assert "lab_toys.troubles, absent: poems is not on this machine. Run: gezhi data get poems" in errors
    assert "lab_toys.troubles, warning: RuntimeWarning: seed 1000 is ill-conditioned" in errors
    assert "supported" in result.stdout


def test_a_smoke_run_gives_no_verdicts(gezhi):
    text = gezhi("run", "lab_toys.planted", "--budget", "smoke").stdout
    assert "not asked" in text
    assert "supported" not in text
    assert "claims were not asked in this run; the report says why." in words(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run",), "METHOD must name methods, or be --all: got nothing."),
        (("run", METHOD, "--all"), f"METHOD must name methods, or be --all: got {METHOD}."),
        (
            ("run", "close_form_logistic"),
            f"METHOD must be a known method: got 'close_form_logistic'. Did you mean '{METHOD}'?",
        ),
        (("show", "zzz"), "METHOD must be a known method: got 'zzz'. `gezhi list` shows all."),
        (("run", METHOD, "--label", "y"), "--label must come with --data: got 'y'."),
        (("run", METHOD, "--encoder", "m"), "--encoder must come with --data: got 'm'."),
        (("run", METHOD, "--data", "nowhere.csv"), "--data must be an existing file: got nowhere.csv."),
        (("run", METHOD, "--seeds", "0"), "seeds must lie between 1 and inf: got 0."),
        (("run", METHOD, "--jobs", "0"), "jobs must lie between 1 and inf: got 0."),
        (("run", "lab_toys.slow", "--jobs", "2", "--backend", "spark"), "Invalid backend: spark, expected one of "),
        (("report",), "DIR must be a folder of a run: got none. Pass one, or --diff A B."),
        (("report", "nowhere"), "DIR must hold a result.json: got nowhere. Run `gezhi run` first."),
        (("report", "--diff", "one", "other"), "DIR must hold a result.json: got one. Run `gezhi run` first."),
        (("data", "get", "poems"), "name must be one of digits, iris,"),
    ],
)
def test_wrong_options_end_with_one_sentence(gezhi, arguments, message):
    assert sentence(gezhi(*arguments)).startswith(message)


@pytest.mark.parametrize("arguments", [("run", METHOD, "--budget", "huge"), ("play",), ("show",), ("data", "put")])
def test_unknown_words_end_with_code_2(gezhi, arguments):
    result = gezhi(*arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


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
        ("t.csv", b"x,y\n1,a\nnan,b\n", ", line 3, column 1 (x): found nan, expected a finite number. Impute it"),
        ("t.csv", b"x,y\n1,a\nold,b\n", ", line 3, column 1 (x): found 'old', expected a number. Encode it"),
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
    said = sentence(gezhi("run", METHOD, "--data", name))
    takes = f"--data must be of a kind that the method takes (features): got {path}."
    assert said.startswith(takes if message is None else f"{path}{message}")


def test_a_label_that_is_no_column_is_named(gezhi, tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n1,a\n2,b\n")
    said = sentence(gezhi("run", METHOD, "--data", "t.csv", "--label", "z"))
    assert said == f"{tmp_path / 't.csv'}: found no column 'z', expected one of x, y. Name the label's column."


def test_your_table_is_asked_and_what_is_not_is_counted(gezhi, tmp_path):
    (tmp_path / "t.csv").write_text("y,x\na,1\nb,2\na,3\n")
    result = gezhi("run", "lab_toys.yours", "--data", "t.csv", "--label", "y", "--json")
    claims = {claim["id"]: claim for claim in json.loads(result.stdout)["methods"][0]["claims"]}
    assert (claims["anywhere"]["verdict"], claims["anywhere"]["case"]) == ("supported", "t.csv")
    assert {claims[name]["reason"]["en"] for name in ("there", "along", "beats")} == {"not asked of your data"}


def test_your_probabilities_are_judged_over_items(gezhi, tmp_path):
    rows, labels = np.tile([0.9, 0.1], (20, 1)), np.repeat([0, 1], [12, 8])
    np.savez(tmp_path / "p.npz", reference=rows, reference_labels=labels, test=rows, test_labels=labels)
    result = gezhi("run", "lab_toys.yours", "--data", "p.npz", "--json")
    (claim,) = (c for c in json.loads(result.stdout)["methods"][0]["claims"] if c["tests"])
    assert (claim["verdict"], claim["tests"][0]["n"], claim["tests"][0]["over"]) == ("supported", 22, "items")


def test_a_file_of_several_kinds_goes_to_those_that_can_read_it(gezhi, tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text("x,y\n1,a\n2,b\n")
    fits = lambda kind, _: kind in ("features", "probabilities")  # noqa: E731
    monkeypatch.setattr(lab_run, "kind_fits", fits)
    result = gezhi("run", "lab_toys.yours", "--data", "t.csv", "--budget", "smoke", "--json")
    asked = {study["name"]: study["reason"] for study in json.loads(result.stdout)["methods"][0]["studies"]}
    assert asked["table"] is None
    assert asked["probabilities"]["en"] == "not asked of your data"


# ---- trouble on disk ------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_refused(gezhi, tmp_path):
    (tmp_path / "file").write_text("")
    said = sentence(gezhi("run", "lab_toys.planted", "--out", "file/run"))
    assert (
        said
        == f"--out must be a folder that can be written: got {tmp_path}/file/run (Not a directory). Choose another."
    )


def test_a_read_only_folder_is_refused(gezhi, tmp_path, monkeypatch):
    def read_only(path, *_):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(lab_run.Path, "write_text", read_only)
    said = sentence(gezhi("run", "lab_toys.planted", "--out", "run"))
    assert (
        said
        == f"--out must be a folder that can be written: got {tmp_path}/run (Read-only file system). Choose another."
    )


def test_a_full_disk_ends_with_one_sentence_and_nothing_half_written(gezhi, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record.Path, "replace", full)
    said = sentence(gezhi("run", "lab_toys.planted", "--out", "run", "--json"))
    assert said.startswith(f"{tmp_path}/run/cells/lab_toys.planted/")
    assert said.endswith(".json: No space left on device.")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_damaged_record_is_not_written_over(gezhi, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/result.json").write_text("{")
    said = sentence(gezhi("run", "lab_toys.planted", "--budget", "smoke"))
    assert said.endswith("Delete it and run gezhi again; what was measured is kept.")
    assert (tmp_path / "runs/result.json").read_text() == "{"


def test_an_interrupt_has_its_own_code(gezhi, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(lab_run, "measured", interrupt)
    result = gezhi("run", "lab_toys.planted", "--json")
    assert result.exit_code == 130
    assert words(result.stderr) == "Interrupted. What was measured is kept; run the same command again to go on."


def test_a_reader_that_has_enough_ends_the_output_quietly():
    reader, writer = os.pipe()
    with subprocess.Popen([*GEZHI, "data", "--json"], stdout=writer, stderr=subprocess.PIPE, text=True) as process:
        os.close(reader)
        os.close(writer)
        assert process.communicate()[1] == ""
    assert process.returncode == 1


# ---- report ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """The folders of two runs, in whose second one verdict was turned by hand."""
    folders = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    first = run_toys(folders[0], "planted").record
    record.save(first, folders[0])
    claim = next(claim for _, claim in first.claims() if claim.id == "true")
    claim.verdict, claim.estimate = "refuted", -0.5
    record.save(first, folders[1])
    return folders


def test_report_is_written_again(gezhi, two_runs, tmp_path):
    result = gezhi("report", two_runs[0], "-o", "again.html")
    assert result.exit_code == 0
    assert words(result.stdout) == "Report: again.html"
    assert "The claim true holds." in (tmp_path / "again.html").read_text("utf-8")
    assert gezhi("report", two_runs[0] / "result.json", "-o", "third.html", "--lang", "zh").exit_code == 0
    assert 'lang="zh' in (tmp_path / "third.html").read_text("utf-8")


def test_two_runs_are_compared(gezhi, two_runs):
    one, other = two_runs
    text = words(gezhi("report", "--diff", one, other).stdout)
    assert text == f"claim {one} {other} lab_toys.planted: The claim true holds. supported refuted"
    assert words(gezhi("report", "--diff", one, one).stdout) == "The runs agree in every verdict."


def test_two_runs_are_compared_for_programs(gezhi, two_runs):
    one, other = two_runs
    (row,) = json.loads(gezhi("report", "--diff", one, other, "--json").stdout)
    assert row["estimates"] == [pytest.approx(0.1), -0.5]
    assert {key: row[key] for key in ("stem", "claim", "verdicts")} == {
        "stem": "lab_toys.planted",
        "claim": "true",
        "verdicts": ["supported", "refuted"],
    }
    assert json.loads(gezhi("report", "--diff", one, one, "--json").stdout) == []


def test_main_is_the_entry_point(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gezhi", "--version"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert capsys.readouterr().out.strip()
