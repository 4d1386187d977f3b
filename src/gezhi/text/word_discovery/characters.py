"""Which characters are kept, and texts as the numbers of their kept characters."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gezhi._checks import invalid

KEEP = "\u4e00-\u9fa50-9a-zA-Z"  # of both articles: Han characters of the first block, digits, Latin letters
BARRIER = "\0"  # never kept; stands between texts
PIECE = 2**18  # characters that are numbered at once
Codes = NDArray[Any]  # uint16, or uint32 where more characters are kept than it can number


@dataclass(frozen=True, eq=False)
class Alphabet:
    """The kept characters, numbered from 1 in the order of code points; every other character is a barrier, 0.

    Attributes:
        number: by code point.
        points: code point of each number; of 0, that of `BARRIER`.
    """

    number: Codes
    points: NDArray[np.uint32]

    @property
    def letters(self) -> int:
        """How many numbers there are, that of barriers included."""
        return len(self.points)

    def codes(self, text: str, name: str = "text", start: int = 0) -> Codes:
        """The number of each character. Errors: ValueError for a surrogate, with its place after `start` in `name`."""
        try:
            return np.asarray(self.number[np.frombuffer(text.encode("utf-32-le"), "<u4")])
        except UnicodeEncodeError as error:
            got = f"the surrogate {text[error.start]!r}, character {start + error.start}"
            fix = 'Decode the text again, with errors="replace".'
            raise invalid(name, "hold characters alone", got, fix) from None

    def text(self, codes: Codes) -> str:
        """The characters of numbers."""
        return self.points[codes].astype("<u4").tobytes().decode("utf-32-le")

    def texts(self, rows: Codes) -> list[str]:
        """The characters of each row of numbers."""
        whole, width = self.text(rows.ravel()), rows.shape[1]
        return [whole[at : at + width] for at in range(0, len(whole), width)]


def alphabet(keep: str | Callable[[str], bool]) -> Alphabet:
    """The alphabet of a regular-expression class (what its brackets hold), or of a function of a character."""
    if not isinstance(keep, str) and not callable(keep):
        raise invalid("keep", "be a regular-expression class or a function", repr(keep), kind=TypeError)
    return _of_class(keep) if isinstance(keep, str) else of_points(ord(c) for c in _every() if keep(c))


@lru_cache(maxsize=4)
def _of_class(keep: str) -> Alphabet:
    try:
        pattern = re.compile(f"[{keep}]")
    except re.error as error:
        raise invalid("keep", "be a regular-expression class without its brackets", f"{keep!r} ({error})") from None
    found = pattern.findall(_every())
    if any(len(match) != 1 for match in found):
        raise invalid("keep", "be one regular-expression class without its brackets", repr(keep))
    return of_points(map(ord, found))


def _every() -> str:
    """All characters but `BARRIER` and the surrogates, which are none."""
    return "".join(chr(point) for point in range(1, sys.maxunicode + 1) if not 0xD800 <= point < 0xE000)


def of_points(kept: Iterable[int]) -> Alphabet:
    """The alphabet of these code points, which ascend."""
    points = np.array([0, *kept], dtype=np.uint32)
    if len(points) == 1:
        raise invalid("keep", "keep a character at least", "a class that keeps none")
    number = np.zeros(sys.maxunicode + 1, np.uint16 if len(points) <= 2**16 else np.uint32)
    number[points] = np.arange(len(points))
    return Alphabet(number, points)


def numbered(texts: Iterable[Any], letters: Alphabet) -> Iterator[Codes]:
    """All texts as one stream of numbers in pieces, a barrier after each text.

    Args:
        texts: strings, and open text files, which are read in pieces, each as one text.
    Errors: TypeError and ValueError naming the text, by its place, and the character in it.
    """
    check_several(texts)
    waiting, first, size = list[str](), 0, 0  # short texts are numbered together
    for place, text in enumerate(texts):
        if isinstance(text, str) and len(text) < PIECE:
            waiting.append(text)
            size += len(text) + 1
            if size < PIECE:
                continue
        yield together(waiting, first, letters)
        if not waiting or text is not waiting[-1]:
            yield from apart(text, place, letters)
        waiting, first, size = [], place + 1, 0
    yield together(waiting, first, letters)


def check_several(texts: Any) -> None:
    """Raise TypeError for one text, or for what is none."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise invalid("texts", "be an iterable of texts", type(texts).__name__, "Pass [text].", kind=TypeError)


def together(texts: list[str], first: int, letters: Alphabet) -> Codes:
    """Numbers of texts, a barrier after each."""
    try:
        return letters.codes(BARRIER.join([*texts, ""]))
    except ValueError:
        for place, text in enumerate(texts, first):
            letters.codes(text, f"texts[{place}]")
        raise


def apart(text: Any, place: int, letters: Alphabet) -> Iterator[Codes]:
    """Numbers of one text in pieces, and a barrier."""
    start = 0
    for part in parts(text, place):
        yield letters.codes(part, f"texts[{place}]", start)
        start += len(part)
    yield letters.codes(BARRIER)


def parts(text: Any, place: int) -> Iterator[str]:
    if isinstance(text, str):
        yield from (text[at : at + PIECE] for at in range(0, len(text), PIECE))
    elif hasattr(text, "read"):
        while part := text.read(PIECE):
            yield string(part, f"what texts[{place}] reads")
    else:
        string(text, f"texts[{place}]")


def string(text: Any, what: str) -> str:
    if not isinstance(text, str):
        fix = "Decode it, or open the file as text."
        raise invalid(what, "be a string or an open text file", type(text).__name__, fix, kind=TypeError)
    return text
