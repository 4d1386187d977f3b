"""Where do the constants of GELU's approximations come from, how far off are they, and does a model notice?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gezhi.data import read
from gezhi.experiments._gelu import Swap, TableSize, TextSize, swapped_in_table, swapped_in_text
from gezhi.lab import Claim, Dots, Experiment, Profile, Study, best_of, inside, lower, ratio, same
from gezhi.nn.gelu import error_profile, fit_gelu_approximation, gelu_erf, gelu_sigmoid, gelu_tanh
from gezhi.nn.gelu.forms import GELUVariant

Form = Callable[[Tensor], Tensor]

# ---- constants and errors -------------------------------------------------------------------------------------------


def tanh_form(x: Tensor, constant: float) -> Tensor:
    return gelu_tanh(x, coefficient=constant)


def logistic_form(x: Tensor, constant: float) -> Tensor:
    return gelu_sigmoid(x, slope=constant)


BRACKET: dict[Callable[[Tensor, float], Tensor], tuple[float, float]] = {
    tanh_form: (0.02, 0.06),
    logistic_form: (1.0, 3.0),
}


@dataclass(frozen=True)
class Choice:
    """A form and its constant: a number, or what makes the largest error of gate or value smallest."""

    form: Callable[[Tensor, float], Tensor]
    constant: float | Literal["gate", "value"]

    def fitted(self, grid: float) -> float:
        if self.constant == "value":
            return fit_gelu_approximation(gelu_erf, self.form, bracket=BRACKET[self.form], grid=grid).parameter
        if self.constant == "gate":
            return fit_gelu_approximation(
                torch.special.ndtr,
                lambda x, constant: self.form(x, constant) / x,
                bracket=BRACKET[self.form],
                interval=(grid, 8),
                grid=grid,
            ).parameter
        return self.constant


def errors(choice: Choice, _case: None, _seed: int, grid: float) -> Mapping[str, Any]:
    """The constant, the largest errors it leaves, the error along the half line, and what is left of GELU at -6."""
    constant = choice.fitted(grid)
    profile = error_profile(lambda x: choice.form(x, constant), grid=grid)
    x, far = torch.linspace(0, 8, 321, dtype=torch.float64), torch.tensor(-6.0, dtype=torch.float64)
    return {
        "constant": constant,
        "error of the gate": profile.gate,
        "error of the value": profile.value,
        "error of the gradient": profile.gradient,
        "share of GELU at −6": (choice.form(far, constant) / gelu_erf(far)).item(),
        "x": x.numpy(),
        "error": (choice.form(x, constant) - gelu_erf(x)).numpy(),
    }


def single_precision(form: Form, _case: None, _seed: int, _size: None) -> Mapping[str, Any]:
    """Largest relative error in float32."""
    x = torch.linspace(-10, -1e-3, 100_001)
    exact = gelu_erf(x.double())
    return {"relative error": ((form(x) - exact) / exact).abs().max().item()}


def speed(form: Form, elements: int, _seed: int, repeats: int) -> Mapping[str, Any]:
    """Seconds of one forward and backward pass in float32."""
    x = torch.randn(elements).requires_grad_()
    return {"seconds": best_of(lambda: torch.autograd.grad(form(x).sum(), x), repeats)}


TANH, SERIES, TANH_GATE, TANH_VALUE = (
    "tanh, published",
    "tanh, series at 0",
    "tanh, fitted to Φ",
    "tanh, fitted to GELU",
)
LOGISTIC, LOGISTIC_GATE, LOGISTIC_VALUE = "logistic, published", "logistic, fitted to Φ", "logistic, fitted to GELU"
SILU = "SiLU"

CONSTANTS = Study(
    "constants and errors",
    errors,
    {
        TANH: Choice(tanh_form, 0.044715),
        SERIES: Choice(tanh_form, (4 - math.pi) / (6 * math.pi)),
        TANH_GATE: Choice(tanh_form, "gate"),
        TANH_VALUE: Choice(tanh_form, "value"),
        LOGISTIC: Choice(logistic_form, 1.702),
        LOGISTIC_GATE: Choice(logistic_form, "gate"),
        LOGISTIC_VALUE: Choice(logistic_form, "value"),
        SILU: Choice(logistic_form, 1.0),
    },
    {"0 ≤ x ≤ 8": None},
    {"smoke": 1e-2, "quick": 1e-3, "full": 1e-3},
    claims=(
        Claim(
            "series",
            "Matching the series at 0 gives the tanh form the constant 0.04554: 1 to 3 % above the published 0.044715.",
            "在 0 处匹配级数，tanh 形式的常数为 0.04554，比公布的 0.044715 大 1 % 到 3 %。",
            (
                inside("constant", SERIES, 0.045535, 0.045545),
                ratio("constant", SERIES, over=TANH, at_least=1.01, at_most=1.03),
            ),
        ),
        Claim(
            "minimax-tanh",
            "The tanh form with the exact slope at 0 has the smallest maximum error as a gate at 0.044715, the "
            "published constant to all its digits.",
            "tanh 形式若保持 0 处的精确斜率，则作为门的最大误差在 0.044715 处最小，与公布的常数逐位相同。",
            inside("constant", TANH_GATE, 0.0447145, 0.0447155),
        ),
        Claim(
            "minimax-logistic",
            "The logistic form has the smallest maximum error as a gate at 1.702, the published constant to all its digits.",
            "逻辑函数形式作为门的最大误差在 1.702 处最小，与公布的常数逐位相同。",
            inside("constant", LOGISTIC_GATE, 1.7015, 1.7025),
        ),
        Claim(
            "errors-tanh",
            "The published tanh form stays within 0.00018 of Φ, 0.00048 of GELU and 0.0009 of its derivative.",
            "公布的 tanh 形式与 Φ 相差不超过 0.00018，与 GELU 不超过 0.00048，与其导数不超过 0.0009。",
            (
                inside("error of the gate", TANH, high=1.8e-4),
                inside("error of the value", TANH, high=4.8e-4),
                inside("error of the gradient", TANH, high=9e-4),
            ),
        ),
        Claim(
            "errors-logistic",
            "The published logistic form stays within 0.0095 of Φ, 0.0204 of GELU and 0.03 of its derivative.",
            "公布的逻辑函数形式与 Φ 相差不超过 0.0095，与 GELU 不超过 0.0204，与其导数不超过 0.03。",
            (
                inside("error of the gate", LOGISTIC, high=9.5e-3),
                inside("error of the value", LOGISTIC, high=2.04e-2),
                inside("error of the gradient", LOGISTIC, high=3e-2),
            ),
        ),
        Claim(
            "silu",
            "SiLU taken for GELU errs at least 9 times as much as the published logistic form.",
            "把 SiLU 当作 GELU，误差至少是公布的逻辑函数形式的 9 倍。",
            ratio("error of the value", SILU, over=LOGISTIC, at_least=9),
        ),
        Claim(
            "better-logistic",
            "1.702 is the best slope for Φ, not for GELU: another one lowers the largest error of GELU by at least 30 %.",
            "1.702 对 Φ 最优，对 GELU 则不然：换一个斜率，GELU 的最大误差至少降低 30 %。",
            ratio("error of the value", LOGISTIC_VALUE, over=LOGISTIC, at_most=0.7),
        ),
        Claim(
            "better-tanh",
            "0.044715 is the best constant for Φ, not for GELU: another one lowers the largest error of GELU by at "
            "least 18 %.",
            "0.044715 对 Φ 最优，对 GELU 则不然：换一个常数，GELU 的最大误差至少降低 18 %。",
            ratio("error of the value", TANH_VALUE, over=TANH, at_most=0.82),
        ),
        Claim(
            "tail",
            "Relative errors have no bound on the left: at x = −6 the tanh form gives less than 2 % of GELU, the "
            "logistic form more than 10 000 times GELU.",
            "左侧的相对误差没有上界：在 x = −6 处，tanh 形式不到 GELU 的 2 %，逻辑函数形式超过 GELU 的 10 000 倍。",
            (
                inside("share of GELU at −6", TANH, high=0.02),
                inside("share of GELU at −6", LOGISTIC, low=10_000),
            ),
        ),
    ),
    varies="nothing",
    scope=("float64, golden-section search", "float64，黄金分割搜索"),
    figures=(
        Profile(
            "error",
            "Error of the logistic form against GELU, with the published slope and the one fitted to GELU.",
            "逻辑函数形式相对 GELU 的误差：公布的斜率，以及按 GELU 拟合的斜率。",
            ("better-logistic",),
            arms=(LOGISTIC, LOGISTIC_VALUE),
            x="x",
        ),
        Profile(
            "error",
            "Error of the tanh form against GELU, with the published constant and two others.",
            "tanh 形式相对 GELU 的误差：公布的常数，以及另外两个常数。",
            ("better-tanh",),
            arms=(TANH, SERIES, TANH_VALUE),
            x="x",
        ),
    ),
)

TORCH, ERFC = "torch, exact", "erfc form"
PRECISION = Study(
    "single precision",
    single_precision,
    {TORCH: torch.nn.functional.gelu, ERFC: gelu_erf},
    {"−10 ≤ x < 0": None},
    dict.fromkeys(("smoke", "quick", "full"), None),
    claims=(
        Claim(
            "tail-float32",
            "In float32 the erfc form keeps 5 digits of GELU down to x = −10, where torch's exact form has lost all.",
            "用 float32 计算，erfc 形式直到 x = −10 都保有 GELU 的 5 位有效数字，而 torch 的精确形式一位也不剩。",
            (inside("relative error", ERFC, high=1e-5), inside("relative error", TORCH, low=0.99)),
        ),
    ),
    varies="nothing",
    scope=("100 001 points, on a CPU", "100 001 个点，CPU"),
)

SPEED = Study(
    "speed",
    speed,
    {
        TORCH: torch.nn.functional.gelu,
        ERFC: gelu_erf,
        "tanh form": gelu_tanh,
        "logistic form": gelu_sigmoid,
    },
    {"10 000 000 elements": 10**7},
    {"full": 3},
    claims=(
        Claim(
            "no-saving",
            "Approximating saves no time: torch's exact GELU takes at most 1.1 times as long as the logistic form of "
            "this library, forward and backward.",
            "近似并不省时：前向加反向，torch 的精确 GELU 所用时间至多为本库逻辑函数形式的 1.1 倍。",
            ratio("seconds", TORCH, over="logistic form", at_most=1.1),
        ),
    ),
    alone=True,
    threads=2,
    units={"seconds": "s"},
    scope=("float32, eager, two threads of a CPU", "float32，即时执行，CPU 双线程"),
    seeds={"full": 5},
)

# ---- models ---------------------------------------------------------------------------------------------------------

ERF: GELUVariant = "none"
SWAPS = {
    "erf": Swap(ERF, ERF),
    "erf → tanh": Swap(ERF, "tanh"),
    "erf → logistic": Swap(ERF, "sigmoid"),
    "tanh": Swap("tanh", "tanh"),
    "tanh → erf": Swap("tanh", ERF),
    "logistic": Swap("sigmoid", "sigmoid"),
    "logistic → erf": Swap("sigmoid", ERF),
}
NAMES = {
    "erf": ("exact GELU", "精确形式"),
    "tanh": ("the tanh form", "双曲正切形式"),
    "logistic": ("the logistic form", "逻辑函数形式"),
}
METRIC = "probability of the right answer"
UNITS = {"accuracy": "%", METRIC: "%"}


def swap_claims(short: str, model: tuple[str, str], points: float) -> tuple[Claim, ...]:
    """erf and tanh are interchangeable, within `points` percentage points; the logistic form costs at least as many."""
    claims = []
    for before, after in (("erf", "tanh"), ("tanh", "erf"), ("erf", "logistic"), ("logistic", "erf")):
        (old, old_zh), (new, new_zh) = NAMES[before], NAMES[after]
        en = f"{model[0]} trained with {old} and given {new} afterwards"
        zh = f"{model[1]}用 GELU 的{old_zh}训练，之后改用{new_zh}，正确答案的平均概率"
        arm, margin = f"{before} → {after}", points / 100
        if "logistic" in (before, after):
            en += f" loses at least {points:g} points of the mean probability of the right answer."
            zh += f"至少降低 {points:g} 个百分点。"
            test = lower(METRIC, arm, than=before, by=margin)
        else:
            en += f" changes the mean probability of the right answer by at most {points:g} points."
            zh += f"变化不超过 {points:g} 个百分点。"
            test = same(METRIC, arm, than=before, within=margin)
        claims.append(Claim(f"{short}-{before}-{after}", en, zh, test))
    return tuple(claims)


def swap_figure(short: str) -> Dots:
    return Dots(
        METRIC,
        "Mean probability of the right answer, with the form of training and with another.",
        "正确答案的平均概率：沿用训练时的形式，以及换用另一种形式。",
        (f"{short}-erf-tanh",),
    )


TABLE = Study(
    "perceptron",
    swapped_in_table,
    SWAPS,
    {"digits": lambda: read("digits")},
    {"smoke": TableSize(0.55, 3, 1), "full": TableSize(0.55, 1000, 20)},
    claims=(
        *swap_claims("table", ("A perceptron", "感知机"), points=0.5),
        Claim(
            "table-training",
            "A perceptron trained and used with an approximation is as accurate as one with exact GELU, within 0.5 points.",
            "训练和使用都采用近似形式的感知机，与采用精确 GELU 的相比，准确率相差不超过 0.5 个百分点。",
            tuple(same("accuracy", arm, than="erf", within=0.005) for arm in ("tanh", "logistic")),
        ),
    ),
    accepts="features",
    units=UNITS,
    scope=(
        "two hidden layers of 128, 1000 steps; test rows with noise of half a standard deviation",
        "两个宽 128 的隐层，训练 1000 步；测试行加半个标准差的噪声",
    ),
    figures=(swap_figure("table"),),
)

TEXT = Study(
    "masked bytes",
    swapped_in_text,
    SWAPS,
    {"Python documentation": lambda: read("python-documentation")},
    {"smoke": TextSize(1, 4, 32, 200), "full": TextSize(1200, 32, 32, 100_000)},
    claims=swap_claims("bytes", ("A masked language model of bytes", "字节级掩码语言模型"), points=0.1),
    accepts="texts",
    units=UNITS,
    scope=(
        "two Transformer layers of width 64, 1200 steps; 100 000 masked bytes of held-out texts",
        "两层宽 64 的 Transformer，训练 1200 步；在留出文本的 100 000 个被掩字节上测试",
    ),
    figures=(swap_figure("bytes"),),
    seeds={"full": 5},
)

EXPERIMENT = Experiment(
    __doc__,
    (CONSTANTS, PRECISION, TABLE, TEXT, SPEED),
    zh={
        TANH: "tanh，公布值", SERIES: "tanh，0 处级数", TANH_GATE: "tanh，按 Φ 拟合", TANH_VALUE: "tanh，按 GELU 拟合",
        LOGISTIC: "逻辑函数，公布值", LOGISTIC_GATE: "逻辑函数，按 Φ 拟合", LOGISTIC_VALUE: "逻辑函数，按 GELU 拟合",
        TORCH: "torch，精确", ERFC: "erfc 形式", "tanh form": "tanh 形式", "logistic form": "逻辑函数形式",
        "logistic": "逻辑函数", "erf → logistic": "erf → 逻辑函数", "logistic → erf": "逻辑函数 → erf",
        "digits": "手写数字", "Python documentation": "Python 文档", "10 000 000 elements": "10 000 000 个元素",
        "constant": "常数", "error": "误差", "error of the gate": "门的误差", "error of the value": "值的误差",
        "error of the gradient": "导数的误差", "share of GELU at −6": "−6 处与 GELU 之比", "relative error": "相对误差",
        "accuracy": "准确率", METRIC: "正确答案的概率", "seconds": "秒",
        "constants and errors": "常数与误差", "single precision": "单精度", "speed": "速度", "perceptron": "感知机",
        "masked bytes": "被掩字节",
    },
)  # fmt: skip
