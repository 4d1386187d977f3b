"""Word vectors from the files in which they are handed on: a word and its numbers a line, or word2vec's binary form."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gezhi.data.errors import fault, shown
from gezhi.data.raw_text import unpacked

Vectors = dict[str, NDArray[np.float32]]
FORM = "word vectors, a word and its numbers on each line"


def read_word_vectors(path: Path, wanted: Collection[str] | None = None) -> Vectors:
    """Vectors by word; where a word stands twice the first counts.

    Args:
        path: text as GloVe, fastText and word2vec write it, with or without a first line of two counts, or word2vec's
            binary form if the name ends in .bin; gzip and Zstandard are seen by their first bytes.
        wanted: keep these words alone, so that a large file takes no more memory than they need; None: all.
    Errors: DataError naming file and line: no numbers, another length, NaN or infinity, no vector at all.
    """
    with path.open("rb") as file:
        lines = unpacked(io.BufferedReader(file, 2**20))
        begun = None if wanted is None else {word.split(" ")[0].encode() for word in wanted}
        entries = _binary(path, lines) if path.suffix == ".bin" else _text(path, lines, begun)
        found: Vectors = {}
        for word, numbers in entries:
            if (wanted is None or word in wanted) and word not in found:
                found[word] = numbers()
    if not found and wanted is None:
        raise fault(path, "an empty file", FORM)
    return found


def _text(path: Path, lines: IO[bytes], begun: Collection[bytes] | None) -> Iterator[tuple[str, Any]]:
    """Each word with a function that reads its numbers; lines that begin with no such word are not looked at."""
    dim = None
    for number, line in enumerate(lines, 1):
        if dim and begun is not None and line.split(b" ", 1)[0] not in begun:
            continue
        cells = line.rstrip().decode("utf-8", "replace").split(" ")
        if number == 1 and len(cells) == 2 and all(cell.isdigit() for cell in cells):
            dim = int(cells[1])
            continue
        if cells == [""]:
            continue
        dim = dim or len(cells) - 1
        if len(cells) <= dim or dim < 1:
            raise fault(path, f"{len(cells) - 1} numbers", f"{max(dim, 1)}", at=f"line {number}")
        word, rest = " ".join(cells[:-dim]), cells[-dim:]  # a few words of GloVe have blanks
        yield word, lambda rest=rest, number=number: _numbers(path, number, rest)


def _numbers(path: Path, number: int, cells: list[str]) -> NDArray[np.float32]:
    try:
        vector = np.array(cells, dtype=np.float32)
    except ValueError:
        raise fault(path, shown(" ".join(cells)), FORM, at=f"line {number}") from None
    if not np.isfinite(vector).all():
        raise fault(path, "a number that is not finite", FORM, at=f"line {number}")
    return vector


def _binary(path: Path, file: IO[bytes]) -> Iterator[tuple[str, Any]]:
    head = file.readline(100).split()
    if len(head) != 2 or not all(cell.isdigit() for cell in head):
        raise fault(path, shown(repr(head)), "word2vec's binary form, whose first line has two counts")
    count, dim = map(int, head)
    for i in range(count):
        word = bytearray()
        while (letter := file.read(1)) not in (b" ", b""):
            word += letter
        data = file.read(4 * dim)
        if len(data) < 4 * dim:
            raise fault(path, f"the end after {i} vectors", f"{count}", "Fetch the file again.")
        vector = np.frombuffer(data, dtype="<f4")
        if not np.isfinite(vector).all():
            raise fault(path, "a number that is not finite", FORM, at=f"vector {i + 1}")
        yield word.decode("utf-8", "replace").lstrip("\n"), lambda vector=vector: vector
