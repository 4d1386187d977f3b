r"""Infomap: communities are what lets the path of a random walker be told in the fewest bits.

Title: Infomap: the map equation | Infomap：映射方程
Also: InfoMap, map equation, 7006
Tags: graph, clustering, unsupervised, information
Articles: 最小熵原理(五):"层层递进"之社区发现与聚类
Page: docs/methods/infomap.md
Notation: $p_\alpha$ = visit rate of a node, $f_{\alpha\beta}$ = flow over a link, $q_i$ = flow across the border of
    module i, $P_i$ = sum of $p$ over module i, $\tau$ = `teleportation`, $v$ = where teleports land,
    $t$ = `markov_time`.
"""

from gezhi.graph.infomap.communities import infomap_communities
from gezhi.graph.infomap.equation import Codelength, map_equation
from gezhi.graph.infomap.estimator import InfomapClustering
from gezhi.graph.infomap.neighbors import knn_similarity_graph

__all__ = ["Codelength", "InfomapClustering", "infomap_communities", "knn_similarity_graph", "map_equation"]
