"""`gezhi communities`: a graph in, its modules out."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from gezhi import __version__
from gezhi._checks import check_number, invalid
from gezhi.cli.output import harmless
from gezhi.data import DataError, DataWarning, Edges, load
from gezhi.graph.infomap import Codelength, InfomapClustering
from gezhi.lab.record import write_atomically

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ENDINGS = (".csv", ".json", ".tree")
STANDARD = "-"


@dataclass(frozen=True)
class Request:
    """The options of `gezhi communities`; `directed` and `header` as in `gezhi.data.load`."""

    path: str
    output: Path | None
    plot: Path | None
    directed: bool | None
    weighted: bool
    two_level: bool
    trials: int
    seed: int
    markov_time: float
    teleportation: float
    recorded: bool
    teleport_to: Literal["links", "nodes"]
    header: bool | None = None

    def check(self) -> None:
        """ValueError for an option that does not hold, before anything is read."""
        check_number("--trials", self.trials, at_least=1)
        check_number("--seed", self.seed, at_least=0, at_most=2**32 - 1)
        check_number("--markov-time", self.markov_time, above=0)
        check_number("--teleportation", self.teleportation, at_least=0, below=1)
        if self.output and self.output.suffix.lower() not in ENDINGS:
            raise invalid("--output", "end in " + ", ".join(ENDINGS), str(self.output))
        if self.plot and self.plot.suffix.lower() not in (".html", ".htm"):
            raise invalid("--plot", "end in .html", str(self.plot))
        if self.path != STANDARD and not Path(self.path).exists():
            raise invalid("FILE", "be an existing file, or - for standard input", self.path)


@dataclass(frozen=True, eq=False)
class Result:
    """The graph, the modules found in it, and what the search took."""

    edges: Edges
    tree: list[tuple[int, ...]]
    labels: Ints
    flow: Floats
    codelength: Codelength
    one_level: float
    trials: int
    seconds: float

    @property
    def modules(self) -> int:
        return int(self.labels.max()) + 1

    @cached_property
    def paths(self) -> list[str]:
        """Each node's modules from the root down, counted from 1: `2:1`."""
        return [":".join(str(number + 1) for number in path) for path in self.tree]

    @cached_property
    def names(self) -> list[str]:
        """The path of each module, by its label."""
        found = dict(zip(self.labels.tolist(), self.paths, strict=True))
        return [found[i] for i in range(len(found))]

    @cached_property
    def summary(self) -> dict[str, Any]:
        return {
            "name": self.edges.name,
            "nodes": len(self.edges.nodes),
            "edges": len(self.edges.source),
            "directed": self.edges.directed,
            "codelength": self.codelength.total,
            "index_codelength": self.codelength.index,
            "module_codelength": self.codelength.module,
            "one_level_codelength": self.one_level,
            "modules": self.modules,
            "top_modules": len({path[0] for path in self.tree}),
            "levels": max(map(len, self.tree)) + 1,
            "trials": self.trials,
            "seconds": round(self.seconds, 3),
        }


def run_and_print(request: Request, as_json: bool) -> None:
    """Read, search, write what was asked for; the table goes to standard output where no file is named."""
    from gezhi.cli.output import echo_json

    request.check()
    result = searched(read(request), request)
    if request.output:
        write_atomically(request.output, FORMS[request.output.suffix.lower()](result))
    if request.plot:
        from gezhi.cli.drawing import page

        with Console(stderr=True).status("drawing"):
            write_atomically(request.plot, page(result))
    if as_json:
        echo_json(result.summary)
    elif not request.output:
        sys.stdout.write(as_csv(result))
    files = [path for path in (request.output, request.plot) if path]
    Console(stderr=True).print(sentence(result, files), highlight=False, soft_wrap=True, markup=False)


# ---- in -------------------------------------------------------------------------------------------------------------


def read(request: Request) -> Edges:
    """The graph of the file, its direction and weights as asked; what is doubtful is said on standard error."""
    with noted():
        edges = from_standard_input(request) if request.path == STANDARD else from_file(Path(request.path), request)
    return edges if request.weighted else replace(edges, weight=np.ones(len(edges.weight)))


def from_file(path: Path, request: Request) -> Edges:
    found: Edges = load("edges", path, header=request.header, directed=request.directed)
    return found


def from_standard_input(request: Request) -> Edges:
    """A table of edges, or Pajek; faults name standard input."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stdin.txt"
        path.write_bytes(sys.stdin.buffer.read())
        try:
            with renamed(path):
                return replace(from_file(path, request), name="standard input")
        except DataError as error:
            raise DataError(str(error).replace(str(path), "standard input")) from None


@contextmanager
def renamed(path: Path) -> Iterator[None]:
    """Warnings about a file say standard input instead."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for each in caught:
        warnings.warn(str(each.message).replace(str(path), "standard input"), each.category, stacklevel=1)


@contextmanager
def noted() -> Iterator[None]:
    """Each `DataWarning` becomes a line on standard error; other warnings are given again."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for each in caught:
        if issubclass(each.category, DataWarning):
            Console(stderr=True).print(f"Note: {each.message}", highlight=False, soft_wrap=True, markup=False)
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


# ---- search ---------------------------------------------------------------------------------------------------------


def searched(edges: Edges, request: Request) -> Result:
    """What `InfomapClustering` of the same settings finds."""
    start = time.perf_counter()
    model = InfomapClustering(
        "precomputed", two_level=request.two_level, directed=edges.directed, n_trials=request.trials,
        teleportation=request.teleportation, recorded=request.recorded, teleport_to=request.teleport_to,
        markov_time=request.markov_time, random_state=request.seed,
    )  # fmt: skip
    with Console(stderr=True).status("searching"):
        model.fit((edges.source, edges.target, edges.weight, len(edges.nodes)))
    return Result(
        edges, model.tree_, model.labels_, model.flow_, model.codelength_, model.one_level_codelength_, request.trials,
        time.perf_counter() - start,
    )  # fmt: skip


# ---- out ------------------------------------------------------------------------------------------------------------


def as_csv(result: Result) -> str:
    """`node,module`, in the order in which the graph names its nodes; modules count from 1, largest flow first.

    A tree has a column a level besides: `level_1` the outermost module, `level_2` the one inside it, each under its
    path, empty where the tree ends before. A name that a spreadsheet would take for a formula, because it begins with
    = + - or @ and is no number, has an apostrophe before it; names with commas, quotes or line breaks stand in quotes.
    """
    depth = max(map(len, result.tree))
    levels = [f"level_{level}" for level in range(1, depth + 1)] if depth > 1 else []
    rows = [",".join(["node", "module", *levels])]
    for name, path, whole in zip(result.edges.nodes, result.tree, result.paths, strict=True):
        steps = whole.split(":")
        inside = [":".join(steps[:level]) if level <= len(path) else "" for level in range(1, len(levels) + 1)]
        rows.append(",".join([quoted(harmless(name)), whole, *inside]))
    return "\n".join(rows) + "\n"


def quoted(cell: str) -> str:
    """A cell of a CSV, in quotes where it needs them."""
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n') else cell


def as_json(result: Result) -> str:
    """The summary, and every node with its module and flow."""
    rows = zip(result.edges.nodes, result.paths, result.flow.tolist(), strict=True)
    nodes = [{"node": node, "module": path, "flow": flow} for node, path, flow in rows]
    return json.dumps({**result.summary, "communities": nodes}, ensure_ascii=False, indent=1) + "\n"


def as_tree(result: Result) -> str:
    """Infomap's .tree: path, flow, name and number of each node, those of a module by falling flow.

    In a name, which stands in quotes, a quote becomes an apostrophe, a backslash two, and a line break or another
    control character its code (`\\n`), so that a name is always one line.
    """
    names = [on_one_line(name.replace('"', "'")) for name in result.edges.nodes]
    order = sorted(range(len(names)), key=lambda a: (result.tree[a], -result.flow[a], a))
    paths, lines, rank, before = result.paths, [], 0, ""
    for a in order:
        rank = rank + 1 if paths[a] == before else 1
        before = paths[a]
        lines.append(f'{before}:{rank} {result.flow[a]:.9g} "{names[a]}" {a + 1}')
    bits = f"{result.codelength.total:.9f}"
    head = [f"# gezhi {__version__}: {result.modules} modules, codelength {bits} bits", "# path flow name node_id"]
    return "\n".join([*head, *lines]) + "\n"


def on_one_line(name: str) -> str:
    """Backslashes, control characters and separators of lines as Python writes them."""
    odd = {char for char in name if char == "\\" or (not char.isprintable() and char != " ")}
    return "".join(char.encode("unicode_escape").decode() if char in odd else char for char in name) if odd else name


FORMS = {".csv": as_csv, ".json": as_json, ".tree": as_tree}


def sentence(result: Result, files: list[Path]) -> str:
    """What was found, for a person."""
    s = result.summary
    found = f"{s['modules']} module{'' if s['modules'] == 1 else 's'}"
    found += f" on {s['levels']} levels" if s["levels"] > 2 else ""
    bits = f"{s['codelength']:.6f} bits (one module: {s['one_level_codelength']:.6f})"
    where = "".join(f"\n{path}" for path in files)
    return f"{found}, {bits}; {s['nodes']} nodes, {s['edges']} edges, {s['seconds']:.1f} s{where}"
