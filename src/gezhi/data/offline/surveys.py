"""Tables of answers that people gave, out of pinned packages."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gezhi.data.kinds import Features


def fair_survey(name: str, path: Path) -> Features:
    """Fair's survey of 1978: what wives said of themselves; the class is whether they had affairs."""
    with path.open(encoding="ascii") as file:
        columns = [column.strip('"') for column in next(file).strip().split(",")]
        table = np.loadtxt(file, delimiter=",")
    return Features(
        table[:, :-1], (table[:, -1] > 0).astype(np.int64), ("no affair", "affair"), tuple(columns[:-1]), name
    )
