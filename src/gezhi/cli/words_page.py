"""One HTML page of the top words with their counts and solidity; it needs no script and no network."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

if TYPE_CHECKING:
    from gezhi.cli.words import Result, Row

TEMPLATES = Path(__file__).parent / "templates"
MOST, EXAMPLES = 300, 12  # words of the table, and of each length


def page(result: Result) -> str:
    """The words of two characters and more, the most frequent first, and how long words are."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    longer = [row for row in result.rows if len(row.word) > 1]
    return environment.get_template("words.html.j2").render(
        summary=result.summary,
        settings=settings(result),
        rows=[shown(row, longer[0].count, most_solid(longer)) for row in longer[:MOST]],
        more=len(longer) - MOST,
        lengths=lengths(result.rows),
    )


def settings(result: Result) -> str:
    """What counted as a word."""
    model = result.model
    asked = model.settings()
    sign = "s >" if asked.ratio else "ln s ≥"
    each = ", ".join(f"{value:g}" for value in asked.thresholds)
    spans = "2" if asked.order == 2 else f"2 to {asked.order}"
    return f"{asked.min_count} occurrences at least; {sign} {each} for {spans} characters; {model.backtrack} rule"


def most_solid(rows: list[Row]) -> float:
    return max((row.solidity or 0.0 for row in rows[:MOST]), default=0.0)


def shown(row: Row, most: int, solid: float) -> dict[str, Any]:
    """A row of the table; bars are shares of the largest, of counts by their logarithm."""
    solidity = row.solidity or 0.0
    return {
        "word": row.word,
        "count": f"{row.count:,}",
        "solidity": f"{solidity:.2f}",
        "count_bar": round(100 * math.log1p(row.count) / math.log1p(most), 1),
        "solidity_bar": round(100 * max(solidity, 0.0) / solid, 1) if solid > 0 else 0,
    }


def lengths(rows: list[Row]) -> list[dict[str, Any]]:
    """How many words there are of each length, with the most frequent of them."""
    counts, examples = Counter[int](), dict[int, list[str]]()
    for row in rows:
        size = len(row.word)
        counts[size] += 1
        if len(examples.setdefault(size, [])) < EXAMPLES:
            examples[size].append(row.word)
    return [{"size": size, "words": f"{counts[size]:,}", "examples": examples[size]} for size in sorted(counts)]
