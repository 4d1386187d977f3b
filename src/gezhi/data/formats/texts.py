"""Texts, labelled texts and pairs of texts: lines, and tables between tabs or commas."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gezhi.data.errors import doubt, fault, listed, shown
from gezhi.data.formats.files import as_number, check_width, finite, lines, records
from gezhi.data.formats.labels import encode
from gezhi.data.kinds import LabelledTexts, Pairs, Texts

LEFT = {"text1", "left", "sentence1", "sent1", "question1", "q1", "query", "texta", "sentencea", "a", "premise"}
RIGHT = {"text2", "right", "sentence2", "sent2", "question2", "q2", "passage", "textb", "sentenceb", "b", "hypothesis"}
SCORE = {"score", "similarity", "sim", "label", "goldscore", "relatednessscore", "isduplicate", "isparaphrase"}
TEXT = {"text", "sentence", "review", "content", "title", "document", "question", "query"}
LABEL = {"label", "class", "category", "target", "topic", "sentiment", "intent"}


def load_texts(path: Path) -> Texts:
    """One text a line; lines of white space alone are skipped."""
    texts = tuple(line.rstrip("\r\n") for line in lines(path) if line.strip())
    if not texts:
        raise fault(path, "only empty lines", "one text a line", "Check how it was written.")
    return Texts(texts, path.stem)


def load_labelled_texts(path: Path, header: bool | None = None) -> LabelledTexts:
    """Text and label; a first line with known names is a header, and between commas there must be one.

    Without known names the first line is a row; if its label alone stands in one row only, a DataWarning says so.
    """
    table = TextTable(path, ("text", "label"), (TEXT, LABEL), header)
    if not table.header and path.suffix.lower() == ".csv" and header is None:
        found = listed(list(map(shown, table.first)))
        raise fault(path, found, "columns named text and label", "Name them, or separate by tabs (.tsv).", at=table.at)
    rows = list(table.rows())
    if not rows:
        raise fault(path, "no text", "a text, a tab and its label on each line", "Check how it was written.")
    labels = [label.strip() for _, (_, label) in rows]
    alone = [label for label, count in Counter(labels).items() if count == 1]
    if table.doubtful and len(labels) > 1 and alone == labels[:1]:
        doubt(path, f"{listed(list(map(shown, table.first)))} are read as a text and its label", HEADER, at=table.at)
    codes, classes = encode(path, labels, lambda row: f"line {rows[row][0]}, column {table.columns[1] + 1}")
    return LabelledTexts(tuple(text for _, (text, _) in rows), codes, classes, path.stem)


def load_pairs(path: Path, header: bool | None = None) -> Pairs:
    """Text, text and score; a first line whose score is no number is a header."""
    table = TextTable(path, ("text", "text", "score"), (LEFT, RIGHT, SCORE), header)
    left, right, score = list[str](), list[str](), array("d")
    for line, (first, second, cell) in table.rows():
        left.append(first)
        right.append(second)
        score.append(finite(path, cell, "the score", f"line {line}, column {table.columns[2] + 1}"))
    if not left:
        raise fault(path, "no pair", "text, text and score between tabs on each line", "Check how it was written.")
    return Pairs(tuple(left), tuple(right), np.array(score), path.stem)


HEADER = "Pass header=True (--header) if they name columns."
NO_HEADER = "Pass header=False (--no-header) if they are a row."


@dataclass
class TextTable:
    """A table of texts: tabs without quoting, or a CSV with quotes.

    Attributes:
        wanted: what each column that is read holds, as an error says it.
        names: by which a header may call each of them; with one, there may be other columns and another order.
        header: whether the first row names columns; None: it does if it holds a known name for each of them, or words
            where a score stands.
    """

    path: Path
    wanted: tuple[str, ...]
    names: tuple[set[str], ...]
    header: bool | None

    def __post_init__(self) -> None:
        line, first = next(self.records(), (1, []))
        self.first, self.at = [cell.strip() for cell in first], f"line {line}"
        self.doubtful = self.header is None
        known = self.by_name() if self.header is not False else None
        self.columns = known or tuple(range(len(self.wanted)))
        self.width = len(self.first) if known else len(self.wanted)
        if known:
            self.header, self.doubtful = True, False
        elif self.header is None:
            self.header = self.worded()

    def by_name(self) -> tuple[int, ...] | None:
        """Where the wanted columns stand, if the first row names each of them."""
        plain = [re.sub(r"[\s_.\-]", "", cell).lower() for cell in self.first]
        found = [next((i for i, name in enumerate(plain) if name in known), None) for known in self.names]
        return tuple(place for place in found if place is not None) if None not in found else None

    def worded(self) -> bool:
        """Whether words stand where a score should, which makes the first row a header: it can be nothing else."""
        if self.wanted[-1] != "score" or len(self.first) != 3 or as_number(self.first[2]) is not None:
            return False
        if re.sub(r"[\s_.\-]", "", self.first[2]).lower() not in SCORE:
            doubt(self.path, f"{listed([*map(shown, self.first)])} are read as names of columns", NO_HEADER, at=self.at)
        return True

    def records(self) -> Iterator[tuple[int, list[str]]]:
        if self.path.suffix.lower() == ".csv":
            return records(self.path, ",")
        rows = ((number, line.rstrip("\r\n")) for number, line in enumerate(lines(self.path), 1))
        return ((number, line.split("\t")) for number, line in rows if line.strip())

    def rows(self) -> Iterator[tuple[int, Sequence[str]]]:
        """The wanted cells of each row and its line; empty cells are refused."""
        rows = self.records()
        if self.header:
            next(rows, None)
        names = tuple(self.first) if self.width != len(self.wanted) else self.wanted
        for line, cells in rows:
            check_width(self.path, line, len(cells), names)
            found = [cells[place] for place in self.columns]
            for place, what, cell in zip(self.columns, self.wanted, found, strict=True):
                if not cell.strip():
                    at = f"line {line}, column {place + 1}"
                    raise fault(self.path, "an empty cell", f"a {what}", "Fill it or drop the line.", at=at)
            yield line, found
