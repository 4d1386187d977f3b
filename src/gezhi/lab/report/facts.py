"""What was run: both runs, machine, versions, looks, and how many claims of whom had which verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gezhi.lab.judge import wrong_on_margin
from gezhi.lab.record import Environment, Words
from gezhi.lab.report.rows import ClaimRow, Pair
from gezhi.lab.report.text import FILE, REFERENCE, VERDICTS, YOURS, count, duration, joined, text
from gezhi.lab.verdicts import ClaimResult, MethodResult

BUNDLED = text("the experiments’ own", "实验自带")
SAYERS = {
    "thesis": text("theses", "论点"),
    "article": text("articles, besides", "原文的其他论断"),
    "field": text("the field", "通行说法"),
    "ours": text("ours", "自设"),
}


@dataclass(frozen=True)
class Fact:
    """One entry of “What was run”."""

    name: Words
    lines: tuple[Words, ...]
    commands: tuple[str, ...] = ()


def facts(pairs: Sequence[Pair], further: int) -> list[Fact]:
    """What was run, where, with what."""
    reference = [pair.lead for pair in pairs if pair.name is REFERENCE]
    mine = [m for pair in pairs for m in [pair.file or pair.beside or (pair.lead if pair.name is YOURS else None)] if m]
    runs = [(name, methods) for name, methods in ((REFERENCE, reference), (YOURS, mine)) if methods]
    found = [_run(name, methods) for name, methods in runs]
    found += _agreement(pairs, further)
    looks = [_look(name, m) for name, methods in runs for m in methods if m.look > 1]
    found += [Fact(text("Measured afresh", "重新测量"), tuple(looks))] if looks else []
    found += _where(mine or reference, reference if mine else [])
    files = sorted({m.data for m in mine if m.data})
    return [*found, Fact(text("Data", "数据"), (text(", ".join(files)) if files else BUNDLED,))]


def _run(name: Words, methods: Sequence[MethodResult]) -> Fact:
    budgets, seeds = sorted({m.budget for m in methods}), sorted({m.seeds for m in methods})
    days, when = sorted({m.when[:10] for m in methods}), max(m.when for m in methods)
    commits = sorted({m.environment.commit for m in methods if m.environment.commit})
    line = joined([
        text(f"{' and '.join(budgets)} budget", f"{'、'.join(budgets)} 档"),
        text(f"{seeds[0]} to {seeds[-1]} seeds", f"{seeds[0]} 至 {seeds[-1]} 个种子")
        if len(seeds) > 1 else count(seeds[0], "seed", "个种子"),
        duration(sum(m.seconds for m in methods)),
        text(f"{days[0]} to {days[-1]}", f"{days[0]} 至 {days[-1]}") if len(days) > 1 else text(when),
        text(f"commit {', '.join(commits)}", f"提交 {'、'.join(commits)}") if 0 < len(commits) <= 3 else text(""),
    ])  # fmt: skip
    commands = tuple(dict.fromkeys(m.measured.command for m in methods)) if name is YOURS else ()
    return Fact(name, (line,), commands)


def _look(name: Words, method: MethodResult) -> Words:
    """A claim is looked at once; a later look is a new run on fresh seeds."""
    what = text(f"look {method.look}, on fresh seeds", f"第 {method.look} 次，用新的种子")
    return joined([name, joined([method.title, what])], ": ", "：")


def _agreement(pairs: Sequence[Pair], further: int) -> list[Fact]:
    """How both runs compare in their theses, and what was not asked for."""
    both = [row for pair in pairs if pair.beside and (row := pair.thesis) and _judged(row.lead) and _judged(row.other)]
    differ = sum(row.differs for row in both)
    lines = []
    if both:
        n, same = len(both), len(both) - differ
        alike = text(f"{same} alike", f"{same} 个一致")
        lines.append(joined([text(f"{n} theses were judged in both runs", f"{n} 个论点两次都下了判定"), alike]))
    if further:
        more = count(further, "further method", "个其他方法")
        lines.append(text(f"{more.en} not asked for: gezhi run --all", f"{more.zh}未要求运行：gezhi run --all"))
    return [Fact(text("Asked of you", "本次所问"), tuple(lines))] if lines else []


def _judged(claim: ClaimResult | None) -> bool:
    return claim is not None and claim.verdict != "not asked"


def _where(methods: Sequence[MethodResult], others: Sequence[MethodResult]) -> list[Fact]:
    """Machine and versions of the newest measurement, and the machine of the reference run where it differs."""
    if not methods:
        return []
    here = newest(methods)
    lines = [_machine(here)]
    if others and _machine(newest(others)) != lines[0]:
        there = _machine(newest(others))
        lines.append(text(f"reference: {there.en}", f"参考：{there.zh}"))
    packages = ", ".join(f"{name}\u00a0{version}" for name, version in here.packages.items())
    versions = text(f"gezhi\u00a0{here.gezhi}, Python\u00a0{here.python}" + (f", {packages}" if packages else ""))
    return [Fact(text("Machine", "机器"), tuple(lines)), Fact(text("Versions", "版本"), (versions,))]


def newest(methods: Sequence[MethodResult]) -> Environment:
    return max(methods, key=lambda m: m.when).environment


def _machine(where: Environment) -> Words:
    return joined([text(where.machine), text(where.cpu), count(where.cores, "core", "核")])


@dataclass(frozen=True)
class Tally:
    """How many claims of one kind had each verdict, in the order of `VERDICTS`."""

    name: Words
    counts: tuple[int, ...]


def tallies(rows: Sequence[ClaimRow]) -> list[Tally]:
    """Claims by who says them; a claim with several cases counts once."""
    found = {sayer: Counter[str]() for sayer in SAYERS}
    for claim in (row.shown for row in rows):
        found["thesis" if claim.thesis else claim.by][claim.verdict] += 1
    return [Tally(SAYERS[sayer], tuple(n[v] for v in VERDICTS)) for sayer, n in found.items() if n]


def chance(pairs: Sequence[Pair]) -> Words:
    """Whose verdicts these are, and what chance alone can do to them."""
    claims = [row.shown for pair in pairs for row in pair.rows]
    noisy = [claim for claim in claims if claim.noisy]
    cases, source = sum(len(claim.asked) for claim in noisy), _source(pairs)
    if not noisy:
        return text(f"{source.en} No verdict rests on a noisy number, so none can be wrong by chance.",
                    f"{source.zh}没有判定取自带随机性的数值，不会因偶然而判错。")  # fmt: skip
    wrong = wrong_on_margin(cases)
    about = text(f"about {wrong:.0f}", f"约有 {wrong:.0f} 个") if wrong >= 0.5 else text("fewer than one", "不到一个")
    within = text(f", in {cases} cases", f"，共 {cases} 例") if cases > len(noisy) else text("")
    return text(
        f"{source.en} Of {count(len(claims), 'claim', '').en} {len(noisy)} noisy ones were judged{within.en}: were "
        f"every truth exactly on its margin, {about.en} of these verdicts would be wrong by chance.",
        f"{source.zh}{len(claims)} 条论断中判定了 {len(noisy)} 条随机论断{within.zh}：假如真值都恰在界限上，"
        f"{about.zh}判定会因偶然而出错。",
    )


def _source(pairs: Sequence[Pair]) -> Words:
    names = {pair.name.en for pair in pairs}
    if names == {REFERENCE.en}:
        return text("Verdicts are those of the reference run.", "判定取自参考运行。")
    if REFERENCE.en in names:
        return text(
            "Verdicts are the reference run’s where it has the method.", "参考运行有该方法的，判定取自参考运行。"
        )
    if names == {FILE.en}:
        return text("Verdicts are those on your file.", "判定取自你的文件。")
    return text("Verdicts are those of your run.", "判定取自本次运行。")
