"""Does a shorter code for a random walk mean better communities, and what does the search for it cost?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score
from sklearn.preprocessing import normalize

from gezhi.data import Edges, read
from gezhi.experiments.setups.graphs import (
    LFR,
    Known,
    Search,
    infomap,
    infomap_labels,
    known,
    label_propagation,
    lfr,
    louvain,
    many_partitions,
    one_module,
    planted,
    three_levels,
    true_communities,
)
from gezhi.experiments.setups.tables import digits
from gezhi.experiments.setups.words import Corpus, chinese_tags, english_topics, word_classes, word_vectors
from gezhi.graph import InfomapClustering, knn_similarity_graph
from gezhi.lab import Dots, Experiment, Lines, Study, at, better, exponent, inside, lower, ratio

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
INFOMAP, LOUVAIN, PROPAGATION, TRUTH, ONE = (
    "Infomap", "Louvain", "label propagation", "planted communities", "one module"
)  # fmt: skip

# ---- shorter means better? ---------------------------------------------------------------------------------------------


def ranking(judge: str, case: LFR, seed: int, starts: int) -> Mapping[str, Any]:
    """Rank correlation of a measure of partitions, better ones higher, with their agreement with the planted ones."""
    graph, partitions, modularities = many_partitions(case, seed, starts)
    agreement = [normalized_mutual_info_score(graph.truth, labels) for labels in partitions]
    scores = [-graph.bits(labels) for labels in partitions] if judge == CODE else modularities
    return {"rank correlation": spearmanr(scores, agreement).statistic}


MODULARITY, CODE = "modularity", "code length"
SMALL = {f"mixing = {mu}": LFR(1000, mu, 15, 50, 100) for mu in (0.2, 0.3, 0.4, 0.5)}
RANKING = Study(
    "shorter and better",
    ranking,
    {MODULARITY: MODULARITY, CODE: CODE},
    SMALL,
    {"quick": {"mixing = 0.3": 1}, "full": 3},
    claims={
        "shorter-better": inside("rank correlation", CODE, low=0.8),
        "ranks-better": better("rank correlation", CODE, than=MODULARITY, by=0.1),
    },
    figures=(Lines("rank correlation", "shorter-better"),),
)

# ---- planted communities -----------------------------------------------------------------------------------------------


def agreement(graph: Known, labels: Ints) -> Mapping[str, Any]:
    """Of a partition with the known communities; how many modules it has, and its code."""
    return {
        "NMI": normalized_mutual_info_score(graph.truth, labels),
        "AMI": adjusted_mutual_info_score(graph.truth, labels),
        "bits": graph.bits(labels),
        "modules": len(np.unique(labels)),
    }


def recovery(search: Search, case: LFR, seed: int, starts: int) -> Mapping[str, Any]:
    graph = lfr(case, seed)
    return agreement(graph, search(graph, seed, starts))


def one_start(search: Search) -> Search:
    """A baseline with its usual single start, whatever Infomap gets."""
    return lambda graph, seed, _: search(graph, seed, 1)


SPARSE = "250 nodes of degree 5, mixing = 0.1"
PLANTED = Study(
    "planted communities",
    recovery,
    {LOUVAIN: one_start(louvain), PROPAGATION: label_propagation, TRUTH: true_communities, INFOMAP: infomap_labels},
    {**SMALL, "5000 nodes, mixing = 0.4": LFR(5000, 0.4, 20, 100, 200), SPARSE: LFR(250, 0.1, 5, power=3)},
    {"smoke": {SPARSE: 2}, "quick": {"mixing = 0.3": 10, SPARSE: 10}, "full": 10},
    claims={
        "beats-louvain": better("NMI", INFOMAP, than=LOUVAIN, by=0.005),
        "beats-propagation": better("NMI", INFOMAP, than=PROPAGATION, by=0.005),
        "not-the-truth": at(("mixing = 0.5", SPARSE), lower("bits", INFOMAP, than=TRUTH, by=0.1)),
        "splits-sparse": at(SPARSE, ratio("modules", INFOMAP, over=TRUTH, at_least=2)),
    },
    seeds={"full": 5},
    figures=(Dots("NMI", "beats-louvain"),),
)


def tree_of_groups(arm: str, case: tuple[float, float, float], seed: int, starts: int) -> Mapping[str, Any]:
    """Bits of two levels, or of a tree, on random groups inside groups."""
    graph = three_levels((4, 5, 10), case, seed)
    return {"bits": infomap(graph, seed, starts, two_level=arm == TWO_LEVEL).codelength_.total}


TWO_LEVEL, TREE = "two levels", "tree"
LEVELS = Study(
    "groups of groups",
    tree_of_groups,
    {TWO_LEVEL: TWO_LEVEL, TREE: TREE},
    {"loose groups": (0.8, 0.1, 0.005), "tight groups": (0.9, 0.05, 0.002)},
    {"smoke": 2, "quick": 5, "full": 10},
    claims={"tree-shorter": lower("bits", TREE, than=TWO_LEVEL, by=0.02)},
)

# ---- rows of numbers as graphs ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Neighbours:
    """How rows become a graph."""

    k: int
    min_sim: float
    centred: bool


@lru_cache(maxsize=1)
def digit_graph(case: Neighbours, seed: int, rows: int) -> tuple[Floats, Known]:
    """Rows drawn from the digits, and the directed graph of their nearest neighbours."""
    data = digits()
    drawn = np.random.default_rng(seed).permutation(len(data.y))[:rows]
    X = data.X[drawn] - (data.X[drawn].mean(axis=0) if case.centred else 0)
    return X, known_matrix(knn_similarity_graph(X, k=case.k, min_sim=case.min_sim), data.y[drawn])


def known_matrix(graph: Any, truth: Ints | None = None) -> Known:
    links = graph.tocoo()
    return Known((links.row.astype(np.int64), links.col.astype(np.int64), links.data, graph.shape[0]), True, truth)


def either_way(graph: Known) -> Known:
    """An undirected edge wherever one of two nodes points at the other, as modularity wants it."""
    source, target, weight, n = graph.edges
    ends = np.sort(np.array([source, target]), axis=0)
    _, first = np.unique(ends, axis=1, return_index=True)
    return Known((*ends[:, first], weight[first], n), False, graph.truth)


def louvain_either_way(_rows: Floats, graph: Known, seed: int) -> Ints:
    return louvain(either_way(graph), seed, 1)


def k_means(X: Floats, _graph: Known, seed: int) -> Ints:
    return np.asarray(KMeans(10, n_init=10, random_state=seed).fit_predict(X))


def digit_clusters(
    arm: Callable[[Floats, Known, int], Ints], case: Neighbours, seed: int, rows: int
) -> Mapping[str, Any]:
    X, graph = digit_graph(case, seed, rows)
    return agreement(graph, arm(X, graph, seed))


KMEANS = "k-means, told k = 10"
CLUSTERS = Study(
    "digits",
    digit_clusters,
    {KMEANS: k_means, LOUVAIN: louvain_either_way, INFOMAP: lambda _, graph, seed: infomap_labels(graph, seed, 10)},
    {"10 neighbours": Neighbours(10, 0.6, False), "50 neighbours, centred": Neighbours(50, 0.6, True)},
    {"full": 1200},
    claims={
        "digits-k-means": better("AMI", INFOMAP, than=KMEANS, by=0.01),
        "digits-louvain": better("AMI", INFOMAP, than=LOUVAIN, by=-0.01),
    },
    seeds={"full": 5},
    figures=(Dots("AMI", ("digits-k-means", "digits-louvain")),),
)

# ---- words -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Grouped:
    """Words that Infomap puts into groups of three or more: vectors, graph, groups, and the class of each word."""

    vectors: Floats
    graph: Known
    groups: Ints
    classes: Ints


@lru_cache(maxsize=1)
def word_groups(corpus: Corpus, seed: int) -> Grouped:
    """Vectors from a half of the documents drawn at random, the article's graph, and two-level modules."""
    rng, words = np.random.default_rng(seed), len(corpus.words)
    order = rng.permutation(len(corpus.documents))
    half, other = order[: len(order) // 2], order[len(order) // 2 :]
    vectors = normalize(word_vectors([corpus.documents[i] for i in half], words))
    groups = infomap_labels(known_matrix(knn_similarity_graph(vectors, k=50, min_sim=0.6)), seed, 10)
    classes = word_classes(corpus, other) if corpus.word_class is None else corpus.word_class
    judged = (np.bincount(groups)[groups] >= 3) & (classes >= 0)
    links = knn_similarity_graph(vectors[judged], k=50, min_sim=0.6)
    return Grouped(vectors[judged], known_matrix(links), groups[judged], classes[judged])


def word_clusters(arm: Callable[[Grouped, int], Ints], corpus: Corpus, seed: int, _: None) -> Mapping[str, Any]:
    """Purity: the share of words whose class is the commonest of their group."""
    words = word_groups(corpus, seed)
    labels = arm(words, seed)
    table = np.zeros((int(labels.max()) + 1, int(words.classes.max()) + 1))
    np.add.at(table, (labels, words.classes), 1)
    return {"purity": table.max(axis=1).sum() / len(labels), "modules": len(np.unique(labels))}


def k_means_words(words: Grouped, seed: int) -> Ints:
    clusters = len(np.unique(words.groups))
    return np.asarray(KMeans(clusters, n_init=3, random_state=seed).fit_predict(words.vectors))


RANDOM, KMEANS_WORDS = "random groups of the same sizes", "k-means, as many groups"
WORDS = Study(
    "words",
    word_clusters,
    {
        RANDOM: lambda words, seed: np.random.default_rng(seed).permutation(words.groups),
        KMEANS_WORDS: k_means_words,
        LOUVAIN: lambda words, seed: louvain(either_way(words.graph), seed, 1),
        INFOMAP: lambda words, _seed: words.groups,
    },
    {
        "BBC news, by topic": lambda: english_topics(read("bbc-news"), 3000),
        "People's Daily, by part of speech": lambda: chinese_tags(read("people-daily-199801"), 3000),
    },
    {"full": None},
    claims={
        "words-clean": better("purity", INFOMAP, than=RANDOM, by=0.1),
        "words-k-means": better("purity", INFOMAP, than=KMEANS_WORDS, by=0.01),
    },
    seeds={"full": 5},
    figures=(Dots("purity", ("words-clean", "words-k-means")),),
)

# ---- real graphs, and yours ---------------------------------------------------------------------------------------------


def on_graph(search: Search, case: Edges, seed: int, starts: int) -> Mapping[str, Any]:
    """Code length, and agreement with known groups where there are some."""
    graph = known(case)
    labels = search(graph, seed, starts)
    found = {"bits": graph.bits(labels), "modules": len(np.unique(labels))}
    return found if graph.truth is None else {**found, **agreement(graph, labels)}


WITH_GROUPS = ("karate club", "football", "polbooks", "polblogs")
REAL = Study(
    "real graphs",
    on_graph,
    {ONE: one_module, LOUVAIN: louvain, INFOMAP: infomap_labels},
    {
        "karate club": lambda: read("karate"),
        "les misérables": lambda: read("lesmis"),
        "football": lambda: read("football"),
        "polbooks": lambda: read("polbooks"),
        "polblogs": lambda: read("polblogs"),
    },
    {"quick": 3, "full": 10},
    claims={
        "has-modules": lower("bits", INFOMAP, than=ONE, by=0.1),
        "shorter-than-louvain": lower("bits", INFOMAP, than=LOUVAIN, by=0.01),
        "groups": at(WITH_GROUPS, better("AMI", INFOMAP, than=LOUVAIN, by=-0.02)),
    },
    accepts="edges",
    seeds={"full": 5},
    resolution={"bits": 1e-6, "AMI": 1e-3},  # small graphs: every seed may find the same partition
    figures=(Dots("AMI", "groups", cases=WITH_GROUPS),),
)

# ---- seconds -------------------------------------------------------------------------------------------------------------


def searching(trials: int, edges: int, seed: int, _: None) -> Callable[[], Any]:
    """A search on a graph with planted groups."""
    graph = planted(edges, seed)
    return lambda: InfomapClustering("precomputed", n_trials=trials).fit(graph.edges)


ONE_TRIAL, TEN_TRIALS = "Infomap, one search", "Infomap, ten searches"
SECONDS = Study(
    "seconds",
    searching,
    {ONE_TRIAL: 1, TEN_TRIALS: 10},
    {"25 000 edges": 25_000, "100 000 edges": 100_000, "400 000 edges": 400_000},
    {"full": None},
    claims={
        "five-seconds": at("100 000 edges", inside("seconds", TEN_TRIALS, high=5)),
        "nearly-linear": exponent("seconds", ONE_TRIAL, high=1.3),
    },
    timed=True,
    repeats=1,
    seeds={"full": 5},
    figures=(Lines("seconds", "nearly-linear", log=(True, True)),),
)

EXPERIMENT = Experiment(
    __doc__,
    (RANKING, PLANTED, LEVELS, CLUSTERS, WORDS, REAL, SECONDS),
    units={"bits": "bits", "purity": "%", "seconds": "s"},
    packages=("numba", "networkx"),
)
