"""Tables of numbers: digits, splits of them, and one figure a row of the table."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import train_test_split

from gezhi.data import Features, encoder, read

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@lru_cache(maxsize=1)
def digits() -> Features:
    """Handwritten digits, pixels scaled to 0..1, those that are always blank left out."""
    data = read("digits")
    varying = data.X.std(axis=0) > 0
    return Features(data.X[:, varying] / 16, data.y, data.classes, tuple(np.array(data.columns)[varying]), data.name)


def turned_digits(turns: int) -> tuple[Floats, Rows, Rows]:
    """Digits and their quarter turns, pixels in 0..1: a class is which digit and how far turned; and which picture."""
    data = read("digits")
    pictures = data.X.reshape(-1, 8, 8) / 16
    X = np.concatenate([np.rot90(pictures, turn, (1, 2)).reshape(-1, 64) for turn in range(turns)])
    y = np.concatenate([data.y + 10 * turn for turn in range(turns)])
    return X, y, np.tile(np.arange(len(data.y)), turns)


def numbers(data: Features, train: Rows) -> Floats:
    """Every row as numbers: gaps are filled and categories encoded as the training rows have them."""
    if data.plain:
        return data.X
    return np.asarray(encoder(data).fit(data.X[train]).transform(data.X), dtype=float)


def split(y: Rows, seed: int, train_size: float) -> tuple[Rows, Rows]:
    """Row numbers for training and for the test, classes in proportion."""
    train, test = train_test_split(np.arange(len(y)), train_size=train_size, stratify=y, random_state=seed)
    return train, test


def by_row(count: int, tested: Rows, figures: ArrayLike) -> Floats:
    """One figure a row of a table of `count` rows, NaN where a row was not tested."""
    found = np.full(count, np.nan)
    found[tested] = figures
    return found
