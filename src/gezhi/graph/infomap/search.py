"""Best of several trials, two-level or as a tree; what the public forms call."""

from __future__ import annotations

import math
import random
import warnings
from dataclasses import dataclass
from importlib import import_module
from numbers import Integral
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from scipy.sparse import csr_array
from sklearn.utils import check_random_state

from gezhi._checks import check_integer, invalid
from gezhi._jit import is_compiled, is_kept
from gezhi.graph.infomap.equation import Codelength, codelength, one_level_codelength, path_levels
from gezhi.graph.infomap.flow import Flow, stationary_flow
from gezhi.graph.infomap.graphs import Floats, Graph, Ints, row_sums

TOLERANCE = 1e-5  # of the code without modules: a tuning step that gains less ends a trial


class SlowSearchWarning(UserWarning):
    """The search is slow, at the start or throughout. Remedy: install numba, give it a folder to write to."""


@dataclass(frozen=True)
class Settings:
    """What is searched for, how often, and in which walk."""

    two_level: bool
    n_trials: int
    teleportation: float
    recorded: bool
    teleport_to: str
    markov_time: float


@dataclass(frozen=True, eq=False)
class Found:
    """A partition and its code; the attributes of `InfomapClustering` without the underscore."""

    labels: Ints
    tree: list[tuple[int, ...]]
    codelength: Codelength
    flow: Floats
    module_flow: Floats


def find_modules(graph: Graph, settings: Settings, random_state: Any, n_jobs: int | None) -> Found:
    """The shortest code of `n_trials` searches; of equals the first."""
    seeds = _seeds(check_integer("n_trials", settings.n_trials, at_least=1), random_state)
    flow = stationary_flow(graph, settings.teleportation, settings.recorded, settings.teleport_to, settings.markov_time)
    kernels = import_module("gezhi.graph.infomap.kernels")  # only now, so that all else works without numba
    _warn_if_slow(kernels.best_of)
    net, tolerance = network(flow), TOLERANCE * math.log(2) * one_level_codelength(flow.p)
    jobs = 1 if n_jobs in (1, None) else min(len(seeds), effective_n_jobs(n_jobs))
    if settings.two_level and jobs == 1:
        return _described(flow, kernels.best_of(net, seeds, tolerance).label)
    run = Parallel(n_jobs=jobs, prefer="threads")
    halves = run(delayed(kernels.halves)(net, seed, tolerance) for seed in seeds)
    best = kernels.first_of(net, halves[0][1])
    for seed, (half, whole) in zip(seeds[1:], halves[1:], strict=True):  # as `best_of`, which ends a trial at its half
        label = half if kernels.is_found(net, best, half) else whole
        best = kernels.joined(net, best, label, seed, tolerance)
    if settings.two_level:
        return _described(flow, best.label)
    search_tree = import_module("gezhi.graph.infomap.multilevel").search_tree
    starts = [
        *((whole, int(seed)) for seed, (_, whole) in zip(seeds, halves, strict=True)),
        (best.label, int(seeds[0])),
    ]
    found = run(delayed(search_tree)(net, kernels.first_of(net, label).label, seed) for label, seed in starts)
    return _described(flow, shortest_of(found, kernels.GAIN)[1])


def _warn_if_slow(kernel: Any) -> None:
    if not is_compiled(kernel):
        text = "numba is not installed: the search runs as plain Python, some hundred times slower. Run: pip install "
        warnings.warn(text + "'gezhi[graph]'", SlowSearchWarning, stacklevel=5)
    elif not is_kept(kernel):
        text = "numba finds no folder to write to: the search is compiled anew in each process, which takes about 20 s."
        warnings.warn(text + " Set NUMBA_CACHE_DIR to one.", SlowSearchWarning, stacklevel=5)


def _seeds(n_trials: int, random_state: Any) -> Ints:
    """One for each trial; more trials begin with the same ones."""
    if isinstance(random_state, Integral):
        seed = check_integer("random_state", random_state, at_least=0)
        return np.array(random.Random(seed).choices(range(1, 2**31 - 1), k=n_trials))
    if isinstance(random_state, np.random.Generator):
        return random_state.integers(1, 2**31 - 1, n_trials)
    return np.asarray(check_random_state(random_state).randint(1, 2**31 - 1, n_trials, dtype=np.int64))


def shortest_of(found: list[tuple[float, Any]], gain: float) -> tuple[float, Any]:
    """The first of those that only rounding makes longer than the least: the same however trials are shared out."""
    least = min(length for length, _ in found)
    return next(pair for pair in found if pair[0] <= least + gain)


def network(flow: Flow) -> Any:
    """The search's view of a flow: both directions of a link in one number."""
    links = flow.links
    both = links if flow.symmetric else links + links.T.tocsr()
    weight = both.data * 2 if flow.symmetric else both.data
    if len(weight) and not weight.min() > 0:
        both = csr_array((weight, both.indices, both.indptr), shape=both.shape)
        both.eliminate_zeros()
        weight = both.data
    if len(flow.p) >= 2**31 - 1:
        raise invalid("graph", "have fewer than 2³¹ nodes", len(flow.p))
    node = np.zeros((len(flow.p), 6))
    node[:, 0], node[:, 1], node[:, 3], node[:, 4], node[:, 5] = (
        flow.p,
        row_sums(links.indptr, links.data),
        flow.sent,
        flow.landing,
        1.0,
    )
    # Equal to the last digit where links are symmetric: kernels then take one logarithm for both.
    node[:, 2] = node[:, 1] if flow.symmetric else np.bincount(links.indices, links.data, len(flow.p))
    shape = import_module("gezhi.graph.infomap.networks").Network
    start, target = both.indptr.astype(np.int64), both.indices.astype(np.int32)
    return shape(start, target, weight, node, float(flow.sent.sum()), 0.0, False)


def _described(flow: Flow, found: Any) -> Found:
    if isinstance(found, list):
        numbers = {path: i for i, path in enumerate(sorted(set(found)))}
        labels = np.array([numbers[path] for path in found], dtype=np.int64)
        return Found(labels, found, codelength(flow, path_levels(found)), flow.p, _sums(labels, flow.p))
    labels = _by_flow(found, flow.p)
    tree: list[tuple[int, ...]] = [(i,) for i in labels.tolist()]
    return Found(labels, tree, codelength(flow, [labels]), flow.p, _sums(labels, flow.p))


def _by_flow(label: Any, p: Floats) -> Ints:
    """Modules numbered by falling flow (equals: by their first node)."""
    rate = np.bincount(label, weights=p)
    rank = np.empty(len(rate), dtype=np.int64)
    first = np.full(len(rate), len(label))
    first[label[::-1]] = np.arange(len(label) - 1, -1, -1)  # of several, the last is kept
    rank[np.lexsort((first, -rate.round(12)))] = np.arange(len(rate))
    return np.asarray(rank[label])


def _sums(labels: Ints, p: Floats) -> Floats:
    return np.asarray(np.bincount(labels, weights=p), dtype=np.float64)
