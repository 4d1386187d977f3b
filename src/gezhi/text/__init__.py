"""Words, and distances between texts."""

from gezhi.text.word_discovery import SlowDiscoveryWarning as SlowDiscoveryWarning
from gezhi.text.word_discovery import WordDiscovery as WordDiscovery
