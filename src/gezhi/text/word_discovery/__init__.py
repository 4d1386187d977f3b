"""Word discovery: a dictionary from raw text, by how solidly its n-grams hold together."""

from gezhi.text.word_discovery.estimator import SlowDiscoveryWarning, WordDiscovery

__all__ = ["SlowDiscoveryWarning", "WordDiscovery"]
