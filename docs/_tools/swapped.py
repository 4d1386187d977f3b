"""The table of the guide to attention, as `docs/guide/attention.py` wrote its figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from _tools.house import House
from _tools.parts import NOTHING_YET, table
from gezhi.cli.phrases import in_language
from gezhi.lab.stats import over_seeds

HEADS = {
    "en": ("", "right after the swap", "after {steps} steps more", "{length} bytes"),
    "zh": ("", "刚替换后", "再训练 {steps} 步后", "{length} 字节"),
}
NAMES = {  # as in PARTS of the script
    "softmax": "softmax",
    "log n": "`scale=\"log_n\"`",
    "urpe": "`urpe=64`",
    "l2": "`kernel=\"l2\"`",
    "relu2": "`kernel=\"relu2\"`",
    "elu1": "`kernel=\"elu1\"`",
    "exp": "`kernel=\"exp\"`",
}  # fmt: skip


def attention_part(house: House, lang: str) -> str:
    """A row a part: losses against softmax over seeds, and milliseconds."""
    path = house.results / "attention.json"
    if not path.exists():
        return in_language(NOTHING_YET, lang)
    known = json.loads(path.read_text("utf-8"))
    *heads, length = HEADS[lang]
    filled = [head.format(steps=known["steps"] // 2) for head in heads]
    filled += [length.format(length=n) for n in known["milliseconds"]]
    return f"{_told(known, lang)}\n\n{table(tuple(filled), _rows(known))}"


def _told(known: dict[str, Any], lang: str) -> str:
    count, steps, seconds = len(known["runs"]), known["steps"], known["seconds"]
    packages = ", ".join(f"{name} {version}" for name, version in known["packages"].items())
    if lang == "zh":
        return f"{count} 个种子，先训练 {steps} 步，一个线程，共用 CPU 时间 {seconds:.0f} 秒；{packages}。"
    return f"{count} seeds, {steps} steps first, one thread, {seconds:.0f} s of CPU time in all; {packages}."


def _rows(known: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for part, name in NAMES.items():
        losses = (_loss(known["runs"], part, when) for when in ("swapped", "trained"))
        yield name, *losses, *(f"{taken[part]:.0f} ms" for taken in known["milliseconds"].values())


def _loss(runs: list[dict[str, Any]], part: str, when: str) -> str:
    """Softmax as it is, the others by their difference from it."""
    base = [run["loss"]["softmax"][when] for run in runs]
    if part == "softmax":
        return f"{over_seeds(base).value:.3f}"
    estimate = over_seeds([run["loss"][part][when] - value for run, value in zip(runs, base, strict=True)])
    value, low, high = (_signed(number) for number in (estimate.value, *estimate.interval()))
    return f"{value} [{low}, {high}]"


def _signed(number: float) -> str:
    return f"{round(number, 3) + 0.0:+.3f}".replace("-", "−")  # + 0.0: no negative zero
