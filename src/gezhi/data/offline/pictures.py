"""Pictures out of pinned packages."""

from __future__ import annotations

import csv
import gzip
import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gezhi.data.formats.images import read_idx
from gezhi.data.kinds import Images


def mnist_5k(name: str, path: Path) -> Images:
    """Five thousand digits of MNIST, 28 × 28 grey: 784 pixels a record, the label last."""
    with gzip.open(path, "rt", encoding="ascii", newline="") as file:
        table = np.array([list(map(int, cells)) for cells in csv.reader(file)])
    return Images(table[:, :-1].astype(np.uint8).reshape(-1, 28, 28), table[:, -1], tuple("0123456789"), name)


class ArraysOnly(pickle.Unpickler):
    """Reads NumPy arrays written by Python 2, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np.ndarray(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no array")


def mnist(name: str, path: Path, *, split: Literal["train", "test"]) -> Images:
    """MNIST, 28 × 28 grey; the packaged shares are of 256, and its part for validation belongs to the training."""
    with gzip.open(path) as file:
        *training, test = ArraysOnly(file, encoding="latin1").load()
    parts = [test] if split == "test" else training
    pixels, labels = (np.concatenate([part[i] for part in parts]) for i in range(2))
    images = np.rint(pixels.astype(np.float64) * 256).astype(np.uint8).reshape(-1, 28, 28)
    return Images(images, labels.astype(np.int64), tuple("0123456789"), name)


FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def fashion_mnist(name: str, images: Path, labels: Path) -> Images:
    """Fashion-MNIST, 28 × 28 grey."""
    return Images(read_idx(images, 3), read_idx(labels, 1).astype(np.int64), FASHION, name)
