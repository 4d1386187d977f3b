"""`gezhi list` and `gezhi show`."""

from __future__ import annotations

import re
import webbrowser
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gezhi import _catalogue
from gezhi._catalogue import Method
from gezhi.cli.words import claim_text, estimate_text
from gezhi.lab.conduct import reference_run
from gezhi.lab.pages import display_formulas, section
from gezhi.lab.record import MethodResult


def print_list(as_json: bool) -> None:
    """All methods; as JSON `{stem, wing, title, articles, tags, public, page}`."""
    from gezhi.cli.app import echo_json

    found = _catalogue.methods().values()
    if as_json:
        echo_json([_entry(method) for method in found])
        return
    results = reference_results()
    table = Table(box=None, pad_edge=False)
    for name in ("method", "wing", "title", "reference run"):
        table.add_column(name, no_wrap=name in ("method", "wing"))
    for method in found:
        table.add_row(method.stem, method.wing, escape(method.title), verdict_counts(results.get(method.stem)))
    Console().print(table)


def _entry(method: Method) -> dict[str, Any]:
    keys = ("stem", "wing", "title", "articles", "tags", "public", "page")
    return {key: (method.page if key == "page" else asdict(method)[key]) for key in keys}


def reference_results() -> dict[str, MethodResult]:
    reference = reference_run()
    return {m.stem: m for m in reference.methods} if reference else {}


def verdict_counts(result: MethodResult | None) -> str:
    """`3 supported, 1 refuted`."""
    counts = Counter(claim.verdict for claim in result.claims) if result else Counter()
    order = ("supported", "refuted", "inconclusive", "not asked")
    return ", ".join(f"{counts[v]} {v}" for v in order if counts[v])  # type: ignore[index]


def print_method(stem: str, lang: str, open_page: bool, as_json: bool) -> None:
    """Question, tagged formulas, and the claims with their verdicts."""
    from gezhi.cli.app import echo_json

    method = _catalogue.find(stem)
    page = _catalogue.pages() / (f"{stem}.zh.md" if lang == "zh" else f"{stem}.md")
    if open_page:
        webbrowser.open(page.as_uri())
        return
    question, formulas = _page_parts(page)
    result = reference_results().get(stem)
    if as_json:
        claims = [c.model_dump(mode="json") for c in result.claims] if result else []
        echo_json({**_entry(method), "question": question, "formulas": formulas, "claims": claims})
        return
    console = Console(highlight=False)
    console.print(f"[bold]{escape(method.title_zh if lang == 'zh' else method.title)}[/]  {method.wing} · {stem}")
    console.print(f"{question}\n", markup=False)
    for formula in formulas:
        console.print(f"  {formula}", markup=False)
    console.print()
    _print_claims(console, stem, result, lang)


def _page_parts(page: Path) -> tuple[str, list[str]]:
    if not page.exists():
        return "", []
    text = page.read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", section(text, 1)).strip(), display_formulas(text)


def _print_claims(console: Console, stem: str, result: MethodResult | None, lang: str) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("verdict", "claim", "estimate"):
        table.add_column(name, no_wrap=name == "verdict")
    if result is None:
        from gezhi.lab.study import load_experiment

        for study in load_experiment(stem).studies:
            for claim in study.claims:
                table.add_row("not yet run", escape(claim.zh if lang == "zh" else claim.en), "")
    else:
        for outcome in result.claims:
            table.add_row(outcome.verdict, escape(claim_text(outcome, result, lang)), escape(estimate_text(outcome)))
    console.print(table)
