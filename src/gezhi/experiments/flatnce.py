"""Do small batches fail because floating point swamps a small loss, and does FlatNCE repair them?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from gezhi.data import Images
from gezhi.experiments.setups.train import fit
from gezhi.experiments.setups.views import digits, encoder, pairs, recalls, split
from gezhi.lab import Dots, Experiment, Profile, Study, better, every, inside
from gezhi.losses.flatnce import InfoNCELoss, flat_nce_loss, info_nce_loss

Loss = Callable[[Tensor, Tensor], Tensor]  # mean over anchors, of scores and the positives' columns
CE, LOGADDEXP, FLAT = "InfoNCE, cross_entropy", "InfoNCE, logaddexp", "FlatNCE"


def slope(loss: Loss, scores: Tensor, index: Tensor) -> Tensor:
    leaf = scores.detach().requires_grad_()
    return torch.autograd.grad(loss(leaf, index), leaf)[0]


# ---- training ------------------------------------------------------------------------------------------------------------

TEMPERATURE, WATCHED = 0.05, 50  # steps at the end in which the rounding error is watched


class Training(NamedTuple):
    """A loss and how many images a step sees."""

    loss: Loss
    batch: int


def trained(arm: Training, data: Images, seed: int, steps: int) -> Mapping[str, Any]:
    """Which test images' other view is found, and the worst rounding error of the last steps' gradients."""
    sides, draw = split(data, seed), torch.Generator().manual_seed(seed)
    model, views = encoder(sides.pixels, seed), InfoNCELoss(TEMPERATURE)
    seen: list[tuple[Tensor, Tensor]] = []

    def loss() -> Tensor:
        first, second = pairs(sides.train, arm.batch, draw)
        scores, index = views.scores(model(first), model(second))
        seen.append((scores.detach(), index))
        del seen[:-WATCHED]
        return arm.loss(scores, index)

    fit(model.parameters(), loss, steps, rate=1e-3)
    off = [relative(slope(arm.loss, *last), slope(arm.loss, last[0].double(), last[1])) for last in seen]
    return {**recalls(model, sides, seed), "rounding error": max(off)}


def relative(found: Tensor, exact: Tensor) -> float:
    """Norm of the difference over the norm."""
    return float((found.double() - exact).norm() / exact.norm())


BATCHES = {
    f"{CE}, batch 4": Training(cross_entropy, 4),
    f"{LOGADDEXP}, batch 4": Training(info_nce_loss, 4),
    f"{FLAT}, batch 4": Training(flat_nce_loss, 4),
    f"{CE}, batch 64": Training(cross_entropy, 64),
}
BASE, CONTROL, REPAIR, LARGE = BATCHES
TRAINING = Study(
    "training",
    trained,
    BATCHES,
    {"digits": digits},
    {"smoke": 60, "full": 4000},
    claims={
        "repair": better("recall", REPAIR, than=BASE, by=0.01),
        "curse": better("recall", LARGE, than=BASE, by=0.02),
        "control": better("recall", CONTROL, than=BASE, by=0.01),
    },
    varies="rows",
    accepts="images",
    seeds={"full": 6},
    figures=(Dots("recall", ("repair", "curse")),),
)

ROUNDING = Study(
    "rounding in training",
    trained,
    {name: BATCHES[name] for name in (BASE, CONTROL)},
    {"digits": digits},
    {"full": 3000},
    claims={"swamped": inside("rounding error", BASE, low=0.1)},
    seeds={"full": 5},
)

# ---- precision -----------------------------------------------------------------------------------------------------------

GAPS = [gap / 2 for gap in range(8, 61)]


class Precision(NamedTuple):
    """A loss and the type that holds its scores."""

    loss: Loss
    dtype: torch.dtype = torch.float32


def rounding(arm: Precision, candidates: int, _seed: int, _size: None) -> Mapping[str, Any]:
    """Relative errors of the loss and its gradients against float64 on the same scores, for growing gaps."""
    found = []
    for gap in GAPS:
        negatives = torch.linspace(-0.5, 0.5, candidates - 1)
        scores = torch.cat([torch.tensor([gap]), negatives])[None].to(arm.dtype)
        found.append(errors(arm.loss, scores))
    loss, positive, negative = torch.tensor(found).T
    return {
        "gap": torch.tensor(GAPS).numpy(),
        "error of the positive's gradient": positive.numpy(),
        "error of the positive's gradient at gap 22": float(positive[GAPS.index(22)]),
        "worst error": float(torch.stack([loss, positive, negative]).max()),
    }


def errors(loss: Loss, scores: Tensor) -> tuple[float, float, float]:
    """Of the value, of the positive's gradient, and the largest of the negatives'."""
    index = torch.tensor([0])
    value, exact = loss(scores, index).double(), info_nce_loss(scores.double(), index)
    found, right = slope(loss, scores, index).double(), slope(info_nce_loss, scores.double(), index)
    off = ((found - right) / right).abs()[0]
    return float((value / exact - 1).abs()), float(off[0]), float(off[1:].max())


PRECISION = Study(
    "precision",
    rounding,
    {
        CE: Precision(cross_entropy),
        LOGADDEXP: Precision(info_nce_loss),
        f"{CE}, bfloat16": Precision(cross_entropy, torch.bfloat16),
        f"{LOGADDEXP}, bfloat16": Precision(info_nce_loss, torch.bfloat16),
    },
    {"32 candidates": 32},
    every(None),
    claims={
        "float-loses": inside("error of the positive's gradient at gap 22", CE, low=0.1),
        "other-formula": inside("worst error", LOGADDEXP, high=1e-5),
    },
    varies="nothing",
    figures=(
        Profile("error of the positive's gradient", ("float-loses", "other-formula"), x="gap", log=(False, True)),
    ),
)

# ---- only a scale? -------------------------------------------------------------------------------------------------------


def direction(loss: Loss, ahead: float, seed: int, anchors: int) -> Mapping[str, Any]:
    """Cosine of a loss's gradient with FlatNCE's, over a batch of normal scores whose positives are shifted."""
    draw = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn((anchors, 32), generator=draw, dtype=torch.float64)
    index = torch.randint(32, (anchors,), generator=draw)
    scores[torch.arange(anchors), index] += ahead
    found, flat = slope(loss, scores, index), slope(flat_nce_loss, scores, index)
    return {"cosine with FlatNCE": float((found * flat).sum() / found.norm() / flat.norm())}


SCALE = Study(
    "direction of the gradient",
    direction,
    {LOGADDEXP: info_nce_loss, FLAT: flat_nce_loss},
    {"positives level with the rest": 0.0, "positives ahead by 6": 6.0},
    every(1000),
    claims={"only-a-scale": inside("cosine with FlatNCE", LOGADDEXP, low=0.99)},
)

EXPERIMENT = Experiment(
    __doc__,
    (TRAINING, ROUNDING, PRECISION, SCALE),
    units={"recall": "%", "training recall": "%"},
)
