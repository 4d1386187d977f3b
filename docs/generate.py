"""Claims and results on pages, and the README's tables, from the experiments and the committed reference run.

`python docs/generate.py` rewrites them; `--check` only says which disagree and exits with 1.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from gezhi._catalogue import Method, methods
from gezhi.cli.words import claim_text, estimate_text
from gezhi.lab.claims import Claim, Number, Test
from gezhi.lab.record import ClaimResult, MethodResult, Record, TestResult, load
from gezhi.lab.report.numbers import region
from gezhi.lab.report.rows import rows_of
from gezhi.lab.report.summary import surprising
from gezhi.lab.report.text import VERDICTS, full_width
from gezhi.lab.stats import of_replicates
from gezhi.lab.study import Experiment, Study, load_experiment

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
HEADS = {
    "en": ("Verdict", "Claim", "Estimate", "Region"),
    "zh": ("判定", "论断", "估计", "范围"),
}
NOTHING_YET = {"en": "Not yet in the reference run.", "zh": "参考运行中尚无结果。"}


def main(arguments: list[str]) -> int:
    reference = load(RESULTS) if (RESULTS / "result.json").exists() else None
    stale = [path for path, text in generated(reference) if path.read_text("utf-8") != text]
    for path in stale:
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} disagrees with the experiments or the reference run: run make pages")
    if "--check" not in arguments:
        for path, text in generated(reference):
            path.write_text(text, encoding="utf-8")
    return bool(stale) if "--check" in arguments else 0


def generated(reference: Record | None) -> Iterator[tuple[Path, str]]:
    """Every file with generated parts, and its text as it should be."""
    results = {method.stem: method for method in reference.methods} if reference else {}
    for lang, suffix in (("en", ".md"), ("zh", ".zh.md")):
        for method in methods().values():
            path = ROOT / "docs" / "methods" / f"{method.stem}{suffix}"
            parts = {
                "claims": claims_part(method, lang),
                "results": results_part(results.get(method.stem), lang),
            }
            yield path, filled(path.read_text("utf-8"), parts)
        guide = ROOT / "docs" / "guide" / f"finetune{suffix}"
        yield guide, filled(guide.read_text("utf-8"), {"finetune": finetune_part(lang)})
        readme = ROOT / f"README{suffix}"
        parts = {"verdicts": verdicts_part(reference, lang), "methods": methods_part(results, lang)}
        yield readme, filled(readme.read_text("utf-8"), parts)


def filled(text: str, parts: dict[str, str]) -> str:
    """The text with what stands between `<!-- generated:NAME -->` and `<!-- /generated -->` replaced."""
    for name, body in parts.items():
        pattern = re.compile(rf"(<!-- generated:{name} -->\n).*?(<!-- /generated -->)", re.S)
        if not pattern.search(text):
            raise SystemExit(f"no place for {name!r} in a generated file")
        text = pattern.sub(lambda found, body=body: f"{found[1]}{body}\n{found[2]}", text)
    return text


def finetune_part(lang: str) -> str:
    """The guide's own figures, as `docs/guide/finetune.py` wrote them: means over seeds with 95 % intervals."""
    path = RESULTS / "finetune.json"
    if not path.exists():
        return NOTHING_YET[lang]
    found = json.loads(path.read_text("utf-8"))
    runs, packages = found["runs"], ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    slowest = max(run["seconds"] for run in runs)
    if lang == "zh":
        head = (
            f"{len(runs)} 个种子，各 {found['steps']} 步、{found['rows']} 对，{found['threads']} 个线程；{packages}。"
        )
        head += f"从读取数据到评判，最慢的一次用了 {slowest:.0f} 秒。"
        rows = ["| | 训练前 | 训练后 | 提升 |", "|---|---|---|---|"]
    else:
        head = f"{len(runs)} seeds, {found['steps']} steps and {found['rows']} pairs each, {found['threads']} threads; "
        head += f"{packages}. From reading the data to the verdict the slowest took {slowest:.0f} s."
        rows = ["| | before | after | gain |", "|---|---|---|---|"]
    for metric, name in (("spearman", "Spearman"), ("accuracy", "准确率" if lang == "zh" else "accuracy")):
        before, after = ([run[when][metric] for run in runs] for when in ("before", "after"))
        gains = [a - b for a, b in zip(after, before, strict=True)]
        rows.append(f"| {name} | " + " | ".join(map(mean_text, (before, after, gains))) + " |")
    return "\n".join([head, "", *rows])


def mean_text(numbers: list[float]) -> str:
    estimate = of_replicates(numbers)
    low, high = estimate.interval()
    return f"{estimate.value:.3f} [{low:.3f}, {high:.3f}]"


def claims_part(method: Method, lang: str) -> str:
    """Every claim of the experiment, with the region that its numbers must lie in."""
    lines = []
    experiment = load_experiment(method.stem)
    for study in experiment.studies:
        for claim in study.claims:
            sentence = full_width(claim.zh) if lang == "zh" else claim.en
            lines.append(f"- `{claim.id}`: {sentence} {condition(experiment, study, claim, lang)}")
    return "\n".join(lines)


def condition(experiment: Experiment, study: Study, claim: Claim, lang: str) -> str:
    """What has to hold, in the words of the tests."""

    def name(english: str) -> str:
        return experiment.zh.get(english, english) if lang == "zh" else english

    parts = [f"{number_text(test.number, name)} {region(unmeasured(study, test))}" for test in claim.all_tests]
    return "(" + "; ".join(parts) + ")" if lang == "en" else "（" + "；".join(parts) + "）"


def number_text(number: Number, name: Callable[[str], str]) -> str:
    """Metric and arms: `accuracy, CAN − plain`."""
    arm, other = name(number.arm), name(number.than or "")
    what = {"difference": f"{arm} − {other}", "ratio": f"{arm} : {other}", "exponent": f"{arm}, log-log"}
    return f"{name(number.metric)}, {what.get(number.how, arm)}"


def unmeasured(study: Study, test: Test) -> TestResult:
    """The test as a result without numbers, whose region the report's own words print."""
    number = test.number
    unit = study.units.get(number.metric, "") if number.how in ("value", "difference") else ""
    return TestResult(
        **vars(number),
        low=test.low,
        high=test.high,
        unit=unit,
        verdict="not asked",
        estimate=None,
        interval=(None, None),
        n=0,
        p=None,
        resolution=None,
        needs=None,
    )


def results_part(result: MethodResult | None, lang: str) -> str:
    """Budget, machine and the table of verdicts."""
    if result is None:
        return NOTHING_YET[lang]
    where = result.environment
    packages = ", ".join(f"{name} {version}" for name, version in where.packages.items())
    if lang == "zh":
        head = (
            f"{result.budget} 档，每项研究至多 {result.seeds} 个种子，{result.when}；{where.cpu}；"
            f"Python {where.python},{packages}。"
        )
    else:
        head = (
            f"Budget {result.budget}, up to {result.seeds} seeds a study, {result.when}; {where.cpu}; "
            f"Python {where.python}, {packages}."
        )
    rows = [row(claim, result, lang) for claim in result.claims]
    return "\n".join([head, "", "| " + " | ".join(HEADS[lang]) + " |", "|---|---|---|---|", *rows])


def row(claim: ClaimResult, result: MethodResult, lang: str) -> str:
    test = claim.tests[claim.deciding] if claim.tests else None
    reason = (claim.reason.zh if lang == "zh" else claim.reason.en) if claim.reason else ""
    sentence = claim_text(claim, result, lang)
    cells = [
        verdict_text(claim, lang),
        full_width(sentence) if lang == "zh" else sentence,
        estimate_text(claim) or reason,
        region(test) if test else "",
    ]
    return "| " + " | ".join(cells) + " |"


def verdict_text(claim: ClaimResult, lang: str) -> str:
    words = VERDICTS[claim.verdict]
    return words.zh if lang == "zh" else words.en


def verdicts_part(reference: Record | None, lang: str) -> str:
    """The most surprising verdicts of the reference run, for the README's first screen."""
    if reference is None:
        return NOTHING_YET[lang]
    head = HEADS[lang]
    rows = [f"| {head[1]} | {head[2]} | {head[0]} | |", "|---|---|---|---|"]
    suffix = ".zh.md" if lang == "zh" else ".md"
    for found in surprising(rows_of(reference, None))[:5]:
        method, claim = found.method, found.mine
        sentence = claim_text(claim, method, lang)
        title = method.title.zh if lang == "zh" else method.title.en
        link = f"[{title}](docs/methods/{method.stem}{suffix})"
        sentence = full_width(sentence) if lang == "zh" else sentence
        rows.append(f"| {sentence} | {estimate_text(claim)} | **{verdict_text(claim, lang)}** | {link} |")
    return "\n".join(rows)


def methods_part(results: dict[str, MethodResult], lang: str) -> str:
    """Every method with its verdicts in the reference run."""
    zh = lang == "zh"
    head = ("方法", "导入", "参考运行的判定") if zh else ("Method", "Import", "Verdicts of the reference run")
    rows = ["| " + " | ".join(head) + " |", "|---|---|---|"]
    suffix = ".zh.md" if zh else ".md"
    for method in methods().values():
        title = method.title_zh if zh else method.title
        names = ", ".join(f"`{name}`" for name in method.public)
        counts = count_text(results.get(method.stem), lang)
        rows.append(f"| [{title}](docs/methods/{method.stem}{suffix}) | `gezhi.{method.wing}`: {names} | {counts} |")
    return "\n".join(rows)


def count_text(result: MethodResult | None, lang: str) -> str:
    verdicts = [claim.verdict for claim in result.claims] if result else []
    found = [(VERDICTS[v], verdicts.count(v)) for v in VERDICTS if v in verdicts]
    return ", ".join(f"{n} {words.zh if lang == 'zh' else words.en}" for words, n in found) or NOTHING_YET[lang]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
