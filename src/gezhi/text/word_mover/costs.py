"""What it costs to move one word vector to another, exact where two are nearly equal."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gezhi._checks import invalid

Array = NDArray[np.float64]
Cost = Literal["euclidean", "cosine", "rms"]
LARGEST = 1e150  # squares of what is larger overflow
NEAR = 1e-6  # below this share of |x|² + |y|² the squared distance is computed afresh from the difference


def read_vectors(name: str, value: Any) -> Array:
    """Float64 rows of an array, tensor or nested list; ValueError for none, another shape, NaN and infinity."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().double()
    try:
        vectors = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        got = f"{type(value).__name__} that makes no array of numbers"
        raise invalid(name, "be a matrix with a vector a row", got, "Pass vectors of one length.") from None
    if vectors.ndim != 2 or not vectors.shape[1]:
        fix = "An empty document has no distance: leave it out." if not vectors.size else ""
        raise invalid(name, "be a matrix with a vector a row", f"shape {vectors.shape}", fix)
    if not len(vectors):
        raise invalid(name, "hold a vector at least", "an empty document", "It has no distance: leave it out.")
    bad = ~(np.abs(vectors) <= LARGEST)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise invalid(name, f"be finite and at most {LARGEST:g} in size", f"{vectors[row, column]} in row {row}")
    return vectors


def read_weights(name: str, value: Any, size: int) -> Array:
    """Weights ≥ 0 of positive sum, divided by it; uniform where none are given."""
    if value is None:
        return np.full(size, 1 / size)
    if hasattr(value, "detach"):
        value = value.detach().cpu().double()
    weights = np.asarray(value, dtype=np.float64)
    if weights.shape != (size,):
        raise invalid(name, f"have shape ({size},), one weight a word", f"shape {weights.shape}")
    if not ((weights >= 0) & (weights < np.inf)).all():
        raise invalid(name, "be finite and at least 0", weights[~((weights >= 0) & (weights < np.inf))][0])
    if not 0 < weights.sum() < np.inf:
        raise invalid(name, "have a positive sum", weights.sum(), "A document of weight 0 has no distance.")
    normal: Array = weights / weights.sum()
    return normal


def unit_vectors(name: str, vectors: Array) -> Array:
    """Rows of length 1; ValueError naming a row of length 0."""
    lengths = norms(vectors)
    if not lengths.all():
        fix = "It has no direction: leave the word out."
        raise invalid(name, "have no zero vector", f"one in row {int(np.argmin(lengths))}", fix)
    unit: Array = vectors / lengths[:, None]
    return unit


def norms(vectors: Array) -> Array:
    """Lengths of rows, without underflow of their squares."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0)
    scaled = np.divide(vectors, largest, out=np.zeros_like(vectors), where=largest > 0)
    return np.asarray(np.linalg.norm(scaled, axis=1) * largest[:, 0])


def euclidean(x: Array, y: Array) -> Array:
    """‖x_i − y_j‖, (n, m): by one matrix product, and afresh from the difference where that would lose digits."""
    whole = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1)
    squared = whole - 2 * (x @ y.T)
    rows, columns = np.nonzero(squared < NEAR * whole)
    squared[rows, columns] = ((x[rows] - y[columns]) ** 2).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squared, 0, out=squared), out=squared))


def cosine(u: Array, v: Array) -> Array:
    """1 − u_i·v_j of unit vectors, (n, m), in [0, 2]; ‖u − v‖²/2 where they nearly agree."""
    costs = 1 - u @ v.T
    rows, columns = np.nonzero(costs < NEAR)
    costs[rows, columns] = ((u[rows] - v[columns]) ** 2).sum(axis=1) / 2
    return np.asarray(np.clip(costs, 0, 2, out=costs))
