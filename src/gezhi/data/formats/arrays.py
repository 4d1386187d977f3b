"""Arrays of numbers or texts out of an npz, with every size known and allowed before anything is unpacked."""

from __future__ import annotations

import ast
import math
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gezhi.data.errors import DataError, fault, listed, said, shown
from gezhi.data.formats.files import check_file, check_size
from gezhi.data.formats.labels import encode
from gezhi.data.kinds import Codes

MAGIC = b"\x93NUMPY"
MAX_HEADER, MAX_AXES, MAX_MEMBERS = 10_000, 8, 10_000
EXACT = 2**53  # labels stored as floats are whole up to here


@dataclass(frozen=True)
class Head:
    """What the head of an array announces."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_npz(
    path: Path, required: Collection[str], optional: Collection[str] = (), texts: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """The named arrays; others in the file are not touched.

    Args:
        texts: those of the arrays that may hold texts instead of numbers.

    Errors: DataError for an array that is missing, holds anything else, or is too large, and a broken file.
    """
    check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            wanted = chosen(path, [name.removesuffix(".npy") for name in names], required, optional)
            heads = {name: head(path, archive, name, "USbiuf" if name in texts else "biuf") for name in wanted}
            check_size(path, sum(found.size for found in heads.values()), "its arrays")
            return {name: unpacked(path, archive, name, found) for name, found in heads.items()}
    except DataError:
        raise
    except Exception as error:  # a damaged archive raises whatever its bytes lead to
        raise fault(path, f"a broken file ({said(error)})", "an npz", "Write it again with numpy.savez.") from None


def chosen(path: Path, found: list[str], required: Collection[str], optional: Collection[str]) -> list[str]:
    """Which arrays are read; each stands once in the file."""
    if len(found) > MAX_MEMBERS:
        raise fault(path, f"{len(found):,} arrays", f"at most {MAX_MEMBERS:,}", "Write those that are asked for.")
    for name in required:
        if name not in found:
            has = listed(sorted(map(shown_name, found)), 20) or "nothing"
            raise fault(path, f"no array {name!r} (it holds {has})", "all of " + ", ".join(required))
    wanted = [name for name in (*required, *optional) if name in found]
    twice = [name for name in wanted if found.count(name) > 1]
    if twice:
        raise fault(path, f"two arrays {twice[0]!r}", "one", "Write it again with numpy.savez.")
    return wanted


def shown_name(name: str) -> str:
    """A member's name, which its author chose, on one line."""
    return name if name.isidentifier() and len(name) < 40 else shown(name)


def head(path: Path, archive: zipfile.ZipFile, name: str, kinds: str) -> Head:
    """What an array announces, checked part by part: nothing has been allocated for it.

    Only version 1.0 is read: its length fits two bytes, while a later version may itself ask for gigabytes. numpy
    writes later ones for structured types alone.
    """
    with archive.open(f"{name}.npy") as file:
        start = file.read(10)
        if start[:6] != MAGIC or len(start) < 10:
            raise fault(
                path, f"a broken file (first bytes {start[:6].hex(' ')} in {name!r})", "an npz", "Write it again."
            )
        if start[6:8] != b"\1\0":
            raise fault(path, f"npy version {tuple(start[6:8])} in {name!r}", "version (1, 0)", "Save plain numbers.")
        text = file.read(min(int.from_bytes(start[8:10], "little"), MAX_HEADER)).decode("latin-1")
    found = ast.literal_eval(text.strip())
    dtype, shape, fortran = np.dtype(found["descr"]), found["shape"], found["fortran_order"]
    if dtype.kind not in kinds or dtype.hasobject:
        kind = "Python objects (a pickle)" if dtype.hasobject else f"type {dtype}"
        expected = "numbers or texts" if "U" in kinds else "numbers"
        raise fault(path, f"{kind} in {name!r}", expected, f"Save it as an array of {expected}.")
    if not isinstance(shape, tuple) or not all(type(size) is int for size in shape) or len(shape) > MAX_AXES:
        raise fault(path, f"shape {shown(repr(shape))} in {name!r}", f"at most {MAX_AXES} sizes", "Write it again.")
    if any(size < 0 for size in shape):
        raise fault(path, f"shape {shape} in {name!r}", "sizes from 0", "Write it again.")
    for size in shape:
        check_size(path, size * dtype.itemsize, f"one axis of {name!r}")
    return Head(dtype, shape, bool(fortran))


def unpacked(path: Path, archive: zipfile.ZipFile, name: str, head: Head) -> NDArray[Any]:
    """The array, reading no more than its head asked for."""
    with archive.open(f"{name}.npy") as file:
        file.read(int.from_bytes(file.read(10)[8:10], "little"))
        stored = archive.getinfo(f"{name}.npy").file_size
        if stored < head.size:
            raise fault(path, f"a broken file ({stored:,} bytes in {name!r})", f"{head.size:,}", "Write it again.")
        data, filled = bytearray(head.size), 0
        view = memoryview(data)
        while filled < head.size:
            count = file.readinto(view[filled : filled + 2**24])  # type: ignore[attr-defined]
            if not count:
                raise fault(path, f"a broken file ({filled:,} bytes in {name!r})", f"{head.size:,}", "Write it again.")
            filled += count
    flat: NDArray[Any] = np.frombuffer(data, head.dtype) if head.size else np.empty(math.prod(head.shape), head.dtype)
    return flat.reshape(head.shape, order="F" if head.fortran else "C").astype(head.dtype.newbyteorder("="), copy=False)


def class_labels(path: Path, name: str, values: NDArray[Any], rows: int) -> tuple[Codes, tuple[str, ...]]:
    """Codes and class names of the labels of an npz, one a row; numbers in their order, texts as `encode` has them."""
    check_rows(path, name, values, rows)
    if values.dtype.kind not in "US":
        distinct, codes = np.unique(whole(path, name, values), return_inverse=True)
        return codes.astype(np.int64), tuple(map(str, distinct.tolist()))
    return encode(path, texts(path, name, values), lambda row: f"array {name!r}, row {row + 1}")


def check_rows(path: Path, name: str, values: NDArray[Any], rows: int) -> None:
    """Raise DataError unless there is one label a row."""
    if values.shape != (rows,):
        raise fault(path, f"shape {values.shape} in {name!r}", f"({rows},), one label a row")


def whole(path: Path, name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Labels that are numbers, as integers."""
    if values.dtype.kind in "iu":
        return values
    if values.dtype.kind == "b":
        return values.astype(np.int64)
    bad = np.flatnonzero(~((values == np.round(values)) & (abs(values) < EXACT)))
    if len(bad):
        at = f"array {name!r}, row {bad[0] + 1}"
        raise fault(path, f"type {values.dtype} in {name!r}", "whole numbers below 2⁵³", "Save class codes.", at=at)
    return values.astype(np.int64)


def texts(path: Path, name: str, values: NDArray[Any]) -> list[str]:
    """Texts of an array, bytes decoded as UTF-8."""
    try:
        return [str(text) for text in (np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values)]
    except UnicodeDecodeError as error:
        raise fault(
            path, f"bytes that are no UTF-8 ({error.reason}) in {name!r}", "texts", "Save them as str."
        ) from None
