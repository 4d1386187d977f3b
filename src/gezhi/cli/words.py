"""`gezhi words`: raw text in, its words out."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from gezhi._checks import check_integer, invalid
from gezhi.cli.commands.words import Words
from gezhi.cli.corpus import Corpus, progress
from gezhi.cli.output import console, echo_json, harmless, note
from gezhi.data.raw_text import check_encoding, open_text
from gezhi.lab.record import write_atomically
from gezhi.text import WordDiscovery
from gezhi.text.word_discovery.characters import alphabet

ENDINGS = {".tsv": "tsv", ".json": "json", ".txt": "jieba", ".dict": "jieba"}
OPTIONS = {
    "min_count": "--min-count",
    "keep": "--keep",
    "memory": "--memory",
    "tmp_dir": "--tmp",
    "order": "--thresholds",
}
BLANKS = " \t\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"
SIZE = re.compile(r"(\d+(?:\.\d+)?) *([KMGT]?)(I?)B?")


class Row(NamedTuple):
    """A word, its occurrences, and ln s of its weakest n-gram; None for a single character."""

    word: str
    count: int  # type: ignore[assignment]
    solidity: float | None


@dataclass(frozen=True, eq=False)
class Result:
    """The lexicon, what is shown of it, and what the search took."""

    name: str
    files: int
    model: WordDiscovery
    rows: list[Row]
    seconds: float

    @cached_property
    def summary(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "files": self.files,
            "characters": self.model.n_characters_,
            "segments": self.model.n_segments_,
            "strong_ngrams": len(self.model.strong_ngrams_),
            "words": len(self.model.words_),
            "listed": len(self.rows),
            "seconds": round(self.seconds, 3),
        }


def run_and_print(asked: Words) -> None:
    """Read, search, write what was asked for; the table goes to standard output where no file is named."""
    form, model, known = form_of(asked), model_of(asked), known_words(asked)
    corpus = Corpus.of(asked)
    start = time.perf_counter()
    with progress(quiet=asked.json) as bar:
        model.fit(corpus.texts(bar), on_progress=bar.told)
    result = Result(corpus.name, corpus.files, model, listed(model, asked, known), time.perf_counter() - start)
    for path, write in ((asked.output, FORMS[form]), (asked.html, page)):
        if path:
            write_atomically(path, write(result))
    if asked.json:
        echo_json(result.summary)
    elif not asked.output:
        sys.stdout.write(FORMS[form](result))
    note(sentence(result, [path for path in (asked.output, asked.html) if path]), err=True)


# ---- what was asked -------------------------------------------------------------------------------------------------


def form_of(asked: Words) -> str:
    """The form of the output, after the options that have nothing to do with the text have been checked."""
    check_integer("--min-length", asked.min_length, at_least=1)
    if asked.top is not None:
        check_integer("--top", asked.top, at_least=1)
    if asked.html and asked.html.suffix.lower() not in (".html", ".htm"):
        raise invalid("--html", "end in .html", str(asked.html))
    if asked.output and asked.html and asked.output.absolute() == asked.html.absolute():
        raise invalid("--html", "be another file than --output", str(asked.html))
    if asked.encoding is not None:
        check_encoding("--encoding", asked.encoding)
    if asked.format:
        return asked.format.value
    ending = asked.output.suffix.lower() if asked.output else ".tsv"
    if ending not in ENDINGS:
        raise invalid("--output", f"end in {', '.join(ENDINGS)}", str(asked.output), "Or pass --format.")
    return ENDINGS[ending]


def model_of(asked: Words) -> WordDiscovery:
    """The estimator with these options; ValueError names the first that does not hold."""
    options: dict[str, Any] = {"min_count": asked.min_count, "keep": asked.keep, "tmp_dir": asked.tmp}
    if asked.thresholds is not None:
        options["thresholds"] = dict(enumerate(numbers(asked.thresholds), start=2))
        options["order"] = 1 + len(options["thresholds"])
    given = {name: value for name, value in options.items() if value is not None}
    model = WordDiscovery.preset(asked.preset.value, engine=asked.engine.value, n_jobs=asked.jobs,
                                 memory=bytes_of(asked.memory), **given)  # fmt: skip
    try:
        model.check()
    except (TypeError, ValueError) as error:
        name, _, rest = str(error).partition(" ")
        raise type(error)(f"{OPTIONS.get(name, name)} {rest}") from None
    if alphabet(model.keep).codes(BLANKS).any():
        raise invalid("--keep", "leave out blanks, which separate words in the output", repr(asked.keep))
    return model


def numbers(text: str) -> list[float]:
    """`2,4,6` as numbers."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise invalid("--thresholds", "be numbers between commas, such as 2,4,6", repr(text)) from None


def bytes_of(text: str) -> int:
    """`800MB`, `1.5G` or `1GiB` in bytes."""
    found = SIZE.fullmatch(text.strip().upper())
    if not found:
        raise invalid("--memory", "be a size such as 800MB or 2GiB", repr(text))
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(unit or " "))


def known_words(asked: Words) -> frozenset[str]:
    """What stands first on each line of a dictionary."""
    if asked.known is None:
        return frozenset()
    with open_text(asked.known) as text:
        whole = "".join(iter(lambda: text.read(2**20), ""))
    return frozenset(line.split(maxsplit=1)[0] for line in whole.splitlines() if line.strip())


def listed(model: WordDiscovery, asked: Words, known: frozenset[str]) -> list[Row]:
    """The words that were asked for, with their solidity."""
    solid = {ngram.text: ngram.solidity for ngram in model.strong_ngrams_}
    words = (word for word in model.words_ if len(word) >= asked.min_length and word not in known)
    chosen = [word for word, _ in zip(words, range(asked.top or sys.maxsize), strict=False)]
    return [Row(word, model.words_[word], weakest(word, solid, model.order)) for word in chosen]


def weakest(word: str, solid: dict[str, float], order: int) -> float | None:
    """The solidity of a strong n-gram, or the least of those that a longer word is made of."""
    size = min(len(word), order)
    return min(solid[word[i : i + size]] for i in range(len(word) - size + 1)) if size > 1 else None


# ---- out ------------------------------------------------------------------------------------------------------------


def as_tsv(result: Result) -> str:
    """`word`, `count` and `solidity` (empty for a single character) between tabs, under these names.

    A word that a spreadsheet would take for a formula has an apostrophe before it; none of the default's begins so.
    """
    rows = (f"{harmless(row.word)}\t{row.count}\t{shown(row.solidity)}\n" for row in result.rows)
    return "word\tcount\tsolidity\n" + "".join(rows)


def shown(solidity: float | None) -> str:
    return "" if solidity is None else f"{solidity:.4f}"


def as_json(result: Result) -> str:
    """The summary, and every word."""
    words = [row._asdict() for row in result.rows]
    return json.dumps({**result.summary, "lexicon": words}, ensure_ascii=False, indent=1) + "\n"


def as_jieba(result: Result) -> str:
    """`word count`, as `jieba.set_dictionary` and `jieba.load_userdict` read it."""
    return "".join(f"{row.word} {row.count}\n" for row in result.rows)


def page(result: Result) -> str:
    from gezhi.cli.words_page import page

    with console(err=True).status("writing the page"):
        return page(result)


FORMS = {"tsv": as_tsv, "json": as_json, "jieba": as_jieba}


def sentence(result: Result, files: list[Path]) -> str:
    """What was found, for a person."""
    s = result.summary
    listed = f", of which {s['listed']:,} are listed" if s["listed"] < s["words"] else ""
    found = f"{s['words']:,} word{'' if s['words'] == 1 else 's'}{listed}"
    rate = s["characters"] / max(result.seconds, 1e-9) / 1e6
    speed = f", {rate:.1f} million a second" if s["characters"] > 1e6 else ""
    where = "".join(f"\n{path}" for path in files)
    return f"{found}; {s['characters']:,} characters in {s['segments']:,} segments, {s['seconds']:.1f} s{speed}{where}"
