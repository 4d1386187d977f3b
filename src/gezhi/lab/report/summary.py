"""The head of a report, generated from its rows: counts, what chance can do, what surprises, what was run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gezhi.lab.record import ClaimResult, Environment, MethodResult, Record, Words
from gezhi.lab.report.rows import Row
from gezhi.lab.report.text import VERDICTS, count, duration, joined, text

FEW = 5  # of the most surprising


@dataclass(frozen=True)
class Tally:
    """How often each verdict was given, in the order of `VERDICTS`."""

    counts: tuple[int, ...]

    @classmethod
    def of(cls, claims: Iterable[ClaimResult]) -> Tally:
        found = Counter(claim.verdict for claim in claims)
        return cls(tuple(found[verdict] for verdict in VERDICTS))  # type: ignore[index]

    @property
    def words(self) -> Words:
        """`4 supported, 1 refuted`."""
        named = zip(self.counts, VERDICTS.values(), strict=True)
        return joined(Words(en=f"{n}\u00a0{v.en}", zh=f"{v.zh}\u00a0{n}") for n, v in named if n)


def tallies(rows: Sequence[Row]) -> dict[str, Tally]:
    """Counts of the run, its exact and its noisy claims apart, and of the reference run over the same claims."""
    mine = [row.mine for row in rows]
    return {
        "all": Tally.of(mine),
        "exact": Tally.of(c for c in mine if c.exact),
        "noisy": Tally.of(c for c in mine if not c.exact),
        "reference": Tally.of(row.other for row in rows if row.other),
    }


def chance(rows: Sequence[Row]) -> Words:
    """What chance alone can do to the verdicts of this run."""
    noisy = [row.mine for row in rows if row.judged and not row.mine.exact]
    exact = sum(row.judged and row.mine.exact for row in rows)
    if not noisy:
        return text("No verdict rests on a noisy number, so none can be wrong by chance.",
                    "没有判定取自带随机性的数值，不会因偶然而判错。")  # fmt: skip
    wrong = sum(1 - claim.level for claim in noisy)
    some = f"about {wrong:.0f}" if wrong >= 0.5 else "fewer than one"
    some_zh = f"约有 {wrong:.0f} 条" if wrong >= 0.5 else "不到一条"
    claims = count(len(noisy), "noisy claim", "条随机论断")
    was = "was" if len(noisy) == 1 else "were"
    cannot = (f"; the {exact} exact ones cannot be", f"；{exact} 条精确论断则不会") if exact else ("", "")
    return text(
        f"{claims.en} {was} judged. Were every truth exactly on its margin, {some} of the verdicts would be wrong by "
        f"chance{cannot[0]}.",
        f"共判定 {claims.zh}。假如真值都恰在界限上，{some_zh}会因偶然而判错{cannot[1]}。",
    )


def caveats(rows: Sequence[Row], *, single: bool) -> list[Words]:
    """How many verdicts are weak, how the run departs from the reference run, and what that one lacks."""
    weak = sum(row.mine.weak for row in rows)
    absent = sum(row.other is None for row in rows)
    parts = [
        (weak, text(f"Weak, q > .05 over this run: {weak}.", f"弱（本次运行 q > .05）：{weak} 条。")),
        (not single, text(f"Unlike the reference run: {unlike(rows).en}.", f"与参考运行不同：{unlike(rows).zh}。")),
        (absent and not single, text(f"Not in the reference run: {absent}.", f"参考运行中没有：{absent} 条。")),
    ]
    return [words for holds, words in parts if holds]


def unlike(rows: Sequence[Row]) -> Words:
    """How the run departs from the reference run: `3: 2 supported there and inconclusive here, 1 …`."""
    pairs = Counter((row.other.verdict, row.mine.verdict) for row in rows if row.differs and row.other)
    kinds = [(n, VERDICTS[there], VERDICTS[here]) for (there, here), n in pairs.most_common()]
    en = [f"{n} {there.en} there and {here.en} here" for n, there, here in kinds]
    zh = [f"{n} 条彼处{there.zh}、此处{here.zh}" for n, there, here in kinds]
    return text(", ".join(en) or "none", "，".join(zh) or "无")


def distance(claim: ClaimResult) -> tuple[bool, float]:
    """How surprising a refuted claim is: exact ones first, then half-widths of its interval outside the region."""
    test = claim.tests[claim.deciding]
    ends = [end for end in (test.low, test.high) if end is not None]
    if test.estimate is None or not ends or None in test.interval:
        return claim.exact, 0.0
    log = test.how == "ratio"
    value, low, high, *edges = (
        math.log(max(v, 1e-300)) if log else v for v in (test.estimate, *test.interval, *ends) if v is not None
    )
    gap = min(abs(value - edge) for edge in edges)
    unit = max(map(abs, (value, *edges))) if claim.exact else (high - low) / 2
    return claim.exact, gap / unit if unit else 0.0


def surprising(rows: Sequence[Row]) -> list[Row]:
    """Of each method the refuted claim farthest outside its region, the farthest first."""
    refuted = [row for row in rows if row.shown.verdict == "refuted"]
    found: dict[str, Row] = {}
    for row in sorted(refuted, key=lambda row: distance(row.shown), reverse=True):
        found.setdefault(row.method.stem, row)
    return list(found.values())


@dataclass(frozen=True)
class Fact:
    """One entry of “What was run”."""

    name: Words
    lines: tuple[Words, ...]


def facts(record: Record, reference: Record | None, names: tuple[Words, Words]) -> list[Fact]:
    """What was run, where, with what; `names` are those of the two runs."""
    stems = {method.stem for method in record.methods}
    others = [m for m in reference.methods if m.stem in stems] if reference else []
    found = [_run(names[0], record.methods, record.environment)] if record.methods else []
    if reference and others:
        found.append(_run(names[1], others, others[0].environment))
    here = record.environment
    machine = [_machine(here)]
    if others and _machine(others[0].environment) != machine[0]:
        there = _machine(others[0].environment)
        machine.append(text(f"reference: {there.en}", f"参考：{there.zh}"))
    packages = ", ".join(f"{name}\u00a0{version}" for name, version in here.packages.items())
    versions = text(f"gezhi\u00a0{here.gezhi}, Python\u00a0{here.python}")
    files = sorted({method.data for method in record.methods if method.data})
    return [
        *found,
        Fact(text("Machine", "机器"), tuple(machine)),
        Fact(text("Versions", "版本"), (versions, text(packages))),
        Fact(text("Data", "数据"), (text(", ".join(files)) if files else BUNDLED,)),
    ]


BUNDLED = text("the experiments’ own", "实验自带")


def _run(name: Words, methods: Sequence[MethodResult], where: Environment) -> Fact:
    budgets = sorted({method.budget for method in methods})
    seeds = sorted({method.seeds for method in methods})
    times = sorted(method.when for method in methods)
    span = times[-1] if times[0][:10] == times[-1][:10] else f"{times[0][:10]} – {times[-1][:10]}"
    seconds = duration(sum(method.seconds for method in methods))
    many = text(f"{seeds[0]} to {seeds[-1]} seeds", f"{seeds[0]} 至 {seeds[-1]} 个种子") if len(seeds) > 1 else None
    line = joined([
        text(f"{' and '.join(budgets)} budget", f"{'、'.join(budgets)} 档"),
        many or count(seeds[0], "seed", "个种子"),
        seconds,
    ])  # fmt: skip
    commit = text(f"commit {where.commit}", f"提交 {where.commit}") if where.commit else text("")
    return Fact(name, (line, joined([text(span), commit])))


def _machine(where: Environment) -> Words:
    return joined([text(where.machine), text(where.cpu), count(where.cores, "core", "核")])
