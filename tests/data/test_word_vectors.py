"""Word vectors in the forms in which they are handed on."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from gezhi.data import DataError
from gezhi.data.word_vectors import read_word_vectors

WORDS = {"猫": [1.0, 0.5], "dog": [0.25, -2.0], "new york": [3.0, 4.0]}
TEXT = "".join(f"{word} {' '.join(map(str, numbers))}\n" for word, numbers in WORDS.items())
BINARY = b"3 2\n" + b"".join(
    word.replace(" ", "_").encode() + b" " + struct.pack("<2f", *numbers) + b"\n" for word, numbers in WORDS.items()
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("glove.txt", TEXT.encode()),
        ("word2vec.txt", b"3 2\n" + TEXT.encode() + b"\n"),
        ("crlf.vec", TEXT.replace("\n", "\r\n").encode()),
        ("packed.txt", gzip.compress(TEXT.encode())),
        ("w.bin", BINARY),
        ("unspaced.bin", b"3 2\n" + BINARY[4:].replace(b"\n", b"")),
    ],
)
def test_every_form_gives_the_words(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for wanted, expected in ((None, set(WORDS)), ({"dog", "cat", "new york"}, {"dog", "new york"})):
        blank = "_" if name.endswith(".bin") else " "
        asked = wanted and {word.replace(" ", blank) for word in wanted}
        found = {word.replace(blank, " "): v for word, v in read_word_vectors(tmp_path / name, asked).items()}
        assert set(found) == expected
        for word, vector in found.items():
            assert vector.dtype == np.float32
            assert vector.tolist() == WORDS[word]


def test_of_a_word_that_stands_twice_the_first_counts(tmp_path):
    (tmp_path / "v.txt").write_text("a 1 2\na 3 4\n")
    assert read_word_vectors(tmp_path / "v.txt")["a"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.txt", b"", "found an empty file, expected word vectors"),
        ("v.txt", b"a 1 2\nb 1\n", "line 2: found 1 numbers, expected 2"),
        ("v.txt", b"a 1 2\nb 1 x\n", "line 2: found '1 x', expected word vectors"),
        ("v.txt", b"a 1 nan\n", "line 1: found a number that is not finite"),
        ("v.txt", b"a\n", "line 1: found 0 numbers, expected 1"),
        ("v.bin", b"\x80\x04k\n", "expected word2vec's binary form"),
        ("v.bin", BINARY[:-9], "found the end after 2 vectors, expected 3"),
        ("v.bin", b"1 1\na " + struct.pack("<f", np.inf), "vector 1: found a number that is not finite"),
    ],
)
def test_files_that_hold_no_vectors(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_word_vectors(tmp_path / name)
