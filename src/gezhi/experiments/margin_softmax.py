"""Does a margin in the softmax make features better for retrieval, and does the gain carry over to new classes?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn.functional import normalize

from gezhi._checks import invalid
from gezhi.data import Features, read
from gezhi.lab import Claim, Dots, Experiment, Study, better, inside, lower
from gezhi.losses.margin_softmax import MarginSoftmaxLoss, additive_angle, additive_cosine, retrieval_guarantee
from gezhi.losses.margin_softmax.margins import Margin

PLAIN, AM2, AM, ARC = "no margin", "cosine − 0.2", "cosine − 0.35", "angle + 0.3"
MARGINS: dict[str, Margin] = {
    PLAIN: additive_cosine(0), AM2: additive_cosine(0.2), AM: additive_cosine(0.35), ARC: additive_angle(0.3)
}  # fmt: skip

# ---- training -------------------------------------------------------------------------------------------------------

TRAINED, TESTED, LARGEST_TEST = 1000, 797, 2000  # of the 1797 digits, and the shares of a user's rows


class Rows(NamedTuple):
    """Features and classes to train on and to test with."""

    X: Tensor
    y: Tensor
    X_test: Tensor
    y_test: Tensor


class Size(NamedTuple):
    """Steps of 128 rows, and how many of the 1797 digits are trained on (of a user's rows, the same share)."""

    steps: int
    trained: int = TRAINED


def digits() -> Features:
    data = read("digits")
    return Features(data.X / 16, data.y, data.classes, data.columns, data.name)


def scaled(data: Features) -> Tensor:
    """Columns that leave [0, 1] are standardised: a user's have units."""
    X = torch.from_numpy(data.X).float()
    inside_unit = (X.min(0).values >= 0) & (X.max(0).values <= 1)
    return torch.where(inside_unit, X, (X - X.mean(0)) / X.std(0).clamp(min=1e-6))


@lru_cache(maxsize=1)
def seen_classes(data: Features, seed: int, trained: int) -> Rows:
    """Random rows of every class to train on, others to test."""
    share = trained / (TRAINED + TESTED)
    left, right = train_test_split(np.arange(len(data.y)), train_size=TRAINED / (TRAINED + TESTED), random_state=seed)
    rows = (torch.from_numpy(left[: round(share * len(data.y))]), torch.from_numpy(right[:LARGEST_TEST]))
    X, y = scaled(data), torch.from_numpy(data.y)
    return Rows(X[rows[0]], y[rows[0]], X[rows[1]], y[rows[1]])


@lru_cache(maxsize=1)
def unseen_classes(data: Features) -> Rows:
    """Train on all rows of the first two thirds of the classes, test on those of the last third, whatever the seed."""
    held = max(2, len(data.classes) // 3)
    if len(data.classes) - held < 2:
        raise invalid("classes", "be 4 at least, half of them to be held out", len(data.classes))
    new = data.y >= len(data.classes) - held
    X, y = scaled(data), torch.from_numpy(data.y)
    order = torch.randperm(int(new.sum()), generator=torch.Generator().manual_seed(0))[:LARGEST_TEST]
    test = torch.from_numpy(np.flatnonzero(new))[order]
    return Rows(X[~new], y[~new], X[test], y[test])


def trained_model(margin: Margin, rows: Rows, seed: int, steps: int) -> tuple[nn.Module, MarginSoftmaxLoss]:
    """A perceptron 64-128-16 under a margin softmax with s = 20, by Adam."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(rows.X.shape[1], 128), nn.ReLU(), nn.Linear(128, 16))
    head = MarginSoftmaxLoss(int(rows.y.max()) + 1, 16, margin=margin, scale=20.0)
    nn.init.normal_(head.weight, std=0.1)
    optimiser = torch.optim.Adam([*model.parameters(), *head.parameters()], 2e-3)
    for _ in range(steps):
        batch = torch.randint(len(rows.y), (128,))
        optimiser.zero_grad()
        torch.autograd.backward(head(model(rows.X[batch]), rows.y[batch]))
        optimiser.step()
    return model.requires_grad_(False), head.requires_grad_(False)


def on_seen(margin: Margin, data: Features, seed: int, size: Size) -> Mapping[str, Any]:
    """Retrieval among the test rows, their spread, accuracy, and the share of triples with a guarantee."""
    rows = seen_classes(data, seed, size.trained)
    model, head = trained_model(margin, rows, seed, size.steps)
    features = model(rows.X_test)
    accuracy = (head.logits(features).argmax(-1) == rows.y_test).double().mean()
    share = retrieval_guarantee(features, head.weight, rows.y_test)
    scores = {name: float(values.mean()) for name, values in retrieval(features, rows.y_test).items()}
    return {**scores, "accuracy": float(accuracy), "certain triples": share}


def on_unseen(margin: Margin, data: Features, seed: int, size: Size) -> Mapping[str, Any]:
    """Retrieval among rows of classes that training never met."""
    rows = unseen_classes(data)
    model, _ = trained_model(margin, rows, seed, size.steps)
    return {name: values.numpy() for name, values in retrieval(model(rows.X_test), rows.y_test).items()}


def retrieval(features: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Of each row, a query by cosine against the rest: is the nearest right, R-precision, distance from the class mean.

    Rows without another of their class are left out.
    """
    unit = normalize(features.double(), dim=-1)
    order = (unit @ unit.mT).fill_diagonal_(-math.inf).argsort(-1, descending=True)[:, :-1]
    right = y[order] == y[:, None]
    relevant = right.sum(-1)
    among = torch.arange(right.shape[1]) < relevant[:, None]
    means = unit.new_zeros(int(y.max()) + 1, unit.shape[1]).index_add_(0, y, unit)
    found = {
        "top-1": right[:, 0].double(),
        "R-precision": (right & among).sum(-1).double() / relevant,
        "spread": (1 - (unit * normalize(means, dim=-1)[y]).sum(-1)).clamp(min=0).sqrt(),
    }
    return {name: values[relevant > 0] for name, values in found.items()}


SHARES = {"R-precision": "%", "top-1": "%", "accuracy": "%", "certain triples": "%"}
NETWORK = (
    "perceptron 64-128-16, s = 20, Adam; test rows retrieve each other by cosine",
    "64-128-16 感知机，s = 20，Adam；测试行按余弦互相检索",
)


def seen_claims(short: str, en: str, zh: str) -> tuple[Claim, ...]:
    return (
        Claim(
            f"retrieval-{short}",
            f"{en}, a margin of 0.35 raises R-precision on test rows of the classes seen by at least 2 points and lowers "
            "their spread by at least 0.01, with accuracy at most 0.5 points lower.",
            f"{zh}，间隔 0.35 使所见类别的测试行的 R-精度至少提高 2 个百分点、离散度至少降低 0.01，而准确率至多低 0.5 个百分点。",
            (
                better("R-precision", AM, than=PLAIN, by=0.02),
                lower("spread", AM, than=PLAIN, by=0.01),
                better("accuracy", AM, than=PLAIN, by=-0.005),
            ),
        ),
        Claim(
            f"top-1-{short}",
            f"{en}, a margin of 0.35 raises the share of test rows whose nearest row is of their class by at least 0.5 "
            "points.",
            f"{zh}，间隔 0.35 使最近邻同类的测试行所占比例至少提高 0.5 个百分点。",
            better("top-1", AM, than=PLAIN, by=0.005),
        ),
    )


def precision_dots(en: str, zh: str, claim: str) -> Dots:
    return Dots("R-precision", f"R-precision on {en}.", f"{zh}上的 R-精度。", (claim,))


SEEN = Study(
    "seen classes",
    on_seen,
    MARGINS,
    {"digits": digits},
    {"smoke": Size(5), "quick": Size(200), "full": Size(500)},
    claims=(
        *seen_claims(
            "seen",
            "Trained on 1000 digits, or on five ninths of a table",
            "用 1000 个数字（或数据表九分之五的行）训练",
        ),
        Claim(
            "not-all-certain",
            "The sufficient condition of the derivation is strong: even with a margin of 0.35 it holds for fewer than 99 % of "
            "the triples of test rows.",
            "推导中的充分条件很强：即便间隔为 0.35，它也只对不到 99 % 的测试三元组成立。",
            inside("certain triples", AM, high=0.99),
        ),
    ),
    accepts="features",
    units=SHARES,
    scope=NETWORK,
    figures=(precision_dots("test rows of the classes seen", "所见类别的测试行", "retrieval-seen"),),
)

FEW = Study(
    "few images",
    on_seen,
    MARGINS,
    {"digits": digits},
    {"full": Size(500, trained=100)},
    claims=seen_claims("few", "Trained on 100 digits", "用 100 个数字训练"),
    units=SHARES,
    scope=NETWORK,
    figures=(precision_dots("test rows after training on 100 digits", "100 个数字训练后的测试行", "retrieval-few"),),
)

UNSEEN = Study(
    "unseen classes",
    on_unseen,
    MARGINS,
    {"digits": digits},
    {"smoke": Size(5), "quick": Size(200), "full": Size(500)},
    claims=(
        Claim(
            "unseen",
            "The gain carries over to new classes: with a margin of 0.35, R-precision on the last third of the classes, "
            "which were held out, is at least 1 point higher.",
            "增益可以推广到新的类别：间隔为 0.35 时，在留出的最后三分之一类别上，R-精度至少高 1 个百分点。",
            better("R-precision", AM, than=PLAIN, by=0.01),
        ),
    ),
    varies="both",
    accepts="features",
    units=SHARES,
    scope=NETWORK,
    figures=(precision_dots("rows of classes held out of training", "训练中留出的类别", "unseen"),),
)

# ---- the inequality -------------------------------------------------------------------------------------------------

ROOT, COSINE = "√(1 − cos)", "1 − cos"


def distance(name: str, a: Tensor, b: Tensor) -> Tensor:
    gap = (1 - (a * b).sum(-1)).clamp(min=0)
    return gap.sqrt() if name == ROOT else gap


def directions(count: int, draw: torch.Generator) -> Tensor:
    return normalize(torch.randn(count, 3, generator=draw, dtype=torch.float64), dim=-1)


def triples(name: str, _case: None, seed: int, count: int) -> Mapping[str, Any]:
    """Random rows near random centres: how often the condition holds, and how often the order is wrong all the same."""
    draw = torch.Generator().manual_seed(seed)
    c1, c2 = directions(count, draw), directions(count, draw)
    z1, z3, z2 = (normalize(c + 0.5 * directions(count, draw), dim=-1) for c in (c1, c1, c2))
    needed = distance(name, z1, c1) + distance(name, z3, c1) + distance(name, z2, c2)
    certain = needed < distance(name, z1, c2)
    wrong = distance(name, z1, z3) >= distance(name, z1, z2)
    angle = torch.tensor([0.0, 60.0, 120.0], dtype=torch.float64).deg2rad()
    a, b, c = torch.stack([angle.cos(), angle.sin()], -1)
    margin = 0.2
    own, other = (z1 * c1).sum(-1), (z1 * c2).sum(-1)
    enough = own - other > 2 * math.sqrt(2) * margin
    short = distance(name, z1, c2) - distance(name, z1, c1) <= margin
    return {
        "certain": int(certain.sum()),
        "violations": int((certain & wrong).sum()),
        "excess over the triangle": float(distance(name, a, c) - distance(name, a, b) - distance(name, b, c)),
        "rows with the cosine margin": int(enough.sum()),
        "rows with the cosine margin that lack m": int((enough & short).sum()),
    }


EXACT = Study(
    "triangle inequality",
    triples,
    {COSINE: COSINE, ROOT: ROOT},
    {"random triples": None},
    dict.fromkeys(("smoke", "quick", "full"), 200_000),
    claims=(
        Claim(
            "certain-order",
            "With the distance √(1 − cos) the condition on distances to class centres never misleads: of 200 000 random "
            "triples it holds for more than 1000, and none of these is ranked wrongly.",
            "采用距离 √(1 − cos) 时，关于到类中心距离的条件从不误导：200 000 个随机三元组中有 1000 个以上满足它，其中没有一个排错。",
            (inside("certain", ROOT, low=1000), inside("violations", ROOT, high=0)),
        ),
        Claim(
            "not-a-metric",
            "1 − cos is no metric: for unit vectors at 0, 60 and 120 degrees the long way is 0.5 shorter than the direct one; "
            "√(1 − cos) obeys the triangle inequality there.",
            "1 − cos 不是度量：对于 0、60、120 度的单位向量，绕路反而比直达短 0.5；而 √(1 − cos) 在那里满足三角不等式。",
            (
                inside("excess over the triangle", COSINE, 0.5 - 1e-9, 0.5 + 1e-9),
                inside("excess over the triangle", ROOT, high=0),
            ),
        ),
        Claim(
            "root-8",
            "A margin of 2√2 m between cosines suffices for a margin m between the distances √(1 − cos): no exception among "
            "200 000 random rows.",
            "余弦之间的间隔 2√2 m 足以保证距离 √(1 − cos) 之间的间隔 m：200 000 个随机行中没有例外。",
            (
                inside("rows with the cosine margin", ROOT, low=1000),
                inside("rows with the cosine margin that lack m", ROOT, high=0),
            ),
        ),
    ),
    varies="nothing",
    scope=(
        "float64, 3 dimensions, rows within 30 degrees of their centre, m = 0.2",
        "float64，3 维，各行偏离中心不超过 30 度，m = 0.2",
    ),
)


def trained_triples(margin: Margin, data: Features, seed: int, size: Size) -> Mapping[str, Any]:
    """All triples of 200 test rows: how many are certain, and how many of these are ranked wrongly."""
    rows = seen_classes(data, seed, size.trained)
    model, head = trained_model(margin, rows, seed, size.steps)
    unit, centres = normalize(model(rows.X_test[:200]).double(), dim=-1), normalize(head.weight.double(), dim=-1)
    y = rows.y_test[:200]
    from_centres = distance(ROOT, unit[:, None], centres)
    between, own = distance(ROOT, unit[:, None], unit), from_centres.gather(1, y[:, None]).squeeze(1)
    certain = wrong = 0
    for i in range(len(y)):
        z3, z2 = (y == y[i]).nonzero().squeeze(1), (y != y[i]).nonzero().squeeze(1)
        z3 = z3[z3 != i]
        holds = own[i] + own[z3][:, None] + own[z2] < from_centres[i, y[z2]]
        certain += int(holds.sum())
        wrong += int((holds & (between[i, z3][:, None] >= between[i, z2])).sum())
    return {"certain": certain, "violations": wrong}


FEATURES = Study(
    "triples of features",
    trained_triples,
    {PLAIN: MARGINS[PLAIN], AM: MARGINS[AM]},
    {"digits": digits},
    {"quick": Size(200), "full": Size(500)},
    claims=(
        Claim(
            "certain-features",
            "Of the triples of trained features for which the condition holds none is ranked wrongly, with and without a "
            "margin.",
            "训练所得特征中，凡满足该条件的三元组没有一个排错，无论有无间隔。",
            (
                *(inside("violations", arm, high=0) for arm in (PLAIN, AM)),
                inside("certain", AM, low=1000),
            ),
        ),
    ),
    varies="nothing",
    scope=("all triples of 200 test digits after training, one seed", "训练后 200 个测试数字的全部三元组，单个种子"),
)

EXPERIMENT = Experiment(
    __doc__,
    (EXACT, FEATURES, SEEN, FEW, UNSEEN),
    zh={
        PLAIN: "无间隔", AM2: "余弦 − 0.2", AM: "余弦 − 0.35", ARC: "角度 + 0.3",
        "digits": "手写数字", "random triples": "随机三元组",
        "seen classes": "所见类别", "few images": "少量图片", "unseen classes": "未见类别",
        "triangle inequality": "三角不等式", "triples of features": "特征的三元组",
        "top-1": "首位命中", "R-precision": "R-精度", "spread": "离散度", "accuracy": "准确率",
        "certain triples": "确定的三元组", "certain": "确定的三元组数", "violations": "违例数",
        "excess over the triangle": "超出三角不等式的量",
        "rows with the cosine margin": "达到余弦间隔的行数",
        "rows with the cosine margin that lack m": "达到余弦间隔却不足 m 的行数",
    },
)  # fmt: skip
