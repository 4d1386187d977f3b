"""The network that the search moves nodes on, and how it shrinks to modules or to a part. Compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gezhi._jit import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Places = NDArray[np.int32]

RATE, OUT, INTO, SENT, LANDING, SIZE = 0, 1, 2, 3, 4, 5


class Network(NamedTuple):
    """Nodes (single ones or whole modules) and the flow between them.

    A node that changes its module changes the exit and the entry flow of both by the same amount, so only the sum of
    the two directions of a link is kept, and directed graphs cost no more than undirected ones.

    Attributes:
        start, target, weight: compressed rows; `weight` = flow from a to b plus flow from b to a, > 0, a ≠ b.
        node: (n, 6): code rate, link flow out, link flow in (the flow across the border of the whole network
            included), teleports sent, share of teleports landing, and how many nodes of the first level it holds.
        teleport: all recorded teleports, wherever they start.
        leave: exit rate of the module that is this network (0 for the root).
        free: whether a module that holds one node of the first level has no codebook.
    """

    start: Ints
    target: Places
    weight: Floats
    node: Floats
    teleport: float
    leave: float
    free: bool


@compiled
def single(n: int) -> Places:
    """Labels that put every node into a module of its own."""
    return np.arange(n).astype(np.int32)


@compiled
def compact(label: Places) -> int:
    """Renumber labels 0 … k − 1 by first appearance, in place; k."""
    number = np.full(len(label), -1, np.int32)
    k = 0
    for a in range(len(label)):
        if number[label[a]] < 0:
            number[label[a]] = k
            k += 1
        label[a] = number[label[a]]
    return k


@compiled
def grouped(label: Places, k: int) -> tuple[Ints, Places]:
    """Nodes sorted by label (a counting sort), and where each label starts."""
    first = np.zeros(k + 1, np.int64)
    for a in range(len(label)):
        first[label[a] + 1] += 1
    for i in range(k):
        first[i + 1] += first[i]
    place = first[:-1].copy()
    member = np.empty(len(label), np.int32)
    for a in range(len(label)):
        member[place[label[a]]] = a
        place[label[a]] += 1
    return first, member


@compiled
def overlay(label: Places, other: Places) -> tuple[Places, int]:
    """The parts on which two partitions agree, numbered 0 … k − 1, and k."""
    first, member = grouped(label, label.max() + 1)
    seen, number = np.full(other.max() + 1, -1, np.int32), np.empty(other.max() + 1, np.int32)
    part, k = np.empty(len(label), np.int32), 0
    for i in range(len(first) - 1):
        for at in range(first[i], first[i + 1]):
            j = other[member[at]]
            if seen[j] != i:
                seen[j] = i
                number[j] = k
                k += 1
            part[member[at]] = number[j]
    return part, k


@compiled
def aggregate(net: Network, label: Places, k: int) -> Network:
    """The network whose nodes are the modules 0 … k − 1."""
    first, member = grouped(label, k)
    start, node = np.zeros(k + 1, np.int64), np.zeros((k, 6))
    target, weight = np.empty(len(net.target), np.int32), np.empty(len(net.target))
    flow, end = np.zeros(k), 0
    for i in range(k):
        inner = 0.0
        for at in range(first[i], first[i + 1]):
            a = member[at]
            for column in range(6):
                node[i, column] += net.node[a, column]
            for e in range(net.start[a], net.start[a + 1]):
                j = label[net.target[e]]
                if j == i:
                    inner += 0.5 * net.weight[e]
                else:
                    if flow[j] == 0.0:
                        target[end] = j
                        end += 1
                    flow[j] += net.weight[e]
        for e in range(start[i], end):
            weight[e] = flow[target[e]]
            flow[target[e]] = 0.0
        node[i, OUT] = max(node[i, OUT] - inner, 0.0)
        node[i, INTO] = max(node[i, INTO] - inner, 0.0)
        start[i + 1] = end
    return Network(start, target[:end].copy(), weight[:end].copy(), node, net.teleport, net.leave, net.free)


@compiled
def cut(net: Network, label: Places) -> Network:
    """The same network without the links between modules; their flow stays in `OUT` and `INTO`."""
    start = np.zeros(len(net.start), np.int64)
    target, weight, end = np.empty(len(net.target), np.int32), np.empty(len(net.target)), 0
    for a in range(len(label)):
        for e in range(net.start[a], net.start[a + 1]):
            target[end] = net.target[e]
            weight[end] = net.weight[e]
            end += label[net.target[e]] == label[a]
        start[a + 1] = end
    return Network(start, target[:end].copy(), weight[:end].copy(), net.node, net.teleport, net.leave, net.free)


@compiled
def part_of(net: Network, members: Places, position: Places, leave: float) -> Network:
    """The network of some nodes alone; flow across their border stays in `OUT` and `INTO`.

    `position` holds −1 for every node of `net`, before and after.
    """
    size, links = len(members), 0
    for at in range(size):
        position[members[at]] = at
        links += net.start[members[at] + 1] - net.start[members[at]]
    start, node = np.zeros(size + 1, np.int64), np.empty((size, 6))
    target, weight = np.empty(links, np.int32), np.empty(links)
    end = 0
    for at in range(size):
        a = members[at]
        node[at] = net.node[a]
        for e in range(net.start[a], net.start[a + 1]):
            if position[net.target[e]] >= 0:
                target[end] = position[net.target[e]]
                weight[end] = net.weight[e]
                end += 1
        start[at + 1] = end
    for at in range(size):
        position[members[at]] = -1
    return Network(start, target[:end].copy(), weight[:end].copy(), node, net.teleport, leave, False)
