"""Flow on graphs and the communities it shows."""

from gezhi.graph.infomap import Codelength as Codelength
from gezhi.graph.infomap import InfomapClustering as InfomapClustering
from gezhi.graph.infomap import infomap_communities as infomap_communities
from gezhi.graph.infomap import knn_similarity_graph as knn_similarity_graph
from gezhi.graph.infomap import map_equation as map_equation
