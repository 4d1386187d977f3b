"""Is the width that vectors need a multiple of log N, and how many dimensions does a random projection need?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

from gezhi.data import Texts, read
from gezhi.experiments import _embedding_dimension as by
from gezhi.lab import Claim, Dots, Experiment, Lines, Study, inside, ratio, same


def measured(arm: Callable[..., by.Metrics], case: Any, seed: int, size: Any) -> by.Metrics:
    """Every arm of this experiment is itself what measures."""
    return arm(case, seed, size)


# ---- published figures ----------------------------------------------------------------------------------------------

TABLE, RULE, ROW, SAVING, TENTH, CIRCLE = (
    "table of h", "8.33 log N against the root", "row over joint", "24 log N/ε² over exact",
    "1000 points within 10 %", "two dimensions, unbounded",
)  # fmt: skip
EXACT = Study(
    "published figures",
    lambda figure, *_: {"figure": figure()},
    {
        TABLE: by.table_error,
        RULE: by.rule_error,
        ROW: by.row_share,
        SAVING: by.smallest_saving,
        TENTH: by.within_ten_percent,
        CIRCLE: by.circle_loss,
    },
    {"all": None},
    dict.fromkeys(("smoke", "quick", "full"), None),
    claims=(
        Claim(
            "table",
            "The article's table of the entropy h_n, from 32 to 512 dimensions, is right to its last printed digit.",
            "文章所列 32 维到 512 维的熵值 h_n 表，直到印出的最后一位都正确。",
            inside("figure", TABLE, high=0.5),
        ),
        Claim(
            "rule",
            "The rule 8.33 log N is within 2 % of the exact root of its own equation, from 512 to 5 million words.",
            "从 512 个词到 500 万个词，8.33 log N 与它自己的方程的精确根相差不超过 2 %。",
            inside("figure", RULE, high=0.02),
        ),
        Claim(
            "row-half",
            "A softmax that sums to 1 in each row, as in attention and word2vec, needs at most 51 % of the width that "
            "the same argument gives for all pairs.",
            "像注意力和 word2vec 那样逐行归一化的 softmax，同样的论证给出的宽度至多是对全体词对归一化时的 51 %。",
            inside("figure", ROW, high=0.51),
        ),
        Claim(
            "exact-saves",
            "24 log N/ε² asks for at least 1.8 times as many dimensions as the exact chi-square tail does at the same "
            "probability of failure.",
            "失败概率相同时，24 log N/ε² 至少是用精确的卡方尾概率算出的维数的 1.8 倍。",
            inside("figure", SAVING, low=1.8),
        ),
        Claim(
            "tenth-costs",
            "Even by the exact tail, keeping all squared distances of 1000 points within 10 % takes over 5000 "
            "dimensions.",
            "即使用精确的尾概率，要让 1000 个点的所有距离平方变化都在 10 % 以内，也需要 5000 维以上。",
            inside("figure", TENTH, low=5000),
        ),
        Claim(
            "circle",
            "Without a bound on their length, two-dimensional queries and keys select any one of 512 keys, with a "
            "loss below 5 % of log 512.",
            "如果不限制向量长度，二维的 query 和 key 就能选中 512 个 key 中的任意一个，损失低于 log 512 的 5 %。",
            inside("figure", CIRCLE, high=0.05),
        ),
    ),
    varies="nothing",
    scope=("closed forms, no data", "闭式解，不涉及数据"),
)


# ---- random vectors -------------------------------------------------------------------------------------------------

FORMULA_PAIRS, PAIRS, FORMULA_ROWS, ROWS = "formula, pairs", "drawn, pairs", "formula, rows", "drawn, rows"
RANDOM = Study(
    "random vectors",
    measured,
    {
        FORMULA_PAIRS: partial(by.entropy_by_formula, softmax="joint"),
        PAIRS: partial(by.entropy_by_drawing, softmax="joint"),
        FORMULA_ROWS: partial(by.entropy_by_formula, softmax="row"),
        ROWS: partial(by.entropy_by_drawing, softmax="row"),
    },
    {f"n = {n}": n for n in (8, 16, 28, 40, 57, 86, 128)},
    {"smoke": 100, "quick": 1000, "full": 1000},
    claims=(
        *(
            Claim(
                f"formula-{n}",
                f"With 1000 random words of {n} dimensions the entropy over pairs is within 3 % of the formula.",
                f"1000 个 {n} 维的随机词向量，词对的熵与公式相差不超过 3 %。",
                ratio("entropy", PAIRS, over=FORMULA_PAIRS, at_least=0.97, at_most=1.03),
                at=f"n = {n}",
            )
            for n in (8, 16)
        ),
        Claim(
            "no-threshold",
            "There is no sharp threshold: at 57 dimensions, where the formula says 0, the entropy over pairs of 1000 "
            "random words is still at least 1 nat.",
            "并没有陡峭的阈值：57 维时公式给出的熵为 0，而 1000 个随机词的词对熵仍不小于 1 nat。",
            inside("entropy", PAIRS, low=1),
            at="n = 57",
        ),
        Claim(
            "condensed",
            "Negative entropy means that the formula has failed: at 86 dimensions it says −7 nats, while a single one "
            "of a million pairs carries at least 10 % of the probability and the entropy is above 0.5 nats.",
            "熵为负说明公式失效：86 维时它给出 −7 nat，而实际上一百万个词对中单独一对就占至少 10 % 的概率，熵在 0.5 nat 以上。",
            (inside("largest share", PAIRS, low=0.1), inside("entropy", PAIRS, low=0.5)),
            at="n = 86",
        ),
        Claim(
            "rows-condense-first",
            "A softmax over a row of 1000 random keys condenses at about half the width: at 28 dimensions its largest "
            "weight averages at least 30 %, against at most 20 % over pairs.",
            "对一行 1000 个随机 key 的 softmax 在大约一半的宽度就已凝聚：28 维时最大权重平均不低于 30 %，而对词对则不超过 20 %。",
            (inside("largest share", ROWS, low=0.3), inside("largest share", PAIRS, high=0.2)),
            at="n = 28",
        ),
    ),
    units={"entropy": "nats", "largest share": "%"},
    scope=("1000 random vectors in each of two tables", "两张表中各 1000 个随机向量"),
    seeds={"quick": 20, "full": 40},
    figures=(
        Lines(
            "entropy",
            "Entropy along the width, by the formula and for drawn vectors.",
            "熵随宽度的变化：公式与抽取的向量。",
            ("no-threshold",),
            log=(True, False),
        ),
    ),
)


# ---- trained word vectors -------------------------------------------------------------------------------------------


def measured_in_texts(arm: Callable[..., by.Metrics], texts: Texts, seed: int, size: tuple[int, Any]) -> by.Metrics:
    """Every arm on as many of the most frequent words as the budget allows."""
    words, training = size
    return arm(texts, seed, training, N=words)


THUMB, TRAINED = "8.33 log N", "trained"
WORDS_100, WORDS_400, WORDS_1600 = "100 words", "400 words", "1600 words"
VOCABULARIES = {WORDS_100: 100, WORDS_400: 400, WORDS_1600: 1600}
WIDTHS = (2, 4, 8, 16, 32, 64, 128, 256)
WORDS_SCOPE = (
    "joint model on word co-occurrence (window 5), trained by Adam, 20 % of the counts held out",
    "词共现（窗口 5）上的联合模型，Adam 训练，留出 20 % 的计数",
)
WORDS = Study(
    "word vectors",
    measured,
    {THUMB: by.width_by_thumb, **{arm: partial(by.width_by_training, N=N) for arm, N in VOCABULARIES.items()}},
    {"Python documentation": lambda: read("python-documentation")},
    {"smoke": (2, (2,)), "full": (200, WIDTHS)},
    claims=(
        Claim(
            "log-law",
            "The width at which word vectors trained on Python's documentation have 95 % of their gain is one multiple "
            "of log N: for any two of 100, 400 and 1600 words the multiples differ by less than 30 %.",
            "在 Python 文档上训练的词向量，取得 95 % 收益的宽度是 log N 的同一个倍数：词数取 100、400、1600，任意两个倍数相差不到 30 %。",
            tuple(
                ratio("width per log N", more, over=fewer, at_least=1 / 1.3, at_most=1.3)
                for fewer, more in combinations(VOCABULARIES, 2)
            ),
        ),
        Claim(
            "multiple",
            "The width at which word vectors trained on Python's documentation have 95 % of their gain lies between 4 "
            "and 12 times log N, for 100, 400 and 1600 words.",
            "在 Python 文档上训练的词向量，词数取 100、400、1600 时，取得 95 % 收益的宽度都在 log N 的 4 倍到 12 倍之间。",
            tuple(inside("width per log N", arm, 4, 12) for arm in VOCABULARIES),
        ),
        Claim(
            "fifty",
            "Fifty dimensions bring word vectors trained on Python's documentation 95 % of the gain that any width "
            "brings, for 100, 400 and 1600 words.",
            "在 Python 文档上训练的词向量，词数取 100、400、1600 时，50 维都足以取得各种宽度所能带来的收益的 95 %。",
            tuple(inside("width", arm, high=50) for arm in VOCABULARIES),
        ),
    ),
    scope=WORDS_SCOPE,
    seeds={"full": 6},
    figures=(
        Dots(
            "width per log N",
            "Width with 95 % of the gain in held-out loss, as a multiple of log N.",
            "留出损失取得 95 % 收益的宽度，表为 log N 的倍数。",
            ("multiple",),
        ),
    ),
)
YOUR_TEXTS = Study(
    "your texts",
    measured_in_texts,
    {THUMB: by.width_by_thumb, TRAINED: by.width_by_training},
    {},
    {"smoke": (20, (2, (2,))), "quick": (100, (150, (2, 8, 32, 64, 128))), "full": (400, (200, WIDTHS))},
    claims=(
        Claim(
            "multiple-here",
            "In these texts the width at which trained word vectors have 95 % of their gain lies between 4 and 12 "
            "times log N.",
            "在这些文本中，训练的词向量取得 95 % 收益的宽度在 log N 的 4 倍到 12 倍之间。",
            inside("width per log N", TRAINED, 4, 12),
        ),
    ),
    accepts="texts",
    scope=WORDS_SCOPE,
)


# ---- selecting keys -------------------------------------------------------------------------------------------------

JOINT_RULE, ROW_RULE, ONE, TWO = "joint rule", "row rule", "one answer", "two answers"
SELECT = Study(
    "selecting keys",
    measured,
    {
        JOINT_RULE: partial(by.keys_by_rule, softmax="joint"),
        ROW_RULE: partial(by.keys_by_rule, softmax="row"),
        ONE: partial(by.keys_by_training, answers=1),
        TWO: partial(by.keys_by_training, answers=2),
    },
    {"64 to 512 keys": None},
    {"smoke": ((6, 8), 30), "full": ((64, 128, 256, 512), 300)},
    claims=(
        Claim(
            "head-52",
            "To select one of 512 keys an attention head needs at least 40 of the 52 dimensions that 8.33 log 512 asks "
            "for.",
            "要从 512 个 key 中选出一个，注意力头至少需要 8.33 log 512 所要求的 52 维中的 40 维。",
            inside("width, most keys", ONE, low=40),
        ),
        Claim(
            "joint-not-needed",
            "Trained queries and keys of bounded length need less than the joint rule: the width that selects one or "
            "two of L keys grows by less than 8.31 for each unit of log L.",
            "长度受限、经过训练的 query 和 key 用不着联合规则那么宽：log L 每增加 1，选中 L 个 key 中一个或两个所需的宽度增加不到 8.31。",
            (inside("slope", ONE, high=8.31), inside("slope", TWO, high=8.31)),
        ),
        Claim(
            "row-not-needed",
            "Trained queries and keys of bounded length need less than the row rule too: the width that selects one or "
            "two of L keys grows by less than 4.16 for each unit of log L.",
            "长度受限、经过训练的 query 和 key 连逐行规则那么宽也用不着：log L 每增加 1，选中 L 个 key 中一个或两个所需的宽度增加不到 4.16。",
            (inside("slope", ONE, high=4.16), inside("slope", TWO, high=4.16)),
        ),
    ),
    scope=(
        "random targets, vectors of norm at most √n, 300 steps of Adam",
        "随机目标，向量范数不超过 √n，Adam 300 步",
    ),
    seeds={"full": 5},
    figures=(
        Dots(
            "width, most keys",
            "Width needed to select one or two of 512 keys, and what the rules ask for.",
            "从 512 个 key 中选出一个或两个所需的宽度，以及两条规则的要求。",
            ("head-52",),
        ),
    ),
)


# ---- random projection ----------------------------------------------------------------------------------------------

ARTICLE, EXACT_TAIL, MEASURED, COMPONENTS = "24 log N/ε²", "exact tail, 5 %", "measured", "PCA"
PROJECTION = Study(
    "random projection",
    measured,
    {
        ARTICLE: partial(by.kept_by_bound, method="article"),
        "16 log N/ε²": partial(by.kept_by_bound, method="existence"),
        "Dasgupta-Gupta": partial(by.kept_by_bound, method="dasgupta"),
        EXACT_TAIL: partial(by.kept_by_bound, delta=0.05),
        MEASURED: by.kept_by_projection,
        COMPONENTS: by.kept_by_components,
    },
    {"Gaussian cloud": None, "digits": lambda: read("digits")},
    {"smoke": (20, 2), "quick": (60, 20), "full": (300, 50)},
    claims=(
        Claim(
            "loose",
            "24 log N/ε² is sufficient, not necessary: random projections keep all pairs in 95 % of the draws with at "
            "most half as many dimensions.",
            "24 log N/ε² 充分而不必要：维数至多取它的一半，就有 95 % 的随机投影保住了所有点对。",
            tuple(ratio(metric, MEASURED, over=ARTICLE, at_most=0.5) for metric in by.WIDTHS),
        ),
        Claim(
            "tight",
            "The exact chi-square tail, summed over pairs, says nearly what random projections need: the smallest width "
            "that keeps all pairs in 95 % of the draws is 80 % to 110 % of it.",
            "精确的卡方尾概率对点对求和，给出的维数与随机投影实际所需相差无几：使 95 % 的抽取保住所有点对的最小宽度是它的 80 % 到 110 %。",
            tuple(ratio(metric, MEASURED, over=EXACT_TAIL, at_least=0.8, at_most=1.1) for metric in by.WIDTHS),
        ),
        Claim(
            "pca",
            "PCA keeps the same pairs with at most 90 % of the dimensions of a random projection.",
            "PCA 保住同样的点对，所用维数至多是随机投影的 90 %。",
            tuple(ratio(metric, COMPONENTS, over=MEASURED, at_most=0.9) for metric in by.WIDTHS),
        ),
        Claim(
            "pointless",
            "On digits of 64 pixels a random projection needs more than the 64 columns there are.",
            "对 64 个像素的手写数字，随机投影所需的维数超过原有的 64 列。",
            tuple(inside(metric, MEASURED, low=65) for metric in by.WIDTHS),
            at="digits",
        ),
    ),
    accepts="features",
    scope=(
        "300 points (60 in a quick run), squared distances within 1 ± ε for all pairs",
        "300 个点（快速运行为 60 个），所有点对的距离平方都在 1 ± ε 倍之内",
    ),
    figures=tuple(
        Dots(metric, f"Dimensions that keep all pairs, ε = {eps}.", f"保住所有点对的维数，ε = {eps}。", log=True)
        for metric, eps in zip(by.WIDTHS, by.EPS, strict=True)
    ),
)


# ---- signs ----------------------------------------------------------------------------------------------------------

COSINE, LAW, SIGNS = "cos θ", "1 − 2θ/π", "signs"
HASH = Study(
    "signs",
    measured,
    {COSINE: by.cosine_itself, LAW: by.linear_in_angle, SIGNS: by.cosine_of_signs},
    {f"θ = {degrees}°": degrees for degrees in (30, 60, 120)},
    {"smoke": (50, 64), "quick": (2000, 512), "full": (2000, 512)},
    claims=(
        Claim(
            "sign-law",
            "The mean cosine of the signs of random projections is 1 − 2θ/π, within 0.005.",
            "随机投影取符号之后，余弦的均值为 1 − 2θ/π，误差不超过 0.005。",
            same("mean cosine", SIGNS, than=LAW, within=0.005),
        ),
        Claim(
            "signs-keep-cosine",
            "The signs of random projections keep the cosine of the vectors to within 0.05.",
            "随机投影取符号之后，余弦与原向量的余弦相差不超过 0.05。",
            same("mean cosine", SIGNS, than=COSINE, within=0.05),
        ),
    ),
    scope=("512 signs, 2000 random pairs in 64 dimensions", "512 个符号，64 维中的 2000 对随机向量"),
)


EXPERIMENT = Experiment(
    __doc__,
    (EXACT, RANDOM, WORDS, SELECT, PROJECTION, HASH, YOUR_TEXTS),
    zh={
        TABLE: "h 的表", RULE: "8.33 log N 与方程的根", ROW: "逐行与联合之比", SAVING: "24 log N/ε² 与精确维数之比",
        TENTH: "1000 个点，误差 10 %", CIRCLE: "二维，不限长度", "all": "全部", "figure": "数值",
        FORMULA_PAIRS: "公式，词对", PAIRS: "抽取，词对", FORMULA_ROWS: "公式，逐行", ROWS: "抽取，逐行",
        "entropy": "熵", "largest share": "最大份额", TRAINED: "训练所得", "width": "宽度", "width per log N": "宽度 / log N",
        WORDS_100: "100 个词", WORDS_400: "400 个词", WORDS_1600: "1600 个词", "Python documentation": "Python 文档",
        JOINT_RULE: "联合规则", ROW_RULE: "逐行规则", ONE: "选一个", TWO: "选两个", "64 to 512 keys": "64 到 512 个 key",
        "slope": "斜率", "width, most keys": "宽度，key 最多时",
        EXACT_TAIL: "精确尾概率，5 %", MEASURED: "实测", COMPONENTS: "PCA", "Gaussian cloud": "高斯点云", "digits": "手写数字",
        by.WIDTHS[0]: "宽度，ε = 0.3", by.WIDTHS[1]: "宽度，ε = 0.5", SIGNS: "符号", "mean cosine": "余弦均值",
        THUMB: "8.33 log N", ARTICLE: "24 log N/ε²", "16 log N/ε²": "16 log N/ε²", COSINE: "cos θ",
        "published figures": "公开的数值", "random vectors": "随机向量", "word vectors": "词向量", "selecting keys": "选中 key",
        "random projection": "随机投影", "your texts": "你的文本",
    },
)  # fmt: skip
