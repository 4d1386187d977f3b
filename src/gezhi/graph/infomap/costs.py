"""What a module costs, and what a move changes, without going through the network. Compiled; it counts in nats."""

from __future__ import annotations

import math

import numpy as np

from gezhi._jit import compiled, inlined
from gezhi.graph.infomap.networks import INTO, LANDING, OUT, RATE, SENT, SIZE, Floats, Network, Places

MEMBERS, COST, SLOPE_OUT, SLOPE_INTO, SLOPE_ALL, COLUMNS = 6, 7, 8, 9, 10, 11  # of a module, after a node's six
UNKNOWN = math.inf


@inlined
def plogp(x: float) -> float:
    """x ln x; 0 for x ≤ 0. The natural logarithm is the fastest one."""
    return x * math.log(x) if x > 0.0 else 0.0


@inlined
def entering(into: float, sent: float, landing: float, teleport: float) -> float:
    """Entry rate of a module, recorded teleports included."""
    return max(into + (teleport - sent) * landing, 0.0)  # (3)


@inlined
def cost(
    rate: float, out: float, into: float, sent: float, landing: float, size: float, teleport: float, free: bool
) -> float:
    """What a module adds to the code beside its share in q, up to a constant."""
    if free and size == 1.0:
        return 0.0
    enter = entering(into, sent, landing, teleport)
    leave = max(out + sent * (1.0 - landing), 0.0)  # (3)
    of_leave = plogp(leave)
    of_enter = of_leave if enter == leave else plogp(enter)
    return plogp(leave + rate) - of_leave - of_enter  # (1)


@inlined
def renew(state: Floats, i: int, teleport: float, free: bool) -> None:
    """A module's cost as its sums now stand, and the slopes that `least_change` needs: d plogp(x) = ln x + 1."""
    rate, out, into, sent, landing = state[i, RATE], state[i, OUT], state[i, INTO], state[i, SENT], state[i, LANDING]
    state[i, COST] = cost(rate, out, into, sent, landing, state[i, SIZE], teleport, free)
    if teleport == 0.0 and not free and out > 0.0 and into > 0.0:
        state[i, SLOPE_OUT] = math.log(out) + 1.0
        state[i, SLOPE_INTO] = state[i, SLOPE_OUT] if into == out else math.log(into) + 1.0
        state[i, SLOPE_ALL] = math.log(out + rate) + 1.0
    else:
        state[i, SLOPE_ALL] = UNKNOWN


@inlined
def least_change(state: Floats, node: Floats, a: int, j: int, flow: float, slope: float) -> float:
    """No more than what node a adds to the code by entering module j; it takes no logarithm.

    plogp is convex, so plogp(x + d) − plogp(x) lies between d · slope(x) and d · slope(x) + d² / x.
    """
    if state[j, SLOPE_ALL] == UNKNOWN:
        return -math.inf
    out, into = node[a, OUT] - flow, node[a, INTO] - flow
    of_out = out * (state[j, SLOPE_OUT] + out / state[j, OUT])
    of_into = into * (state[j, SLOPE_INTO] + into / state[j, INTO])
    return float(into * slope + (out + node[a, RATE]) * state[j, SLOPE_ALL] - of_out - of_into)


@compiled
def module_states(net: Network, label: Places) -> Floats:
    """A row per possible module: the sums of its nodes, their number, its cost and slopes."""
    n = len(label)
    state = np.zeros((n, COLUMNS))
    for a in range(n):
        i = label[a]
        for column in range(6):
            state[i, column] += net.node[a, column]
        state[i, MEMBERS] += 1.0
        inner = 0.0
        for e in range(net.start[a], net.start[a + 1]):
            if label[net.target[e]] == i:
                inner += 0.5 * net.weight[e]
        state[i, OUT] -= inner
        state[i, INTO] -= inner
    for i in range(n):
        state[i, SLOPE_ALL] = UNKNOWN
        if state[i, MEMBERS] > 0.0:
            renew(state, i, net.teleport, net.free)
    return state


@compiled
def total_entering(net: Network, state: Floats) -> float:
    """q: the entry rates of all modules."""
    q = 0.0
    for i in range(len(state)):
        if state[i, MEMBERS] > 0.0:
            q += entering(state[i, INTO], state[i, SENT], state[i, LANDING], net.teleport)
    return q


@inlined
def move(state: Floats, node: Floats, a: int, i: int, sign: float, flow: float, teleport: float, free: bool) -> None:
    """Put node a into module i (sign 1) or take it out (−1); `flow` is its flow from and to the others there."""
    for column in range(6):
        state[i, column] += sign * node[a, column]
    state[i, OUT] -= sign * flow
    state[i, INTO] -= sign * flow
    state[i, MEMBERS] += sign
    if state[i, MEMBERS] == 0.0:
        for column in range(COLUMNS):
            state[i, column] = 0.0
        state[i, SLOPE_ALL] = UNKNOWN
    else:
        renew(state, i, teleport, free)


@inlined
def changed(
    state: Floats, node: Floats, a: int, i: int, sign: float, flow: float, teleport: float, free: bool
) -> tuple[float, float]:
    """What `move` would add to the module's cost and to its entry rate."""
    before = entering(state[i, INTO], state[i, SENT], state[i, LANDING], teleport)
    if sign < 0.0 and state[i, MEMBERS] == 1.0:
        return -state[i, COST], -before
    out, into = state[i, OUT] + sign * (node[a, OUT] - flow), state[i, INTO] + sign * (node[a, INTO] - flow)
    sent, landing = state[i, SENT] + sign * node[a, SENT], state[i, LANDING] + sign * node[a, LANDING]
    rate, size = state[i, RATE] + sign * node[a, RATE], state[i, SIZE] + sign * node[a, SIZE]
    after = entering(into, sent, landing, teleport)
    return cost(rate, out, into, sent, landing, size, teleport, free) - state[i, COST], after - before
