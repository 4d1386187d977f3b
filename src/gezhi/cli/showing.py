"""`gezhi show`: the answer in short, the question, formulas in Unicode, and the claims with their verdicts."""

from __future__ import annotations

import webbrowser
from typing import Any

from rich.console import Console

from gezhi._catalogue import Method
from gezhi.cli.flow import Flow, grid
from gezhi.cli.formulas import in_unicode, plain
from gezhi.cli.listing import entry, results
from gezhi.cli.output import console, echo_json
from gezhi.cli.phrases import NO_REFERENCE, claim_rows, in_language, page_of, said_by, title, verdict_flow
from gezhi.lab.pages import Page, page, page_path
from gezhi.lab.report.text import wing_name
from gezhi.lab.verdicts import MethodResult


def open_page(method: Method, lang: str) -> None:
    """Open the page of this language, else the English draft, with the system's program."""
    paths = [page_path(method.stem, "zh" if lang == "zh" else "en"), page_path(method.stem, "en")]
    found = next(path for path in paths if path and (path.exists() or path is paths[-1]))
    webbrowser.open(found.as_uri())


def print_json(method: Method, lang: str) -> None:
    """The header, what the page says, and the judged claims; without a run the claims as the page has them."""
    found, result = page_of(method, lang), results().get(method.stem)
    echo_json({
        **entry(method),
        "short": found.short.text if found else "",
        "question": found.question if found else "",
        "formulas": found.formulas if found else [],
        "claims": [c.model_dump(mode="json") for c in result.claims] if result else spoken_json(method),
    })  # fmt: skip


def spoken_json(method: Method) -> list[dict[str, Any]]:
    """The page's claims before any run."""
    en, zh = (found.claims.sentences if found else {} for found in (page(method.stem, "en"), page(method.stem, "zh")))
    return [
        {"id": c.id, "by": c.by, "thesis": c.thesis, "text": c.text, "text_zh": zh.get(c.id, c).text,
         "verdict": "not asked", "cases": []}
        for c in en.values()
    ]  # fmt: skip


def print_method(method: Method, lang: str) -> None:
    out, found, result = console(), page_of(method, lang), results().get(method.stem)
    out.print(Flow(title(method, lang), "bold"))
    out.print(Flow(f"{in_language(wing_name(method.wing), lang)} · {method.stem}\n", "dim"))
    if found:
        print_page(out, found)
    rows = [row for claim in result.claims for row in claim_rows(claim, result, lang)] if result else []
    if rows:
        out.print(grid(rows, fixed=(0,)))
    else:
        out.print(grid(spoken_rows(found, lang), fixed=(0,)))
        out.print(Flow(in_language(NO_REFERENCE, lang), "dim"))
    print_when(out, result, lang)


def print_page(out: Console, found: Page) -> None:
    """In short, question, formulas."""
    for text in (found.short.text, found.question):
        if text:
            out.print(Flow(f"{plain(text)}\n"))
    lines = [line for formula in found.formulas for line in in_unicode(formula)]
    if lines:
        out.print(grid([(Flow(""), Flow(line)) for line in lines]))
        out.print()


def spoken_rows(found: Page | None, lang: str) -> list[tuple[Flow, Flow]]:
    """The page's claims before any run."""
    sentences = found.claims.sentences.values() if found else ()
    return [(verdict_flow("not asked", lang), Flow(said.text + said_by(said, lang))) for said in sentences]


def print_when(out: Console, result: MethodResult | None, lang: str) -> None:
    """Of which run the verdicts are."""
    if result:
        text = f"\n参考运行：{result.budget} 档，{result.when}。" if lang == "zh" else (
            f"\nReference run: budget {result.budget}, {result.when}.")  # fmt: skip
        out.print(Flow(text, "dim"))
