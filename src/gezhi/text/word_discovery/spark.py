"""The engine of a cluster: the same loops over blocks of numbers, their sums made by Spark.

Every stage is `blocks → mapInArrow → groupBy → sum`; integer sums do not depend on how the text was divided, so the
result is that of the local engine.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from gezhi._checks import invalid, require
from gezhi.text.word_discovery.characters import Alphabet, Codes, check_several, numbered, parts
from gezhi.text.word_discovery.counting import (
    Found,
    Settings,
    Strong,
    Words,
    candidates_in,
    lexicon,
    strong_of,
    word_counts,
    words_in,
)
from gezhi.text.word_discovery.kernels import Ints, count_letters
from gezhi.text.word_discovery.local import Progress
from gezhi.text.word_discovery.scratch import Scratch
from gezhi.text.word_discovery.tables import Tables
from gezhi.text.word_discovery.tally import Tally

BLOCK = 2**20  # characters of a window
ROWS = 2**16  # of a batch that goes back to Spark
BITS, TALLY = 4, 2**28  # parts of a worker's tally, and the bytes after which it hands its counts on
Batches = Iterator[Any]


class Block:
    """Whole texts in memory."""

    def __init__(self, codes: Codes) -> None:
        self.codes, self.size = codes, len(codes)

    def read(self, start: int, stop: int) -> Codes:
        return self.codes[max(start, 0) : stop]

    @property
    def windows(self) -> range:
        return range(0, self.size, BLOCK)


def discover(texts: Any, letters: Alphabet, settings: Settings, told: Progress) -> Found:
    """The lexicon of a DataFrame with one column of texts, or of texts, as the local engine finds it."""
    blocks = as_frame(texts).mapInArrow(partial(to_blocks, letters=letters), "codes binary").persist()
    try:
        count = partial(summed, blocks)
        told("reading", 0, None)
        codes, counts = count(partial(letter_counts, letters=letters), "code int", "code", 1)
        whole = np.zeros(letters.letters, np.int64)
        whole[codes] = counts
        segments, whole[0] = int(whole[0]), 0
        size = int(whole.sum())
        tables = Tables.of_letters(whole, settings.min_count)
        for length in range(2, settings.order + 1):
            told(f"counting {length}", 0, size)
            keys, counts = count(partial(key_counts, tables=tables, letters=letters), "key long", "key",
                                 settings.min_count)  # fmt: skip
            order = np.argsort(keys)
            tables.extend(keys[order], counts[order])
        strong = strong_of(tables, settings)
        told("cutting", 0, size)
        tokens, counts = count(partial(token_counts, strong=strong, strict=settings.strict, letters=letters),
                               "word string", "word", settings.min_count)  # fmt: skip
    except Exception as error:
        raise fault_of_a_worker(error) or error from None
    finally:
        blocks.unpersist()
    words = lexicon(zip(tokens, counts.tolist(), strict=True), settings.min_count)
    return Found(words, strong.ngrams(letters), tables.total, size, segments)


def session(master: str | None = None) -> Any:
    """The session that there is, else a new one where `spark-submit` or `master` says, or on this machine."""
    sql = require("pyspark.sql", "spark")
    if not any((shutil.which("java"), os.environ.get("JAVA_HOME"), os.environ.get("SPARK_REMOTE"))):
        fix = "Install it (Debian: apt-get install default-jre-headless), or set JAVA_HOME."
        raise invalid('engine="spark"', "find Java", "none", fix)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = sql.SparkSession.builder
    return (builder.master(master) if master else builder).getOrCreate()


def lines_of(paths: Sequence[str], encoding: str = "utf-8", errors: str = "strict", master: str | None = None) -> Any:
    """The lines of files, wherever Spark can read them, as a DataFrame of one column.

    Args:
        encoding: one in which a line ends with the byte 0x0A, so neither UTF-16 nor UTF-32. Bytes that it does not know
            are a ValueError, which `discover` raises, or replaced for `errors="replace"`.
    Errors: ValueError for a path that is not there.
    """
    try:
        frame = session(master).read.text(list(paths))
    except Exception as error:
        if type(error).__name__ != "AnalysisException":
            raise
        raise invalid("texts", "be files that Spark can read", str(error).splitlines()[0]) from None
    frame = frame.selectExpr("cast(value as binary) as line", "input_file_name() as file")
    return frame.mapInArrow(partial(decoded, encoding=encoding, errors=errors), "text string")


def as_frame(texts: Any) -> Any:
    """A DataFrame as it is; other texts as one."""
    if not hasattr(texts, "mapInArrow"):
        check_several(texts)
        rows = [("".join(parts(text, place)),) for place, text in enumerate(texts)]
        return session().createDataFrame(rows, "text string")
    if len(texts.columns) != 1:
        raise invalid("texts", "have one column", texts.columns, 'Pass frame.select("text").')
    return texts


def summed(blocks: Any, count: Callable[[Batches], Batches], column: str, name: str, at_least: int) -> tuple[Any, Any]:
    """The values that a function of batches counts, and the sums of their counts, where these are large enough."""
    sums = blocks.mapInArrow(count, f"{column}, n long").groupBy(name).agg({"n": "sum"}).toDF(name, "n")
    table = sums.where(f"n >= {at_least}").toArrow()
    return table[name].to_numpy(), table["n"].to_numpy()


# ---- what workers do with the batches of a partition -----------------------------------------------------------------

FAULT = "cannot be decoded:"


def decoded(batches: Batches, encoding: str, errors: str) -> Batches:
    """Lines as texts; the first that cannot be decoded ends the work."""
    for batch in batches:
        texts = list[str]()
        for line, file in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            try:
                texts.append(line.decode(encoding, errors))
            except UnicodeDecodeError as error:
                before = line[: error.start].decode(encoding, "replace")[-20:]
                raise ValueError(
                    f"{file} {FAULT} found byte 0x{line[error.start]:02x} after {before!r}, expected {encoding} text."
                ) from None
        yield batch_of(text=texts)


def fault_of_a_worker(error: Exception) -> Exception | None:
    """The sentence of a worker, out of the traceback that Spark makes of it."""
    found = re.search(f"ValueError: (.* {FAULT} .*)", str(error))
    return ValueError(found[1]) if found else None


def to_blocks(batches: Batches, letters: Alphabet) -> Batches:
    """Texts as blocks of numbers; each block ends at a barrier. Texts that are null are passed over."""
    texts = (text for batch in batches for text in batch.column(0).to_pylist() if text is not None)
    waiting = list[Codes]()
    for codes in numbered(texts, letters):
        waiting.append(codes)
        if len(codes) and codes[-1] == 0:
            yield batch_of(codes=[np.concatenate(waiting).tobytes()])
            waiting = []


def batch_of(**columns: Any) -> Any:
    return require("pyarrow", "spark").RecordBatch.from_pydict(columns)


def blocks_of(batches: Batches, letters: Alphabet) -> Iterator[Block]:
    for batch in batches:
        for value in batch.column(0):
            yield Block(np.frombuffer(value.as_buffer(), letters.number.dtype))


def letter_counts(batches: Batches, letters: Alphabet) -> Batches:
    """How often each character occurs; under 0, how many segments there are."""
    counts, segments = np.zeros(letters.letters, np.int64), 0
    for block in blocks_of(batches, letters):
        segments += count_letters(block.codes, counts, 0)
    counts[0] = segments
    there = np.flatnonzero(counts)
    yield batch_of(code=there.astype(np.int32), n=counts[there])


def key_counts(batches: Batches, tables: Tables, letters: Alphabet) -> Batches:
    """How often each key occurs; when there are many, in several parts that Spark adds up."""
    with Scratch(None, 1) as unused:
        fresh = partial(Tally, BITS, TALLY, unused, np.int64)
        tally = fresh()
        for block in blocks_of(batches, letters):
            for start in block.windows:
                tally.add([candidates_in(block, start, BLOCK, tables, BITS)])
                if tally.bytes > TALLY // 2:
                    yield from pairs(*tally.frequent(1))
                    tally = fresh()
        yield from pairs(*tally.frequent(1))


def pairs(keys: Ints, counts: Ints) -> Batches:
    for start in range(0, len(keys), ROWS):
        yield batch_of(key=keys[start : start + ROWS], n=counts[start : start + ROWS])


def token_counts(batches: Batches, strong: Strong, strict: bool, letters: Alphabet) -> Batches:
    """How often each token occurs that stays."""
    words = Words.none(strong.paths)
    for block in blocks_of(batches, letters):
        for start in block.windows:
            words.add(words_in(block, start, BLOCK, strong, strict, letters))
    counted = word_counts(words, strong, letters)
    while part := list(islice(counted, ROWS)):
        yield batch_of(word=[word for word, _ in part], n=[count for _, count in part])
