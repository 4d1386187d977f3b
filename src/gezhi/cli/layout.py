"""Where the nodes of a drawing stand: forces between nodes, and of each node towards its module. No randomness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CHUNK = 400_000  # pairs of nodes that are looked at together


def positions(n: int, source: Ints, target: Ints, weight: Floats, module: Ints, share: Floats) -> tuple[Floats, Floats]:
    """(n, 2) and (n,): modules are placed first, then nodes around them; no two discs overlap much.

    Args:
        n: number of nodes; `module` numbers them from 0.
        source, target, weight: links.
        share: radius of each node in units of the largest, whose size follows from how close the nodes come.
    """
    k = int(module.max()) + 1
    size = np.bincount(module, minlength=k)
    a, b = module[source], module[target]
    across = a != b
    weight = weight / np.mean(weight) if len(weight) else weight
    drawn = weight[across] / np.sqrt(size[a[across]] * size[b[across]])
    centre = springs(sunflower(k) * np.sqrt(n), a[across], b[across], drawn, np.sqrt(size), 200)
    place, steps = centre, int(np.clip(300_000 / max(n, 1), 60, 300))
    if k < n:
        start = centre[module] + around(module, k) * np.sqrt(size)[module, None] * 0.5
        inside = np.where(across, 0.25 * min(1.0, (40 / max(n, 1)) ** 0.4), 1.0) * np.sqrt(weight)
        place = springs(start, source, target, inside, np.ones(n), steps, module)
    radius = share * (0.75 if k < n else 1.1) * spacing(place)
    return apart(level(place), radius), radius


def spacing(place: Floats) -> float:
    """Median distance of a node to its nearest neighbour."""
    if len(place) < 2:
        return 1.0
    distance = np.asarray(cKDTree(place).query(place, k=2)[0])
    return float(np.median(distance[:, 1]))


def sunflower(n: int) -> Floats:
    """Points spread evenly over the unit disc."""
    turn, distance = np.arange(n) * np.pi * (3 - np.sqrt(5)), np.sqrt((np.arange(n) + 0.5) / n)
    return np.stack([distance * np.cos(turn), distance * np.sin(turn)], axis=1)


def around(module: Ints, k: int) -> Floats:
    """A sunflower for each module, by the order of its nodes."""
    spot = np.empty((len(module), 2))
    for i in range(k):
        members = np.flatnonzero(module == i)
        spot[members] = sunflower(len(members))
    return spot


def springs(
    place: Floats, source: Ints, target: Ints, weight: Floats, mass: Floats, steps: int, module: Ints | None = None
) -> Floats:
    """Links pull with the square of their length, masses repel with its inverse, the middle and modules attract."""
    n = len(place)
    place = place.copy()
    degree = np.bincount(source, weight, n) + np.bincount(target, weight, n)
    pull = weight / np.sqrt(np.maximum(degree[source], 1) * np.maximum(degree[target], 1)) ** 0.5
    size = None if module is None else np.maximum(np.bincount(module), 1)
    for step in range(steps):
        force = repulsion(place, mass)
        gap = place[source] - place[target]
        along = gap * (np.hypot(gap[:, 0], gap[:, 1]) * pull)[:, None] * 0.6
        for side in (0, 1):
            force[:, side] += np.bincount(target, along[:, side], n) - np.bincount(source, along[:, side], n)
        force -= place * 0.08 * mass[:, None]
        if module is not None and size is not None:
            centre = np.stack([np.bincount(module, place[:, side]) / size for side in (0, 1)], axis=1)
            force += (centre[module] - place) * (0.35 + 0.15 * np.log10(n))
        length = np.maximum(np.hypot(force[:, 0], force[:, 1]), 1e-9)
        most = 0.12 * np.sqrt(mass.sum()) * (1 - step / steps) ** 1.5 + 1e-3
        place += force * (np.minimum(length * 0.3, most) / length)[:, None]
    return place


def repulsion(place: Floats, mass: Floats) -> Floats:
    """Sum over all others of mass · mass / distance, in blocks of bounded memory."""
    force = np.empty_like(place)
    block = max(1, CHUNK // max(len(place), 1))
    for first in range(0, len(place), block):
        rows = slice(first, first + block)
        gap = [place[rows, side, None] - place[None, :, side] for side in (0, 1)]
        share = mass[None, :] / (gap[0] ** 2 + gap[1] ** 2 + 0.01)
        for side in (0, 1):
            force[rows, side] = (gap[side] * share).sum(axis=1) * mass[rows]
    return force


def apart(place: Floats, radius: Floats, rounds: int = 60) -> Floats:
    """Push overlapping discs away from each other."""
    place = place.copy()
    block = max(1, CHUNK // max(len(place), 1))
    for _ in range(rounds):
        push, worst = np.zeros_like(place), 0.0
        for first in range(0, len(place), block):
            rows = slice(first, first + block)
            gap = [place[rows, side, None] - place[None, :, side] for side in (0, 1)]
            distance = np.sqrt(gap[0] ** 2 + gap[1] ** 2) + 1e-9
            lack = np.maximum(1.25 * (radius[rows, None] + radius[None, :]) - distance, 0)
            lack[np.arange(lack.shape[0]), np.arange(first, first + lack.shape[0])] = 0
            worst = max(worst, float(lack.max(initial=0)))
            for side in (0, 1):
                push[rows, side] = (gap[side] / distance * lack).sum(axis=1) * 0.4
        place += push
        if worst < 0.05:
            break
    return place


def level(place: Floats) -> Floats:
    """Turned so that the longest extent lies across."""
    place = place - place.mean(axis=0)
    _, axes = np.linalg.eigh(place.T @ place)
    turned = place @ axes[:, ::-1]
    return np.asarray(turned * np.where(turned[np.abs(turned).argmax(axis=0), [0, 1]] < 0, -1, 1))
