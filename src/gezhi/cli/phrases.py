"""How claims and verdicts read in a terminal, in either language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from gezhi._catalogue import Method
from gezhi.cli.flow import Flow
from gezhi.lab.names import needs_name
from gezhi.lab.pages import THESIS, Page, Sentence, page
from gezhi.lab.record import Words
from gezhi.lab.report.numbers import in_both, measured, region
from gezhi.lab.report.text import BY, VERDICTS, full_width
from gezhi.lab.stats import Verdict
from gezhi.lab.verdicts import AFTER, CaseResult, ClaimResult, MethodResult, TestResult

STYLES: dict[Verdict, str] = {
    "supported": "blue",
    "refuted": "red",
    "divided": "magenta",
    "inconclusive": "yellow",
    "not asked": "dim",
}
NO_REFERENCE = Words(en="There is no reference run yet.", zh="尚无参考运行。")


def in_language(words: Words, lang: str) -> str:
    """The text in a language, with Chinese punctuation where it is Chinese."""
    return full_width(words.zh) if lang == "zh" else words.en


def short_name(method: Method, lang: str) -> str:
    """What people call the method in a language: its first other name that is no article's number, else its title."""
    names = (alias for alias in method.aliases if not alias.isdigit())
    if lang == "zh":
        return next((name for name in names if not needs_name(name)), method.title_zh)
    return next((name for name in names if name.isascii()), method.title)


def title(method: Method, lang: str) -> str:
    return method.title_zh if lang == "zh" else method.title


def page_of(method: Method, lang: str) -> Page | None:
    """The page in this language, else the English draft."""
    return page(method.stem, "zh" if lang == "zh" else "en") or page(method.stem, "en")


def verdict_flow(verdict: Verdict, lang: str, more: str = "", indent: str = "") -> Flow:
    """A verdict in its colour, `2 of 6` below it."""
    text = indent + in_language(VERDICTS[verdict], lang)
    return Flow(f"{text}\n{indent}{more}" if more else text, STYLES[verdict])


def share(claim: ClaimResult, lang: str) -> str:
    """In how many of its cases a claim with several is supported."""
    if claim.single or claim.verdict == "not asked":
        return ""
    supported, asked = claim.supported, len(claim.asked)
    return f"{asked} 例中 {supported}" if lang == "zh" else f"{supported} of {asked}"


def sentence(claim: ClaimResult, lang: str) -> str:
    return in_language(claim.words, lang)


def said_by(claim: ClaimResult | Sentence, lang: str) -> str:
    """Whose claim it is, whether it is the thesis, and whether it was posed after the run."""
    zh = lang == "zh"
    marks = [in_language(BY[claim.by], lang)]
    marks += [THESIS[1] if zh else THESIS[0]] if claim.thesis else []
    marks += [in_language(AFTER, lang)] if isinstance(claim, ClaimResult) and claim.after else []
    return f"（{'，'.join(marks)}）" if zh else f" ({', '.join(marks)})"


def test_text(test: TestResult, method: MethodResult, lang: str) -> str:
    """Estimate, interval and the region that the claim allows: `+0.62 [+0.07, +1.17] pp, ≥ 0.5 pp`."""
    found = in_language(in_both(measured, test, method.named), lang)
    allowed = in_language(in_both(region, test, method.named), lang)
    marks = "".join(("，" if lang == "zh" else ", ") + in_language(mark, lang) for mark in test.marks)
    return f"{found}{marks}（{allowed}）" if lang == "zh" else f"{found}{marks} ({allowed})"


def numbers(case: CaseResult, method: MethodResult, lang: str) -> str:
    """What was found in a case, the deciding test first, and why it was not decided."""
    order = sorted(range(len(case.tests)), key=lambda i: i != case.deciding)
    parts = [test_text(case.tests[i], method, lang) for i in order]
    parts += [in_language(case.reason, lang)] if case.reason else []
    return ("；" if lang == "zh" else "; ").join(parts)


def claim_rows(claim: ClaimResult, method: MethodResult, lang: str) -> Iterator[tuple[Flow, Flow]]:
    """A claim with its numbers, or with its cases beneath."""
    text = sentence(claim, lang) + said_by(claim, lang)
    verdict = verdict_flow(claim.verdict, lang, share(claim, lang))
    if claim.single:
        found = numbers(claim.single, method, lang)
        yield verdict, Flow(f"{text}\n{found}" if found else text)
        return
    yield verdict, Flow(text)
    colon = "：" if lang == "zh" else ": "
    for case in claim.cases:
        name = in_language(method.named(case.case), lang)
        yield verdict_flow(case.verdict, lang, indent="  "), Flow(f"{name}{colon}{numbers(case, method, lang)}")


def counted(claims: Iterable[ClaimResult], lang: str) -> str:
    """`3 supported, 1 refuted`."""
    counts = Counter(claim.verdict for claim in claims)
    parts = [(in_language(VERDICTS[verdict], lang), counts[verdict]) for verdict in STYLES if counts[verdict]]
    return "，".join(f"{n} 条{word}" for word, n in parts) if lang == "zh" else ", ".join(f"{n} {w}" for w, n in parts)
