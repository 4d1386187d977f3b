"""The guides' scripts run as they stand: on a tiny encoder and a few made-up questions, a tiny decoder, a tiny UNet."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


def test_the_guide_to_diffusion_runs_and_reports(monkeypatch, tmp_path):
    pytest.importorskip("diffusers")
    spec = importlib.util.spec_from_file_location("diffusion", GUIDE / "diffusion.py")
    guide = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(guide)
    monkeypatch.setattr(guide, "SIZES", guide.SIZES | {"block_out_channels": (8, 8)})
    out, picture = tmp_path / "diffusion.json", tmp_path / "diffusion.png"
    few = ["--updates", "2", "--head", "2", "--count", "10", "--first", "900", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["diffusion.py", *few, "--picture", str(picture)])
    guide.main()
    record = json.loads(out.read_text("utf-8"))
    (run,) = record["runs"]
    assert list(run["arms"]) == ["DDPM", "DDIM", "analytic", "analytic, η = 1", "learned"]
    assert run["training images"].keys() == {"Fréchet", "energy"}
    for arm in run["arms"].values():
        assert arm.keys() == {"5", "10", "25"}
        assert all(distance > 0 for found in arm.values() for distance in found.values())
    with Image.open(picture) as image:
        assert image.size == (10 * 49 - 1, 6 * 49 - 1)


@pytest.mark.parametrize("page", ["diffusion.md", "diffusion.zh.md"])
def test_the_lines_on_the_page_of_diffusion_run_one_after_the_other(page):
    pytest.importorskip("diffusers")
    blocks = re.findall(r"```python\n(.*?)```", (GUIDE / page).read_text("utf-8"), re.S)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    exec("\n".join(blocks), names)
    assert len(names["grid"]) == 4
    assert type(names["again"].unet).__name__ == "UNetWithVariance"
    assert names["again"].scheduler.config.first_step_levels == 1
    assert names["stats"].n == 1000


@pytest.mark.filterwarnings("ignore")
def test_the_guide_to_adversarial_training_runs_and_reports(monkeypatch, tmp_path, tiny_models):
    spec = importlib.util.spec_from_file_location("adversarial", GUIDE / "adversarial.py")
    guide = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(guide)
    texts = [f"{kind} {question}" for kind, questions in KINDS.items() for question in questions * 8]
    questions = LabelledTexts(tuple(texts), np.repeat([0, 1], len(texts) // 2), tuple(KINDS), "questions")
    folder = tiny_models(" ".join(texts).split()) / "encoder"
    monkeypatch.setattr(guide.gezhi.data, "read", lambda name: folder if name == "minilm" else questions)
    out = tmp_path / "adversarial.json"
    few = ["--steps", "2", "--rows", "24", "--tested", "8", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["adversarial.py", *few])
    guide.main()
    record = json.loads(out.read_text())
    (run,) = record["runs"]
    assert run["arms"].keys() == guide.ARMS.keys()
    assert all(0 <= arm["accuracy"] <= 1 and arm["seconds"] > 0 for arm in run["arms"].values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", ["adversarial.md", "adversarial.zh.md"])
def test_the_lines_on_the_page_about_adversarial_training_run(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (GUIDE / page).read_text("utf-8"), re.S)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    exec("\n".join(blocks), names)
    assert names["trainer"].state.global_step == 2
    assert names["size"] > 0
