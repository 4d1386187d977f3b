"""The seven kinds of data an experiment can be asked of; what each file kind holds, once read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gezhi._checks import check_same_length, invalid

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Features:
    """A table of numbers and categories with one label a row.

    Attributes:
        X: (rows, columns), finite but for NaN where a value is missing; a column of categories holds their codes,
            which are names and no measures: `encoder` turns them into columns of 0 and 1, inside each split.
        y: class code of each row, an index into `classes`.
        classes: names, in the order of their numbers where all are numbers, else alphabetical.
        columns: names of the columns of `X`.
        name: what reports call the set.
        categories: of each column of `X` that holds codes, by its position, the names that they stand for.
    """

    X: Floats
    y: Codes
    classes: tuple[str, ...]
    columns: tuple[str, ...]
    name: str
    categories: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_same_length(X=len(self.X), y=len(self.y))
        check_same_length(columns=len(self.columns), X_columns=self.X.shape[1])
        check_codes("y", self.y, len(self.classes))

    @property
    def plain(self) -> bool:
        """Whether `X` can be used as it is: no value is missing and no column holds codes."""
        return not self.categories and bool(np.isfinite(self.X).all())


@dataclass(frozen=True, eq=False)
class Pairs:
    """Two texts a row and how similar they are; larger is more similar, only the order is promised.

    `encoder` is the folder of the model that should turn the texts into vectors, where the user named one.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    score: Floats
    name: str
    encoder: Path | None = None

    def __post_init__(self) -> None:
        check_same_length(left=len(self.left), right=len(self.right), score=len(self.score))


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts in the order of the file; `encoder` as in `Pairs`."""

    texts: tuple[str, ...]
    name: str
    encoder: Path | None = None


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Texts with one label each: `labels` are indices into `classes`."""

    texts: tuple[str, ...]
    labels: Codes
    classes: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        check_same_length(texts=len(self.texts), labels=len(self.labels))
        check_codes("labels", self.labels, len(self.classes))


@dataclass(frozen=True, eq=False)
class Images:
    """Pictures of one size: (rows, height, width) or (rows, height, width, channels), with labels or without.

    `images` keeps the file's type: uint8 from 0 to 255, or floats as they were stored.
    """

    images: NDArray[Any]
    labels: Codes | None
    classes: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        if self.labels is not None:
            check_same_length(images=len(self.images), labels=len(self.labels))
            check_codes("labels", self.labels, len(self.classes))


@dataclass(frozen=True, eq=False)
class Edges:
    """A graph as a list of edges: `source` and `target` are indices into `nodes`.

    Repeated edges and self-loops stay as the file has them. An undirected edge stands once; in a graph that is
    directed, because other edges of its file are, it stands twice, once each way. `nodes` are names; two nodes may
    have the same. `groups` is the known community of each node, where the source of the data gives one.
    """

    source: Codes
    target: Codes
    weight: Floats
    directed: bool
    nodes: tuple[str, ...]
    name: str
    groups: Codes | None = None

    def __post_init__(self) -> None:
        check_same_length(source=len(self.source), target=len(self.target), weight=len(self.weight))
        check_codes("source", self.source, len(self.nodes))
        check_codes("target", self.target, len(self.nodes))
        if self.groups is not None:
            check_same_length(groups=len(self.groups), nodes=len(self.nodes))


@dataclass(frozen=True, eq=False)
class Probabilities:
    """Predicted class probabilities of reference rows and of test rows (rows, classes), with their true classes."""

    reference: Floats
    reference_labels: Codes
    test: Floats
    test_labels: Codes
    name: str

    def __post_init__(self) -> None:
        check_same_length(reference=len(self.reference), reference_labels=len(self.reference_labels))
        check_same_length(test=len(self.test), test_labels=len(self.test_labels))
        check_same_length(reference_columns=self.reference.shape[1], test_columns=self.test.shape[1])
        check_codes("reference_labels", self.reference_labels, self.reference.shape[1])
        check_codes("test_labels", self.test_labels, self.test.shape[1])

    @property
    def prior(self) -> Floats:
        """Class frequencies of the reference, never of the test labels, which nobody has when predicting."""
        counts = np.bincount(self.reference_labels, minlength=self.reference.shape[1])
        return np.asarray(counts / counts.sum())


@dataclass(frozen=True)
class Kind:
    """What a data kind becomes once read, the endings its files may have, and their form; a folder has no ending."""

    type: type
    endings: tuple[str, ...]
    form: str
    folders: bool = False

    def fits(self, path: str | Path) -> bool:
        """Whether a file of this name, or this folder, can be of the kind."""
        path = Path(path)
        return self.folders if path.is_dir() else path.name.lower().endswith(self.endings)


KINDS: dict[str, Kind] = {
    "features": Kind(
        Features,
        (".csv", ".tsv", ".parquet"),
        "a table of numbers and categories; the label is the last column or the one named",
    ),
    "pairs": Kind(Pairs, (".tsv", ".csv"), "text, text and score on each line, between tabs (.tsv) or commas (.csv)"),
    "texts": Kind(Texts, (".txt",), "one text a line"),
    "labelled texts": Kind(
        LabelledTexts, (".tsv", ".csv"), "text and label on each line, between tabs (.tsv) or commas (.csv)"
    ),
    "images": Kind(
        Images,
        (".npz", ".gz", ".idx", "-ubyte"),
        "an npz with `images` and perhaps `labels`, an idx file, or a folder with one folder of pictures a class",
        folders=True,
    ),
    "edges": Kind(
        Edges,
        (".csv", ".tsv", ".txt", ".edges", ".edgelist", ".ncol", ".graphml", ".gexf", ".gml", ".net"),
        "a table of source, target and perhaps weight, GraphML, GEXF, GML or Pajek",
    ),
    "probabilities": Kind(
        Probabilities, (".npz",), "an npz with `reference`, `reference_labels`, `test` and `test_labels`"
    ),
}


def check_codes(argument: str, codes: Codes, count: int) -> None:
    """Raise ValueError unless every code is in 0..count-1."""
    if len(codes) and not (codes.min() >= 0 and codes.max() < count):
        found = f"{codes.min()} to {codes.max()}"
        raise invalid(argument, f"hold codes from 0 to {count - 1}", found, "Number the classes from 0.")
