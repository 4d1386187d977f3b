"""Which columns of a table of edges hold what: separator, comments, and whether its first line names columns."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from gezhi.data.errors import doubt, fault, listed, shown
from gezhi.data.formats.files import as_number, lines
from gezhi.data.kinds import Edges

COMMENTS = ("#", "%")
SEPARATORS = {".csv": ",;\t", ".tsv": "\t"}  # the first that the first row holds
OTHERS = "\t,;"  # of files with any other ending, in which blanks separate too
NUMBERS = re.compile(r"\s*\d+\s+\d+(?:\s+[-+.\deE]+)?\s*\Z", re.ASCII)
SOURCES = {"source", "from", "src", "u", "fromid", "fromnode", "fromnodeid", "sourceid", "sourcenode", "id1", "node1",
           "v1"}  # fmt: skip
TARGETS = {"target", "to", "dst", "v", "toid", "tonode", "tonodeid", "targetid", "targetnode", "id2", "node2", "v2"}
WEIGHTS = {"weight", "weights", "w", "value", "count"}
TYPES = {"directed": True, "undirected": False}
KNOWN = {"type", "id", "label", "timeset", "interval"}  # of Gephi's table; nothing that a walk would need
MARK = "A line that begins with # or % is a comment: quote its first cell if it is a node, put a blank after the mark "\
    "if it is none."  # fmt: skip
POSITIONS = ("source", "target", "weight")


@dataclass(frozen=True)
class Columns:
    """How the rows of a table are to be read.

    Attributes:
        separator: between cells; a blank stands for any number of blanks and tabs.
        names: of the columns, as an error gives them; the positions of the four that are read follow.
        named: whether the positions come from known names.
        header: whether the first row names columns; None: what stands below decides.
        sure: whether that is certain, rather than likely.
        first: cells of the first row.
        line: where it stands.
    """

    separator: str
    names: tuple[str, ...]
    named: bool
    source: int
    target: int
    weight: int | None
    type: int | None
    header: bool | None
    sure: bool
    first: tuple[str, ...]
    line: int

    def directed(self, cells: list[str]) -> bool | None:
        """What the row says in Gephi's column Type; None where it says nothing that is known."""
        return False if self.type is None else TYPES.get(cells[self.type].strip().lower())


def plain(name: str) -> str:
    """A column's name without case and separators: `From_Node ID` and `fromnodeid` are one."""
    return re.sub(r"[\s_.\-]", "", name).lower()


def find_columns(path: Path, header: bool | None) -> Columns:
    """Look at the comments and at the first row.

    A first row that names a source and a target is a header, and so is the last comment before the first row, if it
    has as many cells. A third cell that is no number makes the first row a header as well.
    """
    line, row, comments = first_row(path)
    separator = separator_of(path, row)
    first, above = split(row, separator), split(comments[-1][1].lstrip("#% \t"), separator) if comments else ()
    for number, text in comments:
        if like_a_row(text, separator, len(first)):
            doubt(path, f"a line that begins with {text[0]} is read as a comment", MARK, at=f"line {number}")
    if header is not False and (places := by_name(first)):
        return Columns(separator, first, True, *places, header=True, sure=header is True, first=first, line=line)
    if not header and len(above) == len(first) and (places := by_name(above)):
        return Columns(separator, above, True, *places, header=False, sure=True, first=first, line=line)
    if len(first) > 3:
        fix = "Name the columns that hold them in a first line."
        expected = f"3 columns ({', '.join(POSITIONS)})"
        raise fault(path, f"{len(first)} columns", expected, fix, at=f"line {line}, column 4")
    weight = 2 if len(first) == 3 else None
    worded = weight is not None and as_number(first[2]) is None
    sure, seen = header is not None, True if header is None and worded else header
    names = POSITIONS[: max(2, len(first))]
    return Columns(separator, names, False, 0, 1, weight, None, header=seen, sure=sure, first=first, line=line)


def first_row(path: Path) -> tuple[int, str, list[tuple[int, str]]]:
    """Line and text of the first row, and the comments above it with theirs."""
    comments = list[tuple[int, str]]()
    for number, raw in enumerate(lines(path), 1):
        if raw.lstrip().startswith(COMMENTS):
            comments.append((number, raw.strip()))
        elif raw.strip():
            return number, raw.rstrip("\r\n"), comments
    found = "only comments" if comments else "only empty lines"
    raise fault(path, found, "edges", MARK if comments else "Check how it was written.")


def like_a_row(text: str, separator: str, width: int) -> bool:
    """Whether a line that begins with a mark could be an edge, such as `#cats,#dogs`: no blank follows the mark, there
    are as many cells as in a row, and they are not names of columns."""
    cells = split(text.lstrip("#%"), separator)
    return text[1:2] not in ("", " ", "\t", *COMMENTS) and len(cells) == width and not by_name(cells)


def separator_of(path: Path, row: str) -> str:
    """The separator of a row; blanks, unless the ending promises another, or the row is numbers alone."""
    promised = SEPARATORS.get(path.suffix.lower())
    found = next((mark for mark in promised or OTHERS if mark in row), None)
    if found is None and (promised is None or NUMBERS.match(row)):
        return " "
    return found or (promised or OTHERS)[0]


def split(row: str, separator: str) -> tuple[str, ...]:
    """The cells of a row that stands on one line."""
    cells = next(csv.reader([tidied(row, separator)], delimiter=separator, skipinitialspace=separator == " "), [])
    return tuple(cell.strip() for cell in cells)


def tidied(row: str, separator: str) -> str:
    """A row between blanks without those at its ends, and with none but blanks between its cells."""
    return row.strip().replace("\t", " ") if separator == " " else row


def by_name(cells: tuple[str, ...]) -> tuple[int, int, int | None, int | None] | None:
    """Positions of source, target, weight and Gephi's type; None unless a source and a target are named."""
    names = [plain(cell) for cell in cells]
    at = [next((i for i, name in enumerate(names) if name in known), None) for known in (SOURCES, TARGETS, WEIGHTS)]
    kind = names.index("type") if "type" in names else None
    source, target, weight = at
    return None if source is None or target is None else (source, target, weight, kind)


def settled(path: Path, columns: Columns, edges: Edges) -> Edges:
    """The graph once everything below the first row is known.

    A first row that might have been a header stands in `edges` as an edge. It is dropped if its cells are no numbers
    while all other nodes are; where nothing decides, a DataWarning says how it was read.
    """
    at, first = f"line {columns.line}", (columns.first[columns.source], columns.first[columns.target])
    said = " and ".join(map(shown, first))
    if columns.header and not columns.sure:
        again = not {*first}.isdisjoint(edges.nodes)
        if again or not (columns.named or all_numbers(edges.nodes)):
            fix = "Pass header=False (--no-header) if they are an edge."
            doubt(path, f"{said} are read as names of columns", fix, at=at)
    if columns.header is not None:
        return edges
    k = len({*first})
    again = bool(min(edges.source[1:].min(initial=k), edges.target[1:].min(initial=k)) < k)
    numbers = [as_number(cell) is not None for cell in first]
    if again or (any(numbers) and first != ("0", "1")):
        return edges
    below = edges.nodes[k:]
    if not any(numbers) and below and all_numbers(below):
        return Edges(edges.source[1:] - k, edges.target[1:] - k, edges.weight[1:], edges.directed, below, edges.name)
    doubt(path, f"{said} are read as an edge", "Pass header=True (--header) if they name columns.", at=at)
    return edges


def all_numbers(nodes: tuple[str, ...]) -> bool:
    return all(as_number(node) is not None for node in nodes)


def unread(path: Path, columns: Columns) -> None:
    """Warn of columns that might have been meant: none is a weight, and they are not Gephi's."""
    read = {columns.source, columns.target, columns.weight, columns.type}
    left = [name for i, name in enumerate(columns.names) if i not in read and plain(name) not in KNOWN]
    if left and columns.weight is None:
        fix = "Name the column weight if it is one; every edge weighs 1."
        doubt(path, f"the columns {listed(left)} are not read", fix, at=f"line {columns.line}")
