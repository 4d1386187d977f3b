"""What is costly to make and used by several studies or methods: made once, kept as safetensors in the user's cache."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gezhi.data import cache_folder


def kept(name: str, recipe: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors that `make` gives, from disk where something with the same recipe was made before.

    Args:
        name: of the file, for people.
        recipe: everything the tensors depend on, as JSON can hold it; their hash names the file.
    """
    key = hashlib.sha256(json.dumps({**recipe, "torch": torch.__version__}, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder() / "made"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{key}.safetensors"
    with FileLock(path.with_suffix(".lock")):  # several workers ask at once
        try:
            return load_file(path)
        except (FileNotFoundError, SafetensorError):
            part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
            try:
                save_file({key: value.contiguous() for key, value in make().items()}, part)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
    return load_file(path)
