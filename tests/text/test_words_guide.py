"""The guide to words: its script on a made-up newspaper, and the lines of its pages."""

from __future__ import annotations

import importlib.util
import json
import random
import re
import sys
from pathlib import Path

import jieba
import numpy as np
import pytest

from gezhi.data import LabelledTexts, Texts
from gezhi.text import WordDiscovery

GUIDE = Path(__file__).parents[2] / "docs/guide"


@pytest.fixture
def guide(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("words_guide", GUIDE / "words.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rng = random.Random(0)
    words = ["我们", "现金价值", "的", "在", "北京", "噶隆喇嘛庙", "是", "好"]
    often = [0.3 if len(word) == 5 else 20 for word in words]  # a term is rare, or its characters would be common
    lines = [" ".join(f"{word}/n" for word in rng.choices(words, often, k=8)) for _ in range(2000)]
    texts = tuple("".join(rng.choices(words, often, k=9)) for _ in range(300))
    asked = LabelledTexts(("我们的噶隆喇嘛庙在北京。好", "的是"), np.array([0, 1]), ("a", "b"), "q")
    known = {"people-daily-199801": Texts(tuple(lines), "n"), "insuranceqa-zh-test": asked}
    monkeypatch.setattr(module.gezhi.data, "read", lambda name: known.get(name, Texts(texts, name)))
    out = tmp_path / "words.json"
    monkeypatch.setattr(sys, "argv", ["words.py", "--min-count", "20", "--out", str(out)])
    return module, out


def test_the_guide_runs_and_reports(guide):
    module, out = guide
    module.main()
    record = json.loads(out.read_text("utf-8"))
    assert record["min_count"] == 20
    assert "噶隆喇嘛庙" in record["terms"]["first"]
    assert 0 < record["known"] < 1
    f1 = {name: value for name, (value, *_) in record["f1"].items()}
    assert f1["single"] < f1["jieba"] < f1["with terms"] <= 1
    assert [after for _, after in record["cuts"]] == [["我们", "的", "噶隆喇嘛庙", "在", "北京"]]


def test_a_folder_of_your_own_is_read(guide, tmp_path, monkeypatch):
    module, out = guide
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.txt").write_text("国人在北京\n" * 40 + "北京国人\n" * 40, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--folder", str(tmp_path / "mine")])
    module.main()
    assert json.loads(out.read_text("utf-8"))["characters"] == 40 * 9


@pytest.mark.parametrize("page", ["words.md", "words.zh.md"])
def test_the_lines_on_the_page_run_one_after_the_other(page, monkeypatch, tmp_path):
    fresh = jieba.Tokenizer()
    fresh.tmp_dir = str(tmp_path)
    monkeypatch.setattr(jieba, "load_userdict", fresh.load_userdict)
    monkeypatch.setattr(jieba, "lcut", fresh.lcut)
    blocks = re.findall(r"```python\n(.*?)```", (GUIDE / page).read_text("utf-8"), re.S)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    exec("\n".join(blocks), names)
    assert isinstance(names["model"], WordDiscovery)
    assert names["model"].words_ == {"人": 5, "共和国": 2, "各项": 2, "国": 2, "项目": 2}
    assert fresh.FREQ["共和国"] == 2
