"""Does ranking pairs train a better similarity than classifying them or regressing their cosine, and what does it cost?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gezhi.data import read
from gezhi.experiments import _digit_pairs as by
from gezhi.experiments._cosent import by_matrix, exactly, seconds, sorting
from gezhi.experiments._text_pairs import adapted, embedded
from gezhi.lab import (
    Claim,
    Dots,
    Experiment,
    Lines,
    Profile,
    Study,
    better,
    exponent,
    inside,
    lower,
    ratio,
    same,
)
from gezhi.losses.cosent import CoSENTLoss, cosent_loss

COSENT, SBERT = "CoSENT", "Sentence-BERT"
DIGITS = {"digits": lambda: read("digits")}
SMOKE = by.Size(640, 200, 1, validation=100)
SHARES = {"accuracy": "%"}


def cosent(_dim: int, _labels: Tensor) -> torch.nn.Module:
    return CoSENTLoss()


def regression(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[int, Tensor], torch.nn.Module]:
    return lambda _dim, labels: by.Regression(loss, labels)


# ---- the loss itself --------------------------------------------------------------------------------------------------


EXACT = Study(
    "exact",
    exactly,
    {COSENT: cosent_loss},
    {"random batches": None},
    {"smoke": 50, "quick": 1000, "full": 1000},
    claims=(
        Claim(
            "bound",
            "CoSENT is never below log(1 + number of wrongly ordered pairs), on 1000 random batches.",
            "在 1000 个随机批次上，CoSENT 从不低于 log(1 + 顺序错误的对数)。",
            inside("loss above the bound", COSENT, low=-1e-12),
        ),
        Claim(
            "order-only",
            "CoSENT depends on the labels only through their order: their ranks give the same loss, to 12 digits.",
            "CoSENT 只通过大小顺序依赖标签：换成名次，损失不变，准到 12 位。",
            inside("change under ranks", COSENT, high=1e-12),
        ),
    ),
    varies="nothing",
    scope=("up to 100 pairs with up to 25 levels, float64", "至多 100 对、25 个等级，float64"),
)

# ---- vectors of digits ------------------------------------------------------------------------------------------------

VECTORS = Study(
    "vectors",
    by.vectors,
    {SBERT: (by.SentenceBert, "hard"), COSENT: (cosent, "hard")},
    DIGITS,
    {"smoke": SMOKE, "quick": by.Size(4000, 2000, 4), "full": by.Size(4000, 2000, 8)},
    claims=(
        Claim(
            "beats-sbert",
            "Vectors trained with CoSENT on pairs that are hard to tell apart order them better by their cosine than "
            "those of Sentence-BERT's classification: Spearman's correlation is at least 0.02 higher.",
            "在难以区分的样本对上，用 CoSENT 训练的向量比用 Sentence-BERT 的分类方式训练的向量，余弦的排序更好：Spearman 相关系数至少高 0.02。",
            better("spearman", COSENT, than=SBERT, by=0.02),
        ),
        Claim(
            "faster-start",
            "After the first pass over the pairs already, vectors trained with CoSENT are ahead of those of Sentence-BERT: "
            "Spearman's correlation is at least 0.02 higher.",
            "训练一轮之后，用 CoSENT 训练的向量便已领先于 Sentence-BERT：Spearman 相关系数至少高 0.02。",
            better("spearman, epoch 1", COSENT, than=SBERT, by=0.02),
        ),
        Claim(
            "accuracy",
            "With the best threshold on its cosine CoSENT also tells alike from unlike more often than Sentence-BERT does, "
            "by at least 2 points.",
            "对余弦取最优阈值时，CoSENT 判断同类与否的准确率也至少比 Sentence-BERT 高 2 个百分点。",
            better("accuracy", COSENT, than=SBERT, by=0.02),
        ),
    ),
    units=SHARES,
    scope=(
        "8 × 8 digits, an encoder 64-128-32, batches of 32 pairs, negatives among the 5 nearest images of other classes",
        "8 × 8 手写数字，编码器 64-128-32，每批 32 对，负例取自异类中最近的 5 幅图像",
    ),
    figures=(
        Dots(
            "spearman", "Spearman's correlation on test pairs.", "测试样本对上的 Spearman 相关系数。", ("beats-sbert",)
        ),
        Profile(
            "spearman by epoch",
            "Spearman's correlation on test pairs after each pass; below zero means an untrained cosine.",
            "每轮之后测试样本对上的 Spearman 相关系数；低于零说明余弦尚未训练好。",
            ("faster-start",),
            x="epoch",
        ),
    ),
)

# ---- regression of the cosine -----------------------------------------------------------------------------------------

ONE, SQUARED, FLOOR = "1 ∓ cos", "squared", "1 ∓ max(cos, 0.7)"
HARD, RANDOM = "hard negatives", "random negatives"
LOSSES = {ONE: regression(by.one_minus_plus), SQUARED: regression(by.squared), COSENT: cosent}
REGRESSION = Study(
    "regression",
    by.vectors,
    {f"{name}, {HARD}": (loss, "hard") for name, loss in LOSSES.items()}
    | {f"{FLOOR}, {HARD}": (regression(by.floored), "hard")}
    | {f"{name}, {RANDOM}": (loss, "random") for name, loss in LOSSES.items()},
    DIGITS,
    {"full": by.Size(4000, 2000, 8)},
    claims=(
        Claim(
            "one-fails",
            "With hard negatives, pushing the cosine to 1 or −1 fails: Spearman's correlation is at least 0.02 higher with "
            "CoSENT than with the loss 1 ∓ cos.",
            "负例难以区分时，把余弦推向 1 或 −1 行不通：CoSENT 的 Spearman 相关系数至少比损失 1 ∓ cos 高 0.02。",
            better("spearman", f"{COSENT}, {HARD}", than=f"{ONE}, {HARD}", by=0.02),
        ),
        Claim(
            "squared-fails",
            "With hard negatives, regressing the cosine fails: Spearman's correlation is at least 0.02 higher with CoSENT "
            "than with the squared error.",
            "负例难以区分时，对余弦作回归行不通：CoSENT 的 Spearman 相关系数至少比平方误差高 0.02。",
            better("spearman", f"{COSENT}, {HARD}", than=f"{SQUARED}, {HARD}", by=0.02),
        ),
        Claim(
            "random-repairs",
            "Random negatives in training repair the loss 1 ∓ cos: on hard test pairs Spearman's correlation is at least "
            "0.02 higher than after training on hard ones.",
            "训练时改用随机负例可以修复损失 1 ∓ cos：在难以区分的测试对上，Spearman 相关系数至少比用难负例训练时高 0.02。",
            better("spearman", f"{ONE}, {RANDOM}", than=f"{ONE}, {HARD}", by=0.02),
        ),
        Claim(
            "floor-helps-little",
            "A floor of 0.7 under the cosine of unlike pairs helps little: Spearman's correlation rises by at most 0.02 "
            "over the loss 1 ∓ cos.",
            "给不同类样本对的余弦设下限 0.7 帮助不大：Spearman 相关系数相比损失 1 ∓ cos 至多提高 0.02。",
            lower("spearman", f"{FLOOR}, {HARD}", than=f"{ONE}, {HARD}", by=-0.02),
        ),
    ),
    units=SHARES,
    scope=(
        "the encoder and the test pairs of the study of vectors, 8 passes",
        "编码器与测试样本对同“向量”研究，训练 8 轮",
    ),
    figures=(
        Dots(
            "spearman",
            "Spearman's correlation on hard test pairs, after training on hard or random negatives.",
            "用难负例或随机负例训练后，在难测试对上的 Spearman 相关系数。",
            ("one-fails", "squared-fails", "random-repairs"),
        ),
    ),
)

# ---- one score from both images ---------------------------------------------------------------------------------------

BCE = "cross-entropy"
CROSS = Study(
    "cross",
    by.cross,
    {BCE: by.binary_cross_entropy, COSENT: cosent_loss},
    DIGITS,
    {"full": by.Size(4000, 2000, 24)},
    claims=(
        Claim(
            "cross-level",
            "For a network that sees both members of a pair CoSENT gains nothing: at convergence its Spearman's "
            "correlation is within 0.01 of that of cross-entropy.",
            "对同时看到两个成员的交互式网络，CoSENT 没有增益：收敛时 Spearman 相关系数与交叉熵相差不超过 0.01。",
            same("spearman", COSENT, than=BCE, within=0.01),
        ),
        Claim(
            "cross-accuracy",
            "For a network that sees both members of a pair CoSENT gains no accuracy either: at convergence, each with its "
            "best threshold, it and cross-entropy are within 1 point.",
            "对同时看到两个成员的交互式网络，CoSENT 的准确率也没有增益：收敛时各取最优阈值，与交叉熵相差不超过 1 个百分点。",
            same("accuracy", COSENT, than=BCE, within=0.01),
        ),
        Claim(
            "cross-faster",
            "A network that sees both members of a pair learns faster with CoSENT at first: after 8 passes its Spearman's "
            "correlation is at least 0.01 higher than with cross-entropy.",
            "同时看到两个成员的交互式网络，用 CoSENT 起初学得更快：8 轮之后 Spearman 相关系数至少比交叉熵高 0.01。",
            better("spearman, epoch 8", COSENT, than=BCE, by=0.01),
        ),
    ),
    units=SHARES,
    scope=(
        "8 × 8 digits, a network 192-128-1 on [x₁, x₂, |x₁ − x₂|], hard negatives, 24 passes",
        "8 × 8 手写数字，网络 192-128-1 以 [x₁, x₂, |x₁ − x₂|] 为输入，难负例，训练 24 轮",
    ),
    figures=(
        Profile(
            "spearman by epoch",
            "Spearman's correlation on test pairs after each pass.",
            "每轮之后测试样本对上的 Spearman 相关系数。",
            ("cross-level", "cross-faster"),
            x="epoch",
        ),
    ),
)

# ---- texts ------------------------------------------------------------------------------------------------------------

AS_IS, SQUARED_COS = "encoder as it is", "squared error of the cosine"
TEXT_ARMS = {AS_IS: None, SBERT: by.SentenceBert, SQUARED_COS: regression(by.squared), COSENT: cosent}
EPOCHS = 20


def text_claims(where: tuple[str, str], prefix: str) -> tuple[Claim, ...]:
    """What is asked of any graded pairs of texts."""
    en, zh = where
    others = {
        AS_IS: ("gains", "the encoder as it is", "原样的编码器"),
        SBERT: ("sbert", "Sentence-BERT's classification", "Sentence-BERT 的分类方式"),
        SQUARED_COS: ("squared", "regression of the cosine", "余弦的回归"),
    }
    return tuple(
        Claim(
            f"{prefix}-{short}",
            f"{en} CoSENT orders new pairs better than {other}: Spearman's correlation is at least 0.02 higher.",
            f"{zh}，CoSENT 对新样本对的排序优于{other_zh}：Spearman 相关系数至少高 0.02。",
            better("spearman", COSENT, than=arm, by=0.02),
        )
        for arm, (short, other, other_zh) in others.items()
    )


TEXTS = Study(
    "text pairs",
    adapted,
    TEXT_ARMS,
    {name: lambda name=name: embedded(read(name)) for name in ("lee-pairs", "simlex-999")},
    {"full": EPOCHS},
    claims=text_claims(
        ("As the loss of a linear map of a sentence encoder's vectors,", "用来训练句向量之上的线性变换时"), "text"
    ),
    scope=(
        "frozen MiniLM, a linear map from the identity on, 20 passes; test pairs share no text with the others",
        "冻结的 MiniLM，线性变换以恒等为起点，训练 20 轮；测试对与训练对没有相同的文本",
    ),
    figures=(
        Dots(
            "spearman",
            "Spearman's correlation with people's ratings, on test pairs.",
            "测试对上与人工评分的 Spearman 相关系数。",
            ("text-gains", "text-sbert", "text-squared"),
        ),
    ),
)

YOURS = Study(
    "your pairs",
    adapted,
    TEXT_ARMS,
    {},
    {"smoke": 1, "quick": EPOCHS, "full": EPOCHS},
    claims=text_claims(
        ("On these pairs, over the vectors of this encoder,", "在这些样本对上，以该编码器的向量为基础"), "yours"
    ),
    accepts="pairs",
    scope=(
        "your frozen encoder (MiniLM if you named none), a linear map from the identity on; test pairs share no text with "
        "the others",
        "你的编码器（未指定时为 MiniLM）保持冻结，线性变换以恒等为起点；测试对与训练对没有相同的文本",
    ),
    figures=(
        Dots(
            "spearman",
            "Spearman's correlation on your test pairs.",
            "你的测试对上的 Spearman 相关系数。",
            ("yours-gains",),
        ),
    ),
)

# ---- cost -------------------------------------------------------------------------------------------------------------

MATRIX, SORTED, SORTING = "matrix", "sorted", "sorting alone"


COST = Study(
    "cost",
    seconds,
    {MATRIX: by_matrix, SORTED: cosent_loss},
    {"4096 pairs": 4096},
    {"full": 20},
    claims=(
        Claim(
            "faster",
            "Sorting makes CoSENT at least 100 times faster than the matrix of all differences at 4096 pairs, forward and "
            "backward.",
            "4096 对时，排序使 CoSENT 的前向与反向比全部差值的矩阵至少快 100 倍。",
            ratio("seconds", MATRIX, over=SORTED, at_least=100),
        ),
    ),
    alone=True,
    units={"seconds": "s"},
    scope=("float32, one thread", "float32，单线程"),
)

GROWTH = Study(
    "growth",
    seconds,
    {SORTING: sorting, SORTED: cosent_loss},
    {f"n = {n}": n for n in (4096, 8192, 16384, 32768, 65536)},
    {"full": 10},
    claims=(
        Claim(
            "linear",
            "The cost of CoSENT grows about linearly: with an exponent between 0.8 and 1.3 from 4096 to 65 536 pairs.",
            "CoSENT 的耗时近乎线性增长：从 4096 对到 65 536 对，指数在 0.8 与 1.3 之间。",
            exponent("seconds", SORTED, 0.8, 1.3),
        ),
    ),
    alone=True,
    units={"seconds": "s"},
    scope=("float32, one thread", "float32，单线程"),
    figures=(
        Lines(
            "seconds",
            "Forward and backward along the number of pairs.",
            "前向与反向的耗时，随对数的变化。",
            ("linear",),
            log=(True, True),
        ),
    ),
)

EXPERIMENT = Experiment(
    __doc__,
    (EXACT, VECTORS, REGRESSION, CROSS, TEXTS, YOURS, COST, GROWTH),
    zh={
        "exact": "精确性质", "vectors": "向量", "regression": "回归", "cross": "交互式", "text pairs": "文本对",
        "your pairs": "你的样本对", "cost": "耗时", "growth": "耗时的增长",
        "digits": "手写数字", "random batches": "随机批次", "4096 pairs": "4096 对", "lee-pairs": "Lee 新闻对",
        "simlex-999": "SimLex-999 词对",
        SQUARED: "平方误差", f"{ONE}, {HARD}": "1 ∓ cos，难负例", f"{SQUARED}, {HARD}": "平方误差，难负例",
        f"{COSENT}, {HARD}": "CoSENT，难负例", f"{FLOOR}, {HARD}": "1 ∓ max(cos, 0.7)，难负例",
        f"{ONE}, {RANDOM}": "1 ∓ cos，随机负例", f"{SQUARED}, {RANDOM}": "平方误差，随机负例",
        f"{COSENT}, {RANDOM}": "CoSENT，随机负例", BCE: "交叉熵", AS_IS: "原样的编码器", SQUARED_COS: "余弦的平方误差",
        MATRIX: "矩阵", SORTED: "排序", SORTING: "只排序",
        "spearman": "Spearman 相关系数", "spearman, epoch 1": "Spearman 相关系数，第 1 轮",
        "spearman, epoch 8": "Spearman 相关系数，第 8 轮", "spearman by epoch": "各轮的 Spearman 相关系数", "epoch": "轮",
        "accuracy": "准确率", "seconds": "秒", "loss above the bound": "损失高出下界", "change under ranks": "换成名次后的变化",
    },
)  # fmt: skip
