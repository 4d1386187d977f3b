r"""Extended Analytic-DPM: a small head on a frozen network gives each entry of each state its variance.

Notation: $h$ = output of `SecondMomentHead` (SN), $g$ = output of `ResidualHead` (NPR), $c$ = `x0_variance`,
$\rho=\bar\beta/\bar\alpha$; $V=\sigma^2+\gamma^2c$.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gezhi._checks import check_choice, check_integer, check_number, invalid
from gezhi.diffusion.analytic_dpm import VarianceStats, _most
from gezhi.diffusion.denoiser import Denoiser, Prediction, levels
from gezhi.diffusion.schedule import NoiseSchedule, StepCoefficients, Time

__all__ = ["HeadVariance", "ResidualHead", "SecondMomentHead", "train_variance_head", "with_features"]

SHIFT = math.log(math.e - 1)  # softplus(SHIFT) = 1
MANY = 0.1


class _Head(nn.Module):
    """One layer on the features of a network: normalisation, SiLU, and a linear or convolution layer from zero."""

    def __init__(
        self, features: int, out: int, *, kernel_size: int | None, data_range: tuple[float, float] | None
    ) -> None:
        super().__init__()
        features = check_integer("features", features, at_least=1)
        out = check_integer("out", out, at_least=1)
        self.most = _most(data_range)
        last: nn.Linear | nn.Conv2d
        if kernel_size is None:
            norm: nn.Module = nn.LayerNorm(features)
            last = nn.Linear(features, out)
        else:
            norm = nn.GroupNorm(math.gcd(32, features), features)
            last = nn.Conv2d(features, out, check_integer("kernel_size", kernel_size, at_least=1), padding="same")
        nn.init.zeros_(last.weight)
        nn.init.zeros_(cast(Tensor, last.bias))
        self.layer = nn.Sequential(norm, nn.SiLU(), last)
        self.trained_with: Tensor | None = None
        self.warned = False

    def get_extra_state(self) -> Tensor:
        """Which schedule it was trained with: under another one its numbers mean something else."""
        return torch.zeros(0) if self.trained_with is None else self.trained_with

    def set_extra_state(self, state: Tensor) -> None:
        self.trained_with = state if state.numel() else None

    def belongs_to(self, schedule: NoiseSchedule) -> None:
        """ValueError unless it is untrained or was trained with this schedule."""
        if self.trained_with is None:
            return
        mine, theirs = self.trained_with, schedule.signature()
        if not torch.allclose(mine, theirs, rtol=0, atol=1e-6):
            found = f"T={mine[0]:g}, ᾱ_T={mine[3]:g} in training, T={theirs[0]:g}, ᾱ_T={theirs[3]:g} here"
            raise invalid("head", "be used with the schedule of its training", found)

    def output(self, features: Any, like: Tensor) -> Tensor:
        """The layer's output in float32 at least, of the shape of the data."""
        if not isinstance(features, Tensor):
            fix = "Wrap the network: with_features(network, layer)."
            raise invalid("features", "be a tensor", type(features).__name__, fix, kind=TypeError)
        raw: Tensor = self.layer(features)
        if raw.shape != like.shape:
            raise invalid("output of the head", f"have the shape of the data, {tuple(like.shape)}", tuple(raw.shape))
        return raw.to(like.dtype)

    def clip(self, found: Tensor) -> Tensor:
        """To [0, ((b - a)/2)²]; warns once where more than a tenth is negative."""
        if not self.warned and not torch.compiler.is_compiling() and found.numel():
            share = float((found < 0).double().mean())
            if share > MANY:
                self.warned = True
                warnings.warn(
                    f"{share:.0%} of the head's variances are negative and count as 0", UserWarning, stacklevel=4
                )
        return found.clamp(min=0.0, max=self.most)

    def _ratio2(self, schedule: NoiseSchedule, t: Time, like: Tensor) -> float | Tensor:
        signal, noise = levels(schedule, t, like)
        return (noise / signal) ** 2


class SecondMomentHead(_Head):
    r"""SN: predicts $h=E[\varepsilon^2\mid x_t]$, from which the variance follows if the mean is perfect.

    $$c=\rho^2(h-\epsilon_\theta^2)$$

    An error of the mean enters c in first order and may make it negative; it is clipped at 0.

    Args:
        features: width of the features; out: entries (channels) of the data.
        kernel_size: None for features (batch, width); an odd number for (batch, channels, height, width).
        data_range: (a, b) of the data, which bounds c by ((b - a)/2)²; None: at 0 only.
    References: F. Bao et al., Estimating the Optimal Covariance with Imperfect Mean in Diffusion Probabilistic Models,
        2022 (SN-DDPM); 苏剑林, 生成扩散模型漫谈(八).
    """

    def __init__(
        self,
        features: int,
        out: int,
        *,
        kernel_size: int | None = None,
        data_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(features, out, kernel_size=kernel_size, data_range=data_range)

    def forward(self, features: Tensor, t: Time, like: Tensor) -> Tensor:
        """h, which starts at 1, its mean at every time."""
        return 1 + self.output(features, like)

    def x0_variance(self, schedule: NoiseSchedule, t: Time, eps: Tensor, features: Tensor) -> Tensor:
        """c, clipped: the variance of each entry of x₀ given the state."""
        self.belongs_to(schedule)
        h: Tensor = self(features, t, eps)
        return self.clip(self._ratio2(schedule, t, eps) * (h - eps**2))

    def loss(self, features: Tensor, t: Int[Tensor, " batch"], eps: Tensor, noise: Tensor) -> Float[Tensor, ""]:
        """Mean squared error against ε²."""
        h: Tensor = self(features, t, eps)
        return ((h - noise.to(eps.dtype) ** 2) ** 2).mean()


class ResidualHead(_Head):
    r"""NPR: predicts $g=E[(\varepsilon-\epsilon_\theta)^2\mid x_t]$, the best variance for the mean that is in use.

    $$c=\rho^2g$$

    Args:
        features: width of the features; out: entries (channels) of the data.
        positive: how g comes from the layer's output o. "softplus": softplus, shifted to start at 1; "exp": $e^o$, with
            the loss $\frac12(o+r^2e^{-o})$ that has the same minimum; "linear": o itself, as in the official code,
            which may be negative; "relative": $r_t\,\mathrm{softplus}$ with the mean $r_t$ of each time, so that
            training starts at the direct estimate of `analytic_dpm` and sees small values too.
        stats: for "relative": statistics at every time 1..T.
        kernel_size: None for features (batch, width); an odd number for (batch, channels, height, width).
        data_range: (a, b) of the data, which bounds c by ((b - a)/2)²; None: at 0 only.
    Errors: ValueError for "relative" without a residual at every time.
    References: F. Bao et al., Estimating the Optimal Covariance with Imperfect Mean in Diffusion Probabilistic Models,
        2022 (NPR-DDPM); 苏剑林, 生成扩散模型漫谈(八). "relative" is ours.
    """

    scale: Tensor | None

    def __init__(
        self,
        features: int,
        out: int,
        *,
        positive: Literal["softplus", "exp", "linear", "relative"] = "softplus",
        stats: VarianceStats | None = None,
        kernel_size: int | None = None,
        data_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(features, out, kernel_size=kernel_size, data_range=data_range)
        check_choice("positive", positive, ("softplus", "exp", "linear", "relative"))
        self.positive = positive
        scale = None
        if positive == "relative":
            if stats is None or not (stats.residual[1:].isfinite() & (stats.residual[1:] > 0)).all():
                found = "none" if stats is None else f"{int((~stats.residual[1:].isfinite()).sum())} times without one"
                raise invalid("stats", "have a positive residual at every time for positive='relative'", found)
            scale = stats.residual.clone()
            scale[0] = 1.0
        self.register_buffer("scale", scale)

    def forward(self, features: Tensor, t: Time, like: Tensor) -> Tensor:
        """g."""
        raw = self.output(features, like)
        if self.positive == "linear":
            return raw
        if self.positive == "exp":
            return raw.exp()
        return nn.functional.softplus(raw + SHIFT) * self._scale(t, like)

    def _scale(self, t: Time, like: Tensor) -> float | Tensor:
        if self.scale is None:
            return 1.0
        if not isinstance(t, Tensor):
            return float(self.scale[check_integer("t", t)])
        return self.scale[t].to(like.dtype).reshape((-1,) + (1,) * (like.ndim - 1))

    def x0_variance(self, schedule: NoiseSchedule, t: Time, eps: Tensor, features: Tensor) -> Tensor:
        """c, clipped: the mean squared error of each entry of x̂₀ given the state."""
        self.belongs_to(schedule)
        return self.clip(self._ratio2(schedule, t, eps) * self(features, t, eps))

    def loss(self, features: Tensor, t: Int[Tensor, " batch"], eps: Tensor, noise: Tensor) -> Float[Tensor, ""]:
        """Mean squared error against (ε - ε_θ)²; for "exp" the normal likelihood, for "relative" in units of r_t."""
        wanted = (noise.to(eps.dtype) - eps) ** 2
        if self.positive == "exp":
            raw = self.output(features, eps)
            return 0.5 * (raw + wanted * (-raw).exp()).mean()
        g: Tensor = self(features, t, eps)
        return (((g - wanted) / self._scale(t, eps)) ** 2).mean()


@dataclass(frozen=True)
class HeadVariance:
    r"""$V=\sigma^2+\gamma^2c$ with the second moment that the prediction carries, for `ancestral`.

    Args:
        per_state: the mean of c over the entries, one variance a state.
    Errors: TypeError for a prediction without a second moment.
    """

    per_state: bool = False

    def __call__(
        self, t: int | float, s: int | float, coefficients: StepCoefficients, prediction: Prediction
    ) -> Tensor:
        moment = prediction.second_moment
        if moment is None:
            fix = "Give the Denoiser a head: Denoiser(with_features(network, layer), schedule, head=head)."
            raise invalid("prediction", "carry a second moment", "one without", fix, kind=TypeError)
        if self.per_state:
            moment = moment.reshape(len(moment), -1).mean(1).reshape((-1,) + (1,) * (moment.ndim - 1))
        return coefficients.sigma2 + coefficients.gamma**2 * moment.clamp(min=0.0)


class _WithFeatures(nn.Module):
    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        self.network, self.layer = network, layer

    def forward(self, x: Tensor, times: Tensor, *conditions: Any, **named: Any) -> tuple[Any, Tensor]:
        found: list[Tensor] = []
        handle = self.network.get_submodule(self.layer).register_forward_hook(lambda _m, _i, out: found.append(out))
        try:
            output = self.network(x, times, *conditions, **named)
        finally:
            handle.remove()
        if not found:
            raise invalid("layer", "be called by the network", self.layer)
        return output, found[-1]


def with_features(network: nn.Module, layer: str | nn.Module) -> nn.Module:
    """A network that also returns the output of one of its layers, for the head: `(out, features)`.

    Args:
        network: as for `Denoiser`, with prediction and head in one call.
        layer: a layer of it, or its dotted name: usually the last before the output.
    Errors: ValueError for a layer that is not the network's.
    """
    names = {id(module): name for name, module in network.named_modules()}
    name = names.get(id(layer)) if isinstance(layer, nn.Module) else layer
    if name is None or name not in names.values():
        raise invalid("layer", "be a layer of the network", layer if isinstance(layer, str) else type(layer).__name__)
    return _WithFeatures(network, name)


def train_variance_head(
    denoiser: Denoiser,
    data: Float[Tensor, " rows *shape"],
    steps: int,
    *,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    generator: torch.Generator | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Float[Tensor, " steps"]:
    r"""Train the denoiser's head alone, at times and noise drawn evenly; the network stays as it is.

    The target follows from the head: $\varepsilon^2$ or $(\varepsilon-\epsilon_\theta)^2$. The same head serves every
    number of steps, every spacing and every η.

    Args:
        denoiser: with a head.
        data: samples the network was trained on, or better ones it has not seen.
        steps: updates of AdamW; the rate falls to 0 along a cosine.
        batch_size: rows an update, drawn with replacement.
        learning_rate: of the first update.
        generator: for rows, times and noise; None: torch's global one.
        progress: wraps the count of updates, as `tqdm` does.
    Returns: the loss of each update.
    Errors: TypeError for a denoiser without a head; FloatingPointError where the loss did not stay finite.
    Cost: one forward pass of the network an update, no backward pass through it.
    """
    head = denoiser.head
    if not isinstance(head, SecondMomentHead | ResidualHead):
        raise invalid("denoiser", "have a head", type(head).__name__, "Pass head= to Denoiser.", kind=TypeError)
    steps = check_integer("steps", steps, at_least=1)
    check_number("learning_rate", learning_rate, above=0)
    head.belongs_to(denoiser.schedule)
    optimizer = torch.optim.AdamW(head.parameters(), learning_rate)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    modes = {module: module.training for module in denoiser.modules()}
    denoiser.eval()
    head.train()
    losses = []
    try:
        for _ in progress(range(steps)):
            loss = _head_loss(denoiser, head, data, batch_size, generator)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            fall.step()
            losses.append(loss.detach())
    finally:
        for module, training in modes.items():
            module.training = training
    found = torch.stack(losses)
    if not found.isfinite().all():
        first = int((~found.isfinite()).nonzero()[0]) + 1
        fix = "Look at the network's predictions, or take a smaller learning_rate."
        raise invalid(
            "the head's loss", "stay finite", f"{found[first - 1]:g} at update {first}", fix, kind=FloatingPointError
        )
    head.trained_with = denoiser.schedule.signature()
    return found


def _head_loss(
    denoiser: Denoiser,
    head: SecondMomentHead | ResidualHead,
    data: Tensor,
    batch_size: int,
    generator: torch.Generator | None,
) -> Tensor:
    device = data.device
    rows = torch.randint(len(data), (batch_size,), generator=generator, device=device)
    t = torch.randint(1, denoiser.schedule.steps + 1, (batch_size,), generator=generator, device=device)
    x0 = data[rows]
    noise = torch.randn(x0.shape, generator=generator, dtype=x0.dtype, device=device)
    signal, level = levels(denoiser.schedule, t, x0)
    with torch.no_grad():
        eps, features = denoiser.predict_with_features(signal * x0 + level * noise, t)
    return head.loss(features, t, eps, noise)
