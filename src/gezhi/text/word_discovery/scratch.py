"""Temporary files without a name, which go with the process however it ends."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Scratch:
    """Arrays one after another, in memory while they are few, then in a file; read from anywhere, from any thread.

    Args:
        folder: where the file would be; None: the system's folder for temporary files.
        memory: bytes that stay out of the file.
    """

    def __init__(self, folder: str | Path | None, memory: int) -> None:
        self.folder = str(folder or tempfile.gettempdir())
        self.file = tempfile.SpooledTemporaryFile(max_size=max(memory, 1), dir=self.folder)  # noqa: SIM115
        self.lock, self.size = Lock(), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # what a full disk did not take
            self.file.close()

    def append(self, array: NDArray[Any]) -> int:
        """Write an array; returns where it stands, in bytes."""
        with self.lock, self._room_is_told():
            start = self.size
            self.file.seek(start)
            self.file.write(np.ascontiguousarray(array).data)
            self.file.flush()
            self.size += array.nbytes
        return start

    def read(self, start: int, count: int, dtype: Any) -> NDArray[Any]:
        """So many numbers from a place on, fewer where the arrays end."""
        found = np.empty(max(0, min(count, (self.size - start) // np.dtype(dtype).itemsize)), dtype)
        with self.lock:
            self.file.seek(start)
            self.file.readinto(found.view(np.uint8).data)
        return found

    @contextmanager
    def _room_is_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            text = f"no room for temporary files beyond {self.size / 1e6:,.0f} MB; make room, or name another folder"
            raise OSError(error.errno, text, self.folder) from None
