"""Pictures out of pinned packages."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np

from gezhi.data.formats.images import read_idx
from gezhi.data.kinds import Images


def mnist_5k(name: str, path: Path) -> Images:
    """Five thousand digits of MNIST, 28 × 28 grey: 784 pixels a record, the label last."""
    with gzip.open(path, "rt", encoding="ascii", newline="") as file:
        table = np.array([list(map(int, cells)) for cells in csv.reader(file)])
    return Images(table[:, :-1].astype(np.uint8).reshape(-1, 28, 28), table[:, -1], tuple("0123456789"), name)


FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def fashion_mnist(name: str, images: Path, labels: Path) -> Images:
    """Fashion-MNIST, 28 × 28 grey."""
    return Images(read_idx(images, 3), read_idx(labels, 1).astype(np.int64), FASHION, name)
