"""What the tests on thousands of files share: examples, damage, and counts.

`GEZHI_FUZZ` is the number of files a reader is given, `GEZHI_FUZZ_SEED` the seed that chooses them; without a seed
they are the same in every run. Tests on files carry the mark `fuzz`; `conftest.py` prints their counts.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from gezhi.data import DataError, load

FILES = int(os.environ.get("GEZHI_FUZZ", "300"))
SEED = os.environ.get("GEZHI_FUZZ_SEED")
SECONDS = 20  # on any of these files, of at most a few kB
COUNTS: Counter[str] = Counter()  # of the test that runs: files, and how many of them were refused


def fuzz(*strategies: Any) -> Callable[[Any], Any]:
    """A test of `FILES` files."""
    chosen = settings(
        max_examples=FILES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=SEED is None,
        database=None,
    )

    def made(test: Any) -> Any:
        @wraps(test)
        def counted(**drawn: Any) -> None:
            COUNTS["files"] += 1
            test(**drawn)

        asked = chosen(given(*strategies)(counted))
        return pytest.mark.fuzz(asked if SEED is None else seed(int(SEED))(asked))

    return made


def attempt(reading: Callable[[], Any], named: str, *errors: type[Exception]) -> Any:
    """What a reader gives, or None for one of its errors that names the file; nothing else, and soon."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, said, start = None, named, time.perf_counter()
        try:
            found = reading()
        except errors as error:
            COUNTS["refused"] += 1
            said = str(error)
        assert time.perf_counter() - start < SECONDS
        assert named in said
        return found


def read(kind: str, name: str, content: bytes, beside: dict[str, bytes] | None = None, **options: Any) -> Any:
    """What `load` makes of the bytes: data, or None for a DataError that names the file.

    Args:
        name: of the file, or of one in a folder that is read as a whole if it has a slash.
        beside: other files in the same folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        for other, its in {name: content, **(beside or {})}.items():
            path = Path(folder, other)
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_bytes(its)
        whole = Path(folder, name.split("/")[0])
        return attempt(lambda: load(kind, whole, **options), folder, DataError)


# ---- damage ---------------------------------------------------------------------------------------------------------

PIECES = st.one_of(
    st.binary(min_size=1, max_size=3),
    st.sampled_from([b"\0", b"\n", b"\r", b'"', b",", b"\t", b"#", b"*", b"[", b"]", b"<", b">", b"&lt;", b"-1", b"1e999",
                     b"nan", b"999999999999", b"\xff\xfe", b"\xef\xbb\xbf", b"_", b" "]),
)  # fmt: skip
DAMAGE = st.lists(
    st.tuples(st.sampled_from(["set", "insert", "delete", "repeat", "cut"]), st.floats(0, 1), st.floats(0, 1), PIECES),
    max_size=3,
)


def damaged(content: bytes, damage: Any) -> bytes:
    """The bytes after some accidents."""
    for kind, first, second, piece in damage:
        a, b = sorted((int(first * len(content)), int(second * len(content))))
        if kind == "set":
            content = content[:a] + piece + content[a + len(piece) :]
        elif kind == "insert":
            content = content[:a] + piece + content[a:]
        elif kind == "delete":
            content = content[:a] + content[a + 1 + len(piece) :]
        elif kind == "repeat":
            content = content[:b] + content[a : min(b, a + 60)] + content[b:]
        else:
            content = content[:b]
    return content


ENCODINGS = st.sampled_from(["utf-8"] * 5 + ["utf-8-sig", "gb18030", "latin-1", "utf-16", "big5"])


def encoded(text: str, encoding: str) -> bytes:
    """The bytes of a text in an encoding, with question marks for what it does not have."""
    return text.encode(encoding, "replace")


HOSTILE = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.text(max_size=3),
    st.sampled_from([10**12, -(10**12), 2**63, 10**30, 1.5, 1e308, -0.0, "9" * 30, "nan", [], {}, [[]], {"a": 1}, "../x"]),
)  # fmt: skip
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["set", "drop", "double"]), HOSTILE), max_size=2)


def changed(content: Any, changes: Any) -> Any:
    """JSON with the values at some places replaced, left out or doubled."""
    for where, kind, value in changes:
        places = list(walk(content))
        if not places:
            return content
        owner, key = places[min(int(where * len(places)), len(places) - 1)]
        if kind == "set":
            owner[key] = deepcopy(value)
        elif kind == "drop":
            del owner[key]
        elif isinstance(owner, list):
            owner.append(deepcopy(owner[key]))
        else:
            owner[f"{key}2"] = deepcopy(owner[key])
    return content


def walk(content: Any) -> Any:
    """Every place in JSON, as what holds it and its key."""
    for key in list(content) if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ():
        yield content, key
        yield from walk(content[key])
