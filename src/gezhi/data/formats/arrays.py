"""Arrays of numbers out of an npz, with every size known and allowed before anything is unpacked."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from gezhi.data.errors import DataError, fault
from gezhi.data.formats.files import check_file, check_size

BROKEN = (ValueError, EOFError, OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def read_npz(path: Path, required: Collection[str], optional: Collection[str] = ()) -> dict[str, NDArray[Any]]:
    """The named arrays; others in the file are not touched.

    Errors: DataError for an array that is missing, holds anything but numbers, or is too large, and a broken file.
    """
    check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            found = {name.removesuffix(".npy") for name in archive.namelist()}
            for name in required:
                if name not in found:
                    has = ", ".join(sorted(found)) or "nothing"
                    raise fault(path, f"no array {name!r} (it holds {has})", "all of " + ", ".join(required))
            wanted = [name for name in (*required, *optional) if name in found]
            check_size(path, sum(announced(path, archive, name) for name in wanted), "its arrays")
            return {name: unpacked(archive, name) for name in wanted}
    except DataError:
        raise
    except BROKEN as error:
        raise fault(path, f"a broken file ({error})", "an npz", "Write it again with numpy.savez.") from None


def announced(path: Path, archive: zipfile.ZipFile, name: str) -> int:
    """Bytes the array's header asks for.

    Only version 1.0 of the header is read: its length fits two bytes, while a later version may itself ask for
    gigabytes. numpy writes later ones for structured types alone.
    """
    with archive.open(f"{name}.npy") as file:
        version = npy.read_magic(file)
        if version != (1, 0):
            raise fault(path, f"npy version {version} in {name!r}", "version (1, 0)", "Save plain numbers.")
        shape, _, dtype = npy.read_array_header_1_0(file)
    if dtype.kind not in "biuf":
        found = "Python objects (a pickle)" if dtype.hasobject else f"type {dtype}"
        raise fault(path, f"{found} in {name!r}", "numbers", "Save it as an array of numbers.")
    return int(math.prod(shape) * dtype.itemsize)


def unpacked(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """The array, reading no more than its header asked for."""
    with archive.open(f"{name}.npy") as file:
        return np.asarray(npy.read_array(file, allow_pickle=False))


def whole_labels(path: Path, name: str, values: NDArray[Any], rows: int) -> NDArray[np.int64]:
    """Labels of an npz as integers, one a row."""
    if values.shape != (rows,):
        raise fault(path, f"shape {values.shape} in {name!r}", f"({rows},), one label a row")
    if values.dtype.kind not in "biu" and not np.array_equal(values, np.round(values)):
        raise fault(path, f"type {values.dtype} in {name!r}", "whole numbers", "Save class codes.")
    return values.astype(np.int64)
