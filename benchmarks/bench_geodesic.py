"""Geodesic distances from 100 sources: against scikit-learn's Isomap, which needs all pairs, and scipy on its graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from _bench import Benchmark, arguments

options = arguments()

from scipy.sparse import csgraph
from sklearn.datasets import make_swiss_roll
from sklearn.manifold import Isomap
from sklearn.neighbors import kneighbors_graph

from gezhi.lab.clock import peak_bytes
from gezhi.text import GeodesicDistance

K, SOURCES = 10, np.arange(100)
SMALL, MIDDLE, LARGE, ROUNDS = (500, 1_500, 2_000, 3) if options.quick else (2_000, 6_000, 20_000, 5)

MEMORY = """
import numpy as np
from sklearn.datasets import make_swiss_roll
from sklearn.manifold import Isomap
from gezhi.text import GeodesicDistance
rows = make_swiss_roll({n}, random_state=0)[0]
{call}
"""
CALLS = {
    "nothing": "",
    "gezhi": "GeodesicDistance(10, metric='euclidean').fit(rows).distances(np.arange(100))",
    "Isomap": "Isomap(n_neighbors=10).fit(rows)",
}


def by_scipy(rows: np.ndarray) -> np.ndarray:
    """Neighbours of a k-d tree, and the same search for paths."""
    graph = kneighbors_graph(rows, K, mode="distance")
    return csgraph.dijkstra(graph.maximum(graph.T), indices=SOURCES)


def main() -> None:
    bench = Benchmark("geodesic")
    bench.peer("scikit-learn")
    bench.peer("scipy")
    for n in (SMALL, LARGE):
        rows = make_swiss_roll(n, random_state=0)[0]
        ours = GeodesicDistance(K, metric="euclidean").fit(rows).distances(SOURCES)
        bench.same(f"{n} rows: distances and scipy's", float(np.abs(ours - by_scipy(rows)).max()), 1e-9)
        calls: dict[str, Callable[[], Any]] = {
            "gezhi": lambda rows=rows: GeodesicDistance(K, metric="euclidean").fit(rows).distances(SOURCES),
            "scipy on a k-d tree's graph": lambda rows=rows: by_scipy(rows),
        }
        if n == SMALL:
            isomap = Isomap(n_neighbors=K).fit(rows).dist_matrix_[SOURCES]
            bench.same(f"{n} rows: distances and Isomap's", float(np.abs(ours - isomap).max()), 1e-9)
            calls["Isomap"] = lambda rows=rows: Isomap(n_neighbors=K).fit(rows)
        seconds = bench.time(f"{n} rows, 100 sources", calls, ROUNDS)
        for peer in list(calls)[1:]:
            bench.ratio(f"{n} rows: seconds {peer} : gezhi", seconds[peer], seconds["gezhi"])
    peak = {name: peak_bytes(MEMORY.format(n=MIDDLE, call=call)) for name, call in CALLS.items()}
    added = {name: [float(peak[name] - peak["nothing"])] for name in ("gezhi", "Isomap")}
    bench.ratio(f"{MIDDLE} rows: memory added, Isomap : gezhi", added["Isomap"], added["gezhi"])
    bench.notes.append(
        "Isomap's time and memory include its eigenvectors; a k-d tree serves few columns alone (here 3)"
    )
    bench.finish(options.json)


if __name__ == "__main__":
    main()
