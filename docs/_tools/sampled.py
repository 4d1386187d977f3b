"""The tables of the guide to diffusion, as `docs/guide/diffusion.py` wrote its figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from _tools.house import House
from _tools.parts import NOTHING_YET, table
from gezhi.cli.phrases import in_language
from gezhi.lab.stats import over_seeds

METRICS = {  # as in the script
    "Fréchet": {"en": "Fréchet distance", "zh": "Fréchet 距离"},
    "energy": {"en": "energy distance", "zh": "能量距离"},
}
ARMS = {  # as in the script
    "DDPM": "`DDPMScheduler`",
    "DDIM": "`DDIMScheduler`",
    "analytic": "`AnalyticDPMScheduler`",
    "analytic, η = 1": "`AnalyticDPMScheduler`, `eta=1.0`",
    "learned": "`ExtendedAnalyticDPMScheduler`",
}
BASE = "DDIM"
STEPS = {"en": "{} steps", "zh": "{} 步"}


def diffusion_part(house: House, lang: str) -> str:
    """A table a metric: a row an arm, a column a number of steps."""
    path = house.results / "diffusion.json"
    if not path.exists():
        return in_language(NOTHING_YET, lang)
    known = json.loads(path.read_text("utf-8"))
    counts = list(known["runs"][0]["arms"][BASE])
    heads = [STEPS[lang].format(count) for count in counts]
    tables = (table((words[lang], *heads), _rows(known["runs"], metric, counts)) for metric, words in METRICS.items())
    return "\n\n".join([_told(known, lang), *tables])


def _told(known: dict[str, Any], lang: str) -> str:
    count, seconds = len(known["runs"]), known["seconds"]
    packages = ", ".join(f"{name} {version}" for name, version in known["packages"].items())
    floors = ", ".join(
        f"{over_seeds([run['training images'][metric] for run in known['runs']]).value:.3f}".replace("-", "−")
        for metric in METRICS
    )
    updates, head, drawn = known["updates"], known["head"], known["count"]
    if lang == "zh":
        done = f"{count} 个种子，各训练 {updates} 步（方差头 {head} 步），每格 {drawn} 张，一个线程"
        return f"{done}，共用 CPU 时间 {seconds:.0f} 秒；{packages}。训练图片自身的两种距离：{floors}。"
    done = f"{count} seeds, {updates} updates each ({head} of the head), {drawn} pictures a cell, one thread"
    return f"{done}, {seconds:.0f} s of CPU time in all; {packages}. The training images themselves have {floors}."


def _rows(runs: list[dict[str, Any]], metric: str, counts: list[str]) -> Iterator[tuple[str, ...]]:
    for arm, name in ARMS.items():
        yield name, *(_cell(runs, arm, metric, count) for count in counts)


def _cell(runs: list[dict[str, Any]], arm: str, metric: str, count: str) -> str:
    """DDIM as it is, the others by their difference from it."""
    base = [run["arms"][BASE][count][metric] for run in runs]
    if arm == BASE:
        return f"{over_seeds(base).value:.3f}"
    gains = [run["arms"][arm][count][metric] - value for run, value in zip(runs, base, strict=True)]
    estimate = over_seeds(gains)
    value, low, high = (_signed(number) for number in (estimate.value, *estimate.interval()))
    return f"{value} [{low}, {high}]"


def _signed(number: float) -> str:
    return f"{round(number, 3) + 0.0:+.3f}".replace("-", "−")  # + 0.0: no negative zero
