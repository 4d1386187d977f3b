"""Records made by hand: every verdict, every kind of test, marks, figures, and pages that say their claims."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from gezhi import _catalogue
from gezhi._catalogue import Method
from gezhi.lab.claims import as_claim, at, better, exponent, inside, lower, ratio, same
from gezhi.lab.figures import Dots, Lines, Profile
from gezhi.lab.names import tables
from gezhi.lab.pages import page
from gezhi.lab.record import Compute, Environment, Measured, MeasuredStudy, Posed, Words
from gezhi.lab.results import drawn
from gezhi.lab.verdicts import Record, TestResult, record_of

HERE = Environment(
    gezhi="0.1.0",
    python="3.12.8",
    packages={"numpy": "2.3.4", "torch": "2.13.0"},
    machine="x86_64",
    cpu="Example CPU",
    cores=8,
    commit="3f2a91b",
)
THERE = HERE.model_copy(update={"cpu": "Other CPU", "commit": "b1801a2"})
ABSENT = Words(en="data not at hand: gezhi data get toys", zh="数据不在手边:gezhi data get toys")
COST = Compute(seconds=0.5, evaluations=408.0, parameters=462720.0)


# ---- tests and levels -------------------------------------------------------------------------------------------------


def outcome(
    estimate: float | None,
    half: float = 0.0,
    *,
    low: float | None = None,
    high: float | None = None,
    how: str = "difference",
    **changes: Any,
) -> TestResult:
    """A test with the interval estimate ± half (times or divided by half, for ratios); exact without."""
    interval: tuple[float | None, float | None] = (None, None)
    if estimate is not None:
        interval = (
            (estimate / (half or 1), estimate * (half or 1)) if how == "ratio" else (estimate - half, estimate + half)
        )
    least, most = (-math.inf if low is None else low), (math.inf if high is None else high)
    ends = [math.nan if end is None else end for end in interval]
    verdict = "supported" if least <= ends[0] and ends[1] <= most else "inconclusive"
    verdict = "refuted" if ends[1] < least or ends[0] > most else verdict
    return TestResult.model_validate({
        "metric": "accuracy", "arm": "new", "than": None if how in ("value", "exponent") else "old", "how": how,
        "low": low, "high": high, "unit": "", "verdict": verdict, "estimate": estimate, "interval": interval, "n": 5,
        "over": "seeds" if half or estimate is None else "nothing", "seen": half * 1.3 if half else None,
        "needs": None, "marks": [], "reason": None, **changes,
    })  # fmt: skip


def around(mean: float, spread: float, seeds: int = 5, turn: int = 0) -> list[float]:
    """Numbers of exactly this mean and standard deviation; neighbouring turns are opposite, so that gaps vary."""
    if seeds == 1:
        return [mean]
    ladder = np.linspace(-1, 1, seeds) * (-1) ** turn
    return (mean + spread * ladder / ladder.std(ddof=1)).tolist()


def levels(case: str, seeds: int, **arms: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    """One case: of each arm its metrics as (mean, spread)."""
    return {case: {
        arm: {metric: around(*size, seeds, turn) for metric, size in metrics.items()}
        for turn, (arm, metrics) in enumerate(arms.items())
    }}  # fmt: skip


def studied(name: str, found: Mapping[str, Any], claims: Mapping[str, Any], **changes: Any) -> MeasuredStudy:
    """A study with these levels; `claims` as an experiment gives them, `after`: ids of those posed after the run."""
    after = changes.pop("after", ())
    arms = list(next(iter(found.values()))) if found else ["old", "new"]
    some = next((ms for case in found.values() for ms in case.values()), {"x": [0.0]})
    count = len(next(iter(some.values())))
    posed = {name: Posed.of(as_claim(asked), name in after) for name, asked in claims.items()}
    return MeasuredStudy.model_validate({
        "name": name, "varies": "seed", "timed": False, "threads": 1, "repeats": 1, "arms": arms,
        "cases": dict.fromkeys(found), "seeds": [1000 + i for i in range(count)], "size": "200", "code": "0", "claims": posed,
        "figures": [], "resolution": {}, "levels": found, "shorter": {},
        "compute": {case: dict.fromkeys(of, COST) for case, of in found.items()}, "reasons": {}, **changes,
    })  # fmt: skip


def measured(stem: str, *studies: MeasuredStudy, **changes: Any) -> Measured:
    return Measured.model_validate({
        "stem": stem, "budget": "quick", "seeds": 5, "look": 1, "data": None, "when": "2025-11-21 09:30 UTC",
        "seconds": 20.5, "command": "gezhi run --all --budget quick", "environment": HERE,
        "units": {"accuracy": "%", "seconds": "s", "loss": "nat"}, "studies": studies, **changes,
    })  # fmt: skip


# ---- the toys ---------------------------------------------------------------------------------------------------------


def gains(n: int = 5, spread: float = 0.002, **changes: Any) -> Measured:
    """A thesis in one case, a conjunction, and one claim of every verdict."""
    found = levels("toy", n, old={"accuracy": (0.90, spread), "loss": (2.0, 0.1), "training accuracy": (0.99, 0.001)},
                   new={"accuracy": (0.93, spread), "loss": (1.2, 0.1), "training accuracy": (0.98, 0.001)})  # fmt: skip
    lopsided = {"old": {"skew": [0.0] * n}, "new": {"skew": [9.0, *around(1.0, 0.01, n - 1)]}}
    for arm, metrics in lopsided.items():
        found["toy"][arm] |= metrics
    return measured(
        "gains",
        studied("training", found, {
            "costs": lower("accuracy", "new", than="old", by=0.002),
            "gains": better("accuracy", "new", than="old", by=0.02),
            "both": (better("accuracy", "new", than="old", by=0.01), lower("loss", "new", than="old", by=0.1)),
            "level": same("accuracy", "new", than="old", within=0.0305),
            "lopsided": better("skew", "new", than="old", by=0.5),
        }, after=("both",), figures=[drawn(Dots("accuracy", ("gains", "costs"))), drawn(Dots("loss", "both", than="old"))]),
        studied("absent", {}, {"unasked": better("accuracy", "new", than="old", by=0.02)}, reasons={"": ABSENT}),
        seeds=n, **changes,
    )  # fmt: skip


def splits(n: int = 5, look: int = 1, **changes: Any) -> Measured:
    """A thesis with four cases that are divided, and a claim that is still training."""
    means = {"few": 0.95, "more": 0.93, "many": 0.88, "most": 0.87}
    found = {case: arms for case, mean in means.items()
             for case, arms in levels(case, n, old={"accuracy": (0.90, 0.002)}, new={"accuracy": (mean, 0.002)}).items()}  # fmt: skip
    shorter = levels("toy", 2, old={"accuracy": (0.5, 0.001)}, new={"accuracy": (0.93, 0.001)})
    return measured(
        "splits",
        studied("cases", found, {"divided": better("accuracy", "new", than="old", by=0.01)},
                figures=[drawn(Dots("accuracy", "divided"))]),
        studied("slow", levels("toy", n, old={"accuracy": (0.9, 0.002)}, new={"accuracy": (0.95, 0.002)}),
                {"training": better("accuracy", "new", than="old", by=0.01)}, shorter=shorter),
        seeds=n, look=look, **changes,
    )  # fmt: skip


SIZES = {f"n = {n}": float(n) for n in (512, 1024, 2048, 4096)}


def speed(n: int = 5, **changes: Any) -> Measured:
    """Timed claims along cases, and an exact one with a profile."""
    times = {"old": (4e-9, 2.0), "new": (3e-6, 1.0)}
    found = {case: {arm: {"seconds": around(a * size**k, 0.02 * a * size**k, n, turn + (size > 1024))}
                    for turn, (arm, (a, k)) in enumerate(times.items())} for case, size in SIZES.items()}  # fmt: skip
    x = np.linspace(-4, 4, 401)
    waves = {"old": np.abs(np.sin(3 * x)) * 2e-3, "new": np.abs(np.sin(5 * x)) * 4e-4}
    curves = {"line": {arm: {"x": [x.tolist()], "error": [[v or None for v in y.tolist()]], "largest error": [float(y.max())]}
                       for arm, y in waves.items()}}  # fmt: skip
    return measured(
        "speed",
        studied("time", found, {
            "linear": exponent("seconds", "new", 0.85, 1.25),
            "faster": at("n = 4096", ratio("seconds", "old", over="new", at_least=5)),
        }, timed=True, cases=SIZES,
            figures=[drawn(Lines("seconds", "linear", log=(True, True))), drawn(Lines("seconds", "faster"))]),
        studied("error", curves, {"small": inside("largest error", "new", high=1e-3)}, varies="nothing",
                figures=[drawn(Profile("error", "small", x="x", log=(False, True)))]),
        seeds=n, **changes,
    )  # fmt: skip


def unmeasured(**changes: Any) -> Measured:
    return measured("unmeasured", studied("habits", {}, {"habit": better("accuracy", "new", than="old", by=0.02)},
                                          reasons={"": ABSENT}), seconds=0.0, **changes)  # fmt: skip


def pairs(case: str = "digits", right: int = 960, **changes: Any) -> Measured:
    """A study over the items of a fixed test set that accepts a file, and one that does not."""
    hits = {"old": [1.0] * 900 + [0.0] * 100, "new": [0.0] * 20 + [1.0] * right + [0.0] * (980 - right)}
    found = {case: {arm: {"accuracy": [rows]} for arm, rows in hits.items()}}
    built = levels("toy", 5, old={"accuracy": (0.90, 0.002)}, new={"accuracy": (0.93, 0.002)})
    tied = studied("training", built if case == "digits" else {}, {"tied": at("toy", better("accuracy", "new", than="old", by=0.02))},
                   **({} if case == "digits" else {"reasons": {"": Words(en="not asked of your data", zh="不针对你的数据")}}))  # fmt: skip
    return measured("pairs", studied("test set", found, {"fewer": better("accuracy", "new", than="old", by=0.02)}, varies="items",
                                     figures=[drawn(Dots("accuracy", "fewer"))]), tied, **changes)  # fmt: skip


def on_file() -> Measured:
    return pairs("mine.csv", 950, data="mine.csv", command="gezhi run pairs --data mine.csv")


def quick_run() -> Record:
    return record_of([gains(spread=0.02), splits(look=2), speed(), unmeasured(), pairs()])


def reference_run() -> Record:
    full = {"budget": "full", "when": "2025-11-02 12:00 UTC", "environment": THERE}
    return record_of([
        gains(10, **full), splits(10, **full), speed(10, **full), unmeasured(**full), pairs(**full),
        measured("further", studied("more", levels("toy", 5, old={"a": (1, 0.1)}, new={"a": (2, 0.1)}),
                                    {"more": better("a", "new", than="old", by=0.5)}), **full),
    ])  # fmt: skip


def many(methods: int) -> Record:
    """A large record: a dozen claims a method, a quarter of them conjunctions in four cases; levels and figures."""
    one = levels(
        "toy", 10, old={"accuracy": (0.9, 0.01), "loss": (2.0, 0.1)}, new={"accuracy": (0.93, 0.01), "loss": (1.2, 0.1)}
    )
    four = {f"case {c}": one["toy"] for c in range(4)}
    single = better("accuracy", "new", than="old", by=0.01)
    several = (single, lower("loss", "new", than="old", by=0.1))
    studies = [
        studied(f"study {s}", one if s else four, {f"claim-{s}-{i}": single if s else several for i in range(3)},
                figures=[drawn(Dots("accuracy", f"claim-{s}-0"))])
        for s in range(4)
    ]  # fmt: skip
    return record_of([measured(f"toy_{m:02d}", *studies) for m in range(methods)])


# ---- their pages ------------------------------------------------------------------------------------------------------

ALIASES = {"gains": ("TOY", "8728"), "speed": ("the speed",)}
WINGS = {"gains": "nn", "splits": "losses", "speed": "theory", "unmeasured": "text", "pairs": "text", "further": "nn"}
SHORT = {"gains": ("Yes: by three points.", "是：高三个百分点。"), "splits": ("Only with few rows.", "只在样本少时。"),
         "speed": ("Yes, five times.", ""), "pairs": ("It does.", "是。")}  # fmt: skip
SENTENCES: dict[str, dict[str, dict[str, tuple[str, str, str]]]] = {
    "gains": {"training": {
        "gains": ("article, thesis", "The new one gains at least 2 points.", "新法至少提高 2 个百分点。"),
        "costs": ("field", "It costs at least 0.2 points.", "至少损失 0.2 个百分点。"),
        "both": ("article", 'It gains 1 point, "<&>" its loss falls by 0.1 nats.', '提高 1 个百分点,"<&>" 损失下降 0.1 奈特。'),
        "level": ("ours", "It stays within 3.05 points.", "相差不超过 3.05 个百分点。"),
        "lopsided": ("ours", "Its skew is larger by 0.5.", "偏度至少大 0.5。"),
    }, "absent": {"unasked": ("ours", "It holds on data that are not here.", "在此处没有的数据上也成立。")}},
    "splits": {"cases": {"divided": ("article, thesis", "The new one is better by 1 point.", "新法高 1 个百分点。")},
               "slow": {"training": ("ours", "It is better with long training.", "训练久时更好。")}},
    "speed": {"time": {"faster": ("article, thesis", "It is at least 5 times faster.", ""),
                       "linear": ("article", "Its time grows linearly.", "")},
              "error": {"small": ("field", "The error stays below 0.001.", "")}},
    "pairs": {"test set": {"fewer": ("article, thesis", "It errs less by 2 points.", "出错少 2 个百分点。")},
              "training": {"tied": ("field", "It gains 2 points on toys.", "在玩具上提高 2 个百分点。")}},
}  # fmt: skip
NAMES = """[common]
old = "旧法"
new = "新法"
accuracy = "准确率"
"training accuracy" = "训练准确率"
loss = "损失"
nat = "奈特"
seconds = "秒"
training = "训练"
absent = "缺失"
cases = "各例"
slow = "慢"
few = "少"
more = "较多"
many = "多"
most = "最多"
toy = "玩具"
time = "时间"
error = "误差"
"largest error" = "最大误差"
line = "实轴"
skew = "偏度"
habits = "习惯"
"test set" = "测试集"
digits = "手写数字"
"n = {}" = "n = {}"
"""


def page_of(stem: str, lang: int) -> str:
    """A method's page in English (0) or Chinese (1), with what the report takes from it."""
    short, claims, by, holds = (
        ("In short", "Claims", str, "Holds if it is."),
        ("一言以蔽之", "论断", _marks, "如是则成立。"),
    )[lang]
    lines = [
        f"# {stem}",
        "",
        f"## {short}",
        "",
        SHORT[stem][lang],
        "",
        "<!-- rests on: gains supported -->",
        "",
        f"## {claims}",
        "",
    ]
    for study, sentences in SENTENCES[stem].items():
        lines += [
            f"### {study if lang == 0 else _chinese(study)}",
            "",
            ("Toy data, 200 rows.", "玩具数据,200 行。")[lang],
            "",
        ]
        lines += [f"- `{name}` ({by(found[0])}) {found[1 + lang]}\n  {holds}" for name, found in sentences.items()]
        lines.append("")
    return "\n".join(lines)


def _marks(english: str) -> str:
    for en, zh in (("article", "原文"), ("field", "通行说法"), ("ours", "自设"), ("thesis", "论点")):
        english = english.replace(en, zh)
    return english


def _chinese(name: str) -> str:
    return next(line.split('"')[-2] for line in NAMES.splitlines() if line.split(" = ")[0].strip('"') == name)


@contextmanager
def house(folder: Path) -> Iterator[Path]:
    """A catalogue of the toys, with their pages and names in this folder; `speed` has an English page alone."""
    for stem in SENTENCES:
        (folder / f"{stem}.md").write_text(page_of(stem, 0), encoding="utf-8")
        if stem != "speed":
            (folder / f"{stem}.zh.md").write_text(page_of(stem, 1), encoding="utf-8")
    (folder / "unmeasured.md").write_text("# Unmeasured\n\n## Question\n\nWhy?\n", encoding="utf-8")
    (folder / "names.zh.toml").write_text(NAMES, encoding="utf-8")
    known = tuple(
        Method(stem, wing, "A toy.", f"The {stem}", f"玩具 {stem}", (), ("玩具也有文章:一个例子",), "", (), ALIASES.get(stem, ()))
        for stem, wing in WINGS.items()
    )  # fmt: skip
    with (
        patch.object(_catalogue, "_discovered", lambda _package: known),
        patch.object(_catalogue, "pages", lambda: folder),
        patch.object(_catalogue, "names", lambda: folder / "names.zh.toml"),
    ):
        forget()
        yield folder
    forget()


def forget() -> None:
    """Pages and names are read again."""
    page.cache_clear()
    tables.cache_clear()
