"""Does a shorter code for a random walk mean better communities, and what does the search for it cost?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score
from sklearn.preprocessing import normalize

from gezhi.data import Edges, Features, LabelledTexts, Texts, read
from gezhi.experiments._infomap import (
    LFR,
    Corpus,
    Known,
    Search,
    chinese_tags,
    english_topics,
    infomap,
    infomap_labels,
    known,
    label_propagation,
    lfr,
    louvain,
    many_partitions,
    of_networkx,
    one_module,
    planted,
    recursive_triangles,
    three_levels,
    true_communities,
    unweighted,
    word_vectors,
)
from gezhi.graph.infomap import InfomapClustering, knn_similarity_graph, map_equation
from gezhi.lab import Claim, Dots, Experiment, Lines, Study, best_of, better, exponent, inside, lower, ratio

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# ---- exact values ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Coded:
    """A graph, a partition of it, and the length of its code as the reference program gives it."""

    graph: Known
    partition: Any
    bits: float
    markov_time: float = 1.0


def triangles() -> Known:
    return unweighted(nx.Graph([(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5), (2, 3)]))


def karate() -> Known:
    graph = nx.karate_club_graph()
    return unweighted(graph, np.array([graph.nodes[node]["club"] != "Mr. Hi" for node in graph], dtype=np.int64))


def loops() -> Known:
    return Known((np.array([0, 0, 1, 2, 2, 1]), np.array([0, 1, 2, 2, 3, 3]), np.array([2, 1, 1, 0.5, 1, 1]), 4), False)


def nine_and_three() -> list[tuple[int, ...]]:
    """Each triangle of the 27 nodes in its block of nine."""
    return [(node // 9, node // 3) for node in range(27)]


def ragged() -> list[tuple[Any, ...]]:
    """The best tree known: the triangles of the first two blocks under their block, those of the third beside them."""
    return [(node // 9, node // 3) if node < 18 else (f"C{node // 3}",) for node in range(27)]


HALVES = [0, 0, 0, 1, 1, 1]
BEST_KARATE = np.isin(np.arange(34), [0, 1, 2, 3, 7, 9, 11, 12, 13, 17, 19, 21]) + 2 * np.isin(
    np.arange(34), [4, 5, 6, 10, 16]
)
VALUES: dict[str, Callable[[], list[Coded]]] = {
    "two triangles": lambda: [
        Coded(triangles(), [0] * 6, 2.556656707462823),
        Coded(triangles(), HALVES, 2.32073035683379),
        Coded(triangles(), range(6), 4.556656707462823),
    ],
    "Markov time": lambda: [
        Coded(triangles(), HALVES, 2.006684566414346, 0.5),
        Coded(triangles(), HALVES, 2.824919644402478, 2.0),
        Coded(triangles(), [0] * 6, 2.556656707462823, 2.0),
    ],
    "karate": lambda: [
        Coded(karate(), [0] * 34, 4.704422598883344),
        Coded(karate(), karate().truth, 4.462090721377539),
        Coded(karate(), BEST_KARATE, 4.311792645801829),
    ],
    "self-loops": lambda: [
        Coded(loops(), [0, 1, 1, 1], 2.040841800865004),
        Coded(loops(), [0, 0, 0, 0], 1.981403590250632),
    ],
    "trees": lambda: [
        Coded(recursive_triangles(3), [0] * 27, 4.745436833581181),
        Coded(recursive_triangles(3), [node // 9 for node in range(27)], 3.682183184682595),
        Coded(recursive_triangles(3), nine_and_three(), 3.484189880405219),
        Coded(recursive_triangles(3), ragged(), 3.462273137526415),
    ],
}


def values(_arm: str, case: list[Coded], _seed: int, _size: None) -> Mapping[str, Any]:
    """Largest distance from the known code lengths, in bits."""
    errors = [abs(map_equation(c.graph.edges, c.partition, markov_time=c.markov_time).total - c.bits) for c in case]
    return {"error in bits": max(errors)}


def six_nodes() -> Known:
    source, target = np.array([0, 1, 2, 2, 3, 4, 5, 5, 1]), np.array([1, 2, 0, 3, 4, 5, 3, 0, 0])
    return Known((source, target, np.array([2, 1, 3, 1, 2, 1, 1, 0.5, 1]), 6), True)


@dataclass(frozen=True)
class Convention:
    """How teleports are treated, and what the code of the six nodes in two halves then is."""

    recorded: bool
    teleport_to: Literal["links", "nodes"]
    bits: float


def conventions(convention: Convention, case: Known, _seed: int, _size: None) -> Mapping[str, Any]:
    """The code length of the two halves, and its distance from the reference program's."""
    found = map_equation(
        case.edges, HALVES, directed=True, recorded=convention.recorded, teleport_to=convention.teleport_to
    )
    return {"bits": found.total, "error in bits": abs(found.total - convention.bits)}


def above_best(search: Search, case: tuple[Known, float], seed: int, starts: int) -> Mapping[str, Any]:
    """By how many bits a search misses the shortest code known of a small graph."""
    graph, best = case
    return {"bits above the best": graph.bits(search(graph, seed, starts)) - best}


MAP, ONE, TRUTH, INFOMAP = "map equation", "one module", "planted communities", "Infomap"
LOUVAIN, PROPAGATION = "Louvain", "label propagation"
ALL = dict.fromkeys(("smoke", "quick", "full"), None)

KNOWN_VALUES = Study(
    "known values",
    values,
    {MAP: MAP},
    VALUES,
    ALL,
    claims=(
        Claim(
            "values",
            "The map equation gives the code lengths of the reference program to 9 decimals.",
            "映射方程给出的码长与参考程序吻合到小数点后 9 位。",
            inside("error in bits", MAP, high=1e-9),
        ),
    ),
    varies="nothing",
    scope=("small graphs with known code lengths", "码长已知的小图"),
)

RECORDED, TO_LINKS = "recorded, to nodes (the article)", "recorded, to links"
DEFAULT, TO_NODES = "unrecorded, to links (the reference program)", "unrecorded, to nodes"
FLOW = Study(
    "flow conventions",
    conventions,
    {
        DEFAULT: Convention(False, "links", 2.002653878720436),
        RECORDED: Convention(True, "nodes", 2.304238187301809),
        TO_LINKS: Convention(True, "links", 2.233820312428885),
        TO_NODES: Convention(False, "nodes", 2.006118456060768),
    },
    {"six nodes": six_nodes},
    ALL,
    claims=(
        Claim(
            "conventions",
            "Each of the four ways to treat teleports gives the code length of the reference program to 9 decimals.",
            "处理随机跳转的四种方式，码长都与参考程序吻合到小数点后 9 位。",
            tuple(inside("error in bits", arm, high=1e-9) for arm in (DEFAULT, RECORDED, TO_LINKS, TO_NODES)),
        ),
        Claim(
            "conventions-differ",
            "The same partition costs at least 0.1 bits more in the article's convention than in the reference program's.",
            "同一划分，按原文约定的码长比按参考程序约定至少多 0.1 比特。",
            better("bits", RECORDED, than=DEFAULT, by=0.1),
        ),
    ),
    varies="nothing",
    units={"bits": "bits"},
    scope=("a directed graph of six nodes in two halves", "分为两半的六节点有向图"),
)

BEST: dict[str, Callable[[], tuple[Known, float]]] = {
    "two triangles": lambda: (triangles(), 2.32073035683379),
    "karate": lambda: (karate(), 4.311792645801829),
    "les misérables": lambda: (of_networkx(nx.les_miserables_graph()), 4.204714637183612),
    "ring of cliques": lambda: (unweighted(nx.ring_of_cliques(6, 5)), 2.999533821358020),
    "Florentine families": lambda: (unweighted(nx.florentine_families_graph()), 3.446961727359893),
    "barbell": lambda: (unweighted(nx.barbell_graph(6, 0)), 2.820710407209322),
    "Petersen graph": lambda: (unweighted(nx.petersen_graph()), 3.321928094887362),
}
OPTIMA = Study(
    "best codes known",
    above_best,
    {ONE: one_module, INFOMAP: infomap_labels},
    BEST,
    {"smoke": 50, "quick": 100, "full": 100},
    claims=(
        Claim(
            "optima",
            "The search finds the shortest two-level code known, to 9 decimals.",
            "搜索找到已知最短的两层码，准到小数点后 9 位。",
            inside("bits above the best", INFOMAP, high=1e-9),
        ),
    ),
    varies="nothing",
    scope=("small graphs, the best of 100 searches with a fixed seed", "小图，固定种子下 100 次搜索取最优"),
)

# ---- trees ----------------------------------------------------------------------------------------------------------

TWO_LEVEL, TREE = "two levels", "tree"


def triangle_code(two_level: bool, levels: int, _seed: int, starts: int) -> Mapping[str, Any]:
    """Code length of the recursive triangles."""
    return {"bits": infomap(recursive_triangles(levels), 0, starts, two_level=two_level).codelength_.total}


def tree_of_groups(arm: str, chances: tuple[float, float, float], seed: int, starts: int) -> Mapping[str, Any]:
    """Code length, and how well the modules below the root agree with the planted upper level."""
    graph = three_levels((4, 5, 10), chances, seed)
    if arm == TRUTH:
        paths = [(node // 50, node // 10) for node in range(graph.n)]
        return {"bits": graph.bits(paths), "AMI": 1.0}
    found = infomap(graph, seed, starts, two_level=arm == TWO_LEVEL)
    top = np.unique([path[0] for path in found.tree_], return_inverse=True)[1]
    return {"bits": found.codelength_.total, "AMI": adjusted_mutual_info_score(graph.truth, top)}


TRIANGLES = Study(
    "recursive triangles",
    triangle_code,
    {TWO_LEVEL: True, TREE: False},
    {"27 nodes": 3, "81 nodes": 4},
    {"smoke": 5, "quick": 20, "full": 20},
    claims=(
        Claim(
            "tree-shorter",
            "On triangles of triangles the code of a tree of modules is at least 0.05 bits shorter than that of two levels.",
            "在三角形套三角形的图上，模块树的码长比两层至少短 0.05 比特。",
            lower("bits", TREE, than=TWO_LEVEL, by=0.05),
        ),
        Claim(
            "tree-best",
            "With 27 nodes the search finds the shortest tree known, 3.462273 bits.",
            "27 个节点时，搜索找到已知最短的树，3.462273 比特。",
            inside("bits", TREE, high=3.462273137526415 + 1e-9),
            at="27 nodes",
        ),
    ),
    varies="nothing",
    units={"bits": "bits"},
    scope=("the best of 20 searches with a fixed seed", "固定种子下 20 次搜索取最优"),
)
LEVELS = Study(
    "groups of groups",
    tree_of_groups,
    {name: name for name in (TWO_LEVEL, TRUTH, TREE)},
    {"loose groups": (0.8, 0.1, 0.005), "tight groups": (0.9, 0.05, 0.002)},
    {"smoke": 2, "quick": 10, "full": 10},
    claims=(
        Claim(
            "tree-groups",
            "On random groups inside groups the code of a tree is at least 0.02 bits shorter than that of two levels.",
            "在随机的组中组上，树的码长比两层至少短 0.02 比特。",
            lower("bits", TREE, than=TWO_LEVEL, by=0.02),
        ),
        Claim(
            "tree-search",
            "On random groups inside groups the tree that the search finds is no more than 0.01 bits longer than the planted one.",
            "在随机的组中组上，搜索所得的树至多比植入的树长 0.01 比特。",
            lower("bits", TREE, than=TRUTH, by=-0.01),
        ),
        Claim(
            "tree-top",
            "The top of the tree agrees with the planted upper level better than two levels do: AMI higher by at least 0.1.",
            "树的顶层比两层的结果更符合植入的上层结构：AMI 至少高 0.1。",
            better("AMI", TREE, than=TWO_LEVEL, by=0.1),
        ),
    ),
    units={"bits": "bits"},
    scope=(
        "random graphs, 4 × 5 groups of 10 nodes, the best of ten searches",
        "随机图，4 × 5 个 10 节点的组，十次搜索取最优",
    ),
)

# ---- planted communities --------------------------------------------------------------------------------------------


def recovery(search: Search, case: LFR, seed: int, starts: int) -> Mapping[str, Any]:
    """Agreement with the planted communities, and what they and the found ones cost in bits."""
    graph = lfr(case, seed)
    labels = search(graph, seed, starts)
    return {
        "NMI": normalized_mutual_info_score(graph.truth, labels),
        "AMI": adjusted_mutual_info_score(graph.truth, labels),
        "bits": graph.bits(labels),
        "modules": len(np.unique(labels)),
        "real mixing": graph.mixing,
    }


def one_start(search: Search) -> Search:
    """A baseline with its usual single start, whatever Infomap gets."""
    return lambda graph, seed, _: search(graph, seed, 1)


SEARCHES: dict[str, Search] = {
    LOUVAIN: one_start(louvain),
    PROPAGATION: label_propagation,
    TRUTH: true_communities,
    INFOMAP: infomap_labels,
}
SMALL = {f"mixing = {mu}": LFR(1000, mu, 15, 50, 100) for mu in (0.2, 0.3, 0.4, 0.5)}
LOW = ("mixing = 0.2", "mixing = 0.3", "mixing = 0.4")
LFR_SCOPE = (
    "LFR benchmark graphs of 1000 nodes (self-loops removed), ten searches for Infomap, one for Louvain",
    "1000 个节点的 LFR 基准图（去掉自环），Infomap 搜索十次，Louvain 一次",
)


def recovery_claims(case: str) -> tuple[Claim, ...]:
    mixing = case.split()[-1]
    return (
        *(
            Claim(
                f"beats-{short}-{mixing.replace('.', '')}",
                f"At mixing {mixing} Infomap recovers the planted communities better than {en}: NMI higher by at least 0.005.",
                f"混合参数为 {mixing} 时，Infomap 比{zh}更好地恢复植入的社区：NMI 至少高 0.005。",
                better("NMI", INFOMAP, than=arm, by=0.005),
                at=case,
            )
            for arm, en, zh, short in (
                (LOUVAIN, "Louvain", " Louvain ", "louvain"),
                (PROPAGATION, "label propagation", "标签传播", "propagation"),
            )
        ),
        Claim(
            f"search-{mixing.replace('.', '')}",
            f"At mixing {mixing} the code that the search finds is no more than 0.001 bits longer than the planted one.",
            f"混合参数为 {mixing} 时，搜索所得的码至多比植入社区的码长 0.001 比特。",
            lower("bits", INFOMAP, than=TRUTH, by=-0.001),
            at=case,
        ),
    )


PLANTED = Study(
    "planted communities",
    recovery,
    SEARCHES,
    {case: SMALL[case] for case in ("mixing = 0.3", "mixing = 0.5")},
    {"quick": 10, "full": 10},
    claims=(
        *recovery_claims("mixing = 0.3"),
        Claim(
            "gives-up",
            "At mixing 0.5 the shortest code is not that of the planted communities: the one found is at least 0.1 bits shorter.",
            "混合参数为 0.5 时，最短的码并非植入社区的码：找到的至少短 0.1 比特。",
            lower("bits", INFOMAP, than=TRUTH, by=0.1),
            at="mixing = 0.5",
        ),
        Claim(
            "loses-at-half",
            "At mixing 0.5 Louvain recovers the planted communities better than Infomap: NMI higher by at least 0.2.",
            "混合参数为 0.5 时，Louvain 比 Infomap 更好地恢复植入的社区：NMI 至少高 0.2。",
            better("NMI", LOUVAIN, than=INFOMAP, by=0.2),
            at="mixing = 0.5",
        ),
    ),
    units={"bits": "bits"},
    scope=LFR_SCOPE,
    figures=(
        Dots(
            "NMI",
            "Agreement with the planted communities.",
            "与植入社区的一致程度。",
            ("beats-louvain-03", "loses-at-half"),
            arms=(LOUVAIN, PROPAGATION, INFOMAP),
        ),
        Dots(
            "bits",
            "Code length of the communities found, against that of the planted ones.",
            "找到的社区的码长，相对于植入的社区。",
            ("gives-up",),
            arms=(LOUVAIN, PROPAGATION, INFOMAP),
            than=TRUTH,
        ),
    ),
)
OTHERS = Study(
    "other mixings",
    recovery,
    SEARCHES,
    {case: SMALL[case] for case in ("mixing = 0.2", "mixing = 0.4")},
    {"full": 10},
    claims=(*recovery_claims("mixing = 0.2"), *recovery_claims("mixing = 0.4")),
    units={"bits": "bits"},
    scope=LFR_SCOPE,
    figures=(
        Dots(
            "NMI",
            "Agreement with the planted communities.",
            "与植入社区的一致程度。",
            ("beats-louvain-02", "beats-louvain-04"),
            arms=(LOUVAIN, PROPAGATION, INFOMAP),
        ),
    ),
)
LARGER = Study(
    "5000 nodes",
    recovery,
    SEARCHES,
    {"mixing = 0.4": LFR(5000, 0.4, 20, 100, 200)},
    {"full": 10},
    claims=(
        Claim(
            "beats-louvain-5000",
            "With 5000 nodes at mixing 0.4 Infomap recovers the planted communities better than Louvain: NMI higher by at least 0.005.",
            "5000 个节点、混合参数 0.4 时，Infomap 比 Louvain 更好地恢复植入的社区：NMI 至少高 0.005。",
            better("NMI", INFOMAP, than=LOUVAIN, by=0.005),
        ),
        Claim(
            "search-5000",
            "With 5000 nodes at mixing 0.4 the code that the search finds is no more than 0.001 bits longer than the planted one.",
            "5000 个节点、混合参数 0.4 时，搜索所得的码至多比植入社区的码长 0.001 比特。",
            lower("bits", INFOMAP, than=TRUTH, by=-0.001),
        ),
    ),
    units={"bits": "bits"},
    scope=(
        "LFR benchmark graphs of 5000 nodes, ten searches for Infomap, one for Louvain",
        "5000 个节点的 LFR 基准图，Infomap 搜索十次，Louvain 一次",
    ),
)
SPARSE = Study(
    "sparse graphs",
    recovery,
    SEARCHES,
    {"250 nodes, degree 5": LFR(250, 0.1, 5, power=3)},
    {"smoke": 2, "quick": 10, "full": 10},
    claims=(
        Claim(
            "splits-sparse",
            "On sparse graphs Infomap splits too much: at least twice as many modules as planted.",
            "在稀疏图上 Infomap 分得过细：模块数至少是植入的两倍。",
            ratio("modules", INFOMAP, over=TRUTH, at_least=2),
        ),
        Claim(
            "splits-because-shorter",
            "On sparse graphs that is what the map equation asks for: the code found is at least 0.1 bits shorter than the planted one.",
            "在稀疏图上这正是映射方程所要求的：找到的码比植入社区的码至少短 0.1 比特。",
            lower("bits", INFOMAP, than=TRUTH, by=0.1),
        ),
        Claim(
            "loses-sparse",
            "On sparse graphs Louvain recovers the planted communities better than Infomap: NMI higher by at least 0.05.",
            "在稀疏图上，Louvain 比 Infomap 更好地恢复植入的社区：NMI 至少高 0.05。",
            better("NMI", LOUVAIN, than=INFOMAP, by=0.05),
        ),
    ),
    units={"bits": "bits"},
    scope=("LFR benchmark graphs of 250 nodes, mixing 0.1", "250 个节点的 LFR 基准图，混合参数 0.1"),
    figures=(
        Dots(
            "modules",
            "Modules found and planted on sparse graphs.",
            "稀疏图上找到的与植入的模块数。",
            ("splits-sparse",),
            log=True,
        ),
    ),
)

# ---- shorter means better? ------------------------------------------------------------------------------------------


def ranking(judge: str, case: LFR, seed: int, starts: int) -> Mapping[str, Any]:
    """Rank correlation of a measure of partitions, better ones higher, with their agreement with the planted ones."""
    graph, partitions, modularities = many_partitions(case, seed, starts)
    agreement = [normalized_mutual_info_score(graph.truth, labels) for labels in partitions]
    scores = [-graph.bits(labels) for labels in partitions] if judge == "bits" else modularities
    return {"rank correlation": spearmanr(scores, agreement).statistic}


MODULARITY, CODE = "modularity", "code length"
RANKING = Study(
    "shorter and better",
    ranking,
    {MODULARITY: "modularity", CODE: "bits"},
    SMALL,
    {"full": 3},
    claims=(
        *(
            Claim(
                f"shorter-better-{case.split()[-1].replace('.', '')}",
                f"At mixing {case.split()[-1]} partitions with a shorter code are better: rank correlation with NMI at least 0.8.",
                f"混合参数为 {case.split()[-1]} 时，码越短的划分越好：与 NMI 的秩相关至少为 0.8。",
                inside("rank correlation", CODE, low=0.8),
                at=case,
            )
            for case in LOW
        ),
        Claim(
            "shorter-worse",
            "At mixing 0.5 this turns round: partitions with a shorter code are worse, with a rank correlation below 0.",
            "混合参数为 0.5 时情形反转：码越短的划分越差，秩相关低于 0。",
            inside("rank correlation", CODE, high=0.0),
            at="mixing = 0.5",
        ),
        Claim(
            "ranks-better",
            "At mixing 0.3 code length ranks partitions better than modularity: rank correlation higher by at least 0.1.",
            "混合参数为 0.3 时，码长比模块度更会排序：秩相关至少高 0.1。",
            better("rank correlation", CODE, than=MODULARITY, by=0.1),
            at="mixing = 0.3",
        ),
    ),
    scope=(
        "LFR-1000; Louvain at 7 resolutions and label propagation, 3 starts each",
        "LFR-1000；7 种分辨率的 Louvain 与标签传播，各 3 次",
    ),
    figures=(
        Lines(
            "rank correlation",
            "Rank correlation of two measures of a partition with its agreement with the planted communities.",
            "两种划分指标与同植入社区的一致程度之间的秩相关。",
            ("shorter-worse",),
        ),
    ),
)

# ---- rows of numbers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Neighbours:
    """How rows become a graph."""

    k: int
    min_sim: float
    centred: bool


@lru_cache(maxsize=1)
def digit_graph(case: Neighbours, seed: int, rows: int) -> tuple[Floats, Known]:
    """Rows drawn from the digits, and the directed graph of their nearest neighbours."""
    data: Features = read("digits")
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


def k_means(X: Floats, _graph: Known, seed: int) -> Ints:
    return np.asarray(KMeans(10, n_init=10, random_state=seed).fit_predict(X))


def on_digits(search: Search) -> Callable[[Floats, Known, int], Ints]:
    """A search of the neighbour graph, from ten starts where it takes several."""
    return lambda _, graph, seed: search(graph, seed, 10)


def digit_clusters(
    arm: Callable[[Floats, Known, int], Ints], case: Neighbours, seed: int, rows: int
) -> Mapping[str, Any]:
    """Agreement of clusters with the digits, their number, and their code length on the graph."""
    X, graph = digit_graph(case, seed, rows)
    labels = arm(X, graph, seed)
    return {
        "NMI": normalized_mutual_info_score(graph.truth, labels),
        "AMI": adjusted_mutual_info_score(graph.truth, labels),
        "modules": len(np.unique(labels)),
        "bits": graph.bits(labels),
    }


KMEANS, DIGITS = "k-means, told k = 10", "the digits themselves"
TEN, FIFTY = "10 neighbours", "50 neighbours, centred"
CLUSTERS = Study(
    "digits",
    digit_clusters,
    {
        KMEANS: k_means,
        LOUVAIN: on_digits(lambda graph, seed, _: louvain(either_way(graph), seed, 1)),
        DIGITS: on_digits(true_communities),
        INFOMAP: on_digits(infomap_labels),
    },
    {TEN: Neighbours(10, 0.6, False), FIFTY: Neighbours(50, 0.6, True)},
    {"full": 1200},
    claims=(
        Claim(
            "digits-k-means",
            "On neighbour graphs of digits Infomap, not told how many clusters, beats k-means that is: AMI higher by at least 0.01.",
            "在手写数字的近邻图上，不知簇数的 Infomap 胜过已知簇数的 k 均值：AMI 至少高 0.01。",
            better("AMI", INFOMAP, than=KMEANS, by=0.01),
        ),
        Claim(
            "digits-louvain",
            "On neighbour graphs of digits Infomap is at least as good as Louvain, up to 0.01 of AMI.",
            "在手写数字的近邻图上，Infomap 至少与 Louvain 相当，AMI 相差不超过 0.01。",
            better("AMI", INFOMAP, than=LOUVAIN, by=-0.01),
        ),
        Claim(
            "digits-splits",
            "On neighbour graphs of digits Infomap splits too much: at least twice as many modules as digits.",
            "在手写数字的近邻图上 Infomap 分得过细：模块数至少是数字个数的两倍。",
            ratio("modules", INFOMAP, over=DIGITS, at_least=2),
        ),
        Claim(
            "digits-shorter",
            "On neighbour graphs of digits its code is at least 0.1 bits shorter than that of the ten digits.",
            "在手写数字的近邻图上，它的码比十个数字的码至少短 0.1 比特。",
            lower("bits", INFOMAP, than=DIGITS, by=0.1),
        ),
    ),
    units={"bits": "bits"},
    scope=("1200 digits drawn at random, directed cosine neighbours", "随机抽取的 1200 个手写数字，有向余弦近邻"),
    figures=(
        Dots(
            "AMI",
            "Agreement of clusters with the digits.",
            "聚类与数字的一致程度。",
            ("digits-k-means", "digits-louvain"),
        ),
    ),
)


@dataclass(frozen=True, eq=False)
class Grouped:
    """Words that Infomap puts into groups of three or more: vectors, groups, and the class that each word is of."""

    vectors: Floats
    graph: Known
    groups: Ints
    classes: Ints
    share: float


@lru_cache(maxsize=1)
def word_groups(corpus: Corpus, seed: int) -> Grouped:
    """Vectors from a half of the documents drawn at random, the article's graph, and two-level modules."""
    rng, words = np.random.default_rng(seed), len(corpus.words)
    order = rng.permutation(len(corpus.documents))
    half, other = order[: len(order) // 2], order[len(order) // 2 :]
    vectors = normalize(word_vectors([corpus.documents[i] for i in half], words))
    graph = known_matrix(knn_similarity_graph(vectors, k=50, min_sim=0.6))
    groups = infomap_labels(graph, seed, 10)
    classes = word_classes(corpus, other) if corpus.word_class is None else corpus.word_class
    judged = (np.bincount(groups)[groups] >= 3) & (classes >= 0)
    links = knn_similarity_graph(vectors[judged], k=50, min_sim=0.6)
    return Grouped(vectors[judged], known_matrix(links), groups[judged], classes[judged], float(judged.mean()))


def word_classes(corpus: Corpus, documents: Ints) -> Ints:
    """The topic in whose documents a word is most frequent; −1 where it occurs less than five times."""
    assert corpus.topic is not None
    counts = np.zeros((int(corpus.topic.max()) + 1, len(corpus.words)))
    for i in documents:
        found = corpus.documents[i]
        np.add.at(counts[corpus.topic[i]], found[found >= 0], 1)
    return np.where(counts.sum(axis=0) >= 5, (counts / counts.sum(axis=1, keepdims=True)).argmax(axis=0), -1)


def purity(groups: Ints, classes: Ints) -> float:
    """Share of words whose class is the commonest of their group."""
    table = np.zeros((int(groups.max()) + 1, int(classes.max()) + 1))
    np.add.at(table, (groups, classes), 1)
    return float(table.max(axis=1).sum() / len(groups))


def word_clusters(arm: Callable[[Grouped, int], Ints], corpus: Corpus, seed: int, _: None) -> Mapping[str, Any]:
    """Purity and agreement of groups of words with the classes of the words."""
    words = word_groups(corpus, seed)
    labels = arm(words, seed)
    return {
        "purity": purity(labels, words.classes),
        "AMI": adjusted_mutual_info_score(words.classes, labels),
        "modules": len(np.unique(labels)),
        "words in groups": words.share,
    }


def k_means_words(words: Grouped, seed: int) -> Ints:
    clusters = len(np.unique(words.groups))
    return np.asarray(KMeans(clusters, n_init=3, random_state=seed).fit_predict(words.vectors))


def found_words(words: Grouped, _seed: int) -> Ints:
    return words.groups


def shuffled_words(words: Grouped, seed: int) -> Ints:
    return np.random.default_rng(seed).permutation(words.groups)


VOCABULARY = 3000


def bbc() -> Corpus:
    data: LabelledTexts = read("bbc-news")
    return english_topics(data, VOCABULARY)


def peoples_daily() -> Corpus:
    data: Texts = read("people-daily-199801")
    return chinese_tags(data, VOCABULARY)


RANDOM, KMEANS_WORDS = "random groups of the same sizes", "k-means, as many groups"
TOPICS, TAGS = "BBC news, by topic", "People's Daily, by part of speech"
WORDS = Study(
    "words",
    word_clusters,
    {
        RANDOM: shuffled_words,
        KMEANS_WORDS: k_means_words,
        LOUVAIN: lambda words, seed: louvain(either_way(words.graph), seed, 1),
        INFOMAP: found_words,
    },
    {
        TOPICS: bbc,
        TAGS: peoples_daily,
    },
    {"full": None},
    claims=(
        Claim(
            "words-clean",
            "Groups of English words are clean: the purity of their topics exceeds that of random groups of the same sizes by at least 10 points.",
            "英文词的分组是干净的：主题纯度比同样大小的随机分组至少高 10 个百分点。",
            better("purity", INFOMAP, than=RANDOM, by=0.1),
            at=TOPICS,
        ),
        Claim(
            "words-tags",
            "Groups of Chinese words follow parts of speech as well: purity exceeds that of random groups of the same sizes by at least 10 points.",
            "中文词的分组也与词性相符：纯度比同样大小的随机分组至少高 10 个百分点。",
            better("purity", INFOMAP, than=RANDOM, by=0.1),
            at=TAGS,
        ),
        Claim(
            "words-k-means",
            "Groups of words are cleaner than those of k-means with as many groups: purity higher by at least 1 point.",
            "词的分组比组数相同的 k 均值更干净：纯度至少高 1 个百分点。",
            better("purity", INFOMAP, than=KMEANS_WORDS, by=0.01),
        ),
    ),
    units={"purity": "%", "words in groups": "%"},
    scope=(
        "3000 frequent words, vectors from a random half of the documents, words in groups of three or more",
        "3000 个高频词，词向量来自随机一半的文档，只计三个词以上的组",
    ),
    figures=(Dots("purity", "Purity of groups of words.", "词的分组的纯度。", ("words-clean", "words-k-means")),),
)
# ---- real graphs, and yours -----------------------------------------------------------------------------------------


def on_graph(search: Search, case: Edges, seed: int, starts: int) -> Mapping[str, Any]:
    """Code length against trivial partitions, and agreement with known groups where there are some."""
    graph = known(case)
    labels = search(graph, 0, starts)
    bits = graph.bits(labels)
    trivial = [one_module(graph, 0, 0), np.arange(graph.n), *([] if graph.truth is None else [graph.truth])]
    found = {
        "bits": bits,
        "bits above the trivial": bits - min(graph.bits(other) for other in trivial),
        "modules": len(np.unique(labels)),
    }
    if graph.truth is None:
        return found
    return {
        **found,
        "NMI": normalized_mutual_info_score(graph.truth, labels),
        "AMI": adjusted_mutual_info_score(graph.truth, labels),
    }


WITH_GROUPS = {
    "football": ("football conferences", "橄榄球分区"),
    "polbooks": ("the leaning of political books", "政治书籍的倾向"),
    "polblogs": ("the two camps of political blogs", "政治博客的两个阵营"),
    "karate club": ("the two halves of the karate club", "空手道俱乐部的两半"),
}
REAL = Study(
    "real graphs",
    on_graph,
    {ONE: one_module, LOUVAIN: louvain, PROPAGATION: label_propagation, INFOMAP: infomap_labels},
    {
        "karate club": lambda: read("karate"),
        "les misérables": lambda: read("lesmis"),
        "football": lambda: read("football"),
        "polbooks": lambda: read("polbooks"),
        "polblogs": lambda: read("polblogs"),
    },
    {"quick": 3, "full": 10},
    claims=(
        Claim(
            "never-above",
            "The code found is never longer than that of one module, of single nodes, or of the known groups.",
            "找到的码绝不长于单一模块、单个节点或已知分组的码。",
            inside("bits above the trivial", INFOMAP, high=1e-9),
        ),
        Claim(
            "has-modules",
            "The graph has communities: telling them shortens the code by at least 0.1 bits against one module.",
            "图有社区：利用社区，码长比单一模块至少短 0.1 比特。",
            lower("bits", INFOMAP, than=ONE, by=0.1),
        ),
        Claim(
            "shorter-than-louvain",
            "The code found is at least 0.01 bits shorter than that of Louvain's communities.",
            "找到的码比 Louvain 所得社区的码至少短 0.01 比特。",
            lower("bits", INFOMAP, than=LOUVAIN, by=0.01),
        ),
        *(
            Claim(
                f"groups-{name.split()[0]}",
                f"Infomap agrees with {en} at least as well as Louvain: AMI higher, or lower by at most 0.02.",
                f"Infomap 与{zh}的吻合不亚于 Louvain：AMI 更高，或至多低 0.02。",
                better("AMI", INFOMAP, than=LOUVAIN, by=-0.02),
                at=name,
            )
            for name, (en, zh) in WITH_GROUPS.items()
        ),
    ),
    varies="nothing",
    accepts="edges",
    units={"bits": "bits"},
    scope=("the best of ten starts with fixed seeds, each by its own measure", "固定种子的十次搜索，各按自己的指标取最优"),
    figures=(
        Dots("AMI", "Agreement with the known groups.", "与已知分组的一致程度。",
             ("groups-football", "groups-polblogs"), cases=tuple(WITH_GROUPS)),
    ),
)  # fmt: skip

# ---- seconds --------------------------------------------------------------------------------------------------------


def seconds(arm: Callable[[Known, Any], Any], edges: int, seed: int, _: None) -> Mapping[str, Any]:
    """Seconds of a search on a graph with planted groups, building of the graph excluded for networkx alone."""
    graph = planted(edges, seed)
    held = graph.networkx if arm is propagate else None
    return {"seconds": best_of(lambda: arm(graph, held), 1)}


def propagate(graph: Known, held: Any) -> Any:
    return list(nx.community.fast_label_propagation_communities(held, seed=0))


def searches(graph: Known, _held: Any, trials: int) -> Any:
    return InfomapClustering("precomputed", n_trials=trials).fit(graph.edges)


ONE_TRIAL, TEN_TRIALS = "Infomap, one search", "Infomap, ten searches"
SECONDS = Study(
    "seconds",
    seconds,
    {PROPAGATION: propagate, ONE_TRIAL: partial(searches, trials=1), TEN_TRIALS: partial(searches, trials=10)},
    {"25 000 edges": 25_000, "100 000 edges": 100_000, "400 000 edges": 400_000},
    {"full": None},
    claims=(
        Claim(
            "five-seconds",
            "A graph of 10 000 nodes and 100 000 edges takes less than 5 seconds, ten searches included.",
            "10 000 个节点、100 000 条边的图，十次搜索也用不了 5 秒。",
            (inside("seconds", ONE_TRIAL, high=5), inside("seconds", TEN_TRIALS, high=5)),
            at="100 000 edges",
        ),
        Claim(
            "nearly-linear",
            "From 25 000 to 400 000 edges the time of a search grows no faster than their number to the power 1.3.",
            "从 25 000 到 400 000 条边，搜索时间的增长不快于边数的 1.3 次方。",
            exponent("seconds", ONE_TRIAL, high=1.3),
        ),
    ),
    alone=True,
    seeds={"full": 5},
    units={"seconds": "s"},
    scope=("planted groups of 100 nodes, compiled beforehand, one thread", "植入 100 节点的组，事先编译，单线程"),
    figures=(
        Lines("seconds", "Seconds of a search along the number of edges.", "搜索用时随边数的变化。", ("nearly-linear",),
              log=(True, True)),
    ),
)  # fmt: skip

EXPERIMENT = Experiment(
    __doc__,
    (KNOWN_VALUES, FLOW, OPTIMA, TRIANGLES, LEVELS, PLANTED, OTHERS, LARGER, SPARSE, RANKING, CLUSTERS, WORDS, REAL, SECONDS),
    packages=("numba", "networkx"),
    zh={
        MAP: "映射方程", ONE: "单一模块", TRUTH: "植入的社区", INFOMAP: "Infomap", LOUVAIN: "Louvain",
        PROPAGATION: "标签传播", RECORDED: "记录，跳到节点（原文）", TO_LINKS: "记录，跳到边",
        DEFAULT: "不记录，跳到边（参考程序）", TO_NODES: "不记录，跳到节点", TWO_LEVEL: "两层", TREE: "树",
        MODULARITY: "模块度", CODE: "码长", KMEANS: "k 均值，已知 k = 10", DIGITS: "数字本身",
        RANDOM: "同样大小的随机分组", KMEANS_WORDS: "k 均值，组数相同",
        ONE_TRIAL: "Infomap，一次搜索", TEN_TRIALS: "Infomap，十次搜索",
        "two triangles": "两个三角形", "Markov time": "Markov 时间", "karate": "空手道俱乐部", "self-loops": "自环",
        "trees": "树", "six nodes": "六个节点", "les misérables": "悲惨世界", "ring of cliques": "团的环",
        "Florentine families": "佛罗伦萨家族", "barbell": "哑铃图", "Petersen graph": "Petersen 图",
        "27 nodes": "27 个节点", "81 nodes": "81 个节点", "loose groups": "松散的组", "tight groups": "紧密的组",
        **{name: f"混合参数 = {name.split()[-1]}" for name in SMALL},
        "250 nodes, degree 5": "250 个节点，度 5", TEN: "10 个近邻", FIFTY: "50 个近邻，中心化",
        TOPICS: "BBC 新闻，按主题", TAGS: "人民日报，按词性",
        "karate club": "空手道俱乐部", "football": "美式橄榄球", "polbooks": "政治书籍", "polblogs": "政治博客",
        "25 000 edges": "25 000 条边", "100 000 edges": "100 000 条边", "400 000 edges": "400 000 条边",
        "error in bits": "误差（比特）", "bits": "比特", "bits above the best": "超出最优的比特",
        "bits above the trivial": "超出平凡划分的比特", "modules": "模块数", "real mixing": "实际混合比例",
        "rank correlation": "秩相关", "purity": "纯度", "words in groups": "成组的词", "seconds": "秒",
        "known values": "已知的值", "flow conventions": "流的约定", "best codes known": "已知最短的码",
        "recursive triangles": "三角形套三角形", "groups of groups": "组中组", "planted communities": "植入的社区",
        "other mixings": "其他混合参数", "5000 nodes": "5000 个节点", "sparse graphs": "稀疏图", "shorter and better": "更短与更好", "digits": "手写数字",
        "words": "词", "real graphs": "真实的图",
    },
)  # fmt: skip
