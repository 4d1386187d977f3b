"""What is read from a method's page: sections, formulas with a tag, `In short`, and the sentences of the claims."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from gezhi import _catalogue
from gezhi._checks import invalid

Lang = Literal["en", "zh"]
HEADINGS = ("In short", "Question", "Notation", "Derivation", "From formula to code", "Claims",
            "Result of the reference run", "When not to use it", "Why ours", "References")  # fmt: skip
OPTIONAL = {"Why ours"}
CLAIMS = {"en": "Claims", "zh": "论断"}
SHORT = {"en": "In short", "zh": "一言以蔽之"}
QUESTION = {"en": "Question", "zh": "问题"}
BY = {"article": "原文", "field": "通行说法", "ours": "自设"}
THESIS = ("thesis", "论点")
STAMP = re.compile(r"<!-- en:\w+ -->\n?")
RESTS = re.compile(r"<!-- rests on: (.*?) -->\n?", re.S)
VERDICT = re.compile(r"\s*([^,]+?) (not asked|[^\s,]+)\s*(?:,|$)")
DISPLAY = re.compile(r"\$\$(.+?)\$\$", re.S)
BULLET = re.compile(r"^- (?:`([^`]+)` ?)?(?:[(（]([^)）]*)[)）] ?)?(.*?)(?:\n +(.+?))?(?=\n- |\n*\Z)", re.M | re.S)
MOST_WORDS = 60


@dataclass(frozen=True)
class Sentence:
    """A claim as the page says it: whose it is, what it says, and when it holds."""

    id: str
    by: str
    thesis: bool
    text: str
    criterion: str


@dataclass(frozen=True)
class Claims:
    """The sentences of a page by id, and what each study's verdicts speak of."""

    sentences: dict[str, Sentence] = field(default_factory=dict)
    scopes: dict[str, str] = field(default_factory=dict)

    @property
    def thesis(self) -> Sentence | None:
        return next((s for s in self.sentences.values() if s.thesis), None)


@dataclass(frozen=True)
class Short:
    """`In short` and the verdicts that it rests on, by claim."""

    text: str
    rests_on: dict[str, str]

    @property
    def first(self) -> str:
        """Its first sentence, which answers the thesis."""
        return re.split(r"(?<=[.!?])\s|(?<=[。！？])", self.text, maxsplit=1)[0].strip()


@dataclass(frozen=True)
class Page:
    """A method's page in one language."""

    text: str
    lang: Lang

    @property
    def short(self) -> Short:
        body = section(self.text, SHORT[self.lang])
        found = RESTS.search(body)
        verdicts = VERDICT.findall(found[1]) if found else []
        return Short(_flat(RESTS.sub("", body)), dict(verdicts))

    @property
    def question(self) -> str:
        return _flat(section(self.text, QUESTION[self.lang]))

    @property
    def formulas(self) -> list[str]:
        return display_formulas(self.text)

    @property
    def claims(self) -> Claims:
        return claims_of(self.text, self.lang)


@lru_cache(maxsize=256)
def page(stem: str, lang: Lang) -> Page | None:
    """The page of a method, None where it has none in this language."""
    path = page_path(stem, lang)
    return Page(path.read_text(encoding="utf-8"), lang) if path and path.is_file() else None


def page_path(stem: str, lang: Lang) -> Path | None:
    """Where the page of a method lies; only known methods have one."""
    if stem not in _catalogue.methods():
        return None
    return _catalogue.pages() / (f"{stem}.md" if lang == "en" else f"{stem}.zh.md")


def sections(text: str) -> list[tuple[str, str]]:
    """(heading line, body) of every heading of levels 1 to 3, in order; code blocks are not searched."""
    parts, current, fenced = [], ["", ""], False
    for line in text.splitlines(keepends=True):
        fenced ^= line.startswith("```")
        if not fenced and re.match(r"#{1,3} ", line):
            parts.append((current[0], current[1]))
            current = [line.strip(), ""]
        else:
            current[1] += line
    return [*parts, (current[0], current[1])][1:]


def section(text: str, heading: str) -> str:
    """Body of the section of level 2 with this heading, its subsections included, without translation stamps."""
    found, inside = [], False
    for title, body in sections(text):
        if title.startswith(("# ", "## ")):
            inside = title == f"## {heading}"
            found += [body] if inside else []
        elif inside:
            found += [f"{title}\n", body]
    return STAMP.sub("", "".join(found)).strip()


def claims_of(text: str, lang: Lang) -> Claims:
    """The sentences under `## Claims`: a heading a study, a line of scope, and a bullet a claim."""
    found = Claims()
    for part in re.split(r"^### ", section(text, CLAIMS[lang]), flags=re.M)[1:]:
        study, _, body = part.partition("\n")
        scope, _, _ = body.partition("\n- ")
        found.scopes[study.strip()] = "" if scope.lstrip().startswith("- ") else _flat(scope)
        for bullet in BULLET.finditer(body):
            sentence = _sentence(bullet)
            if sentence.id in found.sentences:
                raise invalid(f"claim {sentence.id!r}", "stand once on the page", "twice")
            found.sentences[sentence.id] = sentence
    return found


def _sentence(bullet: re.Match[str]) -> Sentence:
    claim, marks, text, criterion = bullet.groups()
    fix = "Write `- `id` (article, thesis) Sentence.`"
    if claim is None:
        raise invalid("a bullet under Claims", "begin with the claim's id in backticks", repr(bullet[0][:60]), fix)
    by, *rest = [mark.strip() for mark in re.split("[,，]", marks or "")]
    english = {zh: en for en, zh in BY.items()} | {en: en for en in BY}
    if by not in english or any(mark not in THESIS for mark in rest):
        must = f"be one of {', '.join(BY)}, perhaps with 'thesis'"
        raise invalid(f"marks of claim {claim!r}", must, repr("none" if marks is None else marks), fix)
    if not text.strip():
        raise invalid(f"sentence of claim {claim!r}", "follow its marks", "nothing", fix)
    return Sentence(claim, english[by], bool(rest), _flat(text), _flat(criterion or ""))


def display_formulas(text: str) -> list[str]:
    r"""LaTeX of every display formula that carries a `\tag`, in order."""
    return [" ".join(formula.split()) for formula in DISPLAY.findall(text) if r"\tag{" in formula]


def _flat(text: str) -> str:
    return " ".join(text.split())
