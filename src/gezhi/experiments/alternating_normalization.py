"""Does a known class prior, applied after training to uncertain predictions, make them better?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gezhi.classification.alternating_normalization import normalize_alternately, top_k_uncertainty
from gezhi.data import Features, Probabilities, read
from gezhi.lab import Claim, Dots, Experiment, Study, best_of, better, inside, lower, ratio

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """What a classifier says of a test set, and the two priors one may know."""

    test: Array
    labels: NDArray[np.int64]
    train_count: Array
    true_prior: Array
    threshold: float = 0.9

    @property
    def train_prior(self) -> Array:
        return np.asarray(self.train_count / self.train_count.sum())

    @property
    def k(self) -> int:
        return min(3, int(self.test.shape[1]))

    @property
    def uncertain(self) -> NDArray[np.bool_]:
        return top_k_uncertainty(self.test, self.k) >= self.threshold


# ---- arms: predictions in, probabilities out -----------------------------------------------------------------------


def plain(p: Predictions) -> Array:
    return p.test


def can(p: Predictions, prior: Callable[[Predictions], Array], **settings: Any) -> Array:
    return normalize_alternately(p.test, prior(p), k=p.k, threshold=p.threshold, **settings)


def all_at_once(p: Predictions) -> Array:
    """The variant that appends every uncertain row to A together: one column step, one row step."""
    columns = p.test * p.train_prior / np.maximum(p.test.sum(axis=0), 1e-300)  # a class that nobody predicts adds 0
    return np.where(p.uncertain[:, None], columns / columns.sum(axis=1, keepdims=True), p.test)


def logit_adjustment(p: Predictions, prior: Callable[[Predictions], Array]) -> Array:
    """Every row times new prior over training prior."""
    return np.asarray(p.test * prior(p) / np.maximum(p.train_prior, 1e-12))


def expectation_maximisation(p: Predictions) -> Array:
    """Prior estimated from the predictions alone (Saerens, Latinne and Decaestecker, 2002), then logit adjustment."""
    prior = p.train_prior
    for _ in range(200):
        joint = logit_adjustment(p, lambda _, prior=prior: prior)  # type: ignore[misc]
        prior = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
    return logit_adjustment(p, lambda _: prior)


def train_prior(p: Predictions) -> Array:
    return p.train_prior


def smoothed_prior(p: Predictions) -> Array:
    return np.asarray((p.train_count + 1) / (p.train_count + 1).sum())


def true_prior(p: Predictions) -> Array:
    return p.true_prior


PLAIN, TRAIN, TRUE, SMOOTH = "plain", "CAN, training prior", "CAN, true prior", "CAN, add-one prior"
AT_ONCE, LOGITS, EM = "CAN, all rows at once", "logit adjustment, true prior", "EM, told nothing"
ARMS: dict[str, Callable[[Predictions], Array]] = {
    PLAIN: plain,
    TRAIN: partial(can, prior=train_prior),
    SMOOTH: partial(can, prior=smoothed_prior),
    TRUE: partial(can, prior=true_prior),
    AT_ONCE: all_at_once,
    LOGITS: partial(logit_adjustment, prior=true_prior),
    EM: expectation_maximisation,
}


# ---- tasks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """Quarter turns, rows to train on, noise on the pixels, and whether half the classes become rare."""

    turns: int
    train_rows: int
    noise: float = 0.0
    thinned: bool = False
    threshold: float = 0.9


@lru_cache(maxsize=2)
def turned_digits(turns: int) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """Digits and their quarter turns: a class is which digit and how far turned; groups are the original images."""
    data = read("digits")
    images = [np.rot90(data.X.reshape(-1, 8, 8) / 16, turn, (1, 2)).reshape(-1, 64) for turn in range(turns)]
    labels = [data.y + 10 * turn for turn in range(turns)]
    return np.concatenate(images), np.concatenate(labels), np.tile(np.arange(len(data.y)), turns)


@lru_cache(maxsize=1)
def predictions(task: Task, seed: int) -> Predictions:
    """A logistic regression on rows drawn at random, so their frequencies are noisy; no image is on both sides."""
    rng = np.random.default_rng(seed)
    X, y, image = turned_digits(task.turns)
    X = X + task.noise * rng.normal(size=X.shape)
    pool = rng.permutation(image.max() + 1)[: min(task.train_rows, 2 * task.train_rows // task.turns)]
    test = ~np.isin(image, pool)
    training = np.zeros(len(y), dtype=bool)
    training[rng.permutation(np.flatnonzero(~test))[: task.train_rows]] = True
    if task.thinned:  # drop 88 % of the training rows of the first half of the classes
        training &= (y > y.max() // 2) | (rng.random(len(y)) < 0.12)
    return fitted(LogisticRegression(max_iter=1000), X, y, training, test, task.threshold)


def fitted(model: Any, X: Array, y: NDArray[np.int64], training: Any, test: Any, threshold: float = 0.9) -> Predictions:
    classes = int(y.max()) + 1
    model.fit(X[training], y[training])
    test_probs = np.zeros((len(y[test]), classes))
    test_probs[:, model.classes_] = model.predict_proba(X[test])
    count, true = (np.bincount(y[rows], minlength=classes).astype(float) for rows in (training, test))
    return Predictions(test_probs, y[test], count, true / true.sum(), threshold)


# ---- measures -------------------------------------------------------------------------------------------------------


def correct(probs: Array, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(probs.argmax(axis=1) == labels, dtype=float)


def accuracy(arm: Callable[[Predictions], Array], task: Task, seed: int, _: None) -> Mapping[str, Any]:
    """Test accuracy after an arm's post-processing."""
    p = predictions(task, seed)
    return {"accuracy": correct(arm(p), p.labels).mean()}


def accuracy_by_confidence(want_uncertain: bool, task: Task, seed: int, _: None) -> Mapping[str, Any]:
    """Accuracy of the rows that the bar calls confident, or of the others."""
    p = predictions(task, seed)
    return {"accuracy": correct(p.test, p.labels)[p.uncertain == want_uncertain].mean()}


GRID = tuple(product((0.6, 0.75, 0.9), (0.5, 1.0, 2.0), (1, 2, 5)))  # threshold, alpha, iterations


@lru_cache(maxsize=1)
def grid_scores(task: Task, seed: int, reference_rows: int) -> tuple[Array, Array]:
    """Validation and test accuracy of every cell of the grid; A is a sample of the confident test rows."""
    p, rng = predictions(task, seed), np.random.default_rng(seed)
    validation = rng.random(len(p.labels)) < 0.5
    scores = np.empty((2, len(GRID)))
    for cell, (threshold, alpha, iterations) in enumerate(GRID):
        confident = p.test[top_k_uncertainty(p.test) < threshold]
        sample = confident[rng.permutation(len(confident))[:reference_rows]]
        adjusted = normalize_alternately(
            p.test, p.true_prior, threshold=threshold, alpha=alpha, iterations=iterations, reference=sample
        )
        hit = correct(adjusted, p.labels)
        scores[:, cell] = hit[validation].mean(), hit[~validation].mean()
    return scores[0], scores[1]


def tuned(use_default: bool, task: Task, seed: int, reference_rows: int) -> Mapping[str, Any]:
    """Test accuracy of the cell chosen on validation, or of α = 1 and one iteration at the same threshold."""
    validation, test = grid_scores(task, seed, reference_rows)
    best = int(validation.argmax())
    return {"accuracy": test[GRID.index((GRID[best][0], 1.0, 1)) if use_default else best]}


def example(k: int, _case: None, _seed: int, _size: None) -> Mapping[str, Any]:
    """The article's two rows: how far the adjusted one is from [.725, .275]."""
    adjusted = normalize_alternately([[0.05, 0.95], [0.5, 0.5]], [0.5, 0.5], k=k)
    return {"error": abs(adjusted[1] - [0.725, 0.275]).max()}


def on_your_table(arm: Callable[[Predictions], Array], data: Features, seed: int, share: float) -> Mapping[str, Any]:
    """Test accuracy on the user's table, by a scaled logistic regression on a fresh split."""
    p = table_predictions(data, seed, share)
    return {"accuracy": correct(arm(p), p.labels).mean()}


@lru_cache(maxsize=1)
def table_predictions(data: Features, seed: int, share: float) -> Predictions:
    training, test = train_test_split(np.arange(len(data.y)), train_size=share, stratify=data.y, random_state=seed)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return fitted(model, data.X, data.y, training, test)


def on_your_probabilities(
    arm: Callable[[Predictions], Array], data: Probabilities, _seed: int, _: None
) -> Mapping[str, Any]:
    """One 0/1 number per test item; the prior is counted on the reference labels."""
    classes = data.test.shape[1]
    count = np.bincount(data.reference_labels, minlength=classes).astype(float)
    p = Predictions(data.test, data.test_labels, count, count / count.sum())
    return {"accuracy": correct(arm(p), p.labels)}


def row_loop(probs: Array, prior: Array, rows: int) -> None:
    """The published form: one table per uncertain row."""
    uncertain = top_k_uncertainty(probs) >= 0.9
    confident = probs[~uncertain]
    for row in probs[uncertain][:rows]:
        table = np.concatenate([confident, row[None]])
        table = table / table.mean(axis=0) * prior
        table = table / table.sum(axis=1, keepdims=True)


def speed(arm: str, shape: tuple[int, int], seed: int, rows: int) -> Mapping[str, Any]:
    """Seconds per uncertain row; the loop is timed on some of them, since each costs the same."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=shape) * rng.choice([0.3, 4.0], size=(shape[0], 1))
    weights, features = rng.normal(size=(shape[1], 64)), rng.normal(size=(shape[0], 64))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    prior = np.full(shape[1], 1 / shape[1])
    uncertain = int((top_k_uncertainty(probs) >= 0.9).sum())
    if arm == LOOP:
        return {"seconds per row": best_of(lambda: row_loop(probs, prior, rows), 1) / min(rows, uncertain)}
    if arm == CLOSED:
        return {"seconds per row": best_of(lambda: normalize_alternately(probs, prior), 3) / uncertain}
    return {"seconds per row": best_of(lambda: np.exp(features @ weights.T), 3) / uncertain}


LOOP, CLOSED, PREDICT = "loop over rows", "closed form", "a linear layer's predictions"

# ---- studies --------------------------------------------------------------------------------------------------------

POINTS = {"accuracy": "%"}
ALL = dict.fromkeys(("smoke", "quick", "full"), None)
SCOPE = (
    "logistic regression on 8 × 8 digits, the rest of the rows as test set",
    "8 × 8 手写数字上的逻辑回归，其余各行作测试集",
)

EXAMPLE = Study(
    "worked example",
    example,
    {"k = 2": 2},
    {"two rows": None},
    ALL,
    claims=(
        Claim(
            "example",
            "The worked example holds to 12 digits: beside [.05, .95], the row [.5, .5] becomes [.725, .275].",
            "算例吻合到 12 位：与 [.05, .95] 同批时，[.5, .5] 变为 [.725, .275]。",
            inside("error", "k = 2", high=1e-12),
        ),
    ),
    varies="nothing",
    scope=("two classes, equal prior", "两类，先验相等"),
)

PREMISE = Study(
    "premise",
    accuracy_by_confidence,
    {"uncertain rows": True, "confident rows": False},
    {"10 classes": Task(1, 300), "40 classes": Task(4, 600)},
    ALL,
    claims=(
        Claim(
            "premise",
            "Rows that the bar calls confident are right at least 10 points more often than the others.",
            "阈值判为高置信的行，正确率至少比其余的行高 10 个百分点。",
            better("accuracy", "confident rows", than="uncertain rows", by=0.10),
        ),
    ),
    units=POINTS,
    scope=SCOPE,
)


def gain_claims(suffix: str = "", at: str | None = None) -> tuple[Claim, ...]:
    return tuple(
        Claim(
            f"gain-{name}{suffix}",
            f"With 40 classes, the {en} gains at least 0.2 points.",
            f"40 类时，{zh}至少提高 0.2 个百分点。",
            better("accuracy", arm, than=PLAIN, by=0.002),
            at=at,
        )
        for name, arm, en, zh in (
            ("train", TRAIN, "prior counted on the training set", "由训练集计数得到的先验"),
            ("true", TRUE, "true prior of the test set", "测试集的真实先验"),
        )
    )


def few_claims(suffix: str = "", at: str | None = None) -> tuple[Claim, ...]:
    return tuple(
        Claim(
            f"few-{name}{suffix}",
            f"With 10 classes, the {en} gains less than 0.3 points.",
            f"10 类时，{zh}的提高不到 0.3 个百分点。",
            lower("accuracy", arm, than=PLAIN, by=-0.003),
            at=at,
        )
        for name, arm, en, zh in (
            ("train", TRAIN, "prior counted on the training set", "由训练集计数得到的先验"),
            ("true", TRUE, "true prior of the test set", "测试集的真实先验"),
        )
    )


SAME = Study(
    "same prior",
    accuracy,
    ARMS,
    {"10 classes": Task(1, 300), "40 classes": Task(4, 600)},
    ALL,
    claims=(
        *gain_claims(at="40 classes"),
        *few_claims(at="10 classes"),
        Claim(
            "smoothing",
            "With 40 classes, adding one row to each class before counting the prior gains at least 0.2 points.",
            "40 类时，计数前每类加一行的先验至少再提高 0.2 个百分点。",
            better("accuracy", SMOOTH, than=TRAIN, by=0.002),
            at="40 classes",
        ),
        Claim(
            "at-once",
            "Adjusting all uncertain rows at once, instead of one by one, is no better: less than 0.3 points.",
            "把不确定的行一次全部并入，而不是逐行处理，并无好处：提高不到 0.3 个百分点。",
            lower("accuracy", AT_ONCE, than=TRAIN, by=-0.003),
        ),
    ),
    units=POINTS,
    scope=SCOPE,
    figures=(
        Dots(
            "accuracy",
            "Change of accuracy against the plain predictions, by number of classes and prior.",
            "相对原始预测的准确率变化，按类别数与先验。",
            ("gain-train", "few-train"),
            arms=(TRAIN, SMOOTH, TRUE, AT_ONCE, LOGITS, EM),
            than=PLAIN,
        ),
    ),
)

SIZES_40 = Study(
    "40 classes, other sizes",
    accuracy,
    ARMS,
    {"200 rows": Task(4, 200), "2000 rows": Task(4, 2000)},
    {"full": None},
    claims=gain_claims("-sizes"),
    units=POINTS,
    scope=SCOPE,
)
SIZES_10 = Study(
    "10 classes, other sizes",
    accuracy,
    ARMS,
    {
        "100 rows": Task(1, 100),
        "1000 rows": Task(1, 1000),
        "300 rows, noisy pixels": Task(1, 300, noise=0.35),
        "1000 rows, noisy pixels": Task(1, 1000, noise=0.35),
    },
    {"full": None},
    claims=few_claims("-sizes"),
    units=POINTS,
    scope=SCOPE,
)

SHIFT = Study(
    "shifted prior",
    accuracy,
    {name: ARMS[name] for name in (PLAIN, TRAIN, TRUE, LOGITS, EM)},
    {"10 classes": Task(1, 1000, noise=0.35, thinned=True, threshold=0.75)},
    ALL,
    claims=(
        Claim(
            "right-prior",
            "When half the classes were rare in training, the true prior of the test set gains at least 2 points.",
            "训练中有一半类别稀少时，测试集的真实先验至少提高 2 个百分点。",
            better("accuracy", TRUE, than=PLAIN, by=0.02),
        ),
        Claim(
            "wrong-prior",
            "When half the classes were rare in training, the prior of the training set costs at least 1 point.",
            "训练中有一半类别稀少时，训练集的先验至少损失 1 个百分点。",
            lower("accuracy", TRAIN, than=PLAIN, by=0.01),
        ),
        Claim(
            "beats-em",
            "Told the true prior, alternating normalisation beats EM, which is told nothing and estimates the prior, by at least 1 point.",
            "已知真实先验时，交替归一化至少比一无所知、自行估计先验的 EM 高 1 个百分点。",
            better("accuracy", TRUE, than=EM, by=0.01),
        ),
        Claim(
            "beats-logits",
            "Told the true prior, alternating normalisation beats logit adjustment with the same prior by at least 1 point.",
            "同样已知真实先验，交替归一化至少比 logit 调整高 1 个百分点。",
            better("accuracy", TRUE, than=LOGITS, by=0.01),
        ),
    ),
    units=POINTS,
    scope=(
        "noisy digits, 88 % of the training rows of 0–4 dropped, bar at 0.75",
        "加噪手写数字，0–4 的训练样本去掉 88 %，阈值 0.75",
    ),
    figures=(
        Dots(
            "accuracy",
            "Change of accuracy after half the classes became rare in training.",
            "训练中一半类别变得稀少之后的准确率变化。",
            ("right-prior", "wrong-prior"),
            arms=(TRAIN, TRUE, LOGITS, EM),
            than=PLAIN,
        ),
    ),
)

KNOBS = Study(
    "knobs",
    tuned,
    {"α = 1, one iteration": True, "chosen on validation": False},
    {"10 classes": Task(1, 300), "40 classes": Task(4, 600)},
    {"full": 400},
    claims=(
        Claim(
            "knobs",
            "Tuning exponent and iterations on a validation set gains less than 0.3 points over α = 1 and one iteration.",
            "在验证集上调指数与迭代次数，比 α = 1、迭代一次提高不到 0.3 个百分点。",
            lower("accuracy", "chosen on validation", than="α = 1, one iteration", by=-0.003),
        ),
    ),
    units=POINTS,
    scope=("true prior, reference of 400 confident rows", "真实先验，参照取 400 个高置信行"),
)

SPEED = Study(
    "speed",
    speed,
    {LOOP: LOOP, CLOSED: CLOSED, PREDICT: PREDICT},
    {"100 000 rows, 100 classes": (100_000, 100)},
    {"full": 8},
    claims=(
        Claim(
            "closed-form",
            "The closed form of one alternating iteration is at least 100 times faster than the loop over rows.",
            "一次交替迭代的闭式至少比逐行循环快 100 倍。",
            ratio("seconds per row", LOOP, over=CLOSED, at_least=100),
        ),
        Claim(
            "free",
            "Alternating normalisation is almost free: it takes no longer than a linear layer needs to predict the same rows from 64 features.",
            "交替归一化几乎不花时间：不比线性层由 64 个特征预测同样的行更久。",
            ratio("seconds per row", CLOSED, over=PREDICT, at_most=1.0),
        ),
    ),
    alone=True,
    units={"seconds per row": "s"},
    scope=("random probabilities, one thread", "随机概率，单线程"),
)

TABLE = Study(
    "your table",
    on_your_table,
    {name: ARMS[name] for name in (PLAIN, TRAIN, SMOOTH, EM)},
    {},
    dict.fromkeys(("smoke", "quick", "full"), 0.5),
    claims=(
        Claim(
            "gain-table",
            "On this table the prior counted on the training rows gains at least 0.2 points.",
            "在这张表上，由训练样本计数得到的先验至少提高 0.2 个百分点。",
            better("accuracy", TRAIN, than=PLAIN, by=0.002),
        ),
    ),
    accepts="features",
    units=POINTS,
    scope=("scaled logistic regression, half of your rows for training", "标准化后的逻辑回归，一半样本训练"),
)

GIVEN = Study(
    "your probabilities",
    on_your_probabilities,
    {name: ARMS[name] for name in (PLAIN, TRAIN, SMOOTH, EM)},
    {},
    ALL,
    claims=(
        Claim(
            "gain-here",
            "On these predictions the prior of the reference labels gains at least 0.2 points.",
            "在这些预测上，参照标签的先验至少提高 0.2 个百分点。",
            better("accuracy", TRAIN, than=PLAIN, by=0.002),
        ),
        Claim(
            "beats-em-here",
            "On these predictions alternating normalisation is at least 0.2 points better than EM.",
            "在这些预测上，交替归一化至少比 EM 高 0.2 个百分点。",
            better("accuracy", TRAIN, than=EM, by=0.002),
        ),
    ),
    varies="items",
    accepts="probabilities",
    units=POINTS,
    scope=("your test items, fixed predictions", "你的测试样本，预测固定"),
)

EXPERIMENT = Experiment(
    __doc__,
    (EXAMPLE, PREMISE, SAME, SIZES_40, SIZES_10, SHIFT, KNOBS, SPEED, TABLE, GIVEN),
    zh={
        PLAIN: "原始预测", TRAIN: "CAN，训练集先验", TRUE: "CAN，真实先验", SMOOTH: "CAN，加一先验",
        AT_ONCE: "CAN，一次并入", LOGITS: "logit 调整，真实先验", EM: "EM，一无所知",
        "k = 2": "k = 2", "two rows": "两行", "uncertain rows": "不确定的行", "confident rows": "高置信的行",
        "10 classes": "10 类", "40 classes": "40 类", "200 rows": "200 行", "2000 rows": "2000 行", "100 rows": "100 行",
        "1000 rows": "1000 行", "300 rows, noisy pixels": "300 行，像素加噪", "1000 rows, noisy pixels": "1000 行，像素加噪",
        "α = 1, one iteration": "α = 1，迭代一次", "chosen on validation": "验证集所选",
        "100 000 rows, 100 classes": "100 000 行，100 类", LOOP: "逐行循环", CLOSED: "闭式", PREDICT: "线性层的预测",
        "accuracy": "准确率", "error": "误差", "seconds per row": "每行秒数",
        "worked example": "算例", "premise": "前提", "same prior": "先验不变", "40 classes, other sizes": "40 类，其他规模",
        "10 classes, other sizes": "10 类，其他规模", "shifted prior": "先验偏移", "knobs": "旋钮", "speed": "速度",
        "your table": "你的数据表", "your probabilities": "你的概率",
    },
)  # fmt: skip
