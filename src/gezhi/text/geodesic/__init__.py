"""Geodesic distance: what is far is measured along what lies between."""

from gezhi.text.geodesic.estimator import DisconnectedGraphError, GeodesicDistance, NeighborGraphWarning
from gezhi.text.geodesic.ranking import GeodesicSummarizer, Ranking, Summary, rank_by_topic

__all__ = [
    "DisconnectedGraphError",
    "GeodesicDistance",
    "GeodesicSummarizer",
    "NeighborGraphWarning",
    "Ranking",
    "Summary",
    "rank_by_topic",
]
