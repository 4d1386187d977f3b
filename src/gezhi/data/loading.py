"""One door for a user's file, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gezhi._checks import check_choice, invalid
from gezhi.data.errors import fault
from gezhi.data.formats.edges import load_edges
from gezhi.data.formats.features import load_features
from gezhi.data.formats.images import load_images
from gezhi.data.formats.probabilities import load_probabilities
from gezhi.data.formats.texts import load_labelled_texts, load_pairs, load_texts
from gezhi.data.kinds import KINDS

LOADERS: dict[str, Callable[[Path], Any]] = {
    "pairs": load_pairs,
    "texts": load_texts,
    "labelled texts": load_labelled_texts,
    "images": load_images,
    "edges": load_edges,
    "probabilities": load_probabilities,
}


def load(kind: str, path: str | Path, *, label: str | None = None, encoder: Path | None = None) -> Any:
    """Read a file, or a folder of pictures, as one of `KINDS`.

    Args:
        kind: a key of `KINDS`; `KINDS[kind].form` says what the file must look like.
        path: never unpickled, and refused above 2 GiB, stored or unpacked.
        label: the column that holds the label, for features alone; None takes the last.
        encoder: folder of a Hugging Face model (config.json and safetensors), for pairs and texts alone.
    Returns: an instance of `KINDS[kind].type`, its `name` the file's.
    Errors: DataError with the place of the first fault, what was found, what is expected and what to do; ValueError
        for an unknown kind, a `label` or an `encoder` where the kind has none, or a folder without a model.
    """
    check_choice("kind", kind, KINDS)
    if label is not None and kind != "features":
        raise invalid("label", "be given for features alone", f"{label!r} for {kind}")
    path = Path(path)
    if path.exists() and not KINDS[kind].fits(path):
        found = "a folder" if path.is_dir() else f"the ending {path.suffix!r}"
        raise fault(path, found, "one of " + ", ".join(KINDS[kind].endings), f"{kind} are {KINDS[kind].form}.")
    loader = partial(load_features, label=label) if kind == "features" else LOADERS[kind]
    if encoder is not None:
        check_encoder(encoder, kind)
        return replace(loader(path), encoder=encoder)
    return loader(path)


def check_encoder(folder: Path, kind: str) -> None:
    """Raise ValueError unless data of the kind take an encoder and the folder holds one that needs no unpickling."""
    if not hasattr(KINDS[kind].type, "encoder"):
        raise invalid("encoder", "be given for pairs and texts alone", f"one for {kind}")
    missing = [name for name in ("config.json", "*.safetensors") if not any(folder.glob(name))]
    if missing:
        fix = "Pass the folder of a Hugging Face model; save_pretrained writes one."
        raise invalid("encoder", "be a folder with config.json and *.safetensors", f"no {missing[0]} in {folder}", fix)
