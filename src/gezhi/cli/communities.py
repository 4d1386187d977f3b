"""`gezhi communities`: a graph in, its modules out."""

from __future__ import annotations

import csv
import io
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gezhi import __version__
from gezhi._checks import check_number, invalid
from gezhi.cli.tables import read_regular
from gezhi.data import DataError, Edges, load
from gezhi.graph.infomap.equation import Codelength, one_level_codelength
from gezhi.graph.infomap.graphs import Floats, Ints, read_graph
from gezhi.graph.infomap.search import Found, Settings, find_modules
from gezhi.lab.record import write_atomically

ENDINGS = (".csv", ".json", ".tree")
STANDARD = "-"


@dataclass(frozen=True)
class Request:
    """The options of `gezhi communities`; `directed` None: as the file says, and a table is undirected."""

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
    from gezhi.cli.app import echo_json

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
    """The graph of the file, its direction and weights as asked."""
    edges = from_standard_input() if request.path == STANDARD else from_file(Path(request.path))
    if request.directed is not None:
        edges = replace(edges, directed=request.directed)
    return edges if request.weighted else replace(edges, weight=np.ones(len(edges.weight)))


def from_file(path: Path) -> Edges:
    """Large tables block by block; whatever is not plain, row by row."""
    edges = read_regular(path) if path.is_file() and path.suffix.lower() in (".csv", ".tsv") else None
    return edges or load("edges", path)


def from_standard_input() -> Edges:
    """A table of edges, between tabs if its first line has one; faults name standard input."""
    with tempfile.TemporaryDirectory() as folder:
        content = sys.stdin.buffer.read()
        path = Path(folder) / ("stdin.tsv" if b"\t" in content.partition(b"\n")[0] else "stdin.csv")
        path.write_bytes(content)
        try:
            return replace(from_file(path), name="standard input")
        except DataError as error:
            raise DataError(str(error).replace(str(path), "standard input")) from None


# ---- search ---------------------------------------------------------------------------------------------------------


def searched(edges: Edges, request: Request) -> Result:
    """The best of some trials, as `InfomapClustering` with the same `n_trials` and `random_state` finds it."""
    start = time.perf_counter()
    graph = read_graph((edges.source, edges.target, edges.weight, len(edges.nodes)), edges.directed)
    settings = Settings(
        request.two_level, 1, request.teleportation, request.recorded, request.teleport_to, request.markov_time
    )
    state, best = np.random.RandomState(request.seed), None
    with trials_bar(request.trials) as advance:
        for _ in range(request.trials):
            found: Found = find_modules(graph, settings, state, 1)
            if best is None or found.codelength.total < best.codelength.total - 1e-12:
                best = found
            advance()
    assert best is not None
    return Result(
        edges, best.tree, best.labels, best.flow, best.codelength, one_level_codelength(best.flow), request.trials,
        time.perf_counter() - start,
    )  # fmt: skip


@contextmanager
def trials_bar(trials: int) -> Iterator[Any]:
    """A progress bar on standard error, where that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("searching"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=trials)
        yield lambda: bar.advance(task)


# ---- out ------------------------------------------------------------------------------------------------------------


def as_csv(result: Result) -> str:
    """`node,module`, in the order in which the graph names its nodes; modules count from 1, largest flow first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("node", "module"))
    writer.writerows(zip(result.edges.nodes, result.paths, strict=True))
    return text.getvalue()


def as_json(result: Result) -> str:
    """The summary, and every node with its module and flow."""
    rows = zip(result.edges.nodes, result.paths, result.flow.tolist(), strict=True)
    nodes = [{"node": node, "module": path, "flow": flow} for node, path, flow in rows]
    return json.dumps({**result.summary, "communities": nodes}, ensure_ascii=False, indent=1) + "\n"


def as_tree(result: Result) -> str:
    """Infomap's .tree: path, flow, name and number of each node, those of a module by falling flow."""
    names = [name.replace('"', "'") for name in result.edges.nodes]
    order = sorted(range(len(names)), key=lambda a: (result.tree[a], -result.flow[a], a))
    paths, lines, rank, before = result.paths, [], 0, ""
    for a in order:
        rank = rank + 1 if paths[a] == before else 1
        before = paths[a]
        lines.append(f'{before}:{rank} {result.flow[a]:.9g} "{names[a]}" {a + 1}')
    bits = f"{result.codelength.total:.9f}"
    head = [f"# gezhi {__version__}: {result.modules} modules, codelength {bits} bits", "# path flow name node_id"]
    return "\n".join([*head, *lines]) + "\n"


FORMS = {".csv": as_csv, ".json": as_json, ".tree": as_tree}


def sentence(result: Result, files: list[Path]) -> str:
    """What was found, for a person."""
    s = result.summary
    found = f"{s['modules']} module{'' if s['modules'] == 1 else 's'}"
    found += f" on {s['levels']} levels" if s["levels"] > 2 else ""
    bits = f"{s['codelength']:.6f} bits (one module: {s['one_level_codelength']:.6f})"
    where = "".join(f"\n{path}" for path in files)
    return f"{found}, {bits}; {s['nodes']} nodes, {s['edges']} edges, {s['seconds']:.1f} s{where}"
