"""The two-level search: core loop, aggregation, tuning, and trials that learn from each other. Compiled; in nats."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gezhi._jit import compiled
from gezhi.graph.infomap.costs import (
    COST,
    MEMBERS,
    changed,
    least_change,
    module_states,
    move,
    plogp,
    total_entering,
)
from gezhi.graph.infomap.networks import RATE, Ints, Network, Places, aggregate, compact, cut, overlay, single

HALF = 2**30  # of the range of the Lehmer generator
GAIN, TIE = 1e-10 * math.log(2), 1e-12 * math.log(2)
PASSES, KICKS = 20, 3


class Best(NamedTuple):
    """The shortest code so far, its partition, and how many trials have found it."""

    length: float
    label: Places
    found: int


@compiled
def code(net: Network, label: Places) -> float:
    """The code of a partition without the terms that no partition changes."""
    state = module_states(net, label)
    total = plogp(net.leave + total_entering(net, state)) - plogp(net.leave)
    for i in range(len(label)):
        total += state[i, COST]
    return total  # (1)


@compiled
def shuffled(n: int, draw: Ints) -> Places:
    """A random order of 0 … n − 1; `draw` holds the state of a Lehmer generator, the same in Python and compiled."""
    order = np.empty(n, np.int32)
    seed = draw[0]
    for a in range(n):
        seed = seed * 48271 % 2147483647
        b = seed % (a + 1)
        order[a] = order[b]
        order[b] = a
    draw[0] = seed
    return order


@compiled
def core_loop(net: Network, label: Places, draw: Ints, passes: int) -> float:
    """Move nodes one by one to where the code gets shortest, in place; the nats gained.

    Nodes wait in a queue, at first in random order; a node that moves sends its neighbours there again. At most
    `passes` · n nodes are visited.
    """
    n, node = len(label), net.node
    state = module_states(net, label)
    q, gain = total_entering(net, state), 0.0
    queue, waiting, flow = shuffled(n, draw), np.ones(n, np.bool_), np.zeros(n)
    touched, empty, empties = np.empty(n + 2, np.int32), np.empty(n, np.int32), 0
    for i in range(n - 1, -1, -1):
        if state[i, MEMBERS] == 0.0:
            empty[empties] = i
            empties += 1
    head, left, visits = 0, n, 0
    while left > 0 and visits < passes * n:
        a = queue[head]
        head = head + 1 if head + 1 < n else 0
        waiting[a] = False
        left -= 1
        visits += 1
        count, old = 0, label[a]
        for e in range(net.start[a], net.start[a + 1]):
            j = label[net.target[e]]
            touched[count] = j
            count += flow[j] == 0.0  # without a branch: it could not be predicted
            flow[j] += net.weight[e]
        neighbours = count
        if empties > 0 and state[old, MEMBERS] > 1.0:
            touched[count] = empty[empties - 1]
            count += 1
        cost_old, q_old = changed(state, node, a, old, -1.0, flow[old], net.teleport, net.free)
        new, delta, of_q, now, slope = old, -GAIN, 0.0, 0.0, 0.0
        if net.leave + q > 0.0:
            log_q = math.log(net.leave + q)
            now, slope = (net.leave + q) * log_q, log_q + 1.0
        least_old = cost_old + q_old * slope - TIE
        for at in range(count):
            j = touched[at]
            if j != old and least_old + least_change(state, node, a, j, flow[j], slope) < delta:
                cost_new, q_new = changed(state, node, a, j, 1.0, flow[j], net.teleport, net.free)
                change = plogp(net.leave + q + q_old + q_new) - now + cost_old + cost_new  # (5)
                if change < delta - TIE or (change < delta + TIE and j < new):
                    new, delta, of_q = j, change, q_old + q_new
        if new != old:
            if state[new, MEMBERS] == 0.0:
                empties -= 1
            move(state, node, a, old, -1.0, flow[old], net.teleport, net.free)
            move(state, node, a, new, 1.0, flow[new], net.teleport, net.free)
            if state[old, MEMBERS] == 0.0:
                empty[empties] = old
                empties += 1
            label[a] = new
            gain -= delta
            q += of_q
            for e in range(net.start[a], net.start[a + 1]):
                b = net.target[e]
                if not waiting[b] and label[b] != new:
                    waiting[b] = True
                    queue[head + left if head + left < n else head + left - n] = b
                    left += 1
        for at in range(neighbours):
            flow[touched[at]] = 0.0
    return gain


@compiled
def descend(net: Network, label: Places, draw: Ints, passes: int) -> float:
    """Core loop, aggregation of the modules into nodes, and again until nothing merges; the nats gained."""
    level, place = net, label.copy()
    for a in range(len(label)):
        label[a] = a
    gain = 0.0
    while True:
        gain += core_loop(level, place, draw, passes)
        passes = PASSES
        nodes = len(place)
        k = compact(place)
        for a in range(len(label)):
            label[a] = place[label[a]]
        if k == nodes:
            return gain
        level = aggregate(level, place, k)
        place = single(k)


@compiled
def tune_coarsely(net: Network, label: Places, draw: Ints) -> float:
    """Cut each module into sub-modules, then move these between modules; the nats gained."""
    part = single(len(label))
    descend(cut(net, label), part, draw, 1)
    parts = compact(part)
    place = np.empty(parts, np.int32)
    for a in range(len(label)):
        place[part[a]] = label[a]
    gain = descend(aggregate(net, part, parts), place, draw, PASSES)
    for a in range(len(label)):
        label[a] = place[part[a]]
    return gain


@compiled
def alternate(net: Network, label: Places, draw: Ints, tolerance: float) -> None:
    """Coarse and fine tuning in turn, in place, until one of them gains too little."""
    coarse, gain = True, math.inf
    while gain > tolerance:
        gain = tune_coarsely(net, label, draw) if coarse else descend(net, label, draw, PASSES)
        coarse = not coarse


@compiled
def tune(net: Network, label: Places, draw: Ints, tolerance: float) -> None:
    """Fine tuning of modules of any origin, then both kinds in turn."""
    descend(net, label, draw, PASSES)
    alternate(net, label, draw, tolerance)


@compiled
def started(net: Network, draw: Ints) -> Places:
    """The first half of a trial: modules from single nodes, fine tuning.

    The first core loop makes one pass: run to its end, it leads most trials into the same few minima.
    """
    label = single(len(net.node))
    descend(net, label, draw, 1)
    descend(net, label, draw, PASSES)
    return label


@compiled
def search(net: Network, seed: int, tolerance: float) -> Places:
    """A whole trial: its first half, then coarse and fine tuning in turn."""
    draw = np.array([seed])
    label = started(net, draw)
    alternate(net, label, draw, tolerance)
    return label


@compiled
def halves(net: Network, seed: int, tolerance: float) -> tuple[Places, Places]:
    """A trial after its first half, and at its end."""
    draw = np.array([seed])
    label = started(net, draw)
    half = label.copy()
    alternate(net, label, draw, tolerance)
    return half, label


@compiled
def one_module(net: Network) -> Places:
    """One module for all, except nodes that no flow touches, which stay alone."""
    label, first = single(len(net.node)), -1
    for a in range(len(label)):
        if net.start[a] < net.start[a + 1] or net.node[a, RATE] > 0.0:
            first = a if first < 0 else first
            label[a] = first
    compact(label)
    return label


@compiled
def mixed(net: Network, label: Places, other: Places, draw: Ints) -> Places:
    """From a partition on, move whole parts on which it agrees with another one: never longer than the first."""
    part, k = overlay(label, other)
    place, result = np.empty(k, np.int32), np.empty(len(label), np.int32)
    for a in range(len(label)):
        place[part[a]] = label[a]
    descend(aggregate(net, part, k), place, draw, PASSES)
    for a in range(len(label)):
        result[a] = place[part[a]]
    return result


@compiled
def kicked(label: Places, draw: Ints) -> Places:
    """Half of the nodes, by chance, in modules of their own."""
    n, seed = len(label), draw[0]
    first, result = np.full(n, -1, np.int32), np.empty(n, np.int32)
    for a in range(n):
        seed = seed * 48271 % 2147483647
        if seed > HALF:
            result[a] = a
        else:
            if first[label[a]] < 0:
                first[label[a]] = a
            result[a] = first[label[a]]
    draw[0] = seed
    return result


@compiled
def joined(net: Network, so_far: Best, label: Places, seed: int, tolerance: float) -> Best:
    """The best so far after one more trial.

    A best that two trials have found is left alone. Else it is mixed with what the trial found, and then kicked and
    tuned some times, each outcome being mixed with the best as well.
    """
    shortest, best, found = so_far
    length, draw = code(net, label), np.array([seed])
    if abs(length - shortest) <= GAIN:
        return Best(shortest, best, found + 1)
    if length < shortest:
        shortest, best, label, found = length, label, best, 1
    for attempt in range(1 + 2 * KICKS if found < 2 else 0):
        if attempt % 2 == 1:
            label = kicked(best, draw)
            tune(net, label, draw, tolerance)
        else:
            label = mixed(net, best, label, draw)
        length = code(net, label)
        if length < shortest - GAIN:
            shortest, best, label = length, label, best
    return Best(shortest, best, found)


@compiled
def is_found(net: Network, so_far: Best, label: Places) -> bool:
    """Whether a partition is as long as the best so far."""
    return abs(code(net, label) - so_far.length) <= GAIN


@compiled
def first_of(net: Network, label: Places) -> Best:
    """The first trial, or one module if that is no longer."""
    best = one_module(net)
    shortest, length = code(net, best), code(net, label)
    return Best(length, label, 1) if length < shortest - GAIN else Best(shortest, best, 1)


@compiled
def best_of(net: Network, seeds: Ints, tolerance: float) -> Best:
    """The shortest code of a trial per seed, each of which takes up the best so far, and of one module.

    A trial whose first half has come to the best so far ends there.
    """
    best = first_of(net, search(net, seeds[0], tolerance))
    for seed in seeds[1:]:
        draw = np.array([seed])
        label = started(net, draw)
        if not is_found(net, best, label):
            alternate(net, label, draw, tolerance)
        best = joined(net, best, label, seed, tolerance)
    return best
