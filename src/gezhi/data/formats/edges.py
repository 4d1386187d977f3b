"""Graphs: a table of edges, GraphML, GEXF, GML or Pajek."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from gezhi.data.errors import fault
from gezhi.data.formats.edge_blocks import read_blocks
from gezhi.data.formats.edge_columns import find_columns, first_row, settled, unread
from gezhi.data.formats.edge_rows import read_rows
from gezhi.data.formats.gexf import read_gexf
from gezhi.data.formats.gml import read_gml
from gezhi.data.formats.graphml import read_graphml
from gezhi.data.formats.pajek import read_pajek
from gezhi.data.kinds import Edges

READERS = {".graphml": read_graphml, ".gexf": read_gexf, ".gml": read_gml}
TABLES = (".csv", ".tsv")


def load_edges(path: Path, header: bool | None = None, directed: bool | None = None) -> Edges:
    """Read a graph by the ending of its file; a table of another ending than `.csv` and `.tsv` may be Pajek's.

    Args:
        header: of tables alone, as in `gezhi.data.load`.
        directed: as in `gezhi.data.load`.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None and path.suffix.lower() not in TABLES and first_row(path)[1].lstrip().startswith("*"):
        reader = read_pajek
    edges = read_table(path, header, directed) if reader is None else reader(path).finished(directed)
    with np.errstate(over="ignore"):
        total = 2 * edges.weight.sum()  # an undirected edge counts from both its ends
    if not np.isfinite(total):
        fix = "Divide all of them by one number; only their ratios matter."
        raise fault(path, "weights whose sum is beyond the largest float", "a smaller sum", fix)
    return edges


def read_table(path: Path, header: bool | None, directed: bool | None) -> Edges:
    """Source, target and perhaps weight on each line, read in blocks where every row is plain."""
    columns = find_columns(path, header)
    found = read_blocks(path, columns)
    edges = read_rows(path, columns).finished(directed) if found is None else replace(found, directed=bool(directed))
    unread(path, columns)
    edges = settled(path, columns, edges)
    if not len(edges.source):
        raise fault(path, "no edge", "at least one", "Check how it was written.")
    return edges
