"""In which encoding a text is: by its byte order mark, as UTF-8, or as the one by which it is Chinese."""

from __future__ import annotations

import codecs
from pathlib import Path

from gezhi.data.errors import fault

SAMPLE = 2**20  # bytes that are looked at
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
LEGACY = ("gb18030", "big5hkscs", "utf-16-le", "utf-16-be")  # by which text that is not UTF-8 is tried
COMMON = frozenset("的一是不了在人有我他这為为個个大来來以们們到说說要就会會出也时時地得国國中上和生可能")
LEAST_COMMON = 0.05  # share of `COMMON` among the Han characters of Chinese text; it is 0.1 to 0.25 in most


def recognised(path: Path, data: bytes) -> str:
    """The encoding of a text by its first bytes that are not ASCII; UTF-8 where it is like none. DataError: no text."""
    sample = data[:SAMPLE]
    marked = next((name for mark, name in MARKS if sample.startswith(mark)), None)
    if marked:
        return marked
    if b"\0" not in sample and "\ufffd" not in decoded(sample, "utf-8"):
        return "utf-8"
    share, name = max((share_of_common(decoded(sample, name)), name) for name in ("utf-8", *LEGACY))
    if share >= LEAST_COMMON:
        return name
    if b"\0" in sample:
        raise fault(path, "a binary file", "text", "Leave it out, or name the encoding (--encoding).")
    return "utf-8"


def decoded(data: bytes, name: str) -> str:
    """The text, less a last character that is cut; U+FFFD for what cannot be decoded."""
    return codecs.getincrementaldecoder(name)("replace").decode(data)


def share_of_common(text: str) -> float:
    """How many of the Han characters are among the commonest; 0 where a fifth of all is neither Han nor usual."""
    han = sum("\u3400" <= c <= "\u9fff" or c >= "\U00020000" for c in text)
    usual = sum(c.isascii() and (c.isprintable() or c.isspace()) for c in text)
    usual += sum("\u2010" <= c <= "\u303f" or "\uff00" <= c <= "\uff5e" for c in text)
    if not han or han + usual < 0.8 * len(text):
        return 0.0
    return sum(c in COMMON for c in text) / han
