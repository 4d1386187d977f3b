"""Predicted class probabilities: an npz with `reference`, `reference_labels`, `test` and `test_labels`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gezhi.data.errors import fault
from gezhi.data.formats.arrays import read_npz, whole_labels
from gezhi.data.kinds import Codes, Floats, Probabilities

TOLERANCE = 1e-4  # how far a row's sum may lie from 1: float32 predictions pass, logits and percentages do not


def load_probabilities(path: Path) -> Probabilities:
    """Read and check the four arrays; rows count from 1 in errors."""
    arrays = read_npz(path, ("reference", "reference_labels", "test", "test_labels"))
    reference, test = (probabilities(path, name, arrays[name]) for name in ("reference", "test"))
    if reference.shape[1] != test.shape[1]:
        found = f"{reference.shape[1]} classes in 'reference' and {test.shape[1]} in 'test'"
        raise fault(path, found, "as many in both", "Give every class a column in both.")
    labels = (class_codes(path, f"{name}_labels", arrays[f"{name}_labels"], rows.shape)
              for name, rows in (("reference", reference), ("test", test)))  # fmt: skip
    reference_labels, test_labels = labels
    return Probabilities(reference, reference_labels, test, test_labels, path.stem)


def probabilities(path: Path, name: str, values: NDArray[Any]) -> Floats:
    """Rows that are finite, not negative and sum to 1."""
    if values.ndim != 2 or len(values) == 0 or values.shape[1] < 2:
        raise fault(path, f"shape {values.shape} in {name!r}", "(rows, classes), at least one row and two classes")
    rows = values.astype(np.float64)
    bad = np.flatnonzero(~((rows >= 0).all(axis=1) & (abs(rows.sum(axis=1) - 1) <= TOLERANCE)))
    if len(bad):
        row = rows[bad[0]]
        wrong = row[~(row >= 0)]
        found = f"{wrong[0]:g}" if len(wrong) else f"a sum of {row.sum():.6g}"
        fix = "Pass probabilities: the softmax of logits, percentages divided by 100."
        raise fault(path, found, f"numbers from 0 that sum to 1 (within {TOLERANCE:g})", fix,
                    at=f"array {name!r}, row {bad[0] + 1}")  # fmt: skip
    return rows


def class_codes(path: Path, name: str, values: NDArray[Any], shape: tuple[int, ...]) -> Codes:
    """Labels that are columns of the probabilities."""
    rows, classes = shape
    codes = whole_labels(path, name, values, rows)
    bad = np.flatnonzero((codes < 0) | (codes >= classes))
    if len(bad):
        at = f"array {name!r}, row {bad[0] + 1}"
        raise fault(path, f"label {codes[bad[0]]}", f"a column from 0 to {classes - 1}", "Number from 0.", at=at)
    return codes
