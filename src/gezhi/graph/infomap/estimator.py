"""The scikit-learn form."""

from __future__ import annotations

from typing import Any, Literal, Self

from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import validate_data

from gezhi._checks import check_choice
from gezhi.graph.infomap.equation import one_level_codelength
from gezhi.graph.infomap.graphs import read_graph
from gezhi.graph.infomap.neighbors import knn_similarity_graph
from gezhi.graph.infomap.search import Settings, find_modules


class InfomapClustering(ClusterMixin, BaseEstimator):
    """Clusters of a graph, or of rows through the graph of their nearest neighbours; their number is found.

    Args:
        affinity: `"nearest_neighbors"`: X holds features and the graph is `knn_similarity_graph(X)`, for
            `directed=False` with an edge wherever one of two rows names the other; `"precomputed"`: X is a graph as in
            `map_equation` (square matrix, networkx or igraph graph, or tuple of edge arrays).
        two_level: modules only; False: a tree of modules inside modules, of any depth.
        directed, teleportation, recorded, teleport_to, markov_time: the walk, as in `map_equation`.
        n_trials: searches from other random orders, ≥ 1. The best is kept, and mixed with each further one until two
            have found it. 10 is the literature's choice.
        n_neighbors, min_similarity: of the neighbour graph; 50 and 0.6 are the article's choice for word vectors.
        random_state: integer ≥ 0 or a generator of NumPy. The same integer gives the same modules, whatever `n_jobs`.
        n_jobs: threads that run trials side by side, as in joblib (-1: all cores).

    Attributes:
        labels_: (n,) leaf module of each row, 0 … k − 1, numbered through the tree, larger flow first.
        codelength_: `Codelength(total, index, module)` of the result in bits a step.
        one_level_codelength_: bits a step without modules; never below `codelength_.total`.
        flow_: (n,) visit rate of each node.
        module_flow_: (k,) visit rate of each leaf module.
        tree_: one tuple per row: its modules from the root down, each numbered inside its parent from 0.
        n_features_in_: columns of X (nodes, for a graph).
    Errors: ValueError naming the argument.
    Cost: O(m) a pass over the links; without numba (`pip install 'gezhi[graph]'`) a few hundred times slower.
    Example:
        >>> two_triangles = ([0, 1, 0, 3, 4, 3, 2], [1, 2, 2, 4, 5, 5, 3])
        >>> InfomapClustering(affinity="precomputed").fit(two_triangles).labels_
        array([0, 0, 0, 1, 1, 1])

    References: as in `map_equation`.
    """

    def __init__(
        self,
        affinity: Literal["nearest_neighbors", "precomputed"] = "nearest_neighbors",
        *,
        two_level: bool = True,
        directed: bool = False,
        n_trials: int = 10,
        teleportation: float = 0.15,
        recorded: bool = False,
        teleport_to: Literal["links", "nodes"] = "links",
        markov_time: float = 1.0,
        n_neighbors: int = 50,
        min_similarity: float = 0.6,
        random_state: Any = 0,
        n_jobs: int | None = 1,
    ) -> None:
        self.affinity = affinity
        self.two_level = two_level
        self.directed = directed
        self.n_trials = n_trials
        self.teleportation = teleportation
        self.recorded = recorded
        self.teleport_to = teleport_to
        self.markov_time = markov_time
        self.n_neighbors = n_neighbors
        self.min_similarity = min_similarity
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002
        """Build the graph if need be, and search."""
        check_choice("affinity", self.affinity, ("nearest_neighbors", "precomputed"))
        graph = read_graph(self._graph(X), self.directed)
        if self.affinity == "precomputed":
            self.n_features_in_ = graph.n
        settings = Settings(
            self.two_level, self.n_trials, self.teleportation, self.recorded, self.teleport_to, self.markov_time
        )
        found = find_modules(graph, settings, self.random_state, self.n_jobs)
        self.labels_, self.tree_, self.codelength_ = found.labels, found.tree, found.codelength
        self.flow_, self.module_flow_ = found.flow, found.module_flow
        self.one_level_codelength_ = one_level_codelength(found.flow)
        return self

    def _graph(self, X: Any) -> Any:
        if self.affinity == "precomputed":
            return X
        rows = validate_data(self, X, accept_sparse="csr", ensure_min_samples=2)
        graph = knn_similarity_graph(rows, k=self.n_neighbors, min_sim=self.min_similarity)
        return graph if self.directed else graph.maximum(graph.T).tocsr()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.pairwise = self.affinity == "precomputed"
        return tags
