"""`gezhi sample`: pictures from a diffusion model in few steps."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gezhi._checks import check_integer, check_number, invalid, require
from gezhi.cli.bars import Bars, Move, bars
from gezhi.cli.output import echo_json, note
from gezhi.cli.phrases import in_language
from gezhi.cli.sampling_sources import Source, source_of, times_of
from gezhi.cli.sampling_steps import Way, eta_of, way
from gezhi.diffusion import Denoiser, Prediction, sample
from gezhi.experiments.setups.pictures import grid
from gezhi.lab.record import Words, write_atomically

if TYPE_CHECKING:
    from gezhi.cli.commands.sample import Sample

ROWS = 250  # pictures that are drawn at once
DEFAULT = (Path("samples.png"), Path("samples.npz"))
TRAINING = Words(en="training the model", zh="训练模型")
MEASURING = Words(en="measuring the variances", zh="测量方差")
HEAD = Words(en="training the head for variances", zh="训练方差头")
DRAWING = Words(en="drawing", zh="采样")
END = Words(
    en="{count} pictures ({name}) by {method} in {steps} steps{eta}: {seconds:.1f} s",
    zh="{count} 张图片（{name}），{method}，{steps} 步{eta}，{seconds:.1f} 秒",
)


def run_and_print(asked: Sample) -> None:
    """Check, get the model, draw, write; nothing is written unless all of it was drawn."""
    check(asked)
    lang = asked.lang.value
    with bars(quiet=asked.json) as shown, noted():
        training, measuring, head, drawing = (in_language(w, lang) for w in (TRAINING, MEASURING, HEAD, DRAWING))
        source = source_of(asked, shown, training)
        times = times_of(asked, source.model.schedule.steps)
        chosen = way(asked, source, times, shown, (measuring, head))
        start = time.perf_counter()
        drawn = draw(asked, source, chosen, times, shown, drawing)
        seconds = time.perf_counter() - start
    files = write(asked.output or DEFAULT, drawn)
    told = summary(asked, source, chosen, times, files, seconds)
    if asked.json:
        echo_json(told)
    comma = "，" if lang == "zh" else ", "
    eta = "" if told["eta"] is None else f"{comma}η = {told['eta']:g}"
    note(in_language(END, lang).format(**{**told, "eta": eta, "name": told["source"]}), err=True)
    for file in files:
        note(str(file), err=True)


@contextmanager
def noted() -> Iterator[None]:
    """A warning of a method becomes a line on standard error; others are given again."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for each in caught:
        if issubclass(each.category, UserWarning):
            note(f"Note: {each.message}.", err=True)
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def check(asked: Sample) -> None:
    """ValueError for an option that does not hold, before anything is read or trained."""
    check_integer("--steps", asked.steps, at_least=1)
    check_integer("--count", asked.count, at_least=1)
    check_integer("--seed", asked.seed, at_least=0, at_most=2**63 - 1)
    if asked.updates is not None:
        check_integer("--updates", asked.updates, at_least=1)
    if asked.eta is not None:
        check_number("--eta", asked.eta, at_least=0, at_most=1)
    eta_of(asked)
    for path in asked.output or ():
        if path.suffix.lower() not in (".png", ".npz"):
            raise invalid("--output", "end in .png or .npz", str(path))
    if asked.keep is not None and asked.keep.suffix != ".safetensors":
        raise invalid("--keep", "end in .safetensors", str(asked.keep))
    try:
        torch.empty(0, device=asked.device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise invalid("--device", "be there", f"{asked.device} ({str(error).splitlines()[0]})") from None


def draw(asked: Sample, source: Source, chosen: Way, times: list[int], shown: Bars, words: str) -> Tensor:
    """Pictures (count, *shape), at most so many at once."""
    generator = torch.Generator(asked.device).manual_seed(asked.seed)
    batches = [min(ROWS, asked.count - done) for done in range(0, asked.count, ROWS)]
    found = []
    with torch.inference_mode(), shown.bar(words, len(batches) * len(times)) as move:
        model = Counted(chosen.model, move)
        for rows in batches:
            x = torch.randn(rows, *source.state, generator=generator, device=asked.device)
            found.append(sample(model, x, times, chosen.step, generator=generator).cpu())
    return torch.cat(found).view(-1, *source.shape)


class Counted:
    """A model that moves a bar at each call."""

    def __init__(self, model: Denoiser, move: Move) -> None:
        self.model, self.schedule, self.move, self.calls = model, model.schedule, move, 0

    def __call__(self, x: Tensor, t: Any) -> Prediction:
        prediction: Prediction = self.model(x, t)
        self.calls += 1
        self.move(self.calls, "")
        return prediction


def write(paths: Any, drawn: Tensor) -> list[Path]:
    """A grid as PNG, all pictures as npz: `images` as gezhi.data reads them, `samples` as the model drew them."""
    files = []
    for path in paths:
        buffer = io.BytesIO()
        if path.suffix.lower() == ".png":
            require("PIL.Image", "lab").fromarray(grid(drawn)).save(buffer, format="PNG")
        else:
            levels = ((drawn.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
            images = levels[..., 0] if levels.shape[-1] == 1 else levels
            np.savez_compressed(buffer, images=images, samples=drawn.numpy())
        files.append(write_atomically(path, buffer.getvalue()))
    return files


def summary(
    asked: Sample, source: Source, chosen: Way, times: list[int], files: list[Path], seconds: float
) -> dict[str, Any]:
    """What was done, for programs."""
    return {
        "source": source.name,
        "method": asked.method.value,
        "eta": chosen.eta,
        "steps": asked.steps,
        "times": times,
        "count": asked.count,
        "seed": asked.seed,
        "seconds": round(seconds, 3),
        "files": [str(file) for file in files],
    }
