"""One door for a user's file, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gezhi._checks import check_choice, invalid
from gezhi.data.errors import fault, named
from gezhi.data.formats.edges import load_edges
from gezhi.data.formats.features import load_features
from gezhi.data.formats.images import load_images
from gezhi.data.formats.probabilities import load_probabilities
from gezhi.data.formats.texts import load_labelled_texts, load_pairs, load_texts
from gezhi.data.kinds import KINDS

LOADERS: dict[str, Callable[..., Any]] = {
    "features": load_features,
    "pairs": load_pairs,
    "texts": load_texts,
    "labelled texts": load_labelled_texts,
    "images": load_images,
    "edges": load_edges,
    "probabilities": load_probabilities,
}
OPTIONS = {  # which kinds each option is for
    "label": ("features",),
    "header": ("features", "edges", "pairs", "labelled texts"),
    "directed": ("edges",),
}
WITHOUT_HEADER = (".parquet", ".graphml", ".gexf", ".gml")  # they say themselves what is a name


def load(
    kind: str,
    path: str | Path,
    *,
    label: str | None = None,
    encoder: Path | None = None,
    header: bool | None = None,
    directed: bool | None = None,
) -> Any:
    """Read a file, or a folder of pictures, as one of `KINDS`.

    Args:
        kind: a key of `KINDS`; `KINDS[kind].form` says what the file must look like.
        path: never unpickled, and refused above 2 GiB, stored or unpacked.
        label: the column that holds the label, for features alone; None takes the last.
        encoder: folder of a Hugging Face model (config.json and safetensors), for pairs and texts alone.
        header: whether the first row of a table (features, edges, pairs, labelled texts) names its columns. None sees
            it: a header has known names, or words where numbers stand below; what could be either comes with a
            `DataWarning` that says how it was read.
        directed: for edges alone. None: as the file says, and a table without directions is undirected; then an
            undirected edge of a graph that also has directed ones stands twice, once each way.
    Returns: an instance of `KINDS[kind].type`, its `name` the file's.
    Errors: DataError with the place of the first fault, what was found, what is expected and what to do; ValueError
        for an unknown kind, an option that the kind does not have, or a folder without a model.
    """
    check_choice("kind", kind, KINDS)
    options = {"label": label, "header": header, "directed": directed}
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in given.items():
        if kind not in OPTIONS[name]:
            raise invalid(name, f"be given for {' and '.join(OPTIONS[name])} alone", f"{value!r} for {kind}")
    path = Path(path)
    if header is not None and path.suffix.lower() in WITHOUT_HEADER:
        raise invalid("header", "be given for tables of text alone", f"{header} for {path.suffix}")
    if encoder is not None:
        check_encoder(encoder, kind)
    with named(path, KINDS[kind].form):
        check_ending(path, kind)
        found = LOADERS[kind](path, **given)
    return found if encoder is None else replace(found, encoder=encoder)


def check_ending(path: Path, kind: str) -> None:
    """Raise DataError for a file or folder that the kind cannot be."""
    if path.exists() and not KINDS[kind].fits(path):
        found = "a folder" if path.is_dir() else f"the ending {path.suffix!r}"
        raise fault(path, found, "one of " + ", ".join(KINDS[kind].endings), f"{kind} are {KINDS[kind].form}.")


def check_encoder(folder: Path, kind: str) -> None:
    """Raise ValueError unless data of the kind take an encoder and the folder holds one that needs no unpickling."""
    if not hasattr(KINDS[kind].type, "encoder"):
        raise invalid("encoder", "be given for pairs and texts alone", f"one for {kind}")
    missing = [name for name in ("config.json", "*.safetensors") if not any(folder.glob(name))]
    if missing:
        fix = "Pass the folder of a Hugging Face model; save_pretrained writes one."
        raise invalid("encoder", "be a folder with config.json and *.safetensors", f"no {missing[0]} in {folder}", fix)
