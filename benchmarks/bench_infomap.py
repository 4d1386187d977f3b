"""Infomap against PyPI infomap and igraph: codes first, then time; memory of 10 million edges in a fresh process."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from _bench import Benchmark, arguments

options = arguments()

import networkx as nx
from scipy.sparse import coo_array

from gezhi.graph import InfomapClustering, map_equation
from gezhi.lab.clock import peak_bytes


class Edges(NamedTuple):
    """Each edge once."""

    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    n: int


class Case(NamedTuple):
    """A graph, how often it is searched, and in how many rounds it is timed."""

    name: str
    graph: Callable[[], Edges]
    trials: int
    rounds: int
    directed: bool = False


def named(graph: nx.Graph, weight: str | None) -> Edges:
    matrix = coo_array(nx.to_scipy_sparse_array(graph, weight=weight))
    upper = matrix.row <= matrix.col
    return Edges(matrix.row[upper], matrix.col[upper], matrix.data[upper].astype(float), len(graph))


def power_law(rng: np.random.Generator, size: int, low: float, high: float, exponent: float) -> np.ndarray:
    """Draws between low and high with density ∝ x^(−exponent)."""
    a = 1 - exponent
    return ((high**a - low**a) * rng.random(size) + low**a) ** (1 / a)


def simple(source: np.ndarray, target: np.ndarray, n: int) -> Edges:
    """Without self-loops and repetitions."""
    other = source != target
    pairs = np.unique(np.minimum(source, target)[other] * n + np.maximum(source, target)[other])
    return Edges(pairs // n, pairs % n, np.ones(len(pairs)), n)


def paired(rng: np.random.Generator, stubs: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stubs joined in random pairs inside their group (an odd one is left out)."""
    order = np.lexsort((rng.random(len(stubs)), group))
    stubs, group = stubs[order], group[order]
    start = np.searchsorted(group, group)
    left = np.flatnonzero(((np.arange(len(group)) - start) % 2 == 0) & np.r_[group[1:] == group[:-1], False])
    return stubs[left], stubs[left + 1]


def lfr(n: int, mixing: float = 0.3, seed: int = 1) -> Edges:
    """LFR-like: power-law degrees (7 to 50) and community sizes (20 to 100), paired at random inside and between."""
    rng = np.random.default_rng(seed)
    degree = np.rint(power_law(rng, n, 7, 50, 2.5)).astype(int)
    sizes = power_law(rng, n // 20 + 1, 20, 100, 1.5).astype(int)
    group = np.repeat(np.arange(len(sizes)), sizes)[:n]
    inner = np.minimum(np.rint((1 - mixing) * degree).astype(int), np.bincount(group)[group] - 1)
    stubs, others = np.repeat(np.arange(n), inner), np.repeat(np.arange(n), degree - inner)
    parts = paired(rng, stubs, group[stubs]), paired(rng, others, np.zeros(len(others)))
    return simple(*(np.concatenate(ends) for ends in zip(*parts, strict=True)), n)


def scale_free(n: int, edges: int, seed: int = 1) -> Edges:
    """Ends drawn in proportion to power-law weights (exponent 2.3): no communities by design."""
    rng = np.random.default_rng(seed)
    weight = power_law(rng, n, 3, n**0.65, 2.3)
    found = simple(*rng.choice(n, size=(2, edges + edges // 4), p=weight / weight.sum()), n)
    kept = np.sort(rng.choice(len(found.source), size=min(edges, len(found.source)), replace=False))
    return Edges(found.source[kept], found.target[kept], found.weight[kept], n)


CASES = [
    Case("karate", lambda: named(nx.karate_club_graph(), None), 10, 21),
    Case("les misérables", lambda: named(nx.les_miserables_graph(), "weight"), 10, 21),
    Case("LFR 1k", lambda: lfr(1_000), 10, 5),
    Case("LFR 1k directed", lambda: lfr(1_000), 10, 5, True),
    Case("LFR 10k", lambda: lfr(10_000), 3, 5),
    Case("LFR 10k directed", lambda: lfr(10_000), 3, 5, True),
    Case("LFR 100k", lambda: lfr(100_000), 1, 3),
    Case("LFR 100k directed", lambda: lfr(100_000), 1, 3, True),
    Case("power law 1M edges", lambda: scale_free(200_000, 1_000_000), 1, 1),
    Case("power law 1M edges directed", lambda: scale_free(200_000, 1_000_000), 1, 1, True),
]
QUICK = [case._replace(rounds=3) for case in CASES[:4]]


class Contest:
    """One case for all three; each call searches with a new seed and keeps the code it found."""

    def __init__(self, case: Case) -> None:
        source, target, self.weight, self.n = case.graph()
        flip = np.random.default_rng(0).random(len(source)) < 0.5 if case.directed else np.zeros(len(source), bool)
        self.source, self.target = np.where(flip, target, source), np.where(flip, source, target)
        matrix = coo_array((self.weight, (self.source, self.target)), shape=(self.n, self.n)).tocsr()
        self.matrix = matrix if case.directed else (matrix + matrix.T).tocsr()
        self.case, self.found = case, dict[str, list[Any]](gezhi=[], infomap=[], igraph=[])
        self.waiting: list[Any] = []

    def gezhi(self) -> None:
        seed = len(self.found["gezhi"])
        model = InfomapClustering(
            "precomputed", directed=self.case.directed, n_trials=self.case.trials, random_state=seed
        ).fit(self.matrix)
        self.found["gezhi"].append((model.codelength_.total, model.labels_))

    def prepare_infomap(self, rounds: int) -> None:
        """Networks with their links added, one a round: adding is not timed."""
        import infomap

        for _ in range(rounds):
            network = infomap.Network()
            network.add_links(np.c_[self.source, self.target, self.weight])
            self.waiting.append(network)

    def infomap(self) -> None:
        import infomap

        options = infomap.Options(
            silent=True, two_level=True, directed=self.case.directed, num_trials=self.case.trials,
            seed=len(self.found["infomap"]) + 1,
        )  # fmt: skip
        result = self.waiting.pop().run(options=options)
        self.found["infomap"].append((result.codelength, result))

    def igraph(self) -> None:
        import igraph

        igraph.set_random_number_generator(random.Random(len(self.found["igraph"])))
        found = self.graph.community_infomap(edge_weights="weight", trials=self.case.trials)
        self.found["igraph"].append((None, np.array(found.membership)))

    def prepare_igraph(self) -> None:
        import igraph

        self.graph = igraph.Graph(n=self.n, edges=np.c_[self.source, self.target], directed=self.case.directed)
        self.graph.es["weight"] = self.weight

    def code(self, labels: np.ndarray) -> float:
        return map_equation(self.matrix, labels, directed=self.case.directed).total

    def of_result(self, result: Any) -> np.ndarray:
        """Labels of a result of infomap."""
        labels = np.zeros(self.n, dtype=int)
        for node in result.nodes():
            labels[node.node_id] = node.module_id
        return labels


def judge(bench: Benchmark, case: Case, peers: list[str]) -> None:
    """One case: the codes agree with map_equation, then time, then the mean codes."""
    contest = Contest(case)
    name, bars = f"{case.name}, {case.trials} trials", not options.quick
    contest.gezhi()
    total, labels = contest.found["gezhi"][0]
    bench.same(f"{name}: codelength_ and map_equation", abs(total - contest.code(labels)), 1e-12)
    if "infomap" in peers:
        contest.prepare_infomap(case.rounds + 2)
        contest.infomap()
        total, result = contest.found["infomap"][0]
        bench.same(
            f"{name}: infomap's code and map_equation", abs(total - contest.code(contest.of_result(result))), 1e-9
        )
    if "igraph" in peers:
        contest.prepare_igraph()
    calls = {peer: getattr(contest, peer) for peer in ["gezhi", *peers]}
    seconds = bench.time(name, calls, case.rounds)
    means = {
        peer: float(np.mean([total or contest.code(labels) for total, labels in contest.found[peer]])) for peer in calls
    }
    for peer in peers:
        bar = {"infomap": 1.0, "igraph": 2.0}[peer]
        bench.ratio(
            f"{name}: seconds {peer} : gezhi", seconds[peer], seconds["gezhi"], **{"at_least": bar} if bars else {}
        )
        over = {"at_most": 1.001} if bars and peer == "infomap" else {}
        bench.ratio(f"{name}: bits gezhi : {peer}", [means["gezhi"]], [means[peer]], **over)


MEMORY = """
import sys; sys.path.insert(0, {folder!r}); sys.argv = ["bench", "--quick"]
import bench_infomap as bench
from gezhi.graph import InfomapClustering
edges = bench.scale_free(1_000_000, 10_000_000)
InfomapClustering("precomputed", n_trials=1).fit(tuple(edges))
"""


def main() -> None:
    bench = Benchmark("infomap")
    peers = [peer for peer in ("infomap", "igraph") if bench.peer(peer)]
    for case in QUICK if options.quick else CASES:
        judge(bench, case, peers)
    if not options.quick:
        peak = peak_bytes(MEMORY.format(folder=os.path.dirname(os.path.abspath(__file__)))) / 2**30
        bench.ratio("10M edges, 1 trial: peak GiB of the process, generator included", [peak], [1.0], at_most=6.0)
    bench.notes += [
        "gezhi: from a CSR matrix to labels and code, compiled beforehand (the first search of an installation takes "
        "about 20 s more, kept on disk); infomap: run() without add_links; igraph: community_infomap alone",
        "igraph's directed partitions are scored by map_equation; LFR graphs come from the generator in this file",
    ]
    bench.finish(options.json)


if __name__ == "__main__":
    main()
