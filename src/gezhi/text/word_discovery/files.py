"""A model as a JSON file: no pickle, so that it can be read whoever wrote it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from gezhi._checks import invalid
from gezhi.text.word_discovery.counting import Found, Ngram

FORMAT = "gezhi.words/1"
SETTINGS = ("order", "min_count", "thresholds", "threshold_kind", "backtrack", "keep")


def write(model: Any, path: str | Path) -> None:
    """Write settings and result to a temporary neighbour, and rename it."""
    if not isinstance(model.keep, str):
        raise invalid("keep", "be a class of characters, for a file", "a function", "Pickle the model instead.")
    content = {
        "format": FORMAT,
        "settings": {name: getattr(model, name) for name in SETTINGS},
        "total": model.total_,
        "characters": model.n_characters_,
        "segments": model.n_segments_,
        "words": list(model.words_.items()),
        "strong": model.strong_ngrams_,
    }
    part = Path(f"{path}.part")
    try:
        part.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def read(path: str | Path) -> tuple[dict[str, Any], Found]:
    """Settings and result, each value of the type that `write` found it in, or ValueError."""
    try:
        content = json.loads(Path(path).read_text("utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"the format {content['format']!r}")
        settings = {name: content["settings"][name] for name in SETTINGS}
        if settings["thresholds"] is not None:
            settings["thresholds"] = {int(size): float(value) for size, value in settings["thresholds"].items()}
        words = {str(word): int(count) for word, count in content["words"]}
        strong = [Ngram(str(text), int(count), float(solidity)) for text, count, solidity in content["strong"]]
        sizes = (int(content[name]) for name in ("total", "characters", "segments"))
        return settings, Found(words, strong, *sizes)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        got = f"{path} ({type(error).__name__}: {str(error)[:100]})"
        raise invalid("path", "be a file that WordDiscovery.save wrote", got) from None
