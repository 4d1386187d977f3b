"""A small diffusion model trained on pictures, once: kept in the cache, and a training that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from filelock import FileLock
from torch import Tensor

from gezhi._checks import invalid
from gezhi.cli.bars import Bars
from gezhi.data import KINDS, Images, cache_folder, load, read, sources
from gezhi.diffusion import Denoiser
from gezhi.experiments.setups import diffusion, pictures
from gezhi.experiments.setups.diffusion import BEDS, Bed

EVERY = 100  # updates between two checkpoints
MLP_PIXELS = 144  # up to so many a network on all pixels at once, beyond a U-Net


def pictures_of(name: str) -> tuple[Bed, Tensor]:
    """The pictures that a name stands for, and how a model is trained on them."""
    if name in BEDS:
        bed = BEDS[name]
        return bed, bed.pictures()
    data = prepared(name)
    channels, height, width = data.shape[1:]
    like = BEDS["digits" if data[0].numel() <= MLP_PIXELS else "clothes"]
    return replace(like, source=Path(name).name, shape=(channels, height, width), levels=0), data


def prepared(name: str) -> Tensor:
    """Pictures of a source of gezhi.data, or of the user's file or folder, padded until 4 divides their sides."""
    known = [source.name for source in sources() if source.kind == "images"]
    path = Path(name)
    if name in BEDS:
        return BEDS[name].pictures()
    if name in known:
        found: Images = read(name)
    elif path.exists():
        found = load("images", path)
    else:
        must = (
            f"be digits, clothes, {', '.join(known)}, a file or folder ({KINDS['images'].form}), a model or a pipeline"
        )
        raise invalid("SOURCE or --data", must, name)
    height, width, *_ = found.images.shape[1:]
    side = max(height, width)
    return pictures.prepared(found, padded=side + -side % 4)


def trained(bed: Bed, data: Tensor, bars: Bars, words: str) -> Denoiser:
    """From the cache, or trained now: with a checkpoint, from which a training that was killed goes on exactly."""
    told = {**diffusion.told(bed), "data": diffusion.digest(data)}
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    path = cache_folder() / "made" / f"sampler-{key}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # of two commands at once one trains
        if path.exists():
            return diffusion.load(path)[0]
        checkpoint = path.with_suffix(".checkpoint")
        with bars.bar(words, bed.steps) as move:

            def watch(done: int, losses: dict[str, float]) -> None:
                move(done, f"({losses['loss']:.4f})")

            model = diffusion.train(bed, data, 0, path=checkpoint, every=EVERY, watch=watch)
        diffusion.save(path, model, bed)
        checkpoint.unlink(missing_ok=True)
    return model
