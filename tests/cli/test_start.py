"""How `gezhi` starts: quickly, with help and an example for every command, and one sentence on wrong options."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from cli.answers import sentence, words
from cli_toys.house import STEM

from gezhi.cli import main

TOOLS = (("words",), ("communities",), ("similar",), ("sample",), ("data",), ("data", "get"))
COMMANDS = (("list",), ("show",), ("run",), ("report",), *TOOLS)
METHOD = "closed_form_logistic"
GEZHI = (sys.executable, "-m", "gezhi.cli")


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
        (("run", METHOD, "--seeds", "0"), "seeds must lie between 1 and 1000: got 0."),
        (("run", METHOD, "--jobs", "0"), "jobs must lie between 1 and inf: got 0."),
        (("run", STEM, "--jobs", "2", "--backend", "spark"), "Invalid backend: spark, expected one of "),
        (("report",), "DIR must be a folder of a run: got none. Pass one, or --diff A B."),
        (("report", "nowhere"), "DIR must hold the results of a run: got nowhere. Run `gezhi run` first."),
        (("report", "--diff", "one", "other"), "DIR must hold the results of a run: got one. Run `gezhi run` first."),
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


def test_main_is_the_entry_point(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gezhi", "--version"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert capsys.readouterr().out.strip()
