"""The guides' scripts run as they stand: on a tiny encoder and a few made-up questions, and on a tiny decoder."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from gezhi.data import LabelledTexts

pytest.importorskip("datasets")
pytest.importorskip("sentence_transformers")
SCRIPT = Path(__file__).parents[2] / "docs" / "guide" / "finetune.py"
KINDS = {"car": ["does it cover theft", "is a dent paid"], "life": ["who inherits it", "is death paid"]}


@pytest.mark.filterwarnings("ignore")
def test_the_guide_runs_and_reports(monkeypatch, tmp_path, tiny_models):
    spec = importlib.util.spec_from_file_location("finetune", SCRIPT)
    guide = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(guide)
    texts = [f"{kind} {question} {i}" for kind, questions in KINDS.items() for question in questions for i in range(8)]
    labels = np.repeat([0, 1], len(texts) // 2)
    questions = LabelledTexts(tuple(texts), labels, tuple(KINDS), "questions")
    folder = tiny_models(" ".join(texts).split()) / "encoder"
    monkeypatch.setattr(guide.gezhi.data, "read", lambda name: folder if name == "minilm" else questions)
    out = tmp_path / "finetune.json"
    monkeypatch.setattr(sys, "argv", ["finetune.py", "--steps", "2", "--rows", "24", "--out", str(out)])
    guide.main()
    record = json.loads(out.read_text())
    assert (record["steps"], record["rows"]) == (2, 24)
    (run,) = record["runs"]
    assert run["seed"] == 1000
    for when in ("before", "after"):
        assert -1 <= run[when]["spearman"] <= 1
        assert 0 <= run[when]["accuracy"] <= 1
    assert 0 < run["training_seconds"] < run["seconds"]


GUIDE = SCRIPT.parent
FEW = ["--steps", "2", "--lengths", "8", "--repeats", "1"]


def test_the_guide_to_attention_runs_and_reports(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("attention", GUIDE / "attention.py")
    guide = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(guide)
    monkeypatch.setattr(guide, "BATCH", 2)
    out = tmp_path / "attention.json"
    monkeypatch.setattr(sys, "argv", ["attention.py", *FEW, "--out", str(out)])
    guide.main()
    record = json.loads(out.read_text())
    (run,) = record["runs"]
    assert run["loss"].keys() == record["milliseconds"]["8"].keys() == guide.PARTS.keys()
    swapped = {name: loss["swapped"] for name, loss in run["loss"].items()}
    assert swapped["log n"] == pytest.approx(swapped["softmax"], abs=1e-5)
    assert swapped["urpe"] == pytest.approx(swapped["softmax"], abs=1e-5)
    assert abs(swapped["relu2"] - swapped["softmax"]) > 1e-5


@pytest.mark.parametrize("page", ["attention.md", "attention.zh.md"])
def test_the_lines_on_the_page_run_one_after_the_other(page):
    blocks = re.findall(r"```python\n(.*?)```", (GUIDE / page).read_text("utf-8"), re.S)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    exec("\n".join(blocks), names)
    assert names["out"].shape == (2, 16)
    layers = [names[name].model.layers[1].self_attn for name in ("model", "again")]
    assert all((layer.gezhi_urpe.table == 1).all() for layer in layers)


@pytest.mark.parametrize("page", ["games.md", "games.zh.md"])
def test_the_lines_on_games_run_and_say_what_the_page_says(page, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (GUIDE / page).read_text("utf-8"), re.S)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    exec("\n".join(blocks), names)
    said = [line.split()[0].rstrip(";") for line in capsys.readouterr().out.splitlines()]
    assert said[:4] == ["marginal", "contracts", "expands", "contracts"]
    assert said[4] in {"contracts", "expands", "marginal"}
    assert np.linalg.norm(names["flow"].states[-1]) < 0.01


def test_the_guide_to_games_draws_what_it_says(monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("games", GUIDE / "games.py")
    guide = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(guide)
    monkeypatch.setattr(sys, "argv", ["games.py", "--out", str(tmp_path / "games.png")])
    guide.main()
    left = {line[:22].strip(): float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()}
    assert left["no penalty"] > 1
    assert left["one-centred penalty"] > 1
    assert left["zero-centred penalty"] < 0.01
    assert left["L2 on the critic"] < 0.01
    assert (tmp_path / "games.png").read_bytes().startswith(b"\x89PNG")
