"""Sets that gezhi's own dependencies, or Python itself, bring along: always there."""

from __future__ import annotations

import importlib

import numpy as np

from gezhi.data.kinds import Edges, Features, Texts


def scikit_learn(name: str) -> Features:
    """One of scikit-learn's classification tables."""
    data = getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")()
    X, y = np.asarray(data.data, dtype=np.float64), np.asarray(data.target, dtype=np.int64)
    return Features(X, y, tuple(map(str, data.target_names)), tuple(map(str, data.feature_names)), name)


def python_documentation(name: str) -> Texts:
    """The topics of Python's own `help()`, in alphabetical order of their names."""
    topics = importlib.import_module("pydoc_data.topics").topics
    return Texts(tuple(topics[topic] for topic in sorted(topics)), name)


def karate(name: str) -> Edges:
    """Zachary's karate club without weights, as the literature on communities uses it; the groups are the two clubs."""
    graph = importlib.import_module("networkx").karate_club_graph()
    source, target = np.array(graph.edges, dtype=np.int64).T
    clubs = np.array([club != "Mr. Hi" for _, club in graph.nodes(data="club")], dtype=np.int64)
    return Edges(source, target, np.ones(len(source)), False, tuple(map(str, graph.nodes)), name, clubs)
