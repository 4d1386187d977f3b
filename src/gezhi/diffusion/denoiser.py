r"""A network as a model of the clean sample: epsilon, x₀, v or score, converted once.

Notation: $\hat x_0$ = `Prediction.mean`, $\epsilon$ = "epsilon", $v=\bar\alpha\epsilon-\bar\beta x_0$ = "v_prediction",
$s=-\epsilon/\bar\beta$ = "score"; $\bar\alpha$ and $\bar\beta$ as in `schedule`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gezhi._checks import check_choice, invalid
from gezhi.diffusion.levels import Time
from gezhi.diffusion.schedule import NoiseSchedule

PredictionType = Literal["epsilon", "sample", "v_prediction", "score"]
Level = float | Tensor
TYPES = ("epsilon", "sample", "v_prediction", "score")


class Prediction(NamedTuple):
    r"""What a model says of the clean sample behind a state.

    Attributes:
        mean: $\hat x_0$, an estimate of $E[x_0\mid x_t]$, unclipped; in float32 at least.
        second_moment: $E[(x_0-\hat x_0)^2\mid x_t]$ entry by entry, where the model has one.
    """

    mean: Tensor
    second_moment: Tensor | None = None


class Model(Protocol):
    """What a sampler calls: a denoiser of a network, or an exact one."""

    schedule: NoiseSchedule

    def __call__(self, x: Tensor, t: Time) -> Prediction: ...


class Denoiser(nn.Module):
    r"""A noise, sample, velocity or score network as a model that returns a `Prediction`.

    Args:
        network: `network(x, times)` with times of shape (batch,), returning a tensor like x, or an object with that
            tensor as `.sample` (diffusers). With a `head`, it returns the tensor and features for the head.
        schedule: the schedule that it was trained with.
        prediction_type: what the tensor is: "epsilon", "sample" (x₀), "v_prediction" or "score".
        time_input: what the network gets as times: "index" is t - 1 (DDPM, diffusers), "step" is t, "unit" is t / T.
        head: a `SecondMomentHead` or `ResidualHead`, for a prediction with a second moment in the same call.

    Returns: calling it, `model(x, t)` with t a number or a tensor of shape (batch,): a `Prediction`.
    Errors: ValueError for an output of another shape than x, for t = 0 (there is nothing to predict), and for an
        epsilon or score where no signal is left; TypeError for a head without features.
    Example:
        >>> schedule = NoiseSchedule.linear()
        >>> model = Denoiser(lambda x, times: torch.zeros_like(x), schedule)
        >>> model(torch.ones(1, 2), 400).mean  # the state over its share of signal
        tensor([[2.2637, 2.2637]])

    References: J. Ho, A. Jain and P. Abbeel, 2020 (epsilon); T. Salimans and J. Ho, Progressive Distillation, 2022 (v).
    """

    def __init__(
        self,
        network: Callable[..., Any],
        schedule: NoiseSchedule,
        prediction_type: PredictionType = "epsilon",
        *,
        time_input: Literal["index", "step", "unit"] = "index",
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        check_choice("prediction_type", prediction_type, TYPES)
        check_choice("time_input", time_input, ("index", "step", "unit"))
        self.network, self.schedule, self.head = network, schedule, head
        self.prediction_type: PredictionType = prediction_type
        self.time_input = time_input

    def forward(self, x: Float[Tensor, " batch *shape"], t: Time) -> Prediction:
        """Mean of the clean sample, and its second moment where there is a head."""
        wide, raw, features = self._call(x, t)
        mean = convert_prediction(raw, wide, self.schedule, t, source=self.prediction_type, target="sample")
        if self.head is None:
            return Prediction(mean)
        eps = convert_prediction(raw, wide, self.schedule, t, source=self.prediction_type, target="epsilon")
        return Prediction(mean, self.head.x0_variance(self.schedule, t, eps, features))  # type: ignore[operator]

    def predict(
        self, x: Float[Tensor, " batch *shape"], t: Time, target: PredictionType
    ) -> Float[Tensor, " batch *shape"]:
        """The network's output as epsilon, x₀, v or score."""
        wide, raw, _ = self._call(x, t)
        return convert_prediction(raw, wide, self.schedule, t, source=self.prediction_type, target=target)

    def predict_with_features(self, x: Float[Tensor, " batch *shape"], t: Time) -> tuple[Tensor, Any]:
        """Epsilon and what the head reads, in one call of the network."""
        wide, raw, features = self._call(x, t)
        eps = convert_prediction(raw, wide, self.schedule, t, source=self.prediction_type, target="epsilon")
        return eps, features

    def _call(self, x: Tensor, t: Time) -> tuple[Tensor, Tensor, Any]:
        output = self.network(x, self._times(x, t))
        features = None
        if self.head is not None:
            if not isinstance(output, tuple) or len(output) != 2:
                fix = "Wrap it: with_features(network, layer)."
                raise invalid(
                    "network", "return a tensor and features, as it has a head", type(output), fix, kind=TypeError
                )
            output, features = output
        if not isinstance(output, Tensor):
            output = getattr(output, "sample", output)
        if not isinstance(output, Tensor):
            raise invalid("network", "return a tensor or an object with .sample", type(output), kind=TypeError)
        if output.shape != x.shape:
            doubled = output.ndim > 1 and output.shape[1] == 2 * x.shape[1]
            fix = "Which half of the channels is the mean? Wrap the network to return that half." if doubled else ""
            raise invalid("output of network", f"have the shape of x, {tuple(x.shape)}", tuple(output.shape), fix)
        dtype = torch.promote_types(x.dtype, torch.float32)
        return x.to(dtype), output.to(dtype), features

    def _times(self, x: Tensor, t: Time) -> Tensor:
        times = t if isinstance(t, Tensor) else torch.tensor(t, device=x.device)
        if self.time_input == "index":
            times = times - 1
        elif self.time_input == "unit":
            times = times / self.schedule.steps
        if times.is_floating_point():
            times = times.to(torch.promote_types(x.dtype, torch.float32))
        return times.expand(len(x))


def convert_prediction(
    pred: Float[Tensor, " batch *shape"],
    x: Float[Tensor, " batch *shape"],
    schedule: NoiseSchedule,
    t: Time,
    *,
    source: PredictionType,
    target: PredictionType,
) -> Float[Tensor, " batch *shape"]:
    r"""Turn one of the four predictions into another, at the state x and the time t.

    $$\epsilon=\frac{x-\bar\alpha x_0}{\bar\beta},\quad v=\bar\alpha\epsilon-\bar\beta x_0,\quad
      s=-\frac{\epsilon}{\bar\beta},\qquad x_0=\frac{\bar\alpha x-\bar\beta v}{n^2},\quad
      \epsilon=\frac{\bar\beta x+\bar\alpha v}{n^2},\quad n^2=\bar\alpha^2+\bar\beta^2$$

    Args:
        pred: the prediction; x: the state, of the same shape.
        schedule: gives ᾱ and β̄.
        t: a number or one time a row, from 1 (or above 0) to T.
        source, target: "epsilon", "sample", "v_prediction" or "score".
    Errors: ValueError at t = 0, where the noise is undefined, and for the way from epsilon or score where ᾱ = 0; for
        tensors of times these are not checked.
    Example:
        >>> schedule, x, eps = NoiseSchedule.linear(), torch.tensor([[1.0]]), torch.tensor([[0.5]])
        >>> v = convert_prediction(eps, x, schedule, 400, source="epsilon", target="v_prediction")
        >>> convert_prediction(v, x, schedule, 400, source="v_prediction", target="epsilon")
        tensor([[0.5000]])
    """
    check_choice("source", source, TYPES)
    check_choice("target", target, TYPES)
    if pred.shape != x.shape:
        raise invalid("pred", f"have the shape of x, {tuple(x.shape)}", tuple(pred.shape))
    if source == target:
        return pred
    signal, noise = levels(schedule, t, x)
    if not isinstance(t, Tensor):
        if t == 0:
            raise invalid("t", "be above 0", t, "A clean sample holds no noise to predict.")
        if signal == 0 and source in ("epsilon", "score"):
            fix = "Train the network for v_prediction or sample where the last step holds no signal."
            raise invalid("source", f"leave x₀ defined at t={t}, where ᾱ = 0", repr(source), fix)
    return affine(x, pred, *_weights(signal, noise, source, target))


def affine(x: Tensor, y: Tensor, a: Level, b: Level) -> Tensor:
    """a·x + b·y, with one new tensor where a and b are numbers."""
    if isinstance(a, Tensor) or isinstance(b, Tensor) or x.dtype != y.dtype:
        return a * x + b * y
    return torch.add(x, y, alpha=b) if a == 1 else (x * a).add_(y, alpha=b)


def _weights(signal: Level, noise: Level, source: str, target: str) -> tuple[Level, Level]:
    """The factors of the state and of the prediction. Between v and x₀ none of them needs a signal above 0."""
    square = signal**2 + noise**2
    if (source, target) == ("v_prediction", "sample"):
        return signal / square, -noise / square
    if (source, target) == ("sample", "v_prediction"):
        return signal / noise, -square / noise
    of_x, of_pred = _to_epsilon(signal, noise, source)
    if target == "epsilon":
        return of_x, of_pred
    if target == "score":
        return -of_x / noise, -of_pred / noise
    if target == "sample":
        return (1 - noise * of_x) / signal, -noise * of_pred / signal
    return (square * of_x - noise) / signal, square * of_pred / signal


def _to_epsilon(signal: Level, noise: Level, source: str) -> tuple[Level, Level]:
    if source == "sample":
        return 1 / noise, -signal / noise
    if source == "v_prediction":
        square = signal**2 + noise**2
        return noise / square, signal / square
    return 0.0, -noise if source == "score" else 1.0


def levels(schedule: NoiseSchedule, t: Time, x: Tensor) -> tuple[Level, Level]:
    """ᾱ and β̄ at t: numbers, or tensors that broadcast over the rows of x, in its dtype."""
    if not isinstance(t, Tensor):
        return schedule.signal(t), schedule.noise(t)
    shape = (-1,) + (1,) * (x.ndim - 1)
    signal, noise = (f(t).to(x.device, x.dtype).reshape(shape) for f in (schedule.signal, schedule.noise))
    return signal, noise
