"""Folders of pretrained weights: out of a pinned package, or from the hub for those who can reach it."""

from __future__ import annotations

from pathlib import Path

from gezhi._checks import require
from gezhi.data.errors import DataUnavailable

SAFE = ("*.safetensors", "*.json", "*.txt", "*.model")  # weights as plain numbers, configurations and vocabularies


def folder_of(_: str, *paths: Path) -> Path:
    """The innermost folder that holds all files of a model."""
    first = paths[0]
    if first.is_dir():
        return first
    return next(folder for folder in first.parents if all(folder in path.parents for path in paths))


def from_hub(repository: str, revision: str | None = None) -> Path:
    """The folder of a model repository of the Hugging Face hub, without its pickled weights.

    Args:
        repository: such as `owner/model`. Pin `revision` (a commit) wherever a result depends on it.
    Errors: DataUnavailable where the hub cannot be reached and the model is not in its cache, or does not exist.
    """
    hub = require("huggingface_hub", "hf")
    try:
        return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=list(SAFE)))
    except (OSError, hub.errors.HfHubHTTPError) as error:
        reason = str(error).splitlines()[0]
        raise DataUnavailable(
            f"{repository}: the hub gave no such model ({reason}). If it lies on this machine, pass its folder instead."
        ) from None
