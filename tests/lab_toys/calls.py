"""What the toys did, in a file, since some of them run in other processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

FILE = "LAB_TOYS_CALLS"  # names the file; unset: nothing is written
STOP = "LAB_TOYS_STOP"  # how many calls end; unset: all do


def note(*words: object) -> None:
    """Append one line; lines of this size are written whole, whoever else writes."""
    if FILE in os.environ:
        with Path(os.environ[FILE]).open("a", encoding="utf-8") as file:
            file.write(" ".join(map(str, words)) + "\n")


def noted() -> list[str]:
    """The lines of the file."""
    file = Path(os.environ[FILE])
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def perhaps_stop() -> None:
    """Wait for the signal that ends this process, once there were enough calls."""
    if STOP in os.environ and len(noted()) >= int(os.environ[STOP]):
        note("pid", os.getpid())
        time.sleep(600)
