"""One HTML page that draws a graph and its modules as static SVG; it needs no script and no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from scipy.spatial import ConvexHull, QhullError

from gezhi.cli.layout import Floats, Ints, positions

if TYPE_CHECKING:
    from gezhi.cli.communities import Result

TEMPLATES = Path(__file__).parent / "templates"
MOST_NODES, MOST_BUBBLES, MOST_LINKS, MOST_LABELS, MOST_ROWS = 3000, 600, 20_000, 90, 24
MANY = 150  # nodes, beyond which modules are numbered instead of nodes named
WIDTH, HEIGHT, EDGE = 1000.0, 780.0, 40.0
STRETCH = 1.5  # at most this much wider or higher than the forces made it
COLOURS = 10  # of the style sheet
STRENGTHS = (0.16, 0.3, 0.5, 0.8)  # opacity of links, weakest first


@dataclass
class Picture:
    """What is drawn: nodes (or whole modules), links, and what each is called.

    `module` numbers the modules that share a colour: the outermost of a tree; `inner` those that lie together: the
    innermost. `paths` lead from the outermost module to the innermost, for a whole module to the one around it.
    """

    names: Sequence[str]
    flow: Floats
    module: Ints
    inner: Ints
    source: Ints
    target: Ints
    weight: Floats
    titles: Sequence[str]
    paths: Sequence[tuple[int, ...]]
    bubbles: bool = False
    left_out: int = 0
    place: Floats = field(init=False)
    radius: Floats = field(init=False)


def page(result: Result) -> str:
    """The drawing; above 3000 nodes that of the modules, with the flow between them."""
    picture = of_nodes(result) if len(result.edges.nodes) <= MOST_NODES else of_modules(result)
    placed(picture)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    colour = colours(picture)
    content = {
        "name": result.edges.name,
        "summary": result.summary,
        "picture": picture,
        "width": f"{WIDTH:g}",
        "height": f"{HEIGHT:g}",
        "hulls": hulls(picture, colour),
        "outlines": outlines(picture, colour),
        "links": links(picture, colour),
        "nodes": nodes(picture, colour),
        "names": names(picture),
        "numbers": numbers(result, picture),
        "rows": rows(result, picture, colour),
        "more": len(listed_modules(result)[MOST_ROWS:]),
    }
    return environment.get_template("communities.html.j2").render(content)


# ---- what is drawn --------------------------------------------------------------------------------------------------


def merged(source: Ints, target: Ints, weight: Floats, n: int) -> tuple[Ints, Ints, Floats]:
    """Each pair once, without self-loops, weights summed."""
    low, high = np.minimum(source, target), np.maximum(source, target)
    pair, place = np.unique((low * n + high)[low != high], return_inverse=True)
    summed = np.bincount(place, weights=weight[low != high], minlength=len(pair))
    return pair // n, pair % n, np.asarray(summed, dtype=np.float64)


def of_nodes(result: Result) -> Picture:
    edges = result.edges
    source, target, weight = merged(edges.source, edges.target, edges.weight, len(edges.nodes))
    paths = result.paths
    titles = [
        f"{name}: module {paths[a]}, {100 * result.flow[a]:.2g} % of the flow" for a, name in enumerate(edges.nodes)
    ]
    top = np.array([path[0] for path in result.tree])
    return strongest(Picture(edges.nodes, result.flow, top, result.labels, source, target, weight, titles, result.tree))


def of_modules(result: Result) -> Picture:
    """The modules of largest flow as nodes, and the weight between them."""
    flow, size = np.asarray(np.bincount(result.labels, weights=result.flow), dtype=float), np.bincount(result.labels)
    kept = np.sort(np.argsort(-flow, kind="stable")[:MOST_BUBBLES])
    number = np.full(len(flow), -1)
    number[kept] = np.arange(len(kept))
    a, b = number[result.labels[result.edges.source]], number[result.labels[result.edges.target]]
    both = (a >= 0) & (b >= 0)
    source, target, weight = merged(a[both], b[both], result.edges.weight[both], len(kept))
    names = result.names
    titles = [f"module {names[i]}: {size[i]} nodes, {100 * flow[i]:.2g} % of the flow" for i in kept]
    tree = dict(zip(result.labels.tolist(), result.tree, strict=True))
    paths = [tree[i][:-1] for i in kept.tolist()]
    flat = not any(paths)
    top = np.arange(len(kept)) if flat else np.unique([tree[i][0] for i in kept.tolist()], return_inverse=True)[1]
    each = np.arange(len(kept))
    shown = Picture([names[i] for i in kept], flow[kept], top, each, source, target, weight, titles, paths, True)
    shown.left_out = len(flow) - len(kept)
    return strongest(shown)


def strongest(picture: Picture) -> Picture:
    """At most so many links as a page can carry."""
    if len(picture.weight) > MOST_LINKS:
        kept = np.sort(np.argsort(-picture.weight, kind="stable")[:MOST_LINKS])
        picture.source, picture.target = picture.source[kept], picture.target[kept]
        picture.weight = picture.weight[kept]
    return picture


# ---- where, how large, which colour ---------------------------------------------------------------------------------


def placed(picture: Picture) -> None:
    """Positions and radii in the units of the drawing."""
    n = len(picture.names)
    share = picture.flow / max(float(picture.flow.max(initial=0)), 1e-12)
    place, radius = positions(
        n, picture.source, picture.target, picture.weight, picture.inner, np.clip(np.sqrt(share), 0.25, 1)
    )
    low, high = (place - radius[:, None]).min(axis=0), (place + radius[:, None]).max(axis=0)
    room = np.array([WIDTH - 2 * EDGE, HEIGHT - 2 * EDGE])
    fits = room / np.maximum(high - low, 1e-9)
    scale = float(min(fits.min(), 40 / max(float(radius.max()), 1e-9)))
    picture.place = (place - (low + high) / 2) * np.minimum(fits, scale * STRETCH) + np.array([WIDTH, HEIGHT]) / 2
    picture.radius = np.maximum(radius * scale, 1.8)


def colours(picture: Picture) -> list[int]:
    """A colour a module: the first ten differ, of the others each takes the one whose owners are farthest away."""
    module = picture.module
    flow = np.bincount(module, weights=picture.flow)
    size = np.maximum(np.bincount(module), 1)
    centre = np.stack([np.bincount(module, picture.place[:, side]) / size for side in (0, 1)], axis=1)
    chosen = np.full(len(flow), -1)
    for rank, i in enumerate(np.argsort(-flow, kind="stable")):
        if rank < COLOURS:
            chosen[i] = rank
            continue
        away = np.hypot(*(centre - centre[i]).T)
        nearest = [away[chosen == colour].min(initial=np.inf) for colour in range(COLOURS)]
        chosen[i] = int(np.argmax(nearest))
    return [int(colour) for colour in chosen]


def hulls(picture: Picture, colour: list[int]) -> list[dict[str, Any]]:
    """A soft surface under the nodes of each innermost module."""
    inner: dict[tuple[int, ...], list[int]] = {}
    for a, path in enumerate(() if picture.bubbles else picture.paths):
        inner.setdefault(path, []).append(a)
    found = []
    for members in inner.values():
        points = surrounding(picture.place[members], np.zeros(len(members))) if len(members) > 2 else None
        if points is not None:
            found.append({"colour": colour[picture.module[members[0]]], "points": written(points)})
    return found


def outlines(picture: Picture, colour: list[int]) -> list[dict[str, Any]]:
    """A line around each module that holds modules, wider around more levels; each with its path at its top."""
    holding: dict[tuple[int, ...], list[int]] = {}
    for a, path in enumerate(picture.paths):
        for level in range(1, len(path) + picture.bubbles):
            holding.setdefault(path[:level], []).append(a)
    deepest = max(map(len, holding), default=0)
    found = []
    for path, members in sorted(holding.items()):
        away = picture.radius[members] + 9 * (deepest - len(path) + 1) + (12 if not picture.bubbles else 0)
        points = surrounding(picture.place[members], away)
        if points is not None:
            x, y = points[points[:, 1].argmin()]
            at = {"x": f"{min(max(x, 14), WIDTH - 14):.1f}", "y": f"{max(y - 6, 34):.1f}"}
            text = ":".join(str(number + 1) for number in path)
            level = min(len(path), 3)
            found.append({"colour": colour[picture.module[members[0]]], "points": written(points), "level": level,
                          "text": text, **at})  # fmt: skip
    return found


def surrounding(place: Floats, away: Floats) -> Floats | None:
    """Corners of the smallest convex shape around discs; None where it has no surface."""
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    points = (place[:, None] + away[:, None, None] * ring).reshape(-1, 2)
    try:
        return np.asarray(points[ConvexHull(points).vertices])
    except QhullError:  # all on a line
        return None


def written(points: Floats) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def links(picture: Picture, colour: list[int]) -> list[dict[str, Any]]:
    """All links of one colour and strength in one path; those between modules have none."""
    weight, within = picture.weight, picture.module[picture.source] == picture.module[picture.target]
    inner = np.where(within, np.array(colour)[picture.module[picture.source]], -1)
    steps = np.quantile(weight, (0.4, 0.75, 0.95)) if len(np.unique(weight)) > 1 else np.full(3, np.inf)
    strength = np.searchsorted(steps, weight, side="left") if np.isfinite(steps).all() else np.full(len(weight), 1)
    thin = min(1.0, (600 / max(len(weight), 1)) ** 0.3)
    ends = np.stack([picture.place[picture.source], picture.place[picture.target]], axis=1).round(1)
    found = []
    for of in range(-1, COLOURS):
        for step, opacity in enumerate(STRENGTHS):
            some = ends[(inner == of) & (strength == step)]
            if len(some):
                path = "".join(f"M{a:g} {b:g}L{c:g} {d:g}" for a, b, c, d in some.reshape(-1, 4))
                found.append({"colour": of, "path": path, "opacity": f"{opacity * thin:.3f}",
                              "width": f"{(0.8 + 0.5 * step) * max(thin, 0.6):.2f}"})  # fmt: skip
    return found


def nodes(picture: Picture, colour: list[int]) -> list[dict[str, Any]]:
    """Larger ones first, so that none is hidden."""
    order = np.argsort(-picture.radius, kind="stable")
    return [
        {
            "x": f"{picture.place[a, 0]:.1f}",
            "y": f"{picture.place[a, 1]:.1f}",
            "r": f"{picture.radius[a]:.1f}",
            "colour": colour[picture.module[a]],
            "title": picture.titles[a],
        }
        for a in order
    ]


# ---- words ----------------------------------------------------------------------------------------------------------


def crowded(picture: Picture) -> bool:
    """Whether names of nodes would only be noise."""
    return len(picture.names) > MANY and not picture.bubbles


def numbers(result: Result, picture: Picture) -> list[dict[str, Any]]:
    """The path of each innermost module at its middle, where names are too many or colours too few to tell modules
    apart; the ten largest also, and then only, on narrow screens, on which names cannot be read."""
    if picture.bubbles:
        return []
    flat = max(map(len, result.tree)) == 1
    wide = crowded(picture) or (flat and result.modules > COLOURS)
    largest = set(np.argsort(-np.bincount(picture.inner, weights=picture.flow), kind="stable")[:COLOURS].tolist())
    found = []
    for i, path in enumerate(result.names):
        narrow = flat and i in largest  # the lines of a tree have numbers of their own
        if wide or narrow:
            x, y = np.median(picture.place[picture.inner == i], axis=0)
            kind = "number" if wide and narrow else "number wide" if wide else "narrow"
            found.append({"x": f"{x:.1f}", "y": f"{y + 6:.1f}", "text": path, "kind": kind})
    return found


def names(picture: Picture) -> list[dict[str, Any]]:
    """Names of the nodes with most flow, wherever one fits without hiding another name or a large node."""
    taken: list[tuple[float, float, float, float]] = []
    found: list[dict[str, Any]] = []
    discs = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(picture.place, picture.radius * 0.8, strict=True)]
    size, order = 13.5, np.argsort(-picture.flow, kind="stable")
    for a in () if crowded(picture) else order[: 4 * MOST_LABELS]:
        name = picture.names[a] if len(picture.names[a]) <= 24 else picture.names[a][:23] + "…"
        (x, y), r = picture.place[a], picture.radius[a]
        wide = sum(1.0 if ord(c) > 0x2E80 else 0.56 for c in name) * size
        if wide < 1.6 * r:
            found.append({"x": f"{x:.1f}", "y": f"{y + size * 0.35:.1f}", "anchor": "middle", "text": name, "on": True})
            continue
        for anchor, left, top in (
            ("start", x + r + 3, y - size / 2),
            ("end", x - r - 3 - wide, y - size / 2),
            ("middle", x - wide / 2, y - r - size - 1),
            ("middle", x - wide / 2, y + r + 2),
        ):
            box = (left, top, left + wide, top + size)
            outside = left < 4 or left + wide > WIDTH - 4 or top < 2 or top + size > HEIGHT - 2
            hidden = any(overlap(box, disc) for b, disc in enumerate(discs) if b != a)
            if not outside and not hidden and not any(overlap(box, other) for other in taken):
                at = {"start": left, "middle": left + wide / 2, "end": left + wide}[anchor]
                place = {"x": f"{at:.1f}", "y": f"{top + size * 0.82:.1f}"}
                found.append({**place, "anchor": anchor, "text": name, "on": False})
                taken.append(box)
                break
        if len(found) >= MOST_LABELS:
            break
    return found


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def listed_modules(result: Result) -> list[tuple[int, ...]]:
    """Every module of the tree, each before those inside it; of two beside each other, that of larger flow first."""
    return sorted({path[:level] for path in set(result.tree) for level in range(1, len(path) + 1)})


def rows(result: Result, picture: Picture, colour: list[int]) -> list[dict[str, Any]]:
    """The legend: the modules, outermost first, their size, their flow, and their nodes of largest flow."""
    tops = {picture.paths[a][0] if picture.paths[a] else a: int(i) for a, i in enumerate(picture.module)}
    colour_of = {top: colour[i] for top, i in tops.items()}
    kept = listed_modules(result)[:MOST_ROWS]
    members: dict[tuple[int, ...], list[int]] = {path: [] for path in kept}
    for a, path in enumerate(result.tree):
        for level in range(1, len(path) + 1):
            if path[:level] in members:
                members[path[:level]].append(a)
    inner = {path[:-1] for path in set(result.tree)}
    return [
        {
            "path": ":".join(str(number + 1) for number in path),
            "colour": colour_of.get(path[0]),
            "depth": len(path) - 1,
            "size": len(inside),
            "flow": f"{100 * float(result.flow[inside].sum()):.1f}",
            "names": "" if path in inner else busiest(result, np.array(inside)),
        }
        for path, inside in members.items()
    ]


def busiest(result: Result, members: Ints) -> str:
    """Names of the four nodes of largest flow."""
    first = members[np.argsort(-result.flow[members], kind="stable")[:4]]
    return ", ".join(result.edges.nodes[a] for a in first) + (", …" if len(members) > 4 else "")
