"""Where the published constants come from: minimax fits, error profiles, and which form a function is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gezhi._checks import check_choice, check_number, invalid
from gezhi.nn.gelu.forms import FORMS, HF_GELU_NAMES, LARGEST, GELUVariant, gelu_erf

Elementwise = Callable[[Tensor], Tensor]
GOLDEN = (math.sqrt(5) - 1) / 2
EQUAL_HEIGHT = 1e-6  # two peaks are one height within this share of it: the search for θ is far finer
SAME_FORM = 1e-5  # published constants differ by 1e-4 and more, float32 implementations of one form by 1e-6


@dataclass(frozen=True)
class GELUFit:
    """The best parameter, the largest error it leaves, and the places where that error is attained.

    Two or more peaks are the equioscillation that proves the optimum: what lowers one raises the other.
    """

    parameter: float
    max_error: float
    peaks: tuple[float, ...]


@dataclass(frozen=True)
class ErrorProfile:
    """Largest absolute error of gate, value and gradient against exact GELU, and where each is attained."""

    gate: float
    gate_at: float
    value: float
    value_at: float
    gradient: float
    gradient_at: float


def fit_gelu_approximation(
    target: Elementwise,
    family: Callable[[Tensor, float], Tensor],
    *,
    bracket: tuple[float, float],
    interval: tuple[float, float] = (0, 8),
    grid: float = 1e-3,
) -> GELUFit:
    r"""The parameter with the smallest maximum error.

    $$\min_\theta\max_x|f(x)-f_\theta(x)| \tag{8}$$

    Args:
        target: f, elementwise on float64 tensors.
        family: f_θ, as `family(x, theta)`. Any smooth one-parameter family will do; nothing here is special to GELU.
        bracket: lowest and highest θ. Between them the maximum error must fall, then rise.
        interval: where x lies. The half line suffices when the error is odd or even.
        grid: step of the first look for peaks, > 0; each peak is then refined between its neighbours.
    Errors: ValueError if the best θ is an end of the bracket, if the error is largest at the outer end of the
        interval, or if either does not increase.
    Cost: 51 passes over the grid, a tenth of a second for the defaults.
    Example:
        >>> fit = fit_gelu_approximation(gelu_erf, lambda x, t: x * torch.sigmoid(t * x), bracket=(1, 3), grid=0.01)
        >>> round(fit.parameter, 6), round(fit.max_error, 6), len(fit.peaks)
        (1.772934, 0.013922, 2)

    References: 苏剑林, GELU的两个初等函数近似是怎么来的, 2020.
    """
    _check_increasing("bracket", bracket)
    points = _points(interval, grid)

    def peaks(theta: float) -> tuple[Tensor, Tensor]:
        return _peaks(lambda x: (target(x) - family(x, theta)).abs(), points)

    best = _lowest(lambda theta: peaks(theta)[1].max().item(), *bracket)  # (8)
    if min(best - bracket[0], bracket[1] - best) < 1e-9 * (bracket[1] - bracket[0]):
        raise invalid("bracket", "have the best parameter inside", f"{bracket}, best at its end {best:g}")
    places, heights = peaks(best)
    highest = heights >= (1 - EQUAL_HEIGHT) * heights.max()
    if highest[-1]:
        raise invalid("interval", "have the largest error inside", f"{interval}, largest at its outer end")
    return GELUFit(best, heights.max().item(), tuple(places[highest].tolist()))


def error_profile(
    activation: str | Elementwise, *, interval: tuple[float, float] = (0, 8), grid: float = 1e-3
) -> ErrorProfile:
    """How far a form is from exact GELU.

    Args:
        activation: `"none"`, `"tanh"`, `"sigmoid"`, a name in `HF_GELU_NAMES`, or any differentiable elementwise
            function. Its gate is the function divided by x.
        interval: where x lies. The half line suffices for forms x g(x) with g(x) + g(-x) = 1.
        grid: step of the first look for peaks, > 0.
    Errors: ValueError for an unknown name or an interval that does not increase.
    Example:
        >>> profile = error_profile("quick_gelu")
        >>> round(profile.value, 4), round(profile.value_at, 2)
        (0.0203, 2.27)
    """
    points, form = _points(interval, grid), _named(activation) if isinstance(activation, str) else activation

    def value(x: Tensor) -> Tensor:
        return (form(x) - gelu_erf(x)).abs()

    def gate(x: Tensor) -> Tensor:
        return value(x) / x.abs().clamp(min=torch.finfo(x.dtype).tiny)  # 0 at 0

    def gradient(x: Tensor) -> Tensor:
        return (_gradient(form, x) - _gradient(gelu_erf, x)).abs()

    return ErrorProfile(*_highest(gate, points), *_highest(value, points), *_highest(gradient, points))


def detect_gelu_variant(fn: Elementwise) -> GELUVariant:
    """Which of the three forms, with its published constant, a function or module computes.

    Args:
        fn: elementwise on float32 tensors, such as the activation of a loaded model.
    Returns: the `approximate` of `GELU` that equals it within 1e-5 on [-5, 5].
    Errors: ValueError, with the distances, if none does.
    Example:
        >>> detect_gelu_variant(torch.nn.GELU(approximate="tanh"))
        'tanh'
    """
    probe = torch.linspace(-5, 5, 1001)
    with torch.no_grad():
        seen = fn(probe)
    distance = {name: (seen - form(probe)).abs().max().item() for name, form in FORMS.items()}
    nearest = min(FORMS, key=distance.__getitem__)
    if not distance[nearest] <= SAME_FORM:
        found = ", ".join(f"{gap:.2g} from {name!r}" for name, gap in distance.items())
        raise invalid("fn", f"be a form of GELU within {SAME_FORM:g}", found)
    return nearest


def _named(name: str) -> Elementwise:
    variants: dict[str, GELUVariant] = HF_GELU_NAMES | {variant: variant for variant in FORMS}
    check_choice("activation", name, variants)
    return FORMS[variants[name]]


def _gradient(form: Elementwise, x: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(form(x).sum(), x)[0]


def _check_increasing(argument: str, ends: tuple[float, float]) -> None:
    check_number(f"{argument}[0]", ends[0], at_least=-LARGEST)
    check_number(f"{argument}[1]", ends[1], above=ends[0], at_most=LARGEST)


def _points(interval: tuple[float, float], grid: float) -> Tensor:
    _check_increasing("interval", interval)
    low, high = interval
    check_number("grid", grid, above=0, at_most=(high - low) / 2)
    return torch.linspace(low, high, math.ceil((high - low) / grid) + 1, dtype=torch.float64)


def _peaks(error: Elementwise, points: Tensor) -> tuple[Tensor, Tensor]:
    """Places and heights of the refined maxima at least half as high as the highest, between both ends' own."""
    e, step = error(points), points[1] - points[0]
    peak = (e[1:-1] >= e[:-2]) & (e[1:-1] > e[2:]) & (e[1:-1] > e.max() / 2)
    refined, nearby = points[1:-1][peak], torch.linspace(-1, 1, 65, dtype=torch.float64)
    for _ in range(3):  # each look is 32 times closer; a height is flat at its peak, so it is far more exact
        look = refined[:, None] + step * nearby
        refined, step = look.gather(1, error(look).argmax(1, keepdim=True)).squeeze(1), step / 32
    places = torch.cat([points[:1], refined, points[-1:]])
    return places, error(places)


def _highest(error: Elementwise, points: Tensor) -> tuple[float, float]:
    places, heights = _peaks(error, points)
    best = heights.argmax()
    return heights[best].item(), places[best].item()


def _lowest(f: Callable[[float], float], low: float, high: float) -> float:
    """Golden-section search down to 1e-10 of the interval."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = f(left), f(right)
    for _ in range(48):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = f(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = f(right)
    return (low + high) / 2
