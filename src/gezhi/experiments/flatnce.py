"""Do small batches fail because floating point swamps a small loss, and does FlatNCE repair them?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from gezhi.data import Images
from gezhi.experiments._digit_views import digits, encoder, pairs, recall, split
from gezhi.lab import Claim, Dots, Experiment, Profile, Study, better, inside, same
from gezhi.losses.flatnce import InfoNCELoss, flat_nce_loss, info_nce_loss

Loss = Callable[[Tensor, Tensor], Tensor]  # mean over anchors, of scores and the positives' columns


def paper_form(scores: Tensor, index: Tensor) -> Tensor:
    """ξ over itself without gradient: always 1."""
    xi = flat_nce_loss(scores, index, reduction="none").exp()
    return (xi / xi.detach()).mean()


def reweighted(scores: Tensor, index: Tensor) -> Tensor:
    """InfoNCE, each anchor multiplied by what separates it from FlatNCE in exact arithmetic."""
    xi = flat_nce_loss(scores.detach(), index, reduction="none").exp()
    return (cross_entropy(scores, index, reduction="none") * ((1 + xi) / xi)).mean()


CE, LOGADDEXP, FLAT, WEIGHTED, PAPER = (
    "InfoNCE, cross_entropy",
    "InfoNCE, logaddexp",
    "FlatNCE",
    "InfoNCE, re-weighted",
    "FlatNCE, paper's form",
)
LOSSES: dict[str, Loss] = {
    CE: cross_entropy, LOGADDEXP: info_nce_loss, FLAT: flat_nce_loss, WEIGHTED: reweighted, PAPER: paper_form
}  # fmt: skip


def slope(loss: Loss, scores: Tensor, index: Tensor) -> Tensor:
    leaf = scores.detach().requires_grad_()
    return torch.autograd.grad(loss(leaf, index), leaf)[0]


def relative(found: Tensor, exact: Tensor) -> float:
    """Norm of the difference over the norm."""
    return float((found.double() - exact).norm() / exact.norm())


# ---- identities -----------------------------------------------------------------------------------------------------


def identities(name: str, ahead: float, seed: int, shape: tuple[int, int]) -> Mapping[str, Any]:
    """How far a loss's gradient is from FlatNCE's, from that times ξ/(1+ξ), and from its direction; log(1+ξ) − ξ."""
    draw = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(shape, generator=draw, dtype=torch.float64)
    index = torch.randint(shape[1], shape[:1], generator=draw)
    scores[torch.arange(len(index)), index] += ahead
    xi = flat_nce_loss(scores, index, reduction="none").exp()
    found, flat = slope(LOSSES[name], scores, index), slope(flat_nce_loss, scores, index)
    return {
        "distance from FlatNCE": relative(found, flat),
        "distance from FlatNCE times ξ/(1+ξ)": relative(found, flat * (xi / (1 + xi))[:, None]),
        "cosine with FlatNCE": float((found * flat).sum() / found.norm() / flat.norm()),
        "excess of log(1+ξ) over ξ": float((xi.log1p() - xi).max()),
    }


IDENTITIES = Study(
    "identities",
    identities,
    {name: name for name in (LOGADDEXP, FLAT, PAPER, WEIGHTED)},
    {"positive level with the rest": 0.0, "positive ahead by 6": 6.0},
    dict.fromkeys(("smoke", "quick", "full"), (1000, 32)),
    claims=(
        Claim(
            "one-gradient",
            "log ξ and the paper's ξ/sg(ξ) have the same gradient, to 12 digits.",
            "log ξ 与论文的 ξ/sg(ξ) 梯度相同，准到 12 位。",
            inside("distance from FlatNCE", PAPER, high=1e-12),
        ),
        Claim(
            "factor",
            "Anchor by anchor the gradient of InfoNCE is that of FlatNCE times ξ/(1+ξ), to 12 digits, and log(1+ξ) never "
            "exceeds ξ.",
            "对每个锚点，InfoNCE 的梯度等于 FlatNCE 的梯度乘以 ξ/(1+ξ)，准到 12 位；而且 log(1+ξ) 从不超过 ξ。",
            (
                inside("distance from FlatNCE times ξ/(1+ξ)", LOGADDEXP, high=1e-12),
                inside("excess of log(1+ξ) over ξ", LOGADDEXP, high=0),
            ),
        ),
        Claim(
            "rescaling",
            "Dividing by ξ only rescales the loss, which Adam would not notice: over a batch of random scores the gradient "
            "of FlatNCE points as that of InfoNCE does, with a cosine above 0.99.",
            "除以 ξ 只是给损失换个尺度，Adam 察觉不到：在随机打分的一批样本上，FlatNCE 与 InfoNCE 的梯度同向，余弦超过 0.99。",
            inside("cosine with FlatNCE", LOGADDEXP, low=0.99),
        ),
    ),
    varies="nothing",
    scope=("1000 anchors, 31 negatives, normal scores of deviation 3", "1000 个锚点，31 个负例，标准差为 3 的正态打分"),
)

# ---- precision ------------------------------------------------------------------------------------------------------

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
    xi = torch.tensor([(candidates - 1) * math.exp(-gap) for gap in GAPS])
    return {
        "gap": torch.tensor(GAPS).numpy(),
        "error of the positive's gradient": positive.numpy(),
        "largest error of the positive's gradient while ξ ≥ 10⁻⁶": float(positive[xi >= 1e-6].max()),
        "error of the positive's gradient at gap 22": float(positive[GAPS.index(22)]),
        "largest error of the negatives' gradients": float(negative.max()),
        "worst error": float(torch.stack([loss, positive, negative]).max()),
    }


def errors(loss: Loss, scores: Tensor) -> tuple[float, float, float]:
    """Of the value, of the positive's gradient, and the largest of the negatives'."""
    index = torch.tensor([0])
    value, exact = loss(scores, index).double(), info_nce_loss(scores.double(), index)
    found, right = slope(loss, scores, index).double(), slope(info_nce_loss, scores.double(), index)
    off = ((found - right) / right).abs()[0]
    return float((value / exact - 1).abs()), float(off[0]), float(off[1:].max())


HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
PRECISION = Study(
    "precision",
    rounding,
    {CE: Precision(cross_entropy), LOGADDEXP: Precision(info_nce_loss)}
    | {f"{name}, {half}": Precision(LOSSES[name], HALVES[half]) for half in HALVES for name in (CE, LOGADDEXP)},
    {"32 candidates": 32},
    dict.fromkeys(("smoke", "quick", "full"), None),
    claims=(
        Claim(
            "harmless-above",
            "In float32 cross_entropy keeps the positive's gradient to within 10 % as long as ξ is 10⁻⁶ or more.",
            "用 float32 计算，只要 ξ 不小于 10⁻⁶，cross_entropy 给出的正例梯度误差不超过 10 %。",
            inside("largest error of the positive's gradient while ξ ≥ 10⁻⁶", CE, high=0.1),
        ),
        Claim(
            "lost-below",
            "In float32 cross_entropy loses the positive's gradient at a gap of 22: its error exceeds 10 %.",
            "用 float32 计算，差距为 22 时 cross_entropy 丢失了正例的梯度：误差超过 10 %。",
            inside("error of the positive's gradient at gap 22", CE, low=0.1),
        ),
        Claim(
            "negatives-kept",
            "In float32 cross_entropy keeps the negatives' gradients to 5 digits at every gap from 4 to 30.",
            "用 float32 计算，差距从 4 到 30，cross_entropy 的负例梯度始终保有 5 位有效数字。",
            inside("largest error of the negatives' gradients", CE, high=1e-5),
        ),
        Claim(
            "formula-not-loss",
            "The rounding belongs to the formula: by way of logaddexp float32 InfoNCE keeps 5 digits of its value and of "
            "all gradients at every gap from 4 to 30.",
            "舍入误差来自算式而不是损失：改用 logaddexp，差距从 4 到 30，float32 的 InfoNCE 的值和全部梯度始终保有 5 位有效数字。",
            inside("worst error", LOGADDEXP, high=1e-5),
        ),
    ),
    varies="nothing",
    scope=("one positive above 31 negatives in [−0.5, 0.5], on a CPU", "一个正例高出 [−0.5, 0.5] 内的 31 个负例，CPU"),
    figures=(
        Profile(
            "error of the positive's gradient",
            "Relative error of the positive's gradient, by how far the positive stands above the negatives.",
            "正例梯度的相对误差，随正例高出负例的差距变化。",
            ("harmless-above", "formula-not-loss"),
            arms=(CE, LOGADDEXP, f"{CE}, bfloat16", f"{LOGADDEXP}, bfloat16"),
            x="gap",
            log=(False, True),
        ),
    ),
)

# ---- training -------------------------------------------------------------------------------------------------------

TEMPERATURE, WATCHED = 0.05, 50  # steps at the end in which the rounding error is watched


class Training(NamedTuple):
    """A loss and how many images a step sees."""

    loss: Loss
    batch: int


def trained(arm: Training, data: Images, seed: int, steps: int) -> Mapping[str, Any]:
    """Recall after so many steps of Adam, the worst rounding error and the smallest log ξ of the last of them."""
    sides, draw = split(data, seed), torch.Generator().manual_seed(seed)
    model, views = encoder(sides.pixels, seed), InfoNCELoss(TEMPERATURE)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    off, lowest = [0.0], [math.inf]
    for step in range(steps):
        first, second = pairs(sides.train, arm.batch, draw)
        scores, index = views.scores(model(first), model(second))
        optimiser.zero_grad()
        torch.autograd.backward(arm.loss(scores, index))
        optimiser.step()
        if step >= steps - WATCHED:
            off.append(relative(slope(arm.loss, scores, index), slope(arm.loss, scores.detach().double(), index)))
            lowest.append(float(flat_nce_loss(scores.detach(), index, reduction="none").min()))
    return {
        "recall": recall(model, sides.test, torch.Generator().manual_seed(seed + 1)),
        "rounding error": max(off),
        "smallest log ξ": min(lowest),
    }


BATCHES = {
    f"{CE}, batch 4": Training(cross_entropy, 4),
    f"{LOGADDEXP}, batch 4": Training(info_nce_loss, 4),
    f"{FLAT}, batch 4": Training(flat_nce_loss, 4),
    f"{WEIGHTED}, batch 4": Training(reweighted, 4),
    f"{CE}, batch 64": Training(cross_entropy, 64),
}
BASE, CONTROL, REPAIR, EQUAL, LARGE = BATCHES

TRAINING = Study(
    "training",
    trained,
    BATCHES,
    {"digits": digits},
    {"smoke": 60, "full": 3000},
    claims=(
        Claim(
            "curse",
            "Small batches are worse at equal steps: with 64 images a step instead of 4, recall is at least 2 points higher.",
            "步数相同时小批次更差：每步 64 张图而不是 4 张，召回率至少高 2 个百分点。",
            better("recall", LARGE, than=BASE, by=0.02),
        ),
        Claim(
            "swamped",
            "At batch size 4 floating point swamps the gradient of InfoNCE: in the last 50 steps its relative error reaches "
            "10 %.",
            "批次大小为 4 时，InfoNCE 的梯度被浮点误差淹没：最后 50 步中其相对误差达到 10 %。",
            inside("rounding error", BASE, low=0.1),
        ),
        Claim(
            "control",
            "Removing the rounding error helps: at batch size 4, InfoNCE by way of logaddexp has a recall at least 1 point "
            "higher than by cross_entropy.",
            "消除舍入误差有帮助：批次大小为 4 时，用 logaddexp 计算的 InfoNCE 比用 cross_entropy 的召回率至少高 1 个百分点。",
            better("recall", CONTROL, than=BASE, by=0.01),
        ),
        Claim(
            "repair",
            "FlatNCE repairs small batches: at batch size 4 its recall is at least 1 point higher than that of InfoNCE.",
            "FlatNCE 修复了小批次：批次大小为 4 时，其召回率至少比 InfoNCE 高 1 个百分点。",
            better("recall", REPAIR, than=BASE, by=0.01),
        ),
        Claim(
            "is-a-weight",
            "FlatNCE is a re-weighting of InfoNCE: with each anchor multiplied by (1+ξ)/ξ, InfoNCE reaches the same recall, "
            "within 1 point.",
            "FlatNCE 就是对 InfoNCE 的重新加权：给每个锚点乘上 (1+ξ)/ξ，InfoNCE 达到同样的召回率，相差不超过 1 个百分点。",
            same("recall", EQUAL, than=REPAIR, within=0.01),
        ),
    ),
    accepts="images",
    units={"recall": "%"},
    scope=(
        "perceptron 64-128-32 on shifted and noisy views, τ = 0.05, 3000 steps of Adam; 797 test images",
        "64-128-32 感知机，平移加噪声的视图，τ = 0.05，Adam 3000 步；797 张测试图",
    ),
    figures=(
        Dots(
            "recall",
            "Share of test images whose second view is the nearest to the first.",
            "第二个视图离第一个视图最近的测试图所占比例。",
            ("curse", "repair"),
        ),
    ),
)

EXPERIMENT = Experiment(
    __doc__,
    (IDENTITIES, PRECISION, TRAINING),
    zh={
        CE: "InfoNCE,cross_entropy", WEIGHTED: "InfoNCE，重新加权", PAPER: "FlatNCE，论文形式", LOGADDEXP: "InfoNCE,logaddexp",
        f"{CE}, bfloat16": "InfoNCE,cross_entropy,bfloat16", f"{CE}, float16": "InfoNCE,cross_entropy,float16",
        f"{LOGADDEXP}, bfloat16": "InfoNCE,logaddexp,bfloat16", f"{LOGADDEXP}, float16": "InfoNCE,logaddexp,float16",
        BASE: "InfoNCE,cross_entropy，批次 4", CONTROL: "InfoNCE,logaddexp，批次 4", REPAIR: "FlatNCE，批次 4",
        EQUAL: "InfoNCE，重新加权，批次 4", LARGE: "InfoNCE,cross_entropy，批次 64",
        "positive level with the rest": "正例与其余持平", "positive ahead by 6": "正例领先 6", "32 candidates": "32 个候选", "digits": "手写数字",
        "identities": "恒等式", "precision": "精度", "training": "训练",
        "distance from FlatNCE": "与 FlatNCE 之差", "distance from FlatNCE times ξ/(1+ξ)": "与 FlatNCE 乘 ξ/(1+ξ) 之差",
        "cosine with FlatNCE": "与 FlatNCE 的余弦", "excess of log(1+ξ) over ξ": "log(1+ξ) 超出 ξ 的量",
        "gap": "差距", "error of the positive's gradient": "正例梯度的误差",
        "largest error of the positive's gradient while ξ ≥ 10⁻⁶": "ξ ≥ 10⁻⁶ 时正例梯度的最大误差",
        "error of the positive's gradient at gap 22": "差距 22 处正例梯度的误差",
        "largest error of the negatives' gradients": "负例梯度的最大误差", "worst error": "最大误差",
        "recall": "召回率", "rounding error": "舍入误差", "smallest log ξ": "最小的 log ξ",
    },
)  # fmt: skip
