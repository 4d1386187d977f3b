"""Tables of numbers: digits, splits of them, and one figure a row of the table."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import train_test_split

from gezhi.data import Features, read

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@lru_cache(maxsize=1)
def digits() -> Features:
    """Handwritten digits, pixels scaled to 0..1, those that are always blank left out."""
    data = read("digits")
    varying = data.X.std(axis=0) > 0
    return Features(data.X[:, varying] / 16, data.y, data.classes, tuple(np.array(data.columns)[varying]), data.name)


def split(y: Rows, seed: int, train_size: float) -> tuple[Rows, Rows]:
    """Row numbers for training and for the test, classes in proportion."""
    train, test = train_test_split(np.arange(len(y)), train_size=train_size, stratify=y, random_state=seed)
    return train, test


def by_row(count: int, tested: Rows, figures: ArrayLike) -> Floats:
    """One figure a row of a table of `count` rows, NaN where a row was not tested."""
    found = np.full(count, np.nan)
    found[tested] = figures
    return found
