"""Does a factor of log n keep attention as concentrated on longer inputs, and does a model gain from it?"""

from __future__ import annotations

import math

from gezhi.data import read
from gezhi.experiments import _entropy_scale as by
from gezhi.lab import Claim, Dots, Experiment, Lines, Profile, Study, better, exponent, inside, lower, ratio, same
from gezhi.nn.attention import softmax

EVERY = dict.fromkeys(("smoke", "quick", "full"), None)

# ---- the entropy of random directions -------------------------------------------------------------------------------

QUADRATURE, CLOSED, LINE = "quadrature", "closed form", "line −0.24 λd"
SPHERE = Study(
    "random directions, exactly",
    by.shift,
    {QUADRATURE: by.by_quadrature, CLOSED: by.by_formula, LINE: by.by_line},
    {f"d = {d}": d for d in (32, 64, 96, 128, 256, 512)},
    EVERY,
    claims=(
        Claim(
            "constant",
            "With the scale λ = 1, attention over random directions loses 0.24 nats of entropy per dimension, to two "
            "digits.",
            "缩放取 λ = 1 时，在随机方向上注意力每一维损失 0.24 nat 的熵，准到两位。",
            inside("loss per dimension, λ = 1", CLOSED, 0.235, 0.245),
        ),
        Claim(
            "closed-form",
            "The closed form of this loss agrees with quadrature to 6 digits.",
            "这一损失的闭式解与数值积分一致，准到 6 位。",
            inside("relative error", CLOSED, high=1e-6),
        ),
        Claim(
            "line",
            "The line −0.24 λd, from which the law λ = log n/(0.24 d) is read off, also holds at the scale in use: at "
            "λ = 1/√d and 64 dimensions it is right to within 20 %.",
            "据以得出 λ = log n/(0.24 d) 的直线 −0.24 λd 在实际使用的缩放处也成立：λ = 1/√d、64 维时误差不超过 20 %。",
            ratio("loss, λ = 1/√d", LINE, over=CLOSED, at_least=0.8, at_most=1.2),
            at="d = 64",
        ),
    ),
    varies="nothing",
    units={"loss per dimension, λ = 1": "nats", "loss, λ = 1/√d": "nats"},
    scope=("queries and keys of norm √d, keys uniform on the sphere", "query 与 key 的范数为 √d，key 在球面上均匀分布"),
    figures=(
        Lines(
            "loss, λ = 1/√d",
            "Entropy lost at the usual scale, along the width.",
            "惯常缩放下损失的熵，随宽度的变化。",
            ("line",),
            log=(True, True),
        ),
    ),
)

PLAIN, LOG_512 = "usual scale", "log n, n₀ = 512"
DRAWN = Study(
    "random directions, drawn",
    by.over_random_keys,
    {PLAIN: by.usual, LOG_512: by.log_n(512)},
    {f"n = {n}": n for n in (64, 256, 1024, 4096, 16384)},
    {"smoke": 4, "quick": 16, "full": 128},
    claims=(
        Claim(
            "invariant",
            "Over keys in random directions the log n scale holds the entropy of attention: from 64 to 16384 keys it "
            "grows by less than 0.1 nats for each unit of log n.",
            "对随机方向的 key，log n 缩放使注意力的熵保持不变：从 64 个到 16384 个 key，log n 每增加 1，熵的增长不到 0.1 nat。",
            exponent("effective keys", LOG_512, -0.1, 0.1),
        ),
        Claim(
            "still-grows",
            "Over keys in random directions the entropy still grows under the log n scale, as 1 − log n/(log 512)² "
            "predicts: by 0.77 to 0.87 nats for each unit of log n from 64 to 16384 keys.",
            "对随机方向的 key，log n 缩放之下熵仍在增长，与 1 − log n/(log 512)² 的预言相符：从 64 个到 16384 个 key，"
            "log n 每增加 1，熵增长 0.77 到 0.87 nat。",
            exponent("effective keys", LOG_512, 0.77, 0.87),
        ),
    ),
    units={"entropy": "nats"},
    scope=("64 dimensions, |q| = |k| = 8", "64 维，|q| = |k| = 8"),
    figures=(
        Lines(
            "effective keys",
            "Effective number of keys, e to the entropy, along the number of keys.",
            "有效 key 数（熵的指数）随 key 数的变化。",
            ("invariant", "still-grows"),
            log=(True, True),
        ),
    ),
)

# ---- which scale holds the entropy ----------------------------------------------------------------------------------

NEEDLE_1, NEEDLE_2 = "one key stands out, 1 nat", "one key stands out, 2.5 nats"
NORMAL_1, NORMAL_2, UNIFORM = "normal, 1 nat", "normal, 2.5 nats", "uniform, 2.5 nats"
HELD = Study(
    "scale that holds the entropy",
    by.holding_scale,
    {
        NEEDLE_1: (by.needle, 1.0),
        NEEDLE_2: (by.needle, 2.5),
        NORMAL_1: (by.gaussian, 1.0),
        NORMAL_2: (by.gaussian, 2.5),
        UNIFORM: (by.uniform, 2.5),
    },
    {f"{n} keys": math.log(n) for n in (64, 256, 1024, 4096, 16384)},
    {"smoke": 20_000, "quick": 100_000, "full": 1_000_000},
    claims=(
        Claim(
            "needle-law",
            "Where one key stands out by a fixed gap, the scale that holds the entropy at 1 or at 2.5 nats grows like "
            "log n: with an exponent between 0.8 and 1.2 in log n from 64 to 16384 keys.",
            "当一个 key 以固定差距高出其余时，使熵保持 1 或 2.5 nat 的缩放按 log n 增长："
            "从 64 个到 16384 个 key，对 log n 的指数在 0.8 与 1.2 之间。",
            (exponent("scale", NEEDLE_1, 0.8, 1.2), exponent("scale", NEEDLE_2, 0.8, 1.2)),
        ),
        Claim(
            "normal-law",
            "With independent normal logits too the scale that holds the entropy at 1 or at 2.5 nats grows like log n, "
            "with an exponent between 0.8 and 1.2 from 64 to 16384 keys.",
            "对独立的正态 logit，使熵保持 1 或 2.5 nat 的缩放同样按 log n 增长，从 64 个到 16384 个 key 指数在 0.8 与 1.2 之间。",
            (exponent("scale", NORMAL_1, 0.8, 1.2), exponent("scale", NORMAL_2, 0.8, 1.2)),
        ),
        Claim(
            "uniform-law",
            "Whatever the distribution of logits, the scale that holds the entropy grows like log n: for logits spread "
            "evenly over an interval, too, its exponent in log n is between 0.8 and 1.2.",
            "不论 logit 的分布如何，使熵保持不变的缩放都按 log n 增长：在一个区间上均匀分布的 logit 也是如此，对 log n 的指数在 0.8 与 1.2 之间。",
            exponent("scale", UNIFORM, 0.8, 1.2),
        ),
    ),
    scope=("fresh rows of logits, no model", "随机抽取的 logit，不涉及模型"),
    figures=(
        Lines(
            "scale",
            "Scale at which the mean entropy has its target, along log n.",
            "使平均熵达到目标值的缩放，随 log n 的变化。",
            ("needle-law", "normal-law", "uniform-law"),
            log=(True, True),
        ),
    ),
)

SOFTMAX, RELU2 = "softmax", "normalised relu²"
STEERED = Study(
    "kernels",
    by.steered,
    {SOFTMAX: softmax, RELU2: by.normalised_relu2},
    {"1024 keys": 1024},
    EVERY,
    claims=(
        Claim(
            "relu2",
            "Normalised relu² attention cannot be steered by a scale: logits four times as large leave its entropy as "
            "it was, to 9 digits.",
            "归一化的 relu² 注意力无法用缩放来调节：logit 放大到四倍，熵仍然不变，准到 9 位。",
            inside("change of entropy", RELU2, -1e-9, 1e-9),
        ),
    ),
    varies="nothing",
    units={"change of entropy": "nats"},
    scope=("16 rows of normal logits", "16 行正态 logit"),
)

# ---- recall ---------------------------------------------------------------------------------------------------------

YARN = "YaRN's constant"
LOG_32 = "log n, n₀ = 32"
RECALL = Study(
    "recall",
    by.recall,
    {PLAIN: by.usual, LOG_32: by.log_n(32), YARN: by.yarn(32)},
    {"one answer among n": None},
    {"full": (600, 1000)},
    claims=(
        Claim(
            "recall-entropy",
            "A head trained to find one of 32 pairs stays as concentrated among 1024 under the log n scale: its entropy "
            "grows by less than 0.1 nats for each unit of log n.",
            "训练成从 32 对中找出一对的注意力头，在 log n 缩放下面对 1024 对时同样集中：log n 每增加 1，熵的增长不到 0.1 nat。",
            inside("growth of entropy", LOG_32, -0.1, 0.1),
        ),
        Claim(
            "recall-usual",
            "Under the usual scale the same head spreads out: its entropy grows by more than 0.1 nats for each unit of "
            "log n from 32 to 1024 pairs.",
            "在惯常缩放下同一个注意力头会摊薄：从 32 对到 1024 对，log n 每增加 1，熵的增长超过 0.1 nat。",
            inside("growth of entropy", PLAIN, low=0.1),
        ),
        Claim(
            "recall-gain",
            "A head trained to find one of 32 pairs finds one of 1024 more often under the log n scale: by at least 1 "
            "point.",
            "训练成从 32 对中找出一对的注意力头，在 log n 缩放下从 1024 对中找对的比例至少高 1 个百分点。",
            better("accuracy, 1024 pairs", LOG_32, than=PLAIN, by=0.01),
        ),
        Claim(
            "recall-yarn",
            "For recall among 1024 pairs the log n scale and YaRN's constant are within 1 point.",
            "从 1024 对中回忆时，log n 缩放与 YaRN 的常数相差不超过 1 个百分点。",
            same("accuracy, 1024 pairs", LOG_32, than=YARN, within=0.01),
        ),
    ),
    units={f"accuracy, {n} pairs": "%" for n in by.RECALL_LENGTHS} | {"growth of entropy": "nats"},
    scope=(
        "one attention head of width 32, 600 steps of training on lists of 32 random pairs",
        "一个宽 32 的注意力头，用 32 个随机对的列表训练 600 步",
    ),
    figures=(
        Profile(
            "entropy by length",
            "Entropy of the head in nats, along the number of pairs.",
            "注意力头的熵（nat），随对数的变化。",
            ("recall-entropy", "recall-usual"),
            x="length",
            log=(True, False),
        ),
        Profile(
            "accuracy by length",
            "Share of right answers, along the number of pairs.",
            "答对的比例，随对数的变化。",
            ("recall-gain",),
            x="length",
            log=(True, False),
        ),
    ),
)

# ---- masked language model ------------------------------------------------------------------------------------------

LOG_64, HALF, MORE = "log n, n₀ = 64", "half the increment", "1.5 times the increment"
ARTICLE = "trained with log n, n₀ = 512"
BYTES = "masked bytes"
BYTE_ARMS = {
    PLAIN: by.Arm(by.usual, by.usual),
    LOG_64: by.Arm(by.usual, by.log_n(64)),
    YARN: by.Arm(by.usual, by.yarn(64)),
    HALF: by.Arm(by.usual, by.increment_times(0.5, 64)),
    MORE: by.Arm(by.usual, by.increment_times(1.5, 64)),
    ARTICLE: by.Arm(article := by.log_n(512), article),
}
LENGTHS = (64, 128, 256, 512, 1024)
LANGUAGE = Study(
    BYTES,
    by.masked_bytes,
    BYTE_ARMS,
    {"Python documentation": lambda: read("python-documentation")},
    {"full": by.ByteSize(steps=1200, lengths=LENGTHS, masked=4000)},
    claims=(
        *(
            Claim(
                f"gain-{n}",
                f"A masked language model trained on 64 bytes guesses bytes of {n}-byte windows better under the log n "
                "scale: by at least 1 point.",
                f"用 64 字节训练的掩码语言模型，在 {n} 字节的窗口上采用 log n 缩放，猜中字节的比例至少高 1 个百分点。",
                better(f"accuracy, {n} bytes", LOG_64, than=PLAIN, by=0.01),
            )
            for n in (256, 512, 1024)
        ),
        Claim(
            "trains-alike",
            "Training is not affected: a masked language model trained on 64 bytes with log n/log 512 as its factor is "
            "within 1 point of one trained with the usual scale, at 64 bytes.",
            "训练效果不受影响：以 log n/log 512 为因子、用 64 字节训练的掩码语言模型，在 64 字节上与惯常缩放训练的模型相差不超过 1 个百分点。",
            same("accuracy, 64 bytes", ARTICLE, than=PLAIN, within=0.01),
        ),
        Claim(
            "bytes-entropy",
            "A masked language model trained on 64 bytes keeps the entropy of its attention under the log n scale: from "
            "64 to 1024 bytes it grows by less than 0.1 nats for each unit of log n.",
            "用 64 字节训练的掩码语言模型在 log n 缩放下保持注意力的熵：从 64 到 1024 字节，log n 每增加 1，熵的增长不到 0.1 nat。",
            inside("growth of entropy", LOG_64, -0.1, 0.1),
        ),
        Claim(
            "bytes-yarn",
            "The log n scale works as well as YaRN's constant: for a masked language model trained on 64 bytes the two "
            "are within 1 point at 256, 512 and 1024 bytes.",
            "log n 缩放与 YaRN 的常数效果相当：对用 64 字节训练的掩码语言模型，在 256、512、1024 字节上二者相差不超过 1 个百分点。",
            tuple(same(f"accuracy, {n} bytes", LOG_64, than=YARN, within=0.01) for n in (256, 512, 1024)),
        ),
        Claim(
            "right-slope",
            "No other slope is better by 1 point: at 512 bytes neither half of the increment of the log n scale nor one "
            "and a half times it.",
            "换用别的斜率不会好出 1 个百分点：在 512 字节上，log n 缩放的增量减半或增至 1.5 倍都不会。",
            tuple(lower("accuracy, 512 bytes", arm, than=LOG_64, by=-0.01) for arm in (HALF, MORE)),
        ),
    ),
    units={f"accuracy, {n} bytes": "%" for n in LENGTHS} | {"growth of entropy": "nats"},
    accepts="texts",
    scope=(
        "2 layers of width 128 with rotary positions, 1200 steps on 64 bytes, a tenth of the texts for testing",
        "2 层、宽 128、旋转位置编码，用 64 字节训练 1200 步，十分之一的文本用于测试",
    ),
    seeds={"full": 5},
    figures=(
        Profile(
            "accuracy by length",
            "Share of masked bytes guessed right, along the length of the window.",
            "猜中的掩码字节所占比例，随窗口长度的变化。",
            ("gain-256", "gain-512", "gain-1024"),
            x="length",
            log=(True, False),
        ),
        Dots(
            "accuracy, 512 bytes",
            "Accuracy at 512 bytes minus that of the usual scale.",
            "512 字节时的准确率减去惯常缩放的准确率。",
            ("gain-512", "right-slope"),
            than=PLAIN,
        ),
        Profile(
            "entropy by length",
            "Mean entropy of attention in nats, along the length of the window.",
            "注意力的平均熵（nat），随窗口长度的变化。",
            ("bytes-entropy",),
            x="length",
            log=(True, False),
        ),
    ),
)

RAW = "λ = log n/√d"
EARLY = Study(
    "training with log n/√d",
    by.early_accuracy,
    {PLAIN: by.usual, RAW: by.log_n(math.e)},
    {"Python documentation": lambda: read("python-documentation")},
    {"full": by.ByteSize(steps=400, lengths=(), masked=4000)},
    claims=(
        Claim(
            "too-sharp",
            "log n/√d without a constant is too sharp to train with: after 400 steps on 64 bytes a masked language model "
            "is at least 1 point worse than with the usual scale.",
            "不带常数的 log n/√d 过于锐利，不利于训练：用 64 字节训练 400 步后，掩码语言模型比惯常缩放至少差 1 个百分点。",
            lower("accuracy", RAW, than=PLAIN, by=0.01),
        ),
    ),
    units={"accuracy": "%"},
    scope=("2 layers of width 128, 400 steps on 64 bytes", "2 层、宽 128，用 64 字节训练 400 步"),
    seeds={"full": 5},
    figures=(Dots("accuracy", "Accuracy on masked bytes after 400 steps.", "400 步之后的准确率。", ("too-sharp",)),),
)

EXPERIMENT = Experiment(
    __doc__,
    (SPHERE, DRAWN, HELD, STEERED, RECALL, LANGUAGE, EARLY),
    zh={
        QUADRATURE: "数值积分", CLOSED: "闭式解", LINE: "直线 −0.24 λd", PLAIN: "惯常缩放",
        NEEDLE_1: "一个 key 突出，1 nat", NEEDLE_2: "一个 key 突出，2.5 nat", NORMAL_1: "正态，1 nat", NORMAL_2: "正态，2.5 nat",
        UNIFORM: "均匀，2.5 nat", SOFTMAX: "softmax", RELU2: "归一化 relu²", YARN: "YaRN 的常数", HALF: "增量减半", MORE: "增量的 1.5 倍",
        ARTICLE: "以 log n 训练，n₀ = 512",
        "random directions, exactly": "随机方向，精确值", "random directions, drawn": "随机方向，抽样",
        "scale that holds the entropy": "使熵不变的缩放", "kernels": "核", "recall": "回忆", BYTES: "掩码字节",
        "training with log n/√d": "用 log n/√d 训练", "Python documentation": "Python 文档", "one answer among n": "n 个中的一个",
        "loss per dimension, λ = 1": "每维损失，λ = 1", "loss, λ = 1/√d": "损失，λ = 1/√d", "relative error": "相对误差",
        "entropy": "熵", "effective keys": "有效 key 数", "scale": "缩放", "scale / log n": "缩放 / log n",
        "change of entropy": "熵的变化", "growth of entropy": "熵的增长", "accuracy": "准确率", "length": "长度",
        "accuracy by length": "各长度的准确率", "entropy by length": "各长度的熵",
        **{f"{n} keys": f"{n} 个 key" for n in (64, 256, 1024, 4096, 16384)},
        **{f"accuracy, {n} pairs": f"准确率，{n} 对" for n in by.RECALL_LENGTHS},
        **{f"accuracy, {n} bytes": f"准确率，{n} 字节" for n in LENGTHS},
    },
)  # fmt: skip
