"""Does a contrastive loss allow gradient accumulation, what does the exact way cost, and what is a large batch worth?"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from gezhi.experiments import _contrastive_cache as cc
from gezhi.experiments._digit_views import digits
from gezhi.lab import Claim, Dots, Experiment, Lines, Study, better, exponent, inside, ratio

FULL, SUM, TWO = "full batch", "sum of chunk losses", "two passes"
BATCH = {"smoke": 16, "quick": 64, "full": 64}

# ---- exact gradients ------------------------------------------------------------------------------------------------

FLOAT32, REPLAYED, REDRAWN = "two passes, float32", "dropout, masks replayed", "dropout, masks redrawn"
EXACT = Study(
    "gradients",
    cc.gradient_error,
    {
        FULL: cc.Way(cc.full_batch),
        TWO: cc.Way(cc.two_passes),
        FLOAT32: cc.Way(cc.two_passes, dtype=torch.float32),
        REPLAYED: cc.Way(cc.two_passes, cc.one_graph, dropout=0.1),
        REDRAWN: cc.Way(cc.two_passes_redrawn, cc.one_graph, dropout=0.1),
    },
    {f"{name}, chunk = {chunk}": cc.Cut(name, chunk) for name in cc.ENCODERS for chunk in (1, 7, 16, 64)},
    BATCH,
    claims=(
        Claim(
            "exact",
            "Two passes over chunks give the gradient of the whole batch, to 10 digits in float64 and 5 in float32, "
            "however the batch is cut.",
            "分块两遍得到的就是整批的梯度：不论怎样切分，float64 下准到 10 位，float32 下准到 5 位。",
            (inside("error", TWO, high=1e-10), inside("error", FLOAT32, high=1e-5)),
        ),
        Claim(
            "dropout-redrawn",
            "With dropout of 0.1 whose masks the second pass draws anew, the gradient is off by at least 1 %.",
            "Dropout 取 0.1，而第二遍重新抽取掩码时，梯度至少偏离 1 %。",
            inside("error", REDRAWN, low=0.01),
        ),
        Claim(
            "dropout-replayed",
            "Dropout need not be removed: with the random state of each chunk replayed, the gradient is exact to 10 digits.",
            "不必去掉 Dropout：重放每块的随机状态，梯度就准到 10 位。",
            inside("error", REPLAYED, high=1e-10),
        ),
    ),
    varies="nothing",
    scope=(
        "64 pairs of random sequences, a perceptron and a GRU, InfoNCE at τ = 0.1",
        "64 对随机序列，感知机与 GRU，InfoNCE，τ = 0.1",
    ),
)

SMALLER = Study(
    "sums of chunk losses",
    cc.gradient_error,
    {FULL: cc.Way(cc.full_batch), SUM: cc.Way(cc.summed)},
    {f"{name}, chunk = {chunk}": cc.Cut(name, chunk) for name in cc.ENCODERS for chunk in (1, 7, 16)},
    BATCH,
    claims=(
        Claim(
            "sum-differs",
            "Summing the losses of chunks is another objective: its gradient is at least 10 % away from that of the batch.",
            "把各块的损失相加是另一个目标：其梯度与整批的梯度至少相差 10 %。",
            inside("error", SUM, low=0.1),
        ),
        *(
            Claim(
                f"sum-vanishes-{name.lower()}",
                f"With one pair a chunk and self-similarity masked, summed chunk losses have no gradient at all ({name}).",
                f"每块只有一对且屏蔽自相似时，各块损失之和完全没有梯度（{name}）。",
                inside("size of the gradient", SUM, high=1e-12),
                at=f"{name}, chunk = 1",
            )
            for name in cc.ENCODERS
        ),
    ),
    varies="nothing",
    scope=EXACT.scope,
)

TRAINING, FROZEN, LAYER, GROUP = "BatchNorm, training", "BatchNorm, eval mode", "LayerNorm", "GroupNorm"
NORMS = {
    TRAINING: cc.Way(cc.two_passes, between=partial(nn.BatchNorm1d, 32)),
    FROZEN: cc.Way(cc.two_passes, between=partial(nn.BatchNorm1d, 32), training=False),
    LAYER: cc.Way(cc.two_passes, between=partial(nn.LayerNorm, 32)),
    GROUP: cc.Way(cc.two_passes, between=partial(nn.GroupNorm, 4, 32)),
}
NORMALISED = Study(
    "normalisation",
    cc.gradient_error,
    {FULL: cc.Way(cc.full_batch, between=partial(nn.BatchNorm1d, 32))} | NORMS,
    {f"chunk = {chunk}": cc.Cut("MLP", chunk) for chunk in (8, 16, 32)},
    BATCH,
    claims=(
        Claim(
            "batch-norm",
            "Batch normalisation in training mode is outside the scheme: its gradient is off by at least 0.1 %.",
            "训练模式的批归一化不在此方案之内：梯度至少偏离 0.1 %。",
            inside("error", TRAINING, low=1e-3),
        ),
        Claim(
            "other-norms",
            "Layer and group normalisation, and batch normalisation in eval mode, are exact to 10 digits.",
            "层归一化、组归一化，以及评估模式的批归一化，都准到 10 位。",
            tuple(inside("error", name, high=1e-10) for name in (FROZEN, LAYER, GROUP)),
        ),
    ),
    varies="nothing",
    scope=("64 pairs of random sequences, a perceptron", "64 对随机序列，感知机"),
)

# ---- cost -----------------------------------------------------------------------------------------------------------

WAYS = {FULL: cc.full_batch, SUM: cc.summed, TWO: cc.two_passes}
TEXT_SCOPE = (
    "two Transformer layers of width 64, 16 tokens, n encoded rows, chunks of 32",
    "两层宽 64 的 Transformer，16 个词，编码 n 行，每块 32 行",
)
MEMORY = Study(
    "memory",
    cc.saved_bytes,
    WAYS,
    {f"n = {n}": n for n in (64, 128, 256, 512)},
    {"quick": None, "full": None},
    claims=(
        Claim(
            "memory",
            "What two passes keep for backward does not grow with the batch, the loss and its score matrix left out: "
            "exponent between −0.1 and 0.1 in n.",
            "两遍法为反向传播保留的内容不随批次增长（损失及其得分矩阵除外）：对 n 的指数在 −0.1 与 0.1 之间。",
            exponent("bytes", TWO, -0.1, 0.1),
        ),
        Claim(
            "memory-full",
            "One graph over the batch keeps bytes in proportion to it: exponent between 0.9 and 1.1 in n.",
            "对整批建一张图，保留的字节数与批次成正比：对 n 的指数在 0.9 与 1.1 之间。",
            exponent("bytes", FULL, 0.9, 1.1),
        ),
    ),
    varies="nothing",
    units={"bytes": "B", "bytes of the loss": "B"},
    scope=TEXT_SCOPE,
    figures=(
        Lines(
            "bytes",
            "Bytes that the encoder keeps for backward at once, by rows in the batch.",
            "编码器为反向传播同时保留的字节数，随批次行数的变化。",
            ("memory",),
            log=(True, True),
        ),
    ),
)


def cost(name: str, sizes: dict[str, int], rows: tuple[int, ...]) -> Study:
    claims = [
        Claim(
            f"one-more-pass-{n}",
            f"With {n} rows, one more encoding makes two passes take 1.15 to 1.5 times as long as summing chunk losses.",
            f"{n} 行时，由于多编码一遍，两遍法所用时间是各块损失相加的 1.15 到 1.5 倍。",
            ratio("seconds", TWO, over=SUM, at_least=1.15, at_most=1.5),
            at=f"n = {n}",
        )
        for n in rows
    ]
    claims += [
        Claim(
            f"full-batch-{n}",
            f"With {n} rows, two passes take at most 1.4 times as long as one step on the whole batch.",
            f"{n} 行时，两遍法所用时间至多是整批一步的 1.4 倍。",
            ratio("seconds", TWO, over=FULL, at_most=1.4),
            at=f"n = {n}",
        )
        for n in rows
        if n >= 256
    ]
    return Study(
        name,
        cc.step_seconds,
        WAYS,
        {f"n = {n}": n for n in rows},
        sizes,
        claims=claims,
        alone=True,
        units={"seconds": "s"},
        scope=(f"{TEXT_SCOPE[0]}, float32, one thread of a CPU", f"{TEXT_SCOPE[1]}，float32,CPU 单线程"),
    )


COST = cost("seconds", {"quick": 2, "full": 5}, (64, 256))
LARGE_COST = cost("seconds, large batch", {"full": 3}, (1024,))

# ---- quality --------------------------------------------------------------------------------------------------------

ALONE = "one chunk alone"
QUALITY = Study(
    "training",
    cc.trained_views,
    {SUM: cc.summed, ALONE: cc.first_chunk, TWO: cc.two_passes},
    {"digits": digits},
    {"smoke": cc.TrainingSize(2), "full": cc.TrainingSize(600)},
    claims=(
        Claim(
            "quality-sum",
            "With memory for 16 pairs, the exact gradient of 256 pairs gives at least 1 point more recall than the sum "
            "of 16 chunk losses.",
            "内存只够 16 对时，256 对的精确梯度比 16 块损失之和的召回率至少高 1 个百分点。",
            better("recall", TWO, than=SUM, by=0.01),
        ),
        Claim(
            "quality-alone",
            "With memory for 16 pairs, the exact gradient of 256 pairs gives at least 5 points more recall than batches "
            "of 16.",
            "内存只够 16 对时，256 对的精确梯度比每步 16 对的召回率至少高 5 个百分点。",
            better("recall", TWO, than=ALONE, by=0.05),
        ),
    ),
    accepts="images",
    units={"recall": "%", "accuracy, few labels": "%"},
    scope=(
        "a perceptron on two shifted, noisy views; 600 steps of InfoNCE at τ = 0.1",
        "感知机，两个平移并加噪的视图；InfoNCE，τ = 0.1，训练 600 步",
    ),
    figures=(
        Dots(
            "recall",
            "Share of test images whose other view is the nearest, by the way the gradient was made.",
            "测试图像中另一视图恰为最近邻的比例，按梯度的算法分列。",
            ("quality-sum",),
        ),
        Dots(
            "accuracy, few labels",
            "Accuracy of a logistic regression on the representations with 10 labelled images a class.",
            "每类 10 张标注图像，在表示上做逻辑回归的准确率。",
        ),
    ),
)

EXPERIMENT = Experiment(
    __doc__,
    (EXACT, SMALLER, NORMALISED, MEMORY, COST, LARGE_COST, QUALITY),
    zh={
        FULL: "整批", SUM: "各块损失之和", TWO: "两遍法", FLOAT32: "两遍法，float32", REPLAYED: "Dropout，重放掩码",
        REDRAWN: "Dropout，重抽掩码", TRAINING: "批归一化，训练", FROZEN: "批归一化，评估模式", LAYER: "层归一化",
        GROUP: "组归一化", ALONE: "单独一块", "digits": "手写数字",
        **{f"{name}, chunk = {b}": f"{name}，每块 {b} 对" for name in cc.ENCODERS for b in (1, 7, 16, 64)},
        **{f"chunk = {b}": f"每块 {b} 对" for b in (8, 16, 32)},
        "error": "误差", "size of the gradient": "梯度的大小", "bytes": "字节", "bytes of the loss": "损失的字节",
        "seconds": "秒", "recall": "召回率", "accuracy, few labels": "少标注准确率",
        "gradients": "梯度", "sums of chunk losses": "分块损失之和", "normalisation": "归一化", "memory": "内存",
        "seconds, large batch": "秒，大批次", "training": "训练",
    },
)  # fmt: skip
