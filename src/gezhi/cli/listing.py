"""`gezhi list`: what each article says, whether it is true, and the answer in short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType

from gezhi import _catalogue
from gezhi._catalogue import Method
from gezhi._checks import check_choice
from gezhi.cli.flow import Flow, grid
from gezhi.cli.output import console, echo_json
from gezhi.cli.phrases import NO_REFERENCE, in_language, page_of, share, short_name, verdict_flow
from gezhi.lab.pages import page
from gezhi.lab.reference import reference_run
from gezhi.lab.verdicts import ClaimResult, MethodResult

WIDE = 120  # columns from which name and verdict have columns of their own
HEADS = {"en": ("article", "says", "verdict", "in short"), "zh": ("文章", "论点", "判定", "一言以蔽之")}
KEYS = ("stem", "aliases", "wing", "title", "articles", "tags", "public", "page")


def methods_of(wing: str | None) -> list[Method]:
    """The methods of a wing, or all; ValueError names the wings."""
    known = list(_catalogue.methods().values())
    if wing is not None:
        check_choice("--wing", wing, list(dict.fromkeys(method.wing for method in known)))
    return [method for method in known if wing in (None, method.wing)]


def results() -> dict[str, MethodResult]:
    """The reference run by stem, empty where there is none."""
    reference = reference_run()
    return reference.by_stem if reference else {}


def entry(method: Method) -> dict[str, Any]:
    """What the method's header declares."""
    return {key: (method.page if key == "page" else asdict(method)[key]) for key in KEYS}


def print_json(methods: Sequence[Method]) -> None:
    found = results()
    echo_json([{**entry(m), "thesis": thesis_json(m, found.get(m.stem)), "short": short_json(m)} for m in methods])


def thesis_json(method: Method, result: MethodResult | None) -> dict[str, Any] | None:
    """The thesis in both languages and its verdict; None where the page has none."""
    en, zh = (found.claims.thesis if found else None for found in (page(method.stem, "en"), page(method.stem, "zh")))
    if en is None:
        return None
    claim = result.claim(en.id) if result else None
    case = claim.single if claim else None
    return {
        "id": en.id,
        "en": en.text,
        "zh": zh.text if zh else en.text,
        "verdict": claim.verdict if claim else "not asked",
        "estimate": case.estimate if case else None,
        "interval": case.interval if case else None,
    }


def short_json(method: Method) -> dict[str, str]:
    return {lang: found.short.first if (found := page_of(method, lang)) else "" for lang in ("en", "zh")}


def print_theses(methods: Sequence[Method], lang: str) -> None:
    """A row a method: four columns where they fit, else verdict and text."""
    out, found = console(), results()
    parts = [parts_of(method, found.get(method.stem), lang) for method in methods]
    out.print(wide_table(parts, lang) if out.width >= WIDE else narrow_table(parts, lang))
    if not found:
        out.print(Flow(in_language(NO_REFERENCE, lang), "dim"))


def parts_of(method: Method, result: MethodResult | None, lang: str) -> tuple[str, str, Flow, str]:
    """Name, thesis, verdict and answer of a method."""
    found = page_of(method, lang)
    thesis = found.claims.thesis if found else None
    claim = result.claim(thesis.id) if result and thesis else None
    says, short = thesis.text if thesis else "", found.short.first if found else ""
    return short_name(method, lang), says, thesis_verdict(claim, lang), short


def thesis_verdict(claim: ClaimResult | None, lang: str) -> Flow:
    return verdict_flow(claim.verdict, lang, share(claim, lang)) if claim else verdict_flow("not asked", lang)


def wide_table(parts: Sequence[tuple[str, str, Flow, str]], lang: str) -> RenderableType:
    rows = [(Flow(name, "bold"), Flow(says), verdict, Flow(short)) for name, says, verdict, short in parts]
    return grid(rows, fixed=(2,), heads=HEADS[lang])


def narrow_table(parts: Sequence[tuple[str, str, Flow, str]], lang: str) -> RenderableType:
    colon = "：" if lang == "zh" else ": "
    rows = [
        (verdict, Flow("\n".join(line for line in (f"{name}{colon}{says}" if says else name, short) if line)))
        for name, says, verdict, short in parts
    ]
    return grid(rows, fixed=(0,))
