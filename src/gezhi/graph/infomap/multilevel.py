"""The search for a tree of modules: group, split and dissolve, from the root down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gezhi.graph.infomap.costs import entering, plogp
from gezhi.graph.infomap.kernels import GAIN, code, search, tune
from gezhi.graph.infomap.networks import (
    INTO,
    LANDING,
    OUT,
    RATE,
    SENT,
    SIZE,
    Floats,
    Network,
    Places,
    aggregate,
    compact,
    grouped,
    part_of,
    single,
)


@dataclass(eq=False)
class Module:
    """A module of the tree: a leaf holds nodes, another one children; `row` sums the nodes as in `Network.node`.

    `settled` is set once no move at this module pays; a change of the module or of a child clears it.
    """

    nodes: Places
    row: Floats
    children: list[Module]
    settled: bool = False

    def paths(self, prefix: tuple[int, ...], into: list[tuple[int, ...]]) -> None:
        """Write the path of every node; children are numbered by falling flow (equals: by their first node)."""
        for node in self.nodes.tolist() if not self.children else ():
            into[node] = prefix
        ranked = sorted(self.children, key=lambda c: (-round(float(c.row[RATE]), 12), int(c.nodes.min())))
        for i, child in enumerate(ranked):
            child.paths((*prefix, i), into)


def search_tree(net: Network, label: Places, seed: int) -> tuple[float, list[tuple[int, ...]]]:
    """The tree that starts from a two-level partition: its code (in nats, up to a constant) and each node's path."""
    return TreeSearch(net, label, seed).run()


class TreeSearch:
    """One search: the network, the tree so far, and the state of the random numbers."""

    def __init__(self, net: Network, label: Places, seed: int) -> None:
        self.net, self.seed = net, seed
        self.position = np.full(len(label), -1, np.int32)
        everything = np.arange(len(label)).astype(np.int32)
        self.root = Module(everything, np.zeros(6), [])
        self.root.children = self.leaves(everything, label.copy(), self.part(self.root))

    def run(self) -> tuple[float, list[tuple[int, ...]]]:
        while self.visit(self.root):
            pass
        while len(self.root.children) == 1 and self.root.children[0].children:
            self.root.children = self.root.children[0].children
        paths: list[tuple[int, ...]] = [()] * len(self.net.node)
        self.root.paths((), paths)
        return self.length(self.root), paths

    def visit(self, module: Module) -> bool:
        """Repeat the best move at a module while it pays, then visit its children; whether anything changed."""
        change = False
        while not module.settled:
            moves = self.moves(module)
            gain, children = max(moves, key=lambda move: move[0], default=(0.0, []))
            if gain > GAIN:
                module.children, change = children, True
            else:
                module.settled = True
        for child in list(module.children):
            if self.visit(child):
                module.settled, change = False, True
        return change

    def moves(self, module: Module) -> list[tuple[float, list[Module]]]:
        """Gain and new children of every move at this module."""
        children = module.children
        if not children:
            return self.split(module)
        found = [self.group(module, children, single(len(children)))]
        parents = [child for child in children if child.children]
        if parents:
            below = [(unit, i) for i, child in enumerate(children) for unit in child.children or [child]]
            found.append(self.group(module, [unit for unit, _ in below], np.array([i for _, i in below], np.int32)))
        if len(parents) < len(children):
            found.append(self.retuned(module))
        return found + [self.dissolved(module, child) for child in parents]

    def split(self, module: Module) -> list[tuple[float, list[Module]]]:
        """A leaf module's nodes in modules of their own."""
        part = self.part(module)
        label = self.found(part)
        if label.max(initial=0) == 0:
            return []
        leave, rate = self.leaving(module), float(module.row[RATE])
        gain = plogp(leave + rate) - plogp(leave) - code(part, label)  # (4)
        return [(gain, self.leaves(module.nodes, label, part))]

    def retuned(self, module: Module) -> tuple[float, list[Module]]:
        """The nodes of all children that are leaf modules, in the best such modules found."""
        kept, leaves = ([c for c in module.children if bool(c.children) is inner] for inner in (True, False))
        nodes = np.concatenate([leaf.nodes for leaf in leaves])
        now = np.repeat(np.arange(len(leaves)), [len(leaf.nodes) for leaf in leaves]).astype(np.int32)
        outside = self.leaving(module) + sum(map(self.entering, kept))
        part = part_of(self.net, nodes, self.position, outside)
        label = min((self.tuned(part, now.copy()), self.found(part)), key=lambda found: code(part, found))
        gain = code(part, now) - code(part, label)  # (4)
        return gain, kept + (self.leaves(nodes, label, part) if gain > GAIN else [])

    def group(self, module: Module, units: list[Module], now: Places) -> tuple[float, list[Module]]:
        """Units, which `now` stand in these groups, in the best groups found; a group of one stays as it is."""
        links = self.network_of(module, units)
        rates = links.node.copy()
        rates[:, RATE] = [self.entering(unit) for unit in units]
        rates[:, SIZE] = 1.0
        net = links._replace(node=rates, free=True)
        starts = self.found(net), self.tuned(net, self.found(net._replace(free=False))), self.tuned(net, now.copy())
        label = min(starts, key=lambda found: code(net, found))
        k = int(label.max()) + 1
        if k == 1:
            return 0.0, []
        rows = aggregate(links, label, k).node
        groups: list[list[Module]] = [[] for _ in range(k)]
        for unit, i in zip(units, label.tolist(), strict=True):
            groups[i].append(unit)
        return code(net, now) - code(net, label), [
            part[0] if len(part) == 1 else Module(np.concatenate([unit.nodes for unit in part]), rows[i].copy(), part)
            for i, part in enumerate(groups)
        ]  # (4)

    def dissolved(self, module: Module, child: Module) -> tuple[float, list[Module]]:
        """A child's children in its place."""
        leave, enter = self.leaving(child), self.entering(child)
        here, below = (sum(map(self.entering, m.children)) for m in (module, child))
        above = self.leaving(module)
        gain = (
            plogp(above + here)
            + plogp(leave + below)
            - plogp(leave)
            - plogp(enter)
            - plogp(above + here - enter + below)
        )  # (4)
        return gain, [c for c in module.children if c is not child] + child.children

    def length(self, module: Module) -> float:
        """Code of a module and all below it, without the nodes' own term."""
        leave = self.leaving(module)
        if not module.children:
            return plogp(leave + float(module.row[RATE])) - plogp(leave)  # (4)
        enter = [self.entering(child) for child in module.children]
        own = plogp(leave + sum(enter)) - plogp(leave) - sum(map(plogp, enter))  # (4)
        return own + sum(map(self.length, module.children))

    def found(self, net: Network) -> Places:
        """A two-level search, from other random orders each time."""
        self.seed = self.seed * 48271 % 2147483647
        label = search(net, self.seed, GAIN)
        compact(label)
        return label

    def tuned(self, net: Network, label: Places) -> Places:
        """Groups of another origin, such as those found when a group of one costs a codebook: a pair may not pay
        where a group of four does."""
        tune(net, label, np.array([self.seed]), GAIN)
        compact(label)
        return label

    def part(self, module: Module) -> Network:
        return part_of(self.net, module.nodes, self.position, self.leaving(module))

    def leaves(self, nodes: Places, label: Places, part: Network) -> list[Module]:
        k = compact(label)
        first, member = grouped(label, k)
        rows = aggregate(part, label, k).node
        return [Module(nodes[member[first[i] : first[i + 1]]], rows[i].copy(), []) for i in range(k)]

    def network_of(self, module: Module, units: list[Module]) -> Network:
        """Flow between modules that make up another one; their rows as they are known, free of new rounding."""
        part = self.part(module)
        label = np.empty(len(module.nodes), np.int32)
        self.position[module.nodes] = np.arange(len(module.nodes))
        for i, unit in enumerate(units):
            label[self.position[unit.nodes]] = i
        self.position[module.nodes] = -1
        return aggregate(part, label, len(units))._replace(node=np.array([unit.row for unit in units]))

    def leaving(self, module: Module) -> float:
        return max(float(module.row[OUT] + module.row[SENT] * (1.0 - module.row[LANDING])), 0.0)  # (3)

    def entering(self, module: Module) -> float:
        row = module.row
        return float(entering(row[INTO], row[SENT], row[LANDING], self.net.teleport))  # (3)
