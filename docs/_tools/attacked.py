"""The table of the guide to adversarial fine-tuning, as `docs/guide/adversarial.py` wrote its figures."""

from __future__ import annotations

import json
from typing import Any

from _tools.house import House
from _tools.parts import NOTHING_YET, mean_text, table
from gezhi.cli.phrases import in_language
from gezhi.lab.stats import over_seeds

HEADS = {
    "en": ("", "accuracy", "against twice the steps", "CPU time of the training"),
    "zh": ("", "准确率", "与两倍步数相比", "训练的 CPU 时间"),
}
NAMES = {  # as in ARMS of the script
    "plain": ("plain", "普通"),
    "plain, twice the steps": ("plain, twice the steps", "普通，两倍步数"),
    "adversarial": ("adversarial", "对抗"),
}
BASE = "plain, twice the steps"


def adversarial_part(house: House, lang: str) -> str:
    """A row an arm: accuracy, its difference from plain training of about the same cost over seeds, and seconds."""
    path = house.results / "adversarial_guide.json"
    if not path.exists():
        return in_language(NOTHING_YET, lang)
    known = json.loads(path.read_text("utf-8"))
    rows = (_row(known["runs"], arm, names[lang == "zh"]) for arm, names in NAMES.items())
    return f"{_told(known, lang)}\n\n{table(HEADS[lang], rows)}"


def _told(known: dict[str, Any], lang: str) -> str:
    count, steps, rows, tested = len(known["runs"]), known["steps"], known["rows"], known["tested"]
    packages = ", ".join(f"{name} {version}" for name, version in known["packages"].items())
    if lang == "zh":
        return f"{count} 个种子，{rows} 条训练文本，对抗 {steps} 步，{tested} 条测试文本，一个线程；{packages}。"
    return (
        f"{count} seeds, {rows} training texts, {steps} adversarial steps, {tested} test texts, one thread; {packages}."
    )


def _row(runs: list[dict[str, Any]], arm: str, name: str) -> tuple[str, ...]:
    found, base = ([run["arms"][which]["accuracy"] for run in runs] for which in (arm, BASE))
    gain = "" if arm == BASE else mean_text([a - b for a, b in zip(found, base, strict=True)])
    seconds = over_seeds([run["arms"][arm]["seconds"] for run in runs]).value
    return name, mean_text(found), gain, f"{seconds:.0f} s"
