"""Do the weights of a formula classify as well as those of an iteration, and what does the formula save?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gezhi.classification.closed_form_logistic import ClosedFormLogisticRegression
from gezhi.data import Features, read
from gezhi.lab import Claim, Dots, Experiment, Study, best_of, better, inside, lower, ratio, same

Array = NDArray[np.float64]
Rows = tuple[Array, Array, NDArray[np.int64], NDArray[np.int64]]  # training and test features, training and test labels


class AdamHead:
    """The article's baseline: a dense layer on whitened features, 10 epochs of Adam at 0.001, no penalty."""

    def fit(self, X: Array, y: NDArray[np.int64]) -> AdamHead:
        self.whiten = PCA(whiten=True).fit(X)
        rows, labels = torch.from_numpy(self._white(X)), torch.from_numpy(y)
        self.head = torch.nn.Linear(rows.shape[1], int(y.max()) + 1, dtype=torch.float64)
        torch.nn.init.xavier_uniform_(self.head.weight)
        optimiser = torch.optim.Adam(self.head.parameters(), lr=1e-3)
        for _ in range(10):
            for batch in torch.split(torch.randperm(len(rows)), 32):
                optimiser.zero_grad()
                loss = torch.nn.functional.cross_entropy(self.head(rows[batch]), labels[batch])
                torch.autograd.backward(loss)
                optimiser.step()
        return self

    def _white(self, X: Array) -> Array:
        return np.asarray(self.whiten.transform(X)[:, self.whiten.explained_variance_ > 1e-10])

    def score(self, X: Array, y: NDArray[np.int64]) -> float:
        with torch.no_grad():
            return float((self.head(torch.from_numpy(self._white(X))).argmax(-1).numpy() == y).mean())


L2, MLE, ADAM = "L2, C = 1", "no penalty", "Adam, 10 epochs"
CLOSED, OAS, LEDOIT = "closed form", "closed form, OAS", "closed form, Ledoit-Wolf"
CLASSIFIERS: dict[str, Callable[[], Any]] = {
    L2: partial(LogisticRegression, C=1.0, max_iter=2000),
    MLE: partial(LogisticRegression, C=1e6, max_iter=5000),
    ADAM: AdamHead,
    CLOSED: ClosedFormLogisticRegression,
    OAS: partial(ClosedFormLogisticRegression, shrinkage="oas"),
    LEDOIT: partial(ClosedFormLogisticRegression, shrinkage="ledoit_wolf"),
}


def standardised(make: Callable[[], Any]) -> Any:
    """The classifier behind a scaler: penalties and iterations depend on the units of a user's columns."""
    return make_pipeline(StandardScaler(), make())


def digits() -> Features:
    """Handwritten digits, pixels scaled to 0..1, those that are always blank left out."""
    data = read("digits")
    varying = data.X.std(axis=0) > 0
    return Features(data.X[:, varying] / 16, data.y, data.classes, tuple(np.array(data.columns)[varying]), data.name)


@lru_cache(maxsize=1)
def split(data: Features, seed: int, train_size: float) -> Rows:
    return tuple(train_test_split(data.X, data.y, train_size=train_size, stratify=data.y, random_state=seed))


def accuracy(make: Callable[[], Any], data: Features, seed: int, train_size: float) -> Mapping[str, Any]:
    """Test accuracy of one classifier on a fresh split."""
    X, X_test, y, y_test = split(data, seed, train_size)
    return {"accuracy": make().fit(X, y).score(X_test, y_test)}


def accuracy_at(share: float, data: Features, seed: int, _: None) -> Mapping[str, Any]:
    """Test accuracy of the closed form when rows : columns = share."""
    return accuracy(ClosedFormLogisticRegression, data, seed, round(share * data.X.shape[1]))


def standardised_cancer() -> tuple[Array, NDArray[np.int64]]:
    X, y = load_breast_cancer(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def against_lda(
    make: Callable[[], Any], case: tuple[Array, NDArray[np.int64]], seed: int, _: None
) -> Mapping[str, Any]:
    """Largest difference of probabilities from scikit-learn's LDA, and for two classes the least-squares angle."""
    X, y = case
    model, lda = make().fit(X, y), LinearDiscriminantAnalysis(solver="lsqr").fit(X, y)
    slope = np.linalg.lstsq(np.c_[X, np.ones(len(X))], y.astype(float), rcond=None)[0][:-1]
    cosine = model.coef_[0] @ slope / np.linalg.norm(model.coef_[0]) / np.linalg.norm(slope)
    return {"difference": abs(model.predict_proba(X) - lda.predict_proba(X)).max(), "1 − cosine": 1 - cosine}


@lru_cache(maxsize=1)
def gaussian_classes(seed: int, rows: int, columns: int, condition: float) -> Rows:
    """Ten normal classes with unit noise, mapped linearly: covariance of this condition number, mean log scale 0."""
    rng = np.random.default_rng(seed)
    y, means = rng.integers(10, size=rows + 10_000), 0.3 * rng.normal(size=(10, columns))
    left, right = (np.linalg.qr(rng.normal(size=(columns, columns)))[0] for _ in range(2))
    X = (
        (means[y] + rng.normal(size=(len(y), columns)))
        @ (left * np.geomspace(condition**-0.25, condition**0.25, columns))
        @ right
    )
    return X[:rows], X[rows:], y[:rows], y[rows:]


def speed(make: Callable[[], Any], case: tuple[int, int, float], seed: int, repeats: int) -> Mapping[str, Any]:
    """Fitting time (the best of some repeats for the fast arm, one for the slow one) and test accuracy."""
    X, X_test, y, y_test = gaussian_classes(seed, *case)
    model = make()
    timed = best_of(lambda: model.fit(X, y), repeats if isinstance(model, ClosedFormLogisticRegression) else 1)
    return {"seconds": timed, "accuracy": model.score(X_test, y_test)}


FEW = {
    ADAM: ("the article's baseline (10 epochs of Adam)", "原文的基线（Adam 10 轮）", "adam"),
    MLE: ("logistic regression without penalty", "无惩罚的逻辑回归", "mle"),
    L2: ("logistic regression with the default L2 penalty", "默认 L2 惩罚的逻辑回归", "l2"),
}
SCOPE = (
    "logistic heads on 8 × 8 digits, the rest of the rows as test set",
    "8 × 8 手写数字上的线性分类头，其余各行作测试集",
)


def few_rows(n: int) -> Study:
    claims = [
        Claim(
            f"beats-{short}-{n}",
            f"With {n} training rows the closed form beats {en} by at least 1 point.",
            f"训练样本为 {n} 行时，解析解至少比{zh}高 1 个百分点。",
            better("accuracy", CLOSED, than=arm, by=0.01),
        )
        for arm, (en, zh, short) in FEW.items()
    ]
    rescue = Claim(
        f"shrinkage-{n}",
        f"With {n} training rows Ledoit-Wolf shrinkage gains at least 1 point over the plain closed form.",
        f"训练样本为 {n} 行时，Ledoit-Wolf 收缩至少比原始解析解高 1 个百分点。",
        better("accuracy", LEDOIT, than=CLOSED, by=0.01),
    )
    figure = Dots(
        "accuracy", f"Test accuracy with {n} training rows.", f"训练样本 {n} 行时的测试准确率。", (f"beats-l2-{n}",)
    )
    return Study(
        f"{n} rows",
        accuracy,
        CLASSIFIERS,
        {"digits": digits},
        {"smoke": n, "quick": n, "full": n},
        claims=(*claims, rescue),
        units={"accuracy": "%"},
        scope=SCOPE,
        figures=(figure,),
    )


MANY = Study(
    "1200 rows",
    accuracy,
    CLASSIFIERS,
    {"digits": digits},
    {"full": 1200},
    claims=(
        Claim(
            "level-with-mle",
            "With 1200 training rows the closed form is within 1 point of logistic regression without penalty.",
            "训练样本为 1200 行时，解析解与无惩罚的逻辑回归相差不超过 1 个百分点。",
            same("accuracy", CLOSED, than=MLE, within=0.01),
        ),
        Claim(
            "level-with-l2",
            "With 1200 training rows the closed form is within 1 point of logistic regression with the default penalty.",
            "训练样本为 1200 行时，解析解与默认惩罚的逻辑回归相差不超过 1 个百分点。",
            same("accuracy", CLOSED, than=L2, within=0.01),
        ),
    ),
    units={"accuracy": "%"},
    scope=SCOPE,
)

SHARES = {"rows = half the columns": 0.5, "rows = columns": 1.0, "rows = 2 × columns": 2.0, "rows = 5 × columns": 5.0,
          "rows = 10 × columns": 10.0}  # fmt: skip
PEAK = Study(
    "rows against columns",
    accuracy_at,
    SHARES,
    {"digits": digits},
    dict.fromkeys(("smoke", "quick", "full"), None),
    claims=(
        Claim(
            "dip",
            "More rows can hurt: with as many rows as columns accuracy is at least 2 points lower than with half as many.",
            "样本多了反而可能更差：行数等于列数时，准确率至少比行数为列数一半时低 2 个百分点。",
            lower("accuracy", "rows = columns", than="rows = half the columns", by=0.02),
        ),
    ),
    units={"accuracy": "%"},
    scope=("closed form without shrinkage on 8 × 8 digits", "8 × 8 手写数字上不收缩的解析解"),
    figures=(Dots("accuracy", "Test accuracy of the plain closed form.", "原始解析解的测试准确率。", ("dip",)),),
)

LDA = Study(
    "same as LDA",
    against_lda,
    {"LDA, eigen": partial(LinearDiscriminantAnalysis, solver="eigen"), CLOSED: ClosedFormLogisticRegression},
    {"wine": lambda: load_wine(return_X_y=True), "breast cancer": standardised_cancer},
    dict.fromkeys(("smoke", "quick", "full"), None),
    claims=(
        Claim(
            "is-lda",
            "The closed form gives the probabilities of linear discriminant analysis, to 8 digits.",
            "解析解给出的概率与线性判别分析一致，准到 8 位。",
            inside("difference", CLOSED, high=1e-8),
        ),
        Claim(
            "least-squares",
            "For two classes the weights of the closed form point along the least-squares solution.",
            "两类时，解析解的权重与最小二乘解同向。",
            inside("1 − cosine", CLOSED, high=1e-9),
            at="breast cancer",
        ),
    ),
    varies="nothing",
    scope=("bundled tables, all rows", "自带的数据表，全部行"),
)

LBFGS = "lbfgs, C = 1"
SPEED = Study(
    "speed",
    speed,
    {LBFGS: partial(LogisticRegression, C=1.0, max_iter=2000), CLOSED: ClosedFormLogisticRegression},
    {
        "100 columns, isotropic": (100_000, 100, 1.0),
        "100 columns, condition 100": (100_000, 100, 1e2),
        "100 columns, condition 10 000": (100_000, 100, 1e4),
        "768 columns, isotropic": (50_000, 768, 1.0),
    },
    {"full": 3},
    claims=(
        Claim(
            "faster",
            "The closed form is fitted at least 10 times faster than lbfgs fits, with accuracy within 1 point.",
            "解析解的拟合至少比 lbfgs 快 10 倍，准确率相差不超过 1 个百分点。",
            (
                ratio("seconds", LBFGS, over=CLOSED, at_least=10),
                same("accuracy", CLOSED, than=LBFGS, within=0.01),
            ),
        ),
    ),
    alone=True,
    units={"accuracy": "%", "seconds": "s"},
    scope=("10 Gaussian classes, float64, one thread", "10 个高斯类，float64，单线程"),
    seeds={"full": 5},
)

YOURS = Study(
    "your table",
    accuracy,
    {name: partial(standardised, CLASSIFIERS[name]) for name in (L2, MLE, CLOSED, OAS)},
    {},
    dict.fromkeys(("smoke", "quick", "full"), 0.67),
    claims=(
        Claim(
            "level-here",
            "On this table the closed form is within 1 point of logistic regression with the default penalty.",
            "在这张表上，解析解与默认惩罚的逻辑回归相差不超过 1 个百分点。",
            same("accuracy", CLOSED, than=L2, within=0.01),
        ),
        Claim(
            "shrinkage-here",
            "On this table OAS shrinkage gains at least 1 point over the plain closed form.",
            "在这张表上，OAS 收缩至少比原始解析解高 1 个百分点。",
            better("accuracy", OAS, than=CLOSED, by=0.01),
        ),
    ),
    accepts="features",
    units={"accuracy": "%"},
    scope=("two thirds of your rows for training, the rest for testing", "三分之二的行训练，其余测试"),
    figures=(Dots("accuracy", "Test accuracy on your table.", "在这张表上的测试准确率。", ("level-here",)),),
)

EXPERIMENT = Experiment(
    __doc__,
    (LDA, *(few_rows(n) for n in (60, 120, 300)), MANY, PEAK, SPEED, YOURS),
    zh={
        L2: "L2,C = 1", MLE: "无惩罚", ADAM: "Adam，10 轮", CLOSED: "解析解", OAS: "解析解，OAS",
        LEDOIT: "解析解，Ledoit-Wolf", LBFGS: "lbfgs,C = 1", "LDA, eigen": "LDA,eigen",
        "digits": "手写数字", "wine": "葡萄酒", "breast cancer": "乳腺癌",
        "accuracy": "准确率", "seconds": "秒", "difference": "最大差", "1 − cosine": "1 − 余弦",
        "60 rows": "60 行", "120 rows": "120 行", "300 rows": "300 行", "1200 rows": "1200 行",
        "rows against columns": "行数与列数", "same as LDA": "与 LDA 相同", "speed": "速度", "your table": "你的数据表",
        "rows = half the columns": "行数 = 列数的一半", "rows = columns": "行数 = 列数", "rows = 2 × columns": "行数 = 2 × 列数",
        "rows = 5 × columns": "行数 = 5 × 列数", "rows = 10 × columns": "行数 = 10 × 列数",
        "100 columns, isotropic": "100 列，各向同性", "100 columns, condition 100": "100 列，条件数 100",
        "100 columns, condition 10 000": "100 列，条件数 10 000", "768 columns, isotropic": "768 列，各向同性",
    },
)  # fmt: skip
