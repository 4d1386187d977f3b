"""The training loop of models that take minutes or more: it may stop anywhere and go on as if it had not.

    loop = Loop(update, {"model": model, "optimiser": optimiser, "average": average}, config, generator, path)
    loop.run(6000)                                 # the same line again: from the checkpoint on

`update` draws from the generator it is given and moves the parts itself, so a denoiser, a VAE and the two players of a
game, in turn or at once, are one loop.
"""

from __future__ import annotations

import pickle
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gezhi._checks import check_integer, check_number, invalid

Losses = Mapping[str, Tensor]


class Part(Protocol):
    """What changes in training: a module, an optimiser, a schedule of step sizes, an average."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Any) -> Any: ...


@dataclass
class Loop:
    """Updates, with a checkpoint every so often.

    Args:
        update: one update from random numbers of the generator; returns its losses by name, detached.
        parts: all that an update changes, by name.
        config: plain values that the parts depend on; a checkpoint of another config is refused.
        generator: of everything that is drawn; torch's global generator is kept beside it.
        path: of the checkpoint; None: none is written.
        every: updates between two checkpoints, and between two calls of `watch`.
        watch: told how many updates are done and the mean of each loss since it was told last.
    """

    update: Callable[[torch.Generator], Losses]
    parts: Mapping[str, Part]
    config: Mapping[str, Any]
    generator: torch.Generator
    path: Path | None = None
    every: int = 500
    watch: Callable[[int, dict[str, float]], None] | None = None
    done: int = field(default=0, init=False)

    def run(self, steps: int) -> None:
        """Go on until so many updates are done in all, from the checkpoint where there is one.

        Errors: ValueError for a checkpoint of another config (the differences are listed) or a file that is none;
            FloatingPointError for a loss that is not finite; what was saved before stays.
        """
        check_integer("every", self.every, at_least=1)
        if self.path is not None and self.path.exists():
            self.load(self.path)
        told: list[Losses] = []
        while self.done < steps:
            told.append(self.update(self.generator))
            self.done += 1
            if self.done % self.every == 0 or self.done == steps:
                self._report(told)
                told.clear()
                if self.path is not None:
                    self.save(self.path)

    def _report(self, told: list[Losses]) -> None:
        means = {name: float(torch.stack([losses[name] for losses in told]).mean()) for name in told[0]}
        for name, mean in means.items():
            if not abs(mean) < float("inf"):
                fix = "Lower the step size, clip the gradients, or look at the data."
                must, found = "stay finite", f"{mean} within {len(told)} updates before number {self.done}"
                raise invalid(f"loss {name!r}", must, found, fix, kind=FloatingPointError)
        if self.watch is not None:
            self.watch(self.done, means)

    def save(self, path: Path) -> None:
        """Write everything, under another name first: a file is whole or as it was."""
        state = {
            "config": dict(self.config),
            "done": self.done,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "generator": self.generator.get_state(),
            "random": torch.get_rng_state(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        try:
            torch.save(state, part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def load(self, path: Path) -> None:
        """Put everything back as it was when `save` wrote it; nothing in the file is run."""
        try:
            state = torch.load(path, weights_only=True, map_location=self.generator.device)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
            raise invalid("path", "be a checkpoint", f"{path} ({error})", "Delete it, or name another.") from error
        if not isinstance(state, dict) or not {"config", "done", "parts", "generator", "random"} <= set(state):
            raise invalid("path", "be a checkpoint", str(path), "Delete it, or name another.")
        differences = compare(state["config"], dict(self.config))
        if differences:
            fix = "Train with those values, or name another path."
            raise invalid("path", "be a checkpoint of this config", "; ".join(differences), fix)
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        self.generator.set_state(state["generator"].cpu())
        torch.set_rng_state(state["random"].cpu())
        self.done = state["done"]


def compare(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """What differs, in words."""
    names = sorted({*theirs, *ours})
    return [
        f"{name}: {theirs.get(name, 'absent')} there, {ours.get(name, 'absent')} here"
        for name in names
        if theirs.get(name, ...) != ours.get(name, ...)
    ]


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """A copy whose weights follow the model's: w ← decay · w + (1 - decay) · model, at each `update_parameters`."""
    check_number("decay", decay, at_least=0, below=1)
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
