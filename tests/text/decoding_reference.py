"""Decoding by the definitions, in Python numbers."""

from __future__ import annotations

import math


def softmax(row):
    top = max(row)
    mass = [math.exp(v - top) for v in row]
    return [m / sum(mass) for m in mass]


def truncated(p, kept):
    total = sum(p[v] for v in kept)
    return [p[v] / total if v in kept else 0.0 for v in range(len(p))]


def by_probability(p):
    return sorted(range(len(p)), key=lambda v: (-p[v], v))


def top_k(p, k, eos=()):
    return truncated(p, {*by_probability(p)[:k], *eos})


def top_p(p, mass, eos=(), least=1):
    kept, total = set(), 0.0
    for place, v in enumerate(by_probability(p)):
        if total >= mass and place >= least:
            break
        kept.add(v)
        total += p[v]
    return truncated(p, kept | set(eos))


def floor(p, t, epsilon, eos):
    f = 1 - (1 - epsilon) ** (t + 1)
    return [(1 - f) * q + f * (p[v] / sum(p[e] for e in eos) if v in eos else 0) for v, q in enumerate(p)]


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def joined(z, eos, p_eos):
    rest = softmax([v for i, v in enumerate(z) if i != eos])
    words = iter((1 - p_eos) * q for q in rest)
    return [p_eos if i == eos else next(words) for i in range(len(z))]


def self_terminating(logits, eos, epsilon):
    survival, rows = 1.0, []
    for z in logits:
        survival *= (1 - epsilon) * sigmoid(z[eos])
        rows.append(joined(z, eos, 1 - survival))
    return rows


def non_monotonic(logits, eos, epsilon):
    rows = []
    for t, z in enumerate(logits, start=1):
        stop = sigmoid(z[eos])
        rows.append(joined(z, eos, (1 - stop) * (1 - (1 - epsilon) ** t) + stop))
    return rows


def beam_search(table, first, beams, eos, steps, alpha, early_stopping):
    """`table[t][a][b]`: log-probability of b after a at step t. Finished hypotheses as (score, log-probability, tokens), best first."""
    running, pool = [(0.0, (first,))], []
    for t in range(1, steps + 1):
        candidates = [
            (s + lp, (*y, v)) for s, y in running for v, lp in enumerate(table[t - 1][y[-1]]) if lp > -math.inf
        ]
        candidates.sort(key=lambda c: -c[0])
        over = [c for c in candidates[:beams] if c[1][-1] in eos or t == steps]
        pool = sorted(pool + [(s / t**alpha, s, y[1:]) for s, y in over], key=lambda h: -h[0])[:beams]
        running = [c for c in candidates if c[1][-1] not in eos][:beams]
        if not running:
            break
        if len(pool) == beams:
            longest = steps if early_stopping == "never" and alpha > 0 else t
            if early_stopping is True or running[0][0] / longest**alpha <= pool[-1][0]:
                break
    return pool
