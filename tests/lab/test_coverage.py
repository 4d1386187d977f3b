"""The lab's intervals hold the truth as often as the guide says: by simulation of every mode."""

from __future__ import annotations

import numpy as np
import pytest
from lab import coverage

from gezhi.lab import stats
from gezhi.lab.stats import DISCORDANT, SHARE


@pytest.fixture(scope="module")
def truth():
    return coverage.population()


@pytest.mark.parametrize("n", coverage.SEEDS)
@pytest.mark.parametrize(
    ("shape", "low", "high"),
    [
        ("normal", 0.93, 0.97),
        ("Student t with 3 degrees of freedom", 0.94, 0.98),
        ("log-normal, σ = 0.5", 0.90, 0.94),
        ("log-normal, σ = 1", 0.80, 0.86),
    ],
)
def test_over_seeds(shape, n, low, high):
    assert low <= coverage.seeds(shape, n).share <= high


@pytest.mark.parametrize("n", coverage.SEEDS)
def test_over_rows_of_a_fixed_test_set(n):
    found = coverage.fixed_rows(n)
    assert 0.93 <= found.share <= 0.97
    assert found.plain < 0.91, "which is why rows are no mere seeds"


@pytest.mark.parametrize("n", coverage.SEEDS)
def test_over_rows_of_a_0_1_metric(n):
    assert 0.93 <= coverage.fixed_rows_of_hits(n).share <= 0.995


@pytest.mark.parametrize("n", coverage.SEEDS)
def test_over_re_drawn_splits_of_one_table(n, truth):
    found = coverage.redrawn_splits(n, truth)
    assert 0.93 <= found.share <= 0.995
    assert found.plain < 0.93


def test_more_re_drawn_splits_of_one_table_make_plain_intervals_worse(truth):
    few, many = (coverage.redrawn_splits(n, truth).plain for n in coverage.SEEDS)
    assert many < few - 0.04


@pytest.mark.parametrize(
    ("found", "low", "high"),
    [
        (lambda: coverage.items(0.05), 0.95, 1.0),
        (lambda: coverage.items(0.3), 0.93, 0.98),
        (lambda: coverage.share_of_items(0.95), 0.93, 0.99),
    ],
)
def test_over_items(found, low, high):
    simulated = found()
    assert low <= simulated.share <= high
    assert simulated.plain < simulated.share - 0.02, "which is why there are pseudo-items"


# ---- what is simulated is what the lab does --------------------------------------------------------------------------


def assert_same(vectorised, estimates):
    found = np.array([estimate.interval() for estimate in estimates])
    np.testing.assert_allclose(np.stack(vectorised, axis=1), found, rtol=1e-9, atol=1e-12)


def test_the_simulated_intervals_are_the_lab_s():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(20, 5))
    assert_same(coverage.over_seeds(normal), map(stats.over_seeds, normal))
    hits = rng.integers(0, 2, size=(20, 12)).astype(float)
    for pseudo in (DISCORDANT, SHARE):
        assert_same(coverage.over_items(hits, pseudo), [stats.over_items(x, pseudo) for x in hits])
    splits = np.where(rng.random((20, 5, 12)) < 0.4, np.nan, rng.normal(size=(20, 5, 12)))
    splits[:, :, 3] = np.nan  # a row that no seed tests
    assert_same(coverage.over_rows(splits), map(stats.over_rows, splits))
    assert_same(coverage.over_rows(splits, DISCORDANT), [stats.over_rows(x, DISCORDANT) for x in splits])


def test_the_guide_s_table_has_a_row_for_every_mode():
    rows = [found.row for found in coverage.everything(runs=40)]
    assert len(rows) == 17
    assert all(row.count("|") == 5 for row in rows)
    assert {row.split(",")[0].strip("| `") for row in rows} == {"seed", "rows", "items"}
