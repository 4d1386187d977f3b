"""The generated tables: verdicts on a method's page, theses and methods in the README, the guide's own figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from _tools.house import House
from gezhi._catalogue import Method, methods
from gezhi.cli.phrases import in_language, page_of, said_by, sentence, share, short_name, title
from gezhi.lab.record import Words
from gezhi.lab.report.numbers import in_both, measured, region
from gezhi.lab.report.text import VERDICTS, duration, wing_name
from gezhi.lab.stats import over_seeds
from gezhi.lab.verdicts import CaseResult, ClaimResult, MethodResult

NOTHING_YET = Words(en="Not yet in the reference run.", zh="参考运行中尚无结果。")
DRAFT = Words(en=" (draft)", zh="（草稿）")
HEADS = {"en": ("Verdict", "Claim", "Found", "Holds where"), "zh": ("判定", "论断", "结果", "成立范围")}
THESES = {"en": ("", "The article says", "Verdict", "In short"), "zh": ("", "原文的论点", "判定", "一言以蔽之")}
FINETUNE = {
    "en": (("", "before", "after", "gain"), ("Spearman", "accuracy")),
    "zh": (("", "训练前", "训练后", "提升"), ("Spearman", "准确率")),
}
METHODS = {"en": ("Wing", "Method", "Import"), "zh": ("分部", "方法", "导入")}


def table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table; bars inside a cell are escaped."""
    lines = [heads, ("---",) * len(heads), *((cell.replace("|", r"\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def results_part(result: MethodResult | None, lang: str) -> str:
    """Where and when it was measured, and a row a claim with its cases beneath."""
    if result is None:
        return in_language(NOTHING_YET, lang)
    rows = (row for claim in result.claims for row in claim_rows(result, claim, lang))
    return f"{measured_where(result, lang)}\n\n{table(HEADS[lang], rows)}"


def measured_where(result: MethodResult, lang: str) -> str:
    where = result.environment
    packages = ", ".join(f"{name} {version}" for name, version in where.packages.items())
    took = in_language(duration(result.seconds), lang)
    if lang == "zh":
        return (f"{result.budget} 档，每项研究至多 {result.seeds} 个种子，共 {took}，{result.when}；{where.cpu}；"
                f"Python {where.python}, {packages}。")  # fmt: skip
    return (f"Budget {result.budget}, up to {result.seeds} seeds a study, {took} in all, {result.when}; {where.cpu}; "
            f"Python {where.python}, {packages}.")  # fmt: skip


def claim_rows(result: MethodResult, claim: ClaimResult, lang: str) -> Iterator[tuple[str, ...]]:
    """A claim, and its cases where it has several."""
    text = sentence(claim, lang) + said_by(claim, lang)
    verdict = f"**{in_language(VERDICTS[claim.verdict], lang)}**"
    if claim.single:
        yield verdict, text, *found(result, claim.single, lang)
        return
    yield verdict, text, share(claim, lang), ""
    for case in claim.cases:
        name = in_language(result.named(case.case), lang)
        yield in_language(VERDICTS[case.verdict], lang), f"— {name}", *found(result, case, lang)


def found(result: MethodResult, case: CaseResult, lang: str) -> tuple[str, str]:
    """What every test found, the deciding one first, with marks and reason; and what it allows."""
    order = sorted(range(len(case.tests)), key=lambda i: i != case.deciding)
    tests, comma = [case.tests[i] for i in order], "，" if lang == "zh" else ", "
    notes = [in_language(mark, lang) for test in tests for mark in test.marks]
    notes += [in_language(case.reason, lang)] if case.reason else []
    numbers = "; ".join(in_language(in_both(measured, test, result.named), lang) for test in tests)
    allowed = "; ".join(in_language(in_both(region, test, result.named), lang) for test in tests)
    return comma.join(part for part in (numbers, *notes) if part), allowed


def link(house: House, method: Method, lang: str, text: str, folder: str = "docs/methods/") -> str:
    """A link to the method's page in this language, which a draft has in English alone."""
    draft = house.is_draft(method)
    suffix = ".zh.md" if lang == "zh" and not draft else ".md"
    return f"[{text}]({folder}{method.stem}{suffix})" + (in_language(DRAFT, lang) if draft else "")


def theses_part(house: House, results: Mapping[str, MethodResult], lang: str) -> str:
    """A row a method: what the article says, whether it is true, the answer in short."""
    return table(THESES[lang], (thesis_row(house, method, results, lang) for method in methods().values()))


def thesis_row(house: House, method: Method, results: Mapping[str, MethodResult], lang: str) -> tuple[str, ...]:
    page, result = page_of(method, lang), results.get(method.stem)
    thesis = page.claims.thesis if page else None
    claim = result.claim(thesis.id) if result and thesis else None
    verdict = in_language(VERDICTS[claim.verdict], lang) if claim else ""
    if claim and (cases := share(claim, lang)):
        verdict += f"（{cases}）" if lang == "zh" else f" ({cases})"
    name = link(house, method, lang, short_name(method, lang))
    return name, thesis.text if thesis else "", verdict, page.short.first if page else ""


def methods_part(house: House, lang: str) -> str:
    """Every method by wing, with the line that imports it."""
    rows = (
        (in_language(wing_name(m.wing), lang), link(house, m, lang, title(m, lang)),
         f"`from gezhi.{m.wing} import {', '.join(m.public)}`")
        for m in methods().values()
    )  # fmt: skip
    return table(METHODS[lang], rows)


def finetune_part(house: House, lang: str) -> str:
    """The guide's own figures, as `docs/guide/finetune.py` wrote them: means over seeds with 95 % intervals."""
    path = house.results / "finetune.json"
    if not path.exists():
        return in_language(NOTHING_YET, lang)
    known = json.loads(path.read_text("utf-8"))
    heads, names = FINETUNE[lang]
    metrics = zip(("spearman", "accuracy"), names, strict=True)
    return f"{finetuned(known, lang)}\n\n{table(heads, (finetune_row(known['runs'], *pair) for pair in metrics))}"


def finetuned(known: dict[str, Any], lang: str) -> str:
    """With what the guide's script was run."""
    count, slowest = len(known["runs"]), max(run["seconds"] for run in known["runs"])
    packages = ", ".join(f"{name} {version}" for name, version in known["packages"].items())
    steps, rows, threads = known["steps"], known["rows"], known["threads"]
    if lang == "zh":
        done = f"{count} 个种子，各 {steps} 步、{rows} 对，{threads} 个线程；{packages}。"
        return f"{done}从读取数据到评判，最慢的一次用了 {slowest:.0f} 秒。"
    done = f"{count} seeds, {steps} steps and {rows} pairs each, {threads} threads; {packages}."
    return f"{done} From reading the data to the verdict the slowest took {slowest:.0f} s."


def finetune_row(runs: list[dict[str, dict[str, float]]], metric: str, name: str) -> tuple[str, ...]:
    before, after = ([run[when][metric] for run in runs] for when in ("before", "after"))
    gains = [a - b for a, b in zip(after, before, strict=True)]
    return name, *(mean_text(numbers) for numbers in (before, after, gains))


def mean_text(numbers: list[float]) -> str:
    estimate = over_seeds(numbers)
    low, high = estimate.interval()
    return f"{estimate.value:.3f} [{low:.3f}, {high:.3f}]"
