"""Candidates as seeds: steps that can be drawn again, so that no copies of the parameters have to be kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

Step = dict[str, Tensor]


class Candidate(NamedTuple):
    """One draw: its seed, the sign of its noise, and whether it is centred at the guide or at 0."""

    seed: int
    sign: int
    guided: bool


class Block(NamedTuple):
    """Some tensors of all candidates, side by side: (candidates, numbers of all of them)."""

    like: Step
    rows: Tensor

    def parts(self, rows: Tensor) -> Step:
        """Rows of numbers as tensors by name, the rows in front."""
        split = torch.split(rows, [value.numel() for value in self.like.values()], -1)
        shapes = {name: (*rows.shape[:-1], *value.shape) for name, value in self.like.items()}
        return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), split, strict=True)}

    def moved(self) -> Step:
        """The parameters themselves, and after each candidate's step."""
        now = flat(self.like, self.rows.dtype)
        found = self.parts(torch.cat([now[None], now + self.rows]))
        return {name: part.to(self.like[name].dtype) for name, part in found.items()}


def flat(step: Step, dtype: torch.dtype) -> Tensor:
    """All numbers of a step in one row."""
    return torch.cat([value.flatten().to(dtype) for value in step.values()])


def plan(count: int, at_zero: int, antithetic: bool, generator: torch.Generator | None) -> list[Candidate]:
    """Guided and unguided candidates in turn, guided first; antithetic ones share their noise in pairs of one kind."""
    device = None if generator is None else generator.device
    seeds = torch.randint(2**62, (count,), generator=generator, device=device).tolist()
    left = {True: count - at_zero, False: at_zero}
    unpaired: dict[bool, int] = {}
    found: list[Candidate] = []
    guided = True
    for seed in seeds:
        guided = guided if left[guided] else not guided
        left[guided] -= 1
        if antithetic and guided in unpaired:
            found.append(Candidate(unpaired.pop(guided), -1, guided))
        else:
            found.append(Candidate(seed, 1, guided))
            unpaired[guided] = seed
        guided = not guided
    return found


class FullNoise:
    """Normal noise in every parameter."""

    def __init__(self, like: Step, guide: Step | None, sigma: float, relative: bool) -> None:
        self.like, self.guide = like, guide
        self.scales: Mapping[str, float | Tensor] = dict.fromkeys(like, sigma)
        if relative and guide is not None:
            self.scales = {name: sigma * g.abs().mean() for name, g in guide.items()}
        self.devices: dict[torch.device, list[str]] = {}
        for name, value in like.items():
            self.devices.setdefault(value.device, []).append(name)

    def step(self, candidate: Candidate) -> Step:
        """Δ, tensor by tensor."""
        found = {}
        for name, z in self._noise(candidate):
            step = z * self.scales[name]
            found[name] = step + self.guide[name] if candidate.guided and self.guide is not None else step
        return found

    def blocks(self, candidates: Sequence[Candidate]) -> list[Block]:
        """All steps at once, a block a device."""
        found = []
        for device, names in self.devices.items():
            like = {name: self.like[name] for name in names}
            rows = torch.stack([self._drawn(candidate, device, names) for candidate in candidates])
            if len({id(scale) if isinstance(scale, Tensor) else scale for scale in self.scales.values()}) == 1:
                rows *= self.scales[names[0]]
            else:
                spread = [rows.new_ones(v.numel()) * self.scales[name] for name, v in like.items()]
                rows *= torch.cat(spread)
            if self.guide is not None:
                guided = torch.tensor([[float(candidate.guided)] for candidate in candidates]).to(rows)
                rows += guided * flat({name: self.guide[name] for name in names}, rows.dtype)
            found.append(Block(like, rows))
        return found

    def distances(self, candidate: Candidate) -> tuple[float, float]:
        """‖Δ‖²/σ² and ‖Δ - guide‖²/σ², from the noise itself."""
        own, other = 0.0, 0.0
        for name, z in self._noise(candidate):
            own += float(z.double().square().sum())
            if self.guide is not None:
                scale = torch.as_tensor(self.scales[name], dtype=torch.float64, device=z.device)
                apart = self.guide[name].double() / scale.masked_fill(scale == 0, torch.inf)
                other += float((z.double() + (apart if candidate.guided else -apart)).square().sum())
        return (other, own) if candidate.guided else (own, other)

    def _noise(self, candidate: Candidate) -> Iterator[tuple[str, Tensor]]:
        """Standard normal numbers by tensor, drawn at once for all tensors of a device."""
        for device, names in self.devices.items():
            like = [self.like[name] for name in names]
            parts = torch.split(self._drawn(candidate, device, names), [value.numel() for value in like])
            yield from ((name, z.view(value.shape)) for name, value, z in zip(names, like, parts, strict=True))

    def _drawn(self, candidate: Candidate, device: torch.device, names: Sequence[str]) -> Tensor:
        like = [self.like[name] for name in names]
        kind = reduce(torch.promote_types, (value.dtype for value in like), torch.float32)
        draw = torch.Generator(device).manual_seed(candidate.seed)
        return candidate.sign * torch.randn(sum(v.numel() for v in like), dtype=kind, device=device, generator=draw)


class SubspaceNoise:
    """Normal noise in a few orthonormal directions, the first along the guide, so that densities can be compared."""

    def __init__(self, like: Step, guide: Step | None, sigma: float, rank: int, seed: int) -> None:
        self.like, self.sigma = like, sigma
        first = next(iter(like.values()))
        kind = torch.promote_types(first.dtype, torch.float32)
        size = sum(value.numel() for value in like.values())
        draw = torch.Generator(first.device).manual_seed(seed)
        columns = torch.randn(size, rank, dtype=kind, device=first.device, generator=draw)
        self.centre = columns.new_zeros(rank)
        if guide is not None:
            along = torch.cat([guide[name].flatten().to(kind) for name in like])
            length = torch.linalg.vector_norm(along)
            if length > 0:
                columns[:, 0] = along / length
                self.centre[0] = length
        basis, upper = torch.linalg.qr(columns)
        self.basis = basis * upper.diagonal().sign()

    def step(self, candidate: Candidate) -> Step:
        """Δ, tensor by tensor."""
        flat = self.basis @ self._coordinates(candidate)
        sizes = [value.numel() for value in self.like.values()]
        parts = zip(self.like.items(), flat.split(sizes), strict=True)
        return {name: part.view(like.shape) for (name, like), part in parts}

    def blocks(self, candidates: Sequence[Candidate]) -> list[Block]:
        """All steps at once."""
        rows = torch.stack([self._coordinates(candidate) for candidate in candidates]) @ self.basis.T
        return [Block(self.like, rows)]

    def distances(self, candidate: Candidate) -> tuple[float, float]:
        """As `FullNoise.distances`, among the coordinates."""
        c = self._coordinates(candidate).double() / self.sigma
        return float(c.square().sum()), float((c - self.centre.double() / self.sigma).square().sum())

    def _coordinates(self, candidate: Candidate) -> Tensor:
        device = self.basis.device
        draw = torch.Generator(device).manual_seed(candidate.seed)
        z = torch.randn(len(self.centre), dtype=self.basis.dtype, device=device, generator=draw)
        c = candidate.sign * self.sigma * z
        return c + self.centre if candidate.guided else c
