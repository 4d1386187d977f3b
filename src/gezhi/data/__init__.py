"""Where data come from: one loader a data kind, one table of offline sources."""

from gezhi.data.encoding import encoder as encoder
from gezhi.data.errors import DataError as DataError
from gezhi.data.errors import DataUnavailable as DataUnavailable
from gezhi.data.errors import DataWarning as DataWarning
from gezhi.data.kinds import KINDS as KINDS
from gezhi.data.kinds import Edges as Edges
from gezhi.data.kinds import Features as Features
from gezhi.data.kinds import Images as Images
from gezhi.data.kinds import Kind as Kind
from gezhi.data.kinds import LabelledTexts as LabelledTexts
from gezhi.data.kinds import Pairs as Pairs
from gezhi.data.kinds import Probabilities as Probabilities
from gezhi.data.kinds import Texts as Texts
from gezhi.data.loading import load as load
from gezhi.data.offline.cache import available as available
from gezhi.data.offline.cache import cache_folder as cache_folder
from gezhi.data.offline.cache import describe as describe
from gezhi.data.offline.cache import read as read
from gezhi.data.offline.catalogue import Source as Source
from gezhi.data.offline.catalogue import sources as sources
from gezhi.data.offline.download import fetch as fetch
from gezhi.data.offline.models import from_hub as from_hub
