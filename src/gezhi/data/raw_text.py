"""Raw text of any size, read in pieces: files, folders, patterns and pipes, compressed or not, in whatever encoding."""

from __future__ import annotations

import codecs
import gzip
import io
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from glob import glob, has_magic
from pathlib import Path
from typing import IO, Any, Literal, cast

from gezhi._checks import invalid, require
from gezhi.data.charsets import recognised
from gezhi.data.errors import fault

SAMPLE = 2**20  # bytes by which an encoding is recognised
Errors = Literal["strict", "replace"]


def expand(names: Sequence[str]) -> list[Path]:
    """The files of names, which may be folders (all files below, hidden ones left out) and patterns such as `*.txt`."""
    found = list[Path]()
    for name in names:
        path = Path(name)
        matches = [path] if path.exists() else [Path(match) for match in sorted(glob(name, recursive=True))]
        files = [file for match in matches for file in files_of(match)]
        if not files:
            what = (
                "a folder without files" if matches else "a pattern of no file" if has_magic(name) else "no such file"
            )
            raise fault(path, what, "a file, a folder or a pattern", "Check the path.")
        found += files
    return list(dict.fromkeys(found))


def files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    below = (file for file in path.rglob("*") if file.is_file())
    return sorted(file for file in below if not any(part.startswith(".") for part in file.relative_to(path).parts))


def check_encoding(argument: str, name: str) -> None:
    """Raise ValueError unless Python can decode text by it."""
    try:
        known = codecs.lookup(name)._is_text_encoding
    except LookupError:
        known = False
    if not known:
        raise invalid(argument, "be one that Python knows, such as gb18030 or utf-16", repr(name))


@contextmanager
def open_text(path: Path | None, encoding: str | None = None, errors: Errors = "strict") -> Iterator[RawText]:
    """A file, or standard input for None, open for reading; gzip and Zstandard are seen by their first bytes.

    Args:
        encoding: None sees it: by the byte order mark, as UTF-8, else as the one by which the text is Chinese.
        errors: "replace" puts U+FFFD where bytes cannot be decoded.
    """
    with nullcontext(sys.stdin.buffer) if path is None else path.open("rb") as file:
        yield RawText(path or Path("standard input"), file, encoding, errors)


class RawText:
    """An open text, with `read` as files have it.

    Attributes:
        done: bytes of the file that were read, before they were unpacked.
        replaced: how many U+FFFD were put where bytes could not be decoded.
    """

    def __init__(self, path: Path, file: IO[bytes], encoding: str | None, errors: Errors) -> None:
        self.path, self.encoding, self.errors = path, encoding, errors
        self.counted = Counted(file)
        self.bytes = unpacked(io.BufferedReader(self.counted, SAMPLE))
        self.decoder: codecs.IncrementalDecoder | None = None
        self.line, self.column, self.replaced, self.ended = 1, 1, 0, False

    @property
    def done(self) -> int:
        return self.counted.done

    def read(self, size: int) -> str:
        """About so many bytes, decoded; an empty string at the end."""
        text = ""
        while not text and not self.ended:
            with self._told():
                data = self.bytes.read(size)
            self.ended = not data
            text = self._decoded(data)
        return text

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What a broken archive raises becomes a sentence."""
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile, Broken) as error:
            raise fault(self.path, f"a broken archive ({error})", "text", "Pack it again.") from None

    def _decoded(self, data: bytes) -> str:
        if self.decoder is None:
            if data.isascii() and self.encoding is None and b"\0" not in data:
                return self._passed(data.decode("ascii"))
            name = self.encoding or recognised(self.path, data)
            self.decoder = codecs.getincrementaldecoder(name)(self.errors)
            self.encoding = name
        try:
            return self._passed(self.decoder.decode(data, final=self.ended))
        except UnicodeDecodeError as error:
            raise self._undecodable(error) from None

    def _passed(self, text: str) -> str:
        """Lines and columns go on by a text."""
        lines = text.count("\n")
        self.line += lines
        self.column = len(text) - text.rindex("\n") if lines else self.column + len(text)
        if self.errors == "replace":
            self.replaced += text.count("\ufffd")
        return text

    def _undecodable(self, error: UnicodeDecodeError) -> Exception:
        self._passed(error.object[: error.start].decode(cast(str, self.encoding), "ignore"))
        fix = "Pass the encoding that the file has (--encoding), or skip what cannot be decoded (--errors replace)."
        byte, at = f"byte 0x{error.object[error.start]:02x}", f"line {self.line}, column {self.column}"
        return fault(self.path, byte, f"{self.encoding} text", fix, at=at)


class Counted(io.RawIOBase):
    """A binary file that counts what is read from it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.done = file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        self.done += len(data)
        return len(data)


class Broken(Exception):
    """An archive that cannot be unpacked."""


class Zstandard(io.RawIOBase):
    """The content of what Zstandard packed, any number of frames; unlike the package's own reader it sees a cut end."""

    AT_ONCE = 2**9  # packed bytes; they hold 16 MB at most

    def __init__(self, file: IO[bytes]) -> None:
        self.package = require("zstandard", "text")
        self.file, self.rest, self.content = file, b"", memoryview(b"")
        self.frame: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.content and self._unpack():
            pass
        size = min(len(buffer), len(self.content))
        buffer[:size], self.content = self.content[:size], self.content[size:]
        return size

    def _unpack(self) -> bool:
        """Unpack some more; False at the end."""
        data = self.rest or self.file.read(self.AT_ONCE)
        if not data:
            if self.frame is not None:
                raise Broken("it ends within a frame")
            return False
        self.frame = self.frame or self.package.ZstdDecompressor().decompressobj()
        try:
            self.content = memoryview(self.frame.decompress(data))
        except self.package.ZstdError as error:
            raise Broken(str(error)) from None
        self.rest = self.frame.unused_data if self.frame.eof else b""
        self.frame = None if self.frame.eof else self.frame
        return True


def unpacked(file: io.BufferedReader) -> IO[bytes]:
    """The content of a file that gzip or Zstandard packed; of another the file itself."""
    start = file.peek(4)[:4]
    if start[:2] == b"\x1f\x8b":
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    return io.BufferedReader(Zstandard(file), SAMPLE) if start == b"\x28\xb5\x2f\xfd" else file
