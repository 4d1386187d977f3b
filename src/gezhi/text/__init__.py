"""Words, and distances between texts."""

from gezhi.text.geodesic import DisconnectedGraphError as DisconnectedGraphError
from gezhi.text.geodesic import GeodesicDistance as GeodesicDistance
from gezhi.text.geodesic import GeodesicSummarizer as GeodesicSummarizer
from gezhi.text.geodesic import NeighborGraphWarning as NeighborGraphWarning
from gezhi.text.geodesic import rank_by_topic as rank_by_topic
from gezhi.text.word_discovery import SlowDiscoveryWarning as SlowDiscoveryWarning
from gezhi.text.word_discovery import WordDiscovery as WordDiscovery
from gezhi.text.word_mover import WordMoverIndex as WordMoverIndex
from gezhi.text.word_mover import emd as emd
from gezhi.text.word_mover import word_movers_distance as word_movers_distance
from gezhi.text.word_mover import word_rotators_distance as word_rotators_distance
