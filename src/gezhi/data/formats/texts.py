"""Texts, labelled texts and pairs of texts: lines and tab-separated lines, without quoting."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np

from gezhi.data.errors import fault
from gezhi.data.formats.files import finite, lines, tab_separated
from gezhi.data.formats.labels import encode
from gezhi.data.kinds import LabelledTexts, Pairs, Texts


def load_texts(path: Path) -> Texts:
    """One text a line; lines of white space alone are skipped."""
    texts = tuple(line.rstrip("\r\n") for line in lines(path) if line.strip())
    if not texts:
        raise fault(path, "only empty lines", "one text a line", "Check how it was written.")
    return Texts(texts, path.stem)


def load_labelled_texts(path: Path) -> LabelledTexts:
    """Text, tab, label; a first line `text`, `label` is a header."""
    texts, labels, lines_of = list[str](), list[str](), array("q")
    for line, (text, label) in tab_separated(path, ("text", "label")):
        if texts or (text.lower(), label.lower()) != ("text", "label"):
            texts.append(text)
            labels.append(label.strip())
            lines_of.append(line)
    if not texts:
        raise fault(path, "no text", "a text, a tab and its label on each line", "Check how it was written.")
    codes, classes = encode(path, labels, lambda row: f"line {lines_of[row]}, column 2")
    return LabelledTexts(tuple(texts), codes, classes, path.stem)


def load_pairs(path: Path) -> Pairs:
    """Text, tab, text, tab, score; a first line whose third cell is `score` is a header."""
    left, right, score = list[str](), list[str](), array("d")
    for line, (first, second, cell) in tab_separated(path, ("text", "text", "score")):
        if left or cell.strip().lower() != "score":
            left.append(first)
            right.append(second)
            score.append(finite(path, cell, "the score", f"line {line}, column 3"))
    if not left:
        raise fault(path, "no pair", "text, text and score between tabs on each line", "Check how it was written.")
    return Pairs(tuple(left), tuple(right), np.array(score), path.stem)
