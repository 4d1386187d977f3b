"""The map equation and its flows written as loops over the formulas, and graphs that the tests share."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

TRIANGLES = ([0, 1, 0, 3, 4, 3, 2], [1, 2, 2, 4, 5, 5, 3])
DIRECTED = ([0, 1, 2, 2, 3, 4, 5, 5, 1], [1, 2, 0, 3, 4, 5, 3, 0, 0], [2, 1, 3, 1, 2, 1, 1, 0.5, 1])
LOOPS = ([0, 0, 1, 2, 2, 1], [0, 1, 2, 2, 3, 3], [2, 1, 1, 0.5, 1, 1])
CONVENTIONS = [
    {"directed": False},
    {"directed": True, "recorded": True, "teleport_to": "nodes"},
    {"directed": True, "recorded": True, "teleport_to": "links"},
    {"directed": True, "recorded": False, "teleport_to": "links"},
    {"directed": True, "recorded": False, "teleport_to": "nodes"},
]
DIRECTED_CONVENTIONS = CONVENTIONS[1:]


def convention_name(settings):
    if not settings["directed"]:
        return "undirected"
    return f"{'recorded' if settings['recorded'] else 'unrecorded'}-{settings['teleport_to']}"


def recursive_triangles():
    """27 nodes in triangles of triangles of triangles."""
    edges = []
    for k in range(3):
        step = sum(3**i for i in range(k))
        for base in range(0, 27, 3 ** (k + 1)):
            for a in range(3):
                for b in range(a):
                    edges.append((base + a * 3**k + b * step, base + b * 3**k + a * step))
    return tuple(np.array(edges).T)


def random_edges(seed, n=9, edges=24, isolated=1):
    """Weighted edges with parallel ones, self-loops, dangling and isolated nodes."""
    rng = np.random.default_rng(seed)
    source, target = rng.integers(0, n - 2, edges), rng.integers(0, n, edges)
    return source, target, rng.random(edges).round(3) + 0.1, n + isolated


def planted(seed, groups=6, size=12, inside=0.5, between=0.02):
    """Edges of a graph with planted groups."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), size)
    chance = np.where(group[:, None] == group, inside, between)
    return (*np.nonzero(np.triu(rng.random(chance.shape) < chance, 1)), None, len(group))


def nested(seed):
    """96 nodes in three levels: 4 × 4 × 6."""
    rng = np.random.default_rng(seed)
    fine, coarse = np.repeat(np.arange(16), 6), np.repeat(np.arange(4), 24)
    chance = np.where(fine[:, None] == fine, 0.8, np.where(coarse[:, None] == coarse, 0.08, 0.005))
    return (*np.nonzero(np.triu(rng.random(chance.shape) < chance, 1)), None, 96)


def plogp(x):
    return x * math.log2(x) if x > 0 else 0.0


def reference_flow(graph, directed=False, recorded=False, teleport_to="links", teleportation=0.15, markov_time=1.0):
    """Visit rates and the n × n flow over links and recorded jumps, by the definitions."""
    source, target, weight, n = (*graph, *(None,) * (4 - len(graph)))
    n = n or max(*source, *target) + 1
    weight = [1.0] * len(source) if weight is None else weight
    w = np.zeros((n, n))
    for a, b, x in zip(source, target, weight, strict=True):
        w[a, b] += x
        if not directed and a != b:
            w[b, a] += x
    if not directed:
        p = [sum(w[a]) / w.sum() for a in range(n)]
        return np.array(p), without_diagonal(w / w.sum() * markov_time)
    tau, out = teleportation, w.sum(axis=1)
    share = (w.sum(axis=0) if recorded else out) if teleport_to == "links" else np.ones(n)
    v = share / share.sum()
    steps = np.array([[w[a, b] / out[a] if out[a] else 0.0 for b in range(n)] for a in range(n)])
    dangling = [float(out[a] == 0) for a in range(n)]
    pi = np.linalg.solve(np.eye(n) - (1 - tau) * (steps.T + np.outer(v, dangling)), tau * v)
    if not recorded:
        f = pi[:, None] * steps
        f /= f.sum()
        return f.sum(axis=0), without_diagonal(f * markov_time)
    jump = np.zeros((n, n))
    for a in range(n):
        for b in range(n):
            jump[a, b] = (tau * pi[a] + (1 - tau) * pi[a] * dangling[a]) * v[b]
    return pi, without_diagonal((1 - tau) * pi[:, None] * steps * markov_time + jump)


def without_diagonal(f):
    return f * (1 - np.eye(len(f)))


def reference_code(p, f, paths):
    """Equation (4) over all modules of a tree; a label stands for a path of one step."""
    paths = [path if isinstance(path, tuple) else (path,) for path in paths]
    members = defaultdict(list)
    for a, path in enumerate(paths):
        for depth in range(len(path) + 1):
            members[path[:depth]].append(a)
    inside = {m: set(nodes) for m, nodes in members.items()}
    out = {m: sum(f[a, b] for a in inside[m] for b in range(len(p)) if b not in inside[m]) for m in members}
    into = {m: sum(f[a, b] for a in range(len(p)) if a not in inside[m] for b in inside[m]) for m in members}
    index = module = 0.0
    for m in members:
        children = [c for c in members if len(c) == len(m) + 1 and c[: len(m)] == m]
        if children:
            index += (
                plogp(out[m] + sum(into[c] for c in children)) - plogp(out[m]) - sum(plogp(into[c]) for c in children)
            )
        else:
            rate = sum(p[a] for a in members[m])
            module += plogp(out[m] + rate) - plogp(out[m]) - sum(plogp(p[a]) for a in members[m])
    return index + module, index, module


def two_level_code(p, f, labels):
    """Equation (1), literally."""
    modules = {i: [a for a in range(len(p)) if labels[a] == i] for i in set(labels)}
    total, q = 0.0, 0.0
    for nodes in modules.values():
        out = sum(f[a, b] for a in nodes for b in range(len(p)) if b not in nodes)
        into = sum(f[a, b] for a in range(len(p)) if a not in nodes for b in nodes)
        total += plogp(out + sum(p[a] for a in nodes)) - plogp(out) - plogp(into)
        q += into
    return plogp(q) + total - sum(map(plogp, p))
