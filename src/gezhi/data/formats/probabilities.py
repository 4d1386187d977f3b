"""Predicted class probabilities: an npz with `reference`, `reference_labels`, `test` and `test_labels`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gezhi.data.errors import fault, shown
from gezhi.data.formats.arrays import check_rows, read_npz, texts, whole
from gezhi.data.kinds import Codes, Floats, Probabilities

PARTS = ("reference", "test")
LABELS = ("reference_labels", "test_labels")
ARRAYS = ("reference", "reference_labels", "test", "test_labels")
DECIMALS = 1e-4  # unit of the coarsest rounding that is taken for one: four decimals


def load_probabilities(path: Path) -> Probabilities:
    """Read and check the four arrays; rows count from 1 in errors.

    Labels are columns counted from 0, or names. The columns' names stand in an array `classes`; without it they are
    the distinct labels in the order in which scikit-learn has them, if there are as many as columns.
    """
    arrays = read_npz(path, ARRAYS, ("classes",), (*LABELS, "classes"))
    reference, test = (probabilities(path, name, arrays[name]) for name in PARTS)
    if reference.shape[1] != test.shape[1]:
        found = f"{reference.shape[1]} classes in 'reference' and {test.shape[1]} in 'test'"
        raise fault(path, found, "as many in both", "Give every class a column in both.")
    for name, rows in zip(LABELS, (reference, test), strict=True):
        check_rows(path, name, arrays[name], len(rows))
    names = column_names(path, arrays, reference.shape[1])
    reference_labels, test_labels = (
        class_codes(path, name, arrays[name], names, reference.shape[1]) for name in LABELS
    )
    return Probabilities(reference, reference_labels, test, test_labels, path.stem)


def probabilities(path: Path, name: str, values: NDArray[Any]) -> Floats:
    """Rows that are finite, not negative and sum to 1, within what rounding to their type or to four decimals does.

    They are kept as stored: a method that needs sums of exactly 1 divides by them.
    """
    if values.ndim != 2 or len(values) == 0 or values.shape[1] < 2:
        raise fault(path, f"shape {values.shape} in {name!r}", "(rows, classes), at least one row and two classes")
    rows = values.astype(np.float64)
    allowed = tolerance(values)
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(~((rows >= 0).all(axis=1) & (abs(rows.sum(axis=1) - 1) <= allowed)))
    if len(bad):
        row = rows[bad[0]]
        wrong = row[~(row >= 0)]
        found = f"{wrong[0]:g}" if len(wrong) else f"a sum of {row.sum():.6g}"
        fix = "Pass probabilities: the softmax of logits, percentages divided by 100."
        raise fault(path, found, f"numbers from 0 that sum to 1 (within {allowed:.2g})", fix,
                    at=f"array {name!r}, row {bad[0] + 1}")  # fmt: skip
    return rows


def tolerance(values: NDArray[Any]) -> float:
    """How far a row's sum may lie from 1: what storing predictions does to it, at most .01.

    Four units in the last place of the type, or half a unit of the fourth decimal for each class, if that is more.
    """
    place = float(np.finfo(values.dtype).eps) if values.dtype.kind == "f" else 0.0
    return min(max(DECIMALS, int(values.shape[1]) * DECIMALS / 2, 4 * place), 0.01)


def column_names(path: Path, arrays: dict[str, NDArray[Any]], count: int) -> tuple[str, ...] | None:
    """Names of the columns; None where labels are their numbers."""
    if "classes" in arrays:
        values = arrays["classes"]
        check_rows(path, "classes", values, count)
        names = tuple(words(path, "classes", values))
        if len(set(names)) < count:
            raise fault(path, "a name twice in 'classes'", "one name a column", "Rename it.")
        return names
    if all(arrays[name].dtype.kind not in "US" for name in LABELS):
        return None
    found = sorted({label for name in LABELS for label in words(path, name, arrays[name])})
    if len(found) != count:
        fix = "Save the columns' names as an array 'classes'."
        raise fault(path, f"labels with {len(found)} names", f"{count}, as many as columns", fix)
    return tuple(found)


def words(path: Path, name: str, values: NDArray[Any]) -> list[str]:
    """Labels as texts."""
    return (
        texts(path, name, values) if values.dtype.kind in "US" else [str(value) for value in whole(path, name, values)]
    )


def class_codes(path: Path, name: str, values: NDArray[Any], names: tuple[str, ...] | None, classes: int) -> Codes:
    """Labels as columns of the probabilities."""
    if names is not None:
        place = {label: column for column, label in enumerate(names)}
        labels = words(path, name, values)
        unknown = next((row for row, label in enumerate(labels) if label not in place), None)
        if unknown is not None:
            at = f"array {name!r}, row {unknown + 1}"
            raise fault(path, f"label {shown(labels[unknown])}", "a name in 'classes'", "Add its column.", at=at)
        return np.array([place[label] for label in labels], dtype=np.int64)
    codes = whole(path, name, values)
    bad = np.flatnonzero((codes < 0) | (codes >= classes))
    if len(bad):
        at = f"array {name!r}, row {bad[0] + 1}"
        raise fault(path, f"label {codes[bad[0]]}", f"a column from 0 to {classes - 1}", "Number from 0.", at=at)
    return codes.astype(np.int64)
