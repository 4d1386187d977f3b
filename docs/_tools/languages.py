"""The site's two languages: which pages belong to which, and where the other one says the same."""

from __future__ import annotations

from pathlib import Path

NAMES = {"en": "English", "zh": "中文"}
MARK = {"en": "", "zh": ".zh"}  # behind the name of a page


def of_the_other(docs: Path, lang: str) -> list[str]:
    """Pages to leave out of a build; in Chinese a draft stands in English."""
    found = [path for path in docs.rglob("*.md") if "_build" not in path.parts]
    chinese = [path for path in found if path.name.endswith(".zh.md")]
    translated = [path.with_name(path.name.replace(".zh.md", ".md")) for path in chinese]
    return [path.relative_to(docs).as_posix() for path in (chinese if lang == "en" else translated)]


def counterpart(page: str, lang: str, docs: Path) -> str:
    """The page of the other language, relative to its build: the same, or the index where there is none."""
    other = "zh" if lang == "en" else "en"
    plain = page.removesuffix(MARK[lang]) if MARK[lang] else page
    if (docs / f"{plain}{MARK[other]}.md").exists():
        return plain + MARK[other]
    written = (docs / f"{plain}.md").exists()
    return f"index{MARK[other]}" if written and other == "zh" and not page.startswith("api") else plain
