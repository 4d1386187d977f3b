"""The networkx form."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal

from gezhi.graph.infomap.graphs import name_groups, read_graph
from gezhi.graph.infomap.search import Settings, find_modules


def infomap_communities(
    G: Any,
    weight: str | None = "weight",
    seed: Any = None,
    *,
    directed: bool = False,
    n_trials: int = 10,
    teleportation: float = 0.15,
    recorded: bool = False,
    teleport_to: Literal["links", "nodes"] = "links",
    markov_time: float = 1.0,
    n_jobs: int | None = 1,
) -> list[set[Hashable]]:
    """Communities that minimise the two-level map equation, as the functions of `networkx.community` return them.

    Args:
        G: networkx or igraph graph (a directed one is walked along its edges), or any graph of `map_equation`.
        weight: edge attribute that holds the weight (absent: 1); None: all weights are 1.
        seed: integer ≥ 0 or a generator of NumPy; the same integer gives the communities of
            `InfomapClustering(random_state=seed)`. None: NumPy's global generator decides.
        directed: for matrices and edge arrays; networkx and igraph graphs know their own direction.
        n_trials, n_jobs: as in `InfomapClustering`; the others as in `map_equation`.
    Returns: sets of nodes, largest first; every node is in exactly one. Nodes of igraph go by their attribute "name",
        where they have it, else by number.
    Errors: ValueError naming the argument.
    Cost: O(m) a pass over the links.
    Example:
        >>> import networkx as nx
        >>> infomap_communities(nx.barbell_graph(3, 0), seed=1)
        [{0, 1, 2}, {3, 4, 5}]

    References: as in `map_equation`.
    """
    graph = read_graph(G, directed, weight)
    settings = Settings(True, n_trials, teleportation, recorded, teleport_to, markov_time)
    return name_groups(graph.names, find_modules(graph, settings, seed, n_jobs).labels)
