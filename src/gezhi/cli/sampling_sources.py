"""Where the model of `gezhi sample` comes from: trained here on pictures, read from a file, or out of a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from gezhi._checks import check_integer, invalid
from gezhi.cli.bars import Bars
from gezhi.cli.sampling_training import pictures_of, prepared, trained
from gezhi.diffusion import Denoiser, VarianceStats, timestep_subsequence
from gezhi.experiments.setups import diffusion, pictures
from gezhi.experiments.setups.diffusion import BEDS, Bed

if TYPE_CHECKING:
    from gezhi.cli.commands.sample import Sample

INDEX = "model_index.json"


@dataclass(frozen=True)
class Source:
    """A model, the pictures that it draws, and what a head for its variances needs to know.

    Attributes:
        shape: of a picture, (channels, height, width); state: of what the model is called with.
        clip: the range of the pictures; None: the model was made without one.
        pictures: what it was trained on, as states from -1 to 1; None: not known here.
        layer, features: whose output a head reads, and its width.
        stats: variances that came with the model.
        head: for variances, that came with the model.
    """

    name: str
    model: Denoiser
    shape: tuple[int, ...]
    state: tuple[int, ...]
    clip: tuple[float, float] | None
    pictures: Callable[[], Tensor] | None
    layer: str
    features: int
    stats: VarianceStats | None = None
    head: nn.Module | None = None

    @property
    def network(self) -> nn.Module:
        return cast(nn.Module, self.model.network)

    def data(self, given: str | None, method: str) -> Tensor:
        """The pictures to measure on: the user's, else those of the training."""
        if given is not None:
            found = prepared(given)
            if tuple(found.shape[1:]) != self.shape:
                raise invalid("--data", f"be pictures of the model's shape, {self.shape}", tuple(found.shape[1:]))
            return found.reshape(-1, *self.state)
        if self.pictures is None:
            fix = "Name a set of `gezhi data`, a file or a folder."
            raise invalid("--data", f"be given, for {method} measures on pictures of the training", "none", fix)
        return self.pictures()


def source_of(asked: Sample, bars: Bars, words: str) -> Source:
    """The model that SOURCE names, on the device; trained, with a bar, where it is a set of pictures."""
    path = Path(asked.source)
    if path.suffix == ".safetensors" or (path / INDEX).is_file():
        for option, value in {"--updates": asked.updates, "--keep": asked.keep}.items():
            if value is not None:
                raise invalid(option, "be given for a model that is trained here alone", value)
        return from_pipeline(path, asked.device) if path.is_dir() else from_file(path, asked.device)
    times_of(asked, diffusion.SCHEDULE.steps)  # rather refused before the training than after it
    bed, data = pictures_of(asked.source)
    bed = bed if asked.updates is None else replace(bed, steps=asked.updates)
    model = trained(bed, data.to(asked.device), bars, words)
    if asked.keep is not None:
        asked.keep.parent.mkdir(parents=True, exist_ok=True)
        diffusion.save(asked.keep, model, bed)
    return of_bed(asked.source, model.to(asked.device), bed, lambda: data)


def times_of(asked: Sample, training_steps: int) -> list[int]:
    """The times that are visited; ValueError for more steps than the training had, and for times that repeat."""
    check_integer("--steps", asked.steps, at_least=1, at_most=training_steps)
    found: list[int] = timestep_subsequence(training_steps, asked.steps, asked.spacing.value).tolist()
    return found


def of_bed(name: str, model: Denoiser, bed: Bed, data: Callable[[], Tensor] | None) -> Source:
    flat = bed.network == "mlp"
    state = (bed.shape[0] * bed.shape[1] * bed.shape[2],) if flat else bed.shape

    def states() -> Tensor:
        found = data() if data else torch.empty(0)
        if bed.levels:
            found = pictures.dequantised(found, bed.levels, torch.Generator().manual_seed(0))
        return found.reshape(-1, *state)

    width = cast(int, cast(nn.Module, model.network).features)
    return Source(name, model, bed.shape, state, (-1.0, 1.0), states if data else None, "trunk", width)


# ---- made before ----------------------------------------------------------------------------------------------------


def from_file(path: Path, device: str) -> Source:
    """What --keep wrote."""
    if not path.is_file():
        raise invalid("SOURCE", "be an existing file", str(path))
    model, bed = diffusion.load(path)
    standing = next((bed_ for bed_ in BEDS.values() if (bed_.source, bed_.shape) == (bed.source, bed.shape)), None)
    return of_bed(path.name, model.to(device), bed, standing.pictures if standing else None)


def from_pipeline(folder: Path, device: str) -> Source:
    """The network and the schedule of a diffusers pipeline that draws pictures from noise alone."""
    from gezhi.adapters import diffusers as adapter
    from gezhi.adapters.diffusers.host import DiffusionPipeline, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    pipe: Any = DiffusionPipeline.from_pretrained(folder, local_files_only=True).to(device)
    if set(pipe.components) != {"unet", "scheduler"}:
        must = "be a pipeline of a unet and a scheduler, which draws pictures from noise alone"
        raise invalid("SOURCE", must, f"{type(pipe).__name__} of {', '.join(sorted(pipe.components))}")
    network, head, layer = pipe.unet, None, None
    if isinstance(network, adapter.UNetWithVariance):
        network, head, layer = network.unet, network.head, network.config.head_layer
    own = adapter.AncestralScheduler.from_config(pipe.scheduler.config, variance_type="fixed_small")
    known, reach = network.config, own.config.clip_sample_range
    size = known.sample_size
    shape = (known.in_channels, *((size, size) if isinstance(size, int) else size))
    return Source(
        name=folder.name,
        model=Denoiser(network, own.noise_schedule, own.config.prediction_type).eval(),
        shape=shape,
        state=shape,
        clip=(-reach, reach) if own.config.clip_sample else None,
        pictures=None,
        layer=layer or f"up_blocks.{len(network.up_blocks) - 1}",
        features=known.block_out_channels[0],
        stats=getattr(pipe.scheduler, "stats", None),
        head=head,
    )
