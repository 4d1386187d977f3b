"""How often the lab's intervals hold the truth, by simulation: `python -m lab.coverage` prints the guide's rows.

Each mode draws whole runs from a population whose true value is known, and asks the lab's own estimates, which tests
compare with the vectorised ones used here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gezhi.lab.stats import DISCORDANT, SHARE

Array = NDArray[np.float64]
RUNS = 4000
SEEDS = (5, 10)


@dataclass(frozen=True)
class Coverage:
    """Share of runs whose interval holds the truth; `plain`: of Student's interval over the seeds alone."""

    mode: str
    n: int
    share: float
    plain: float | None = None

    @property
    def row(self) -> str:
        plain = "" if self.plain is None else f"{self.plain:.3f}"
        return f"| {self.mode} | {self.n} | {self.share:.3f} | {plain} |"


def student(centre: Array, error: Array, df: Array | float) -> tuple[Array, Array]:
    half = stats.t.ppf(0.975, df) * error
    return centre - half, centre + half


def over_seeds(x: Array) -> tuple[Array, Array]:
    """Many runs at once: (runs, seeds)."""
    n = x.shape[1]
    return student(x.mean(1), x.std(1, ddof=1) / math.sqrt(n), n - 1)


def over_items(x: Array, pseudo: tuple[float, ...]) -> tuple[Array, Array]:
    """(runs, items), with pseudo-items."""
    return over_seeds(np.concatenate([x, np.broadcast_to(pseudo, (len(x), len(pseudo)))], axis=1))


def over_rows(x: Array, pseudo: tuple[float, ...] = ()) -> tuple[Array, Array]:
    """(runs, seeds, rows), NaN where a seed did not test a row; rows that no seed tested are left out."""
    tested = ~np.isnan(x)
    filled = np.where(tested, x, 0.0)
    seeds = filled.sum(2) / tested.sum(2)
    count = tested.sum(1)
    with np.errstate(invalid="ignore"):
        rows = filled.sum(1) / count
    rows = np.concatenate([rows, np.broadcast_to(pseudo, (len(x), len(pseudo)))], axis=1)
    n, m = x.shape[1], (count > 0).sum(1) + len(pseudo)
    spread = np.nanvar(rows, axis=1) * m / (m - 1)
    parts = np.stack([seeds.var(1, ddof=1) / n, spread / m])
    with np.errstate(divide="ignore", invalid="ignore"):
        df = parts.sum(0) ** 2 / (parts[0] ** 2 / (n - 1) + parts[1] ** 2 / (m - 1))
    return student(seeds.mean(1), np.sqrt(parts.sum(0)), df)


def held(interval: tuple[Array, Array], truth: float) -> float:
    return float(((interval[0] <= truth) & (truth <= interval[1])).mean())


# ---- runs of each mode -----------------------------------------------------------------------------------------------

SHAPES: dict[str, tuple[Callable[[np.random.Generator, tuple[int, int]], Array], float]] = {
    "normal": (lambda rng, size: rng.normal(size=size), 0.0),
    "Student t with 3 degrees of freedom": (lambda rng, size: rng.standard_t(3, size=size), 0.0),
    "log-normal, σ = 0.5": (lambda rng, size: rng.lognormal(0, 0.5, size=size), math.exp(0.125)),
    "log-normal, σ = 1": (lambda rng, size: rng.lognormal(0, 1, size=size), math.exp(0.5)),
}


def seeds(shape: str, n: int, runs: int = RUNS) -> Coverage:
    """Independent replicates."""
    draw, truth = SHAPES[shape]
    return Coverage(f"`seed`, {shape}", n, held(over_seeds(draw(np.random.default_rng(n), (runs, n))), truth))


def fixed_rows(n: int, rows: int = 100, runs: int = RUNS // 2) -> Coverage:
    """A fixed test set: crossed effects of training and of rows, and the rest."""
    rng, truth = np.random.default_rng(n), 0.1
    x = (
        truth
        + 0.05 * math.sqrt(n) * rng.normal(size=(runs, n, 1))
        + 0.05 * math.sqrt(rows) * rng.normal(size=(runs, 1, rows))
    )
    x += 0.2 * rng.normal(size=(runs, n, rows))
    return Coverage("`rows`, fixed test set", n, held(over_rows(x), truth), held(over_seeds(x.mean(2)), truth))


def fixed_rows_of_hits(n: int, rows: int = 100, runs: int = RUNS // 2) -> Coverage:
    """The same of a 0/1 metric: two classifiers that agree on most rows."""
    rng = np.random.default_rng(n)
    hardness = rng.normal(size=(runs, 1, rows))
    skill = 0.2 * rng.normal(size=(2, runs, n, 1))
    hits = [hardness + skill[i] + 0.5 * rng.normal(size=(runs, n, rows)) < cut for i, cut in enumerate((1.4, 1.2))]
    width = math.sqrt(1 + 0.04 + 0.25)
    truth = stats.norm.cdf(1.4 / width) - stats.norm.cdf(1.2 / width)
    x = hits[0].astype(float) - hits[1]
    return Coverage(
        "`rows`, fixed test set, 0/1", n, held(over_rows(x, DISCORDANT), truth), held(over_seeds(x.mean(2)), truth)
    )


CLASSES, NEEDLESS, KEPT = 3, 8, 3


def table(rng: np.random.Generator, runs: int, size: int) -> tuple[Array, NDArray[np.int64]]:
    """Rows of eight columns, of which three tell the class."""
    y = rng.integers(CLASSES, size=(runs, size))
    return np.eye(CLASSES, NEEDLESS)[y] * 1.6 + rng.normal(size=(runs, size, NEEDLESS)), y


def difference(X: Array, y: NDArray[np.int64], X_test: Array, y_test: NDArray[np.int64]) -> Array:
    """Hits of the nearest mean by three columns less those by eight, of many runs: (runs, rows)."""
    of_class = np.eye(CLASSES)[y]
    means = np.einsum("rnc,rnd->rcd", of_class, X) / of_class.sum(1)[:, :, None]
    right = [
        (np.einsum("rnd,rcd->rnc", X_test[..., :k], means[..., :k]) - np.square(means[:, None, :, :k]).sum(-1) / 2).argmax(-1) == y_test
        for k in (KEPT, NEEDLESS)
    ]  # fmt: skip
    return right[0].astype(float) - right[1]


TRAIN, TEST = 60, 30


def population(runs: int = 2000) -> float:
    """The expected difference of two classifiers trained on so many rows."""
    rng = np.random.default_rng(1)
    return float(difference(*table(rng, runs, TRAIN), *table(rng, runs, 400)).mean())


def redrawn_splits(n: int, truth: float, runs: int = RUNS // 4) -> Coverage:
    """Splits of one table, drawn anew by each seed."""
    rng, size = np.random.default_rng(n), TRAIN + TEST
    X, y = table(rng, runs, size)
    x = np.full((runs, n, size), np.nan)
    for seed in range(n):
        order = rng.permuted(np.tile(np.arange(size), (runs, 1)), axis=1)
        train, test = order[:, :TRAIN], order[:, TRAIN:]
        rows = np.arange(runs)[:, None]
        x[rows, seed, test] = difference(X[rows, train], y[rows, train], X[rows, test], y[rows, test])
    plain = np.nanmean(x, axis=2)
    return Coverage("`rows`, re-drawn splits", n, held(over_rows(x, DISCORDANT), truth), held(over_seeds(plain), truth))


def items(rate: float, n: int = 40, runs: int = RUNS) -> Coverage:
    """A fixed test set with nothing random: differences of 0/1, of which so many are 1."""
    x = (np.random.default_rng(n).random((runs, n)) < rate).astype(float)
    return Coverage(
        f"`items`, {rate:.0%} of the rows differ", n, held(over_items(x, DISCORDANT), rate), held(over_seeds(x), rate)
    )


def share_of_items(rate: float, n: int = 40, runs: int = RUNS) -> Coverage:
    """A share itself, near its bound."""
    x = (np.random.default_rng(n).random((runs, n)) < rate).astype(float)
    return Coverage(f"`items`, a share of {rate:.0%}", n, held(over_items(x, SHARE), rate), held(over_seeds(x), rate))


def everything(runs: int = RUNS) -> Iterator[Coverage]:
    """All rows of the guide's table."""
    for shape in SHAPES:
        yield from (seeds(shape, n, runs) for n in SEEDS)
    yield from (fixed_rows(n, runs=runs // 2) for n in SEEDS)
    yield from (fixed_rows_of_hits(n, runs=runs // 2) for n in SEEDS)
    truth = population(runs // 2)
    yield from (redrawn_splits(n, truth, runs // 4) for n in SEEDS)
    yield from (items(0.05, runs=runs), items(0.3, runs=runs), share_of_items(0.95, runs=runs))


if __name__ == "__main__":
    print("| what varies | n | coverage | Student's t over seeds or rows alone |\n|---|---|---|---|")
    for found in everything():
        print(found.row)
