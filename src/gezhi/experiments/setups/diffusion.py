"""Diffusion models that train on a processor in minutes, their checkpoints and their files.

bed = BEDS["digits"]                           # an MLP on 8 × 8 digits; "clothes": a U-Net on Fashion-MNIST
model = train(bed, bed.pictures(), seed=0, path=path, watch=print)   # a `Denoiser` with averaged weights
save(file, model, bed)
model, bed = load(file)
x = sample(model, noise(bed, 64, generator), timestep_subsequence(1000, 10), ddim_step(), generator=generator)
save_grid(picture, x.view(-1, *bed.shape))
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gezhi._checks import invalid
from gezhi.diffusion.ddim import denoising_loss
from gezhi.diffusion.denoiser import Denoiser, PredictionType
from gezhi.diffusion.schedule import NoiseSchedule
from gezhi.experiments.setups.denoisers import NETWORKS
from gezhi.experiments.setups.loop import Loop, Losses, Part, averaged
from gezhi.experiments.setups.pictures import dequantised, pictures
from gezhi.experiments.setups.store import kept
from gezhi.lab.reach import reach

Watch = Callable[[int, dict[str, float]], None]
SCHEDULE = NoiseSchedule.linear()


@dataclass(frozen=True)
class Bed:
    """Pictures, a network, and how it is trained: Adam whose step size falls from `rate` to 0 along half a cosine.

    Args:
        network: "mlp" or "unet"; width: of it.
        source: of `gezhi.data`; side, padded: see `prepared`.
        shape: of one picture, (channels, height, width).
        steps, batch: updates, and pictures in each.
        decay: of the running average of the weights, which is what samples.
        levels: of the pictures, where they are dequantised; 0: not.
        prediction: what the network gives, and what its loss compares. A small network is too coarse for the noise of
            states that are nearly all noise, where a hundredth of it is the whole picture; v has no such place.
    """

    network: str
    source: str
    shape: tuple[int, int, int]
    width: int
    steps: int
    batch: int
    side: int | None = None
    padded: int | None = None
    levels: int = 0
    rate: float = 1e-3
    decay: float = 0.999
    prediction: PredictionType = "v_prediction"

    def pictures(self) -> Tensor:
        """All of the source, (rows, *shape) from -1 to 1."""
        return pictures(self.source, self.side, self.padded)

    def make(self) -> nn.Module:
        """The network, in the order of memory in which convolutions are fastest."""
        network = NETWORKS[self.network](self.shape, width=self.width)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def model(self, network: nn.Module) -> Denoiser:
        return Denoiser(network, SCHEDULE, self.prediction)


BEDS = {
    "digits": Bed("mlp", "digits", (1, 8, 8), width=192, steps=7000, batch=128, levels=17),
    "clothes": Bed("unet", "fashion-mnist-train", (1, 28, 28), width=16, steps=3000, batch=64),
}


def train(
    bed: Bed, data: Tensor, seed: int, *, path: Path | None = None, every: int = 500, watch: Watch | None = None
) -> Denoiser:
    """A network trained on pictures (rows, *shape); the seed draws the initial weights, the batches and the noise.

    Args:
        data: from -1 to 1; training runs where they lie.
        path: of a checkpoint, from which a broken off training goes on exactly; None: none.
        every: updates between checkpoints and calls of `watch`.
        watch: told how many updates are done and the mean loss since it was told last.
    """
    network = untrained(bed, seed).to(data.device)
    model, average = bed.model(network), averaged(network, bed.decay)
    optimiser = torch.optim.Adam(model.parameters(), bed.rate, fused=True)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, bed.steps)

    def update(draw: torch.Generator) -> Losses:
        x0 = data[torch.randint(len(data), (bed.batch,), generator=draw, device=data.device)]
        x0 = dequantised(x0, bed.levels, draw) if bed.levels else x0
        loss = denoising_loss(model, x0, target=bed.prediction, generator=draw)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        fall.step()
        average.update_parameters(network)
        return {"loss": loss.detach()}

    parts: dict[str, Part] = {"model": model, "average": average, "optimiser": optimiser, "step sizes": fall}
    config = {**told(bed), "seed": seed, "data": digest(data)}
    draw = torch.Generator(data.device).manual_seed(seed)
    Loop(update, parts, config, draw, path, every, watch).run(bed.steps)
    return bed.model(average.module).eval()


def untrained(bed: Bed, seed: int) -> nn.Module:
    """The network with the initial weights of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return bed.make()


def trained(bed: Bed, data: Tensor, seed: int) -> Denoiser:
    """`train`, from disk where another study has trained the same before."""
    recipe = {"code": reach(train, bed), "seed": seed, "data": digest(data)}
    state = kept("diffusion", recipe, lambda: dict(train(bed, data, seed).state_dict()))
    return restored(bed, state)


def restored(bed: Bed, state: dict[str, Tensor]) -> Denoiser:
    model = bed.model(bed.make())
    model.load_state_dict(state)
    return model.eval()


def digest(data: Tensor) -> str:
    return hashlib.sha256(data.cpu().contiguous().numpy().tobytes()).hexdigest()[:16]


def told(bed: Bed) -> dict[str, Any]:
    return {**asdict(bed), "shape": list(bed.shape)}


# ---- files ----------------------------------------------------------------------------------------------------------


def save(path: Path, model: Denoiser, bed: Bed) -> None:
    """The network's weights and the bed as safetensors, written under another name first."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        state = {name: value.contiguous() for name, value in model.state_dict().items()}
        save_file(state, part, metadata={"gezhi": json.dumps(told(bed))})
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load(path: Path) -> tuple[Denoiser, Bed]:
    """What `save` wrote; ValueError for another file."""
    try:
        with safe_open(path, framework="pt") as file:
            words = (file.metadata() or {})["gezhi"]
        found = json.loads(words)
        bed = Bed(**{**found, "shape": tuple(found["shape"])})
        return restored(bed, load_file(path)), bed
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise invalid("path", "be a diffusion model that was saved here", f"{path} ({error})") from error


def noise(bed: Bed, count: int, generator: torch.Generator) -> Tensor:
    """States to sample from."""
    return torch.randn(count, *bed.shape, generator=generator, device=generator.device)
