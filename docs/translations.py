"""Do the two language versions of a page say the same? Structure exactly; prose by a stamp per section.

`python docs/translations.py` checks every page; `--stamp` marks the Chinese sections as translations of the English
ones as they are now, which is for those who have just reread them. A page in English alone is a draft, which is told
and is no fault; for `--release` it is one.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from gezhi.lab.pages import RESTS, STAMP, sections

DOCS = Path(__file__).parent
APART = {"_build", "results", "api"}  # folders without pages in two languages
GENERATED = re.compile(r"<!-- generated:.*?<!-- /generated -->", re.S)
CODE = re.compile(r"```.*?```", re.S)
MATH = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.S)


def pairs(folder: Path = DOCS) -> Iterator[tuple[Path, Path]]:
    """Every English page with the path of its Chinese one."""
    for english in sorted(folder.rglob("*.md")):
        if not english.name.endswith(".zh.md") and not APART & set(english.relative_to(folder).parts):
            yield english, english.with_name(english.stem + ".zh.md")


def frame(body: str) -> dict[str, list[str]]:
    """What must be equal in both languages: formulas, code, links, numbers and names."""
    rest = CODE.sub("", body)
    formulas = MATH.findall(rest)
    prose = re.sub(r"\]\(\S+?\)", "]", MATH.sub("", rest))
    return {
        "display formulas": [_bare(display) for display, _ in formulas if display],
        "inline formulas": sorted(_bare(inline) for _, inline in formulas if inline),  # word order may differ
        "code": [code for code in CODE.findall(body) if not code.startswith("```{toctree}")],
        "links": sorted(_link(target) for target in re.findall(r"\]\((\S+?)\)", rest)),
        "numbers": sorted(re.findall(r"(?<![\w.`])\d+(?:\.\d+)?", re.sub(r"`[^`]+`", "", prose))),
        "names": sorted(set(re.findall(r"`([^`]+)`", prose))),
    }


def _bare(formula: str) -> str:
    return re.sub(r"\\text\{.*?\}", "", re.sub(r"\s+", "", formula))


def _link(target: str) -> str:
    return target.replace(".zh.md", ".md").replace(".zh.html", ".html")


def written(body: str) -> str:
    """What a person wrote: no generated part, no stamp, no list of verdicts."""
    return RESTS.sub("", STAMP.sub("", GENERATED.sub("", body)))


def stamp(heading: str, body: str) -> str:
    """Hash of what a person wrote in an English section."""
    text = re.sub(r"\s+", " ", heading + written(body))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def hidden(text: str) -> str:
    """Headings that are generated start no section."""
    return GENERATED.sub(lambda found: re.sub(r"^#", "\0#", found[0], flags=re.M), text)


def compare(english: str, chinese: str) -> list[str]:
    """Every difference, as a sentence with the English heading."""
    left, right = sections(hidden(english)), sections(hidden(chinese))
    if [h.count("#") for h, _ in left] != [h.count("#") for h, _ in right]:
        return [f"the headings differ: {len(left)} and {len(right)} sections"]
    found = []
    for (heading, body), (_, translated) in zip(left, right, strict=True):
        a, b = frame(written(body)), frame(written(translated))
        for part in a:
            if a[part] != b[part]:
                odd = sorted(set(a[part]) ^ set(b[part])) or ["a repetition"]
                found.append(f"{heading}: {part} differ: {odd[:3]}")
        mark = STAMP.search(translated)
        now = stamp(heading, body)
        if not mark or now not in mark[0]:
            found.append(f"{heading}: the English changed since it was translated; reread, then stamp {now}")
    return found


def restamp(english: str, chinese: str) -> str:
    """The Chinese page with each section marked as a translation of the English one as it is now."""
    english, marked = hidden(english), hidden(chinese)
    for (heading, body), (translated_heading, translated) in zip(sections(english), sections(marked), strict=True):
        mark = f"<!-- en:{stamp(heading, body)} -->\n"
        old = f"{translated_heading}\n{translated}"
        new = f"{translated_heading}\n{mark}{STAMP.sub('', translated, count=1)}"
        marked = marked.replace(old, new, 1)
    return marked.replace("\0#", "#")


def main(arguments: list[str], folder: Path = DOCS) -> int:
    problems, drafts = [], []
    for english, chinese in pairs(folder):
        name = english.relative_to(folder)
        if not chinese.exists():
            drafts.append(f"note: {name} is a draft: it has no Chinese yet")
            continue
        if "--stamp" in arguments:
            chinese.write_text(restamp(english.read_text("utf-8"), chinese.read_text("utf-8")), encoding="utf-8")
        problems += [f"{name}: {text}" for text in compare(english.read_text("utf-8"), chinese.read_text("utf-8"))]
    print("\n".join([*problems, *drafts]) or "both languages agree")
    return bool(problems) or ("--release" in arguments and bool(drafts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
