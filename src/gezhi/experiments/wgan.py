"""Do samples of a GAN get better when its critic comes nearer to the Wasserstein distance, or worse?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gezhi.data import read
from gezhi.experiments.setups.games import Layers, Play, layers, play
from gezhi.experiments.setups.judging import Case, Judge
from gezhi.experiments.setups.pixels import drawn, framed
from gezhi.experiments.setups.store import kept
from gezhi.gan import CTransform, Game, GradientPenalty, KMedians, clip_weights, geometric_median, wasserstein
from gezhi.gan import wasserstein1 as exact
from gezhi.gan.divergences import Divergence
from gezhi.lab import Dots, Experiment, Study, lower, ratio, two_thirds
from gezhi.lab import at as in_case
from gezhi.lab.reach import reach

Metrics = Mapping[str, Any]
FD, BATCH_DISTANCE, ERROR = "Fréchet distance", "batch distance", "relative error"

# ---- generators of pictures -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """Updates of a generator; pictures to train on, to judge by and to sample."""

    steps: int
    trained: int = 10_000
    judged: int = 5_000
    count: int = 2_000

    @property
    def parts(self) -> tuple[int, int, int]:
        """To train on, to judge by, and for the floor of the judge."""
        return self.trained, self.judged, self.count


@dataclass(frozen=True)
class Training:
    """How a generator is taught: by a critic of this divergence, or without one by the exact distance of a batch."""

    rate: float
    divergence: Divergence | None = None
    penalty: bool = False
    clip: float = 0.0
    critic_steps: int = 5
    batch: int = 64


CLIP, GP, GP_ONE, C, PLAN, PLAN_512 = "clip", "GP", "GP, 1 critic step", "c-transform", "batch of 64", "batch of 512"
# Step sizes of 1e-4, 3e-4 and 1e-3, and the bounds 0.01 and 0.1, by the distance after half of the updates, seed 900.
TRAININGS = {
    CLIP: Training(3e-4, wasserstein, clip=0.1),
    GP: Training(3e-4, wasserstein, penalty=True),
    GP_ONE: Training(3e-4, wasserstein, penalty=True, critic_steps=1),
    C: Training(3e-4, CTransform()),
    PLAN: Training(3e-4),
    PLAN_512: Training(3e-4, batch=512),
}
MANY = 2048  # points whose exact distance stands for that of the laws
NETS = Layers((32, 256, 256, 196), (196, 256, 256))


def taught(training: Training, train: Tensor, seed: int, size: Size) -> dict[str, Tensor]:
    """Samples of a generator, and by how much what it was taught with misses the exact distance, relative to it."""
    torch.manual_seed(seed)
    generator, critic = NETS.build()
    draw = torch.Generator().manual_seed(seed)

    def real(count: int) -> Tensor:
        return train[torch.randint(len(train), (count,), generator=draw)]

    def noise(count: int) -> Tensor:
        return torch.randn(count, NETS.generator[0], generator=draw)

    how = Play(size.steps, training.batch, training.rate, training.critic_steps)
    if training.divergence is None:
        by_plan(generator, real, noise, how)
    else:
        penalty = GradientPenalty(10.0) if training.penalty else None
        clipped = partial(clip_weights, bound=training.clip) if training.clip else None
        optimiser = torch.optim.RMSprop if training.clip else torch.optim.Adam
        play(
            Game(generator, critic, training.divergence, penalty),
            real,
            noise,
            how,
            optimiser=optimiser,
            after_critic=clipped,
        )
    with torch.no_grad():
        samples = generator(noise(size.count))
        times = 20 if training.divergence else 2  # an exact distance of 2048 points takes seconds
        errors = [error(training, critic, generator, real, noise) for _ in range(times)]
    return {"samples": samples, "error": torch.tensor(errors).mean()}


def by_plan(
    generator: torch.nn.Module, real: Callable[[int], Tensor], noise: Callable[[int], Tensor], how: Play
) -> None:
    optimiser = torch.optim.Adam(generator.parameters(), how.rate, betas=(0.0, 0.9))
    for _ in range(how.steps):
        optimiser.zero_grad()
        torch.autograd.backward(exact(real(how.batch), generator(noise(how.batch))))
        optimiser.step()


def error(
    training: Training, critic: torch.nn.Module, generator: torch.nn.Module,
    real: Callable[[int], Tensor], noise: Callable[[int], Tensor],
) -> float:  # fmt: skip
    """Of the critic's estimate on a batch; without a critic, of the batch's distance as that of one of 2048."""
    x, y = real(training.batch), generator(noise(training.batch))
    here = exact(x, y).item()
    if training.divergence is None:
        there = exact(real(MANY), generator(noise(MANY))).item()
        return abs(here / there - 1)
    return abs(-training.divergence(critic, x, y)[0].item() / here - 1)


def outcome(training: Training, case: Case, seed: int, size: Size) -> dict[str, Tensor]:
    """`taught`, from disk where another pair or study has asked for the same."""
    train, *_ = drawn(case, seed, size.parts)
    text = hashlib.sha256(train.numpy().tobytes()).hexdigest()
    recipe = {"code": reach(taught, training, size), "seed": seed, "data": text}
    return kept("wgan", recipe, lambda: taught(training, train, seed, size))


@lru_cache(maxsize=1)
def judge(case: Case, seed: int, size: Size) -> Judge:
    _, real, floor = drawn(case, seed, size.parts)
    return Judge(case, framed(real, case), framed(floor, case))


def judged(samples: Tensor, case: Case, seed: int, size: Size) -> dict[str, float]:
    """Distance in features, mean exact distance of batches of 64, contrast."""
    _, real, _ = drawn(case, seed, size.parts)
    found, real_batches, batches = (
        judge(case, seed, size),
        torch.split(real[:1280], 64),
        torch.split(samples[:1280], 64),
    )
    return {
        FD: found.distance(framed(samples, case)),
        BATCH_DISTANCE: float(np.mean([exact(x, y).item() for x, y in zip(real_batches, batches, strict=False)])),
        "contrast": float(samples.std(0).mean() / real.std(0).mean()),
        "floor": found.floor,
    }


POORER, BETTER = "poorer approximation", "better approximation"
PAIRS = {
    "clip, then GP": (CLIP, GP),
    "GP, 1 then 5 critic steps": (GP_ONE, GP),
    "GP, then c-transform": (GP, C),
    "batch of 64, then 512": (PLAN, PLAN_512),
}


def of_pair(arm: int, case: tuple[Case, str], seed: int, size: Size) -> Metrics:
    """Of one training of a pair; no distance where the better one does not come nearer by a fifth, or at the floor."""
    data, pair = case
    both = [outcome(TRAININGS[name], data, seed, size) for name in PAIRS[pair]]
    errors = [found["error"].item() for found in both]
    found = judged(both[arm]["samples"], data, seed, size)
    told = errors[1] <= 0.8 * errors[0] and found[FD] >= 2 * found["floor"]
    return {**found, FD: found[FD] if told else float("nan"), ERROR: errors[arm]}


BEDS = {"digits": Case("digits"), "clothes": Case("clothes")}
STEPS = 4000
LADDER = Study(
    "nearer to the distance",
    of_pair,
    {POORER: 0, BETTER: 1},
    {f"{name}: {pair}": (case, pair) for name, case in BEDS.items() for pair in PAIRS},
    {"full": Size(STEPS)},
    claims={"nearer-worse": ratio(FD, BETTER, over=POORER, at_least=1.1)},
    trains=two_thirds("steps"),
    seeds={"full": 5},
    figures=(Dots(FD, "nearer-worse", log=True), Dots(ERROR)),
)


REAL = "other pictures"


def of_training(training: Training | None, case: Case, seed: int, size: Size) -> Metrics:
    """Of the samples of a generator, or of real pictures in their place."""
    *_, other = drawn(case, seed, size.parts)
    samples = other if training is None else outcome(training, case, seed, size)["samples"]
    return judged(samples, case, seed, size)


GENERATORS = Study(
    "generators",
    of_training,
    {GP: TRAININGS[GP], CLIP: TRAININGS[CLIP], C: TRAININGS[C], REAL: None},
    BEDS,
    {"full": Size(STEPS)},
    claims={
        "wins-its-game": (
            lower(BATCH_DISTANCE, C, than=GP, by=0.05),
            lower(BATCH_DISTANCE, C, than=REAL, by=0.05),
        ),
        "gp-beats-clip": ratio(FD, GP, over=CLIP, at_most=0.9),
    },
    trains=two_thirds("steps"),
    seeds={"full": 5},
    figures=(Dots(FD, "gp-beats-clip", log=True), Dots(BATCH_DISTANCE, "wins-its-game")),
)

# ---- a critic of fixed batches --------------------------------------------------------------------------------------

OFF = "distance from that of the batch"
SPLIT, HALVES = "classes 0 to 4 against 5 to 9", "two halves of all digits"


@lru_cache(maxsize=1)
def two_laws(halves: bool, seed: int) -> tuple[Tensor, Tensor]:
    """scikit-learn's digits as rows from 0 to 1, in two parts."""
    data = read("digits")
    x = torch.from_numpy(np.asarray(data.X, dtype=np.float32)) / 16
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    upper = torch.arange(len(x)) >= len(x) // 2 if halves else torch.from_numpy(np.asarray(data.y)[order.numpy()] >= 5)
    return x[order][~upper], x[order][upper]


def estimate(training: Training, halves: bool, seed: int, steps: int) -> Metrics:
    """What a critic says of two laws after so many updates, and how far it is from the exact distance of batches."""
    torch.manual_seed(seed)
    draw, laws = torch.Generator().manual_seed(seed), two_laws(halves, seed)
    critic = torch.nn.Sequential(*layers((64, 256, 256, 1), lambda: torch.nn.LeakyReLU(0.2)))
    penalty = GradientPenalty(10.0) if training.penalty else None
    game = Game(torch.nn.Identity(), critic, training.divergence or wasserstein, penalty)
    optimiser: torch.optim.Optimizer = torch.optim.Adam(critic.parameters(), training.rate, betas=(0.0, 0.9))
    if training.clip:
        optimiser = torch.optim.RMSprop(critic.parameters(), training.rate)

    def batch() -> tuple[Tensor, Tensor]:
        x, y = (law[torch.randint(len(law), (64,), generator=draw)] for law in laws)
        return x, y

    for _ in range(steps):
        optimiser.zero_grad()
        torch.autograd.backward(game.critic_loss(*batch()))
        optimiser.step()
        if training.clip:
            clip_weights(critic, training.clip)
    with torch.no_grad():
        found = [
            (-game.divergence(critic, x, y)[0].item(), exact(x, y).item()) for x, y in (batch() for _ in range(20))
        ]
    said, true = np.mean(found, axis=0)
    return {"estimate": float(abs(said)), BATCH_DISTANCE: float(true), OFF: float(abs(said - true))}


STATIC = {
    GP: replace(TRAININGS[GP], rate=1e-3),
    CLIP: replace(TRAININGS[CLIP], rate=1e-3, clip=0.01),
    C: replace(TRAININGS[C], rate=1e-3),
}
CRITICS = Study(
    "critics",
    estimate,
    STATIC,
    {SPLIT: False, HALVES: True},
    {"smoke": {SPLIT: 2}, "quick": 100, "full": 500},
    claims={
        "c-nearest": in_case(SPLIT, lower(OFF, C, than=GP, by=0.1), lower(OFF, GP, than=CLIP, by=0.5)),
        "batch-not-law": in_case(HALVES, lower("estimate", GP, than=C, by=0.5)),
    },
    figures=(Dots(OFF, "c-nearest"), Dots("estimate", "batch-not-law")),
)

# ---- centres --------------------------------------------------------------------------------------------------------

CENTRES, MEDIAN = "centres", "one centre"


def to_batch(arm: str, batch: int, seed: int, clusters: int) -> Metrics:
    """The exact distance of batches of one half of the digits to real ones of the other half, or to its centres."""
    fitted, held = two_laws(True, seed)
    draw = torch.Generator().manual_seed(seed)

    def rows(x: Tensor) -> Tensor:
        return x[torch.randperm(len(x), generator=draw)[:batch]]

    points = centres(arm, seed, min(clusters, batch))
    others = [rows(fitted) if points is None else points.repeat(-(-batch // len(points)), 1)[:batch] for _ in range(20)]
    return {BATCH_DISTANCE: float(np.mean([exact(rows(held), other).item() for other in others]))}


@lru_cache(maxsize=4)
def centres(arm: str, seed: int, clusters: int) -> Tensor | None:
    fitted = two_laws(True, seed)[0].numpy()
    if arm == REAL:
        return None
    if arm == MEDIAN:
        return torch.from_numpy(geometric_median(fitted))[None]
    found = KMedians(clusters, random_state=seed).fit(fitted)
    return torch.from_numpy(found.cluster_centers_).float()


BLURRED = Study(
    "centres",
    to_batch,
    {REAL: REAL, CENTRES: CENTRES, MEDIAN: MEDIAN},
    {f"batches of {n}": n for n in (16, 64, 512)},
    {"smoke": {"batches of 16": 4}, "full": 64},
    claims={
        "centres-win": in_case(("batches of 16", "batches of 64"), lower(BATCH_DISTANCE, CENTRES, than=REAL, by=0.05)),
        "large-batches": in_case("batches of 512", lower(BATCH_DISTANCE, REAL, than=CENTRES, by=0.02)),
        "one-centre": in_case("batches of 64", lower(BATCH_DISTANCE, MEDIAN, than=REAL, by=0.05)),
    },
    figures=(Dots(BATCH_DISTANCE, ("centres-win", "large-batches")),),
)

OTHERS, ORIGIN = "other points", "their centre"


def normal(arm: str, dim: int, seed: int, _size: None) -> Metrics:
    """The exact distance of 64 normal points from 64 others, or from the centre of their law."""
    x, y = torch.randn(2, 64, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return {BATCH_DISTANCE: exact(x, y if arm == OTHERS else torch.zeros(1, dim, dtype=x.dtype)).item()}


WIDE = Study(
    "many dimensions",
    normal,
    {ORIGIN: ORIGIN, OTHERS: OTHERS},
    {f"d = {d}": d for d in (2, 16, 64, 256, 1024)},
    {"smoke": {"d = 2": None}, "quick": None, "full": None},
    claims={
        "centre-by-dimension": in_case(
            "d = 1024", ratio(BATCH_DISTANCE, OTHERS, over=ORIGIN, at_least=1.3, at_most=1.45)
        )
    },
)

EXPERIMENT = Experiment(__doc__, (LADDER, GENERATORS, CRITICS, BLURRED, WIDE), units={ERROR: "%"})
