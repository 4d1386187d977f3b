"""Records made by hand: every verdict, every kind of test, and an experiment whose figures can be drawn from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from gezhi.lab import Claim, Dots, Experiment, Lines, Profile, Study, exponent, inside, lower, ratio, same
from gezhi.lab.judge import conjunction, deciding
from gezhi.lab.record import ClaimResult, Compute, Environment, MethodResult, Record, StudyResult, TestResult, Words

HERE = Environment(
    gezhi="0.1.0",
    python="3.12.8",
    packages={"numpy": "2.3.4", "torch": "2.13.0"},
    machine="x86_64",
    cpu="Example CPU",
    cores=8,
    commit="3f2a91b",
)
NOT_AT_QUICK = Words(en="not asked at quick", zh="quick 档未问")


def verdict_of(low: float, high: float, region: tuple[float | None, float | None]) -> str:
    """The house's rule, for intervals and (low = high) exact numbers."""
    least, most = (-math.inf if region[0] is None else region[0]), (math.inf if region[1] is None else region[1])
    if least <= low and high <= most:
        return "supported"
    return "refuted" if high < least or low > most else "inconclusive"


def outcome(
    estimate: float | None,
    half: float = 0.0,
    *,
    low: float | None = None,
    high: float | None = None,
    how: str = "difference",
    arm: str = "new",
    than: str | None = "old",
    metric: str = "accuracy",
    unit: str = "",
    n: int = 5,
) -> TestResult:
    """A test with the interval estimate ± half (times or divided by half, for ratios)."""
    if estimate is None:
        interval: tuple[float | None, float | None] = (None, None)
    elif how == "ratio":
        interval = (estimate / (half or 1), estimate * (half or 1))
    else:
        interval = (estimate - half, estimate + half)
    ends = [math.nan if end is None else end for end in interval]
    verdict = verdict_of(ends[0], ends[1], (low, high))
    return TestResult.model_validate({
        "metric": metric, "arm": arm, "than": None if how in ("value", "exponent") else than, "how": how,
        "low": low, "high": high, "unit": unit, "verdict": verdict, "estimate": estimate, "interval": interval, "n": n,
        "p": 0.01 if half else None, "resolution": half * 1.3 if half else None,
        "needs": 24 if verdict == "inconclusive" else None,
    })  # fmt: skip


def claimed(name: str, *tests: TestResult, en: str = "", zh: str = "", **changes: Any) -> ClaimResult:
    """A claim with its tests; no tests: not asked."""
    chosen = deciding(tests) if tests else 0
    verdict = conjunction(tests) if tests else "not asked"
    open_reason = Words(en="needs about 24 seeds", zh="约需 24 个种子") if verdict == "inconclusive" else None
    content = {
        "id": name, "text": en or f"The new one does what {name} says.", "text_zh": zh or f"新方法如 {name} 所说。",
        "study": "training", "case": None, "scope": Words(en="toy data, 200 rows", zh="玩具数据,200 行"),
        "exact": False, "timed": False, "verdict": verdict, "reason": open_reason if tests else NOT_AT_QUICK,
        "estimate": tests[chosen].estimate if tests else None, "interval": tests[chosen].interval if tests else None,
        "deciding": chosen, "level": 0.95, "q": 0.01 if tests else None, "weak": False, "tests": list(tests),
    }  # fmt: skip
    return ClaimResult.model_validate({**content, **changes})


def studied(name: str = "training", **changes: Any) -> StudyResult:
    content = {
        "name": name, "varies": "seed", "alone": False, "threads": 1, "arms": ["old", "new"], "cases": ["toy"],
        "seeds": [1000, 1001, 1002, 1003, 1004], "size": "200", "replicates": {}, "compute": {}, "reason": None,
    }  # fmt: skip
    return StudyResult.model_validate({**content, **changes})


ZH = {"old": "旧法", "new": "新法", "accuracy": "准确率", "training": "训练", "seconds": "秒"}


def method(
    stem: str, claims: list[ClaimResult], studies: list[StudyResult] | None = None, **changes: Any
) -> MethodResult:
    name = stem.rpartition(".")[2].replace("_", " ")
    content = {
        "stem": stem, "wing": "toys", "title": Words(en=f"The {name}", zh=f"{name} 玩具"),
        "articles": ["玩具也有文章:一个例子"], "budget": "quick", "seeds": 5, "looks": 1, "data": None,
        "when": "2025-11-21 09:30 UTC", "seconds": 20.5, "environment": HERE, "zh": ZH, "claims": claims,
        "studies": studies or [studied(n) for n in dict.fromkeys(c.study for c in claims)],
    }  # fmt: skip
    return MethodResult.model_validate({**content, **changes})


def record(*methods: MethodResult, command: str = "gezhi run toys --budget quick") -> Record:
    return Record(environment=HERE, command=command, methods=list(methods))


def every_verdict(*, half: float = 0.004, asked: bool = True, budget: str = "quick") -> MethodResult:
    """One claim of each kind; `asked=False`: the training claims were not."""
    spread = {"n": 5 if asked else 10}
    percent = {"unit": "%", **spread}
    training = [
        claimed("gains", outcome(0.0062, half, low=0.002, **percent), en="It gains at least 0.2 points.", zh="至少提高 0.2 个百分点。"),
        claimed("costs", outcome(0.0150, half, high=-0.002, **percent), en="It costs at least 0.2 points.", zh="至少损失 0.2 个百分点。"),
        claimed("level", outcome(0.0010, half, low=-0.003, high=0.003, **percent), weak=True, q=0.067,
                en="It stays within 0.3 points, \"<&>\" or not.", zh="相差不超过 0.3 个百分点,\"<&>\" 与否。"),
        claimed("rank", outcome(7.5, half, low=6, high=8, how="value", metric="rank"), outcome(0.4, half, low=0.1, metric="loss", unit="nat"),
                en="Its rank is about seven, and its loss falls by at least 0.1 nats.", zh="秩约为七,损失至少下降 0.1 奈特。"),
    ]  # fmt: skip
    return method("every_verdict", [
        *(training if asked else [claimed(c.id, en=c.text, zh=c.text_zh) for c in training]),
        claimed("fast", outcome(6.9, 1.5, low=5, how="ratio", metric="seconds", arm="old", than="new"), study="speed", timed=True,
                case="n=4096", en="At 4096 tokens it is at least 5 times faster.", zh="4096 个词元时至少快 5 倍。"),
        claimed("linear", outcome(1.04, 0.07, low=0.85, high=1.25, how="exponent", metric="seconds"), study="speed", timed=True,
                en="Time grows linearly.", zh="时间线性增长。"),
        claimed("exact-yes", outcome(1.1e-16, high=1e-8, how="value", metric="error"), study="identity", exact=True, q=None, case="a < b",
                en="The formula holds to 8 digits.", zh="公式准到 8 位。"),
        claimed("exact-no", outcome(0.315, high=0.05, how="value", metric="error", unit="%"), study="identity", exact=True, q=None, case="a < b",
                en="Another slope lowers the error by 5 % at most.", zh="换斜率至多降低误差 5 %。"),
        claimed("items", outcome(-0.010, 0.004, high=-0.002, unit="%", n=1797), study="test set",
                en="It errs less on the test set.", zh="在测试集上出错更少。"),
        claimed("unasked", study="absent", reason=Words(en="data not at hand: gezhi data get toys", zh="数据不在手边:gezhi data get toys"),
                en="It holds on data that are not here.", zh="在此处没有的数据上也成立。"),
    ], [
        studied(reason=None if asked else NOT_AT_QUICK),
        studied("speed", alone=True), studied("identity", varies="nothing", seeds=[1000]),
        studied("test set", varies="items", seeds=[1000]),
        studied("absent", reason=Words(en="data not at hand: gezhi data get toys", zh="数据不在手边:gezhi data get toys")),
    ], budget=budget)  # fmt: skip


def open_ended() -> MethodResult:
    """Intervals and estimates that are not finite, and an extended run."""
    return method("open_ended", [
        claimed("nan", outcome(None, low=0.1), verdict="inconclusive",
                reason=Words(en="not a finite number in every replicate", zh="并非每次重复都得到有限的数")),
        claimed("one", outcome(0.5, math.inf, low=0.3), verdict="not asked",
                reason=Words(en="1 seeds; a verdict needs 5", zh="仅 1 个种子,下判定至少需 5 个")),
        claimed("extended", outcome(0.5, 0.1, low=0.3), level=0.98),
        claimed("point", outcome(256, low=256, high=256, how="value", metric="rank"), exact=True, study="identity"),
    ], [studied(), studied("identity", varies="nothing")], looks=2)  # fmt: skip


def never_ran() -> MethodResult:
    why = Words(en="data not at hand: gezhi data get newspaper", zh="数据不在手边:gezhi data get newspaper")
    return method(
        "never_ran", [claimed("habit", reason=why), claimed("meaning", reason=why)], [studied(reason=why)], seconds=0.0
    )


def quick_run() -> Record:
    return record(every_verdict(asked=False), open_ended(), never_ran(), drawn(5))


def reference_run() -> Record:
    return record(
        every_verdict(half=0.002, budget="full"),
        drawn(10),
        method("further", [claimed("more", outcome(1, 0.1, low=0.5))]),
    )


def many(methods: int, claims: int) -> Record:
    """A large record with conjunctions in several cases."""
    tests = [outcome(0.4, 0.1, low=0.3), outcome(2.5, 1.2, low=2, how="ratio")]
    return record(*(
        method(f"toy_{m:02d}", [claimed(f"claim-{c}", *tests, case=f"case {c % 2}") for c in range(claims)])
        for m in range(methods)
    ))  # fmt: skip


# An experiment that can be imported by the stem `lab.records`, and replicates of its studies.
DRAWN = "lab.records"
COST = {"seconds": 0.5, "evaluations": 408.0, "parameters": 462720.0}
SIZES = {f"n={n}": n for n in (512, 1024, 2048, 4096)}
EXPERIMENT = Experiment(
    "Can a figure be drawn?",
    (
        Study(
            "accuracy", dict, {"old": 0, "new": 1, "newest, with a long name": 2}, {"few": 1, "many": 2}, {"quick": 1},
            (Claim("above", "The new one is at least 2 points worse.", "新法至少差 2 个百分点。", lower("accuracy", "new", than="old", by=0.02)),),
            units={"accuracy": "%"},
            figures=(
                Dots("accuracy", "Accuracy by arm.", "各臂的准确率。", claims=("above",)),
                Dots("accuracy", "Differences.", "差。", claims=("above",), than="old", cases=("many",)),
                Dots("loss", "Losses over decades.", "跨数量级的损失。", log=True),
            ),
        ),
        Study(
            "time", dict, {"old": 0, "new": 1}, SIZES, {"quick": 1},
            (
                Claim("slope", "Its time grows with exponent 1.", "时间的指数为 1。", exponent("seconds", "new", 0.85, 1.25)),
                Claim("faster", "It is at least 5 times faster.", "至少快 5 倍。", ratio("seconds", "new", over="old", at_most=0.2)),
            ),
            alone=True, units={"seconds": "s"},
            figures=(
                Lines("seconds", "Seconds against tokens.", "秒数与词元数。", claims=("slope",), log=(True, True)),
                Lines("seconds", "Seconds on plain axes.", "普通坐标下的秒数。", claims=("faster",)),
            ),
        ),
        Study(
            "error", dict, {"old": 0, "new": 1}, {"line": 0}, {"quick": 1},
            (Claim("small", "The error stays below 0.001.", "误差低于 0.001。", inside("largest error", "new", high=1e-3)),),
            varies="nothing",
            figures=(Profile("error", "Error along the line.", "沿实轴的误差。", claims=("small",), x="x", log=(False, True)),),
        ),
        Study(
            "items", dict, {"old": 0, "new": 1}, {"test set": 0}, {"quick": 1},
            (Claim("agree", "Both agree within 2 points.", "两者相差不超过 2 个百分点。", same("accuracy", "new", than="old", within=0.02)),),
            varies="items", units={"accuracy": "%"},
            figures=(Dots("accuracy", "On a fixed test set.", "固定测试集。", claims=("agree",), than="old"),),
        ),
    ),
    zh={**ZH, "newest, with a long name": "名字很长的最新方法", "few": "少", "many": "多", "n": "词元数", "x": "x", "error": "误差",
        "time": "时间", "items": "条目", "test set": "测试集", "line": "实轴", "loss": "损失"},
)  # fmt: skip


def drawn(seeds: int) -> MethodResult:
    """Replicates and verdicts of the experiment above; more seeds, other noise."""
    rng = np.random.default_rng(seeds)
    accuracy, time = accuracy_replicates(rng, seeds), time_replicates(rng, seeds)
    x = np.linspace(-4, 4, 1001)
    wave = {"old": np.abs(np.sin(3 * x)) * 2e-3, "new": np.abs(np.sin(5 * x)) * 4e-4}
    error = {"line": {arm: {"x": [x.tolist()], "error": [[v or None for v in y.tolist()]]} for arm, y in wave.items()}}
    items = {"test set": {arm: {"accuracy": [v]} for arm, v in (("old", 0.91), ("new", 0.915))}}
    names = [1000 + i for i in range(seeds)]
    return method(DRAWN, [
        *(claimed("above", difference(accuracy[case], seeds), study="accuracy", case=case, en="The new one is at least 2 points worse.",
                  zh="新法至少差 2 个百分点。") for case in ("few", "many")),
        claimed("slope", outcome(1.02, 0.03, low=0.85, high=1.25, how="exponent", metric="seconds"), study="time", timed=True),
        claimed("faster", outcome(0.11, 1.05, high=0.2, how="ratio", metric="seconds"), study="time", timed=True, case="n=4096"),
        claimed("small", outcome(4e-4, high=1e-3, how="value", metric="largest error"), study="error", exact=True),
        claimed("agree", outcome(0.005, 0.01, low=-0.02, high=0.02, unit="%", n=1797), study="items"),
    ], [
        studied("accuracy", arms=list(EXPERIMENT.study("accuracy").arms), cases=["few", "many"], seeds=names, replicates=accuracy,
                compute={case: dict.fromkeys(arms, Compute(**COST)) for case, arms in accuracy.items()}),
        studied("time", alone=True, cases=list(SIZES), seeds=names, replicates=time),
        studied("error", varies="nothing", cases=["line"], seeds=[1000], replicates=error),
        studied("items", varies="items", cases=["test set"], seeds=[1000], replicates=items),
    ], zh=dict(EXPERIMENT.zh), seeds=seeds)  # fmt: skip


def difference(arms: Mapping[str, Mapping[str, list[float]]], seeds: int) -> TestResult:
    gap = np.subtract(arms["new"]["accuracy"], arms["old"]["accuracy"])
    half = stats.t.ppf(0.975, seeds - 1) * gap.std(ddof=1) / math.sqrt(seeds)
    return outcome(float(gap.mean()), float(half), high=-0.02, unit="%", n=seeds)


def accuracy_replicates(rng: np.random.Generator, seeds: int) -> dict[str, Any]:
    means = {"few": (0.88, 0.84, 0.86), "many": (0.93, 0.925, 0.95)}
    arms = EXPERIMENT.study("accuracy").arms
    return {
        case: {
            arm: {"accuracy": (mean + 0.01 * rng.normal(size=seeds)).tolist(), "loss": (10 ** (8 * (1 - mean) + 0.1 * rng.normal(size=seeds))).tolist()}
            for arm, mean in zip(arms, found, strict=True)
        }
        for case, found in means.items()
    }  # fmt: skip


def time_replicates(rng: np.random.Generator, seeds: int) -> dict[str, Any]:
    growth = {"old": (4e-9, 2.0), "new": (3e-6, 1.0)}
    return {
        case: {arm: {"seconds": (a * n**k * np.exp(0.05 * rng.normal(size=seeds))).tolist()} for arm, (a, k) in growth.items()}
        for case, n in SIZES.items()
    }  # fmt: skip
