r"""Initial weights from geometry: random vectors are nearly perpendicular, so random matrices nearly rotate.

Title: Initial weights from geometry | 从几何视角看参数初始化
Also: initialisation, Xavier, orthogonal weights, 7180
Tags: initialisation, deep networks, random matrices
Articles: 从几何视角来理解模型参数的初始化策略
Page: docs/methods/geometric_init.md
Notation: $W$ = `tensor` as a matrix of m = fan_out rows and n = fan_in columns; $\theta$ = the angle of two directions.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy import special
from torch import Tensor

from gezhi._checks import check_choice, check_number, invalid

__all__ = [
    "RandomAngle",
    "SignalReport",
    "activation_gain",
    "angle_between_random_vectors",
    "gram_error",
    "log_norm_drift",
    "orthogonal_",
    "rotation_like_",
    "signal_report",
]

Mode = Literal["fan_out", "fan_in", "fan_avg"]
Distribution = Literal["normal", "uniform", "truncated", "sign"]


@dataclass(frozen=True)
class RandomAngle:
    r"""The law of the angle between two uniform directions in n dimensions.

    $$p_n(\theta)=\frac{\Gamma(n/2)}{\Gamma((n-1)/2)\sqrt\pi}\sin^{n-2}\theta,\qquad
      \mathrm{Var}\,\theta=\tfrac12\psi'(\tfrac n2) \tag{1, 2}$$
    """

    n: int

    def pdf(self, theta: float) -> float:
        """Density at θ in [0, π]."""
        log = special.gammaln(self.n / 2) - special.gammaln((self.n - 1) / 2) - math.log(math.pi) / 2
        return float(math.exp(log) * math.sin(theta) ** (self.n - 2)) if 0 <= theta <= math.pi else 0.0  # (1)

    def cdf(self, theta: float) -> float:
        """Probability of an angle of at most θ."""
        half = special.betainc((self.n - 1) / 2, 0.5, math.sin(min(max(theta, 0.0), math.pi)) ** 2) / 2
        return float(half if theta < math.pi / 2 else 1 - half)

    def var(self) -> float:
        """Variance, exact; about 1/n."""
        return float(special.polygamma(1, self.n / 2)) / 2  # (2)

    def cos_tail(self, eps: float) -> float:
        """Probability that |cos θ| is at least ε."""
        check_number("eps", eps, at_least=0, at_most=1)
        return float(special.betainc((self.n - 1) / 2, 0.5, 1 - eps**2))  # (3)


def angle_between_random_vectors(n: int) -> RandomAngle:
    r"""The law of the angle between two uniform directions: its mean is 90°, its variance about 1/n.

    $$p_n(\theta)=\frac{\Gamma(n/2)}{\Gamma((n-1)/2)\sqrt\pi}\sin^{n-2}\theta \tag{1}$$

    Args:
        n: dimensions, ≥ 2.
    Example:
        >>> law = angle_between_random_vectors(100)
        >>> law.var(), law.cos_tail(0.1)
        (0.010100..., 0.319748...)

    References: 苏剑林, n维空间下两个随机向量的夹角分布, 2019.
    """
    check_number("n", n, at_least=2, fix="In one dimension there is no angle.")
    return RandomAngle(n)


def gram_error(n: int, kurtosis: float = 3.0) -> float:
    r"""Mean squared entry of $W^\top W-I$ for n × n independent entries of mean 0 and variance 1/n.

    $$\frac{n+\kappa-2}{n^2} \tag{4}$$

    Args:
        n: size, ≥ 1.
        kurtosis: κ of an entry: 3 for the normal law, 1.8 for the uniform one, 1 for signs.
    Example:
        >>> gram_error(400)
        0.00250625
    """
    check_number("n", n, at_least=1)
    check_number("kurtosis", kurtosis, at_least=1)
    return (n + kurtosis - 2) / n**2  # (4)


def log_norm_drift(n: int) -> tuple[float, float]:
    r"""Mean and variance of $\log(\lVert Wx\rVert^2/\lVert x\rVert^2)$ for n rows of normal entries of variance 1/n.

    $$\psi(\tfrac n2)-\log\tfrac n2\approx-\tfrac1n,\qquad\psi'(\tfrac n2)\approx\tfrac2n \tag{8}$$

    The mean square is kept exactly, and yet the typical norm falls by a factor $e^{-1/2n}$ in each layer.

    Example:
        >>> [round(x, 6) for x in log_norm_drift(64)]
        [-0.015706, 0.031743]
    """
    check_number("n", n, at_least=1)
    mean = special.digamma(n / 2) - math.log(n / 2)
    return float(mean), float(special.polygamma(1, n / 2))  # (8)


@torch.no_grad()
def orthogonal_(tensor: Tensor, *, gain: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    r"""Fill with a random (semi-)orthogonal matrix times `gain`, in place; all rotations and mirrors equally likely.

    $$W^\top W=\text{gain}^2I\ (m\ge n),\qquad WW^\top=\text{gain}^2I\ (m\le n) \tag{10}$$

    Args:
        tensor: at least two axes; (C_out, C_in, k, k) is taken as C_out rows.
        gain: > 0; see `activation_gain`.
    Returns: the tensor.
    Errors: ValueError for fewer axes, for gain ≤ 0 and for meta tensors.
    Example:
        >>> w = orthogonal_(torch.empty(3, 2), generator=torch.Generator().manual_seed(0))
        >>> (w.T @ w - torch.eye(2)).abs().max() < 1e-6
        tensor(True)

    References: A. Saxe et al., Exact Solutions to the Nonlinear Dynamics of Learning in Deep Linear Networks, 2013.
    """
    rows, columns = _fans(tensor, gain)
    if tensor.numel() == 0:
        return tensor
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    normal = torch.empty(max(rows, columns), min(rows, columns), dtype=dtype, device=tensor.device)
    q, r = torch.linalg.qr(normal.normal_(generator=generator))
    q = q * torch.where(r.diagonal() < 0, -1.0, 1.0).to(q)  # (10); without the signs the law would not be uniform
    return tensor.copy_((q if rows >= columns else q.T).mul_(gain).reshape(tensor.shape))


@torch.no_grad()
def rotation_like_(
    tensor: Tensor,
    *,
    mode: Mode = "fan_out",
    gain: float = 1.0,
    distribution: Distribution = "normal",
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Fill with independent entries of mean 0 and variance gain²/fan, in place: nearly a rotation, entry by entry.

    $$\mathrm{Var}\,W_{ij}=\frac{\text{gain}^2}{\text{fan}} \tag{5}$$

    Args:
        tensor: at least two axes; (C_out, C_in, k, k) has fan_in C_in·k² and fan_out C_out·k².
        mode: `"fan_out"` keeps the norm (the article's choice), `"fan_in"` the mean square of entries (LeCun),
            `"fan_avg"` neither where widths change (Xavier).
        gain: > 0; √2 for ReLU.
        distribution: `"truncated"` is the normal law cut at two standard deviations and widened to the variance.
    Returns: the tensor.
    Errors: ValueError for fewer axes, gain ≤ 0, an unknown mode or distribution, and for meta tensors.
    Example:
        >>> w = rotation_like_(torch.empty(1000, 10), generator=torch.Generator().manual_seed(0))
        >>> (w.T @ w).diagonal().mean()
        tensor(1.0...)

    References: 苏剑林, 从几何视角来理解模型参数的初始化策略, 2020; X. Glorot and Y. Bengio, Understanding the
        Difficulty of Training Deep Feedforward Neural Networks, 2010.
    """
    check_choice("mode", mode, ("fan_out", "fan_in", "fan_avg"))
    check_choice("distribution", distribution, tuple(_UNIT))
    rows, columns = _fans(tensor, gain)
    if tensor.numel() == 0:
        return tensor
    field = tensor[0, 0].numel()
    fan_out, fan_in = rows * field, columns
    fan = {"fan_out": fan_out, "fan_in": fan_in, "fan_avg": (fan_out + fan_in) / 2}[mode]
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    unit = _UNIT[distribution](torch.zeros(tensor.shape, dtype=dtype, device=tensor.device), generator)
    return tensor.copy_(unit.mul_(gain / math.sqrt(fan)))  # (5)


def _fans(tensor: Tensor, gain: float) -> tuple[int, int]:
    """Rows and columns of the tensor as a matrix, after checks."""
    check_number("gain", gain, above=0, below=math.inf)
    if tensor.ndim < 2:
        raise invalid("tensor", "have at least 2 dimensions", f"the shape {tuple(tensor.shape)}", "Set biases to 0.")
    if tensor.is_meta:
        raise invalid("tensor", "have storage", "a meta tensor", "Call to_empty(device=…) first.")
    if tensor.numel() == 0:
        warnings.warn("a tensor without elements has nothing to initialise", stacklevel=3)
    return tensor.shape[0], math.prod(tensor.shape[1:])


def _truncated(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """By the inverse of the distribution function, of variance 1 after the cut."""
    inside = math.erf(math.sqrt(2))  # probability within two standard deviations
    variance = 1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / inside
    edge = math.sqrt(2) * (1 - 1e-7)  # erfinv of a rounded argument may land beyond the cut
    root = torch.erfinv(x.uniform_(-inside, inside, generator=generator)).clamp(-edge, edge)
    return root.mul_(math.sqrt(2 / variance))


_UNIT: dict[str, Callable[[Tensor, torch.Generator | None], Tensor]] = {
    "normal": lambda x, generator: x.normal_(generator=generator),
    "uniform": lambda x, generator: x.uniform_(-math.sqrt(3), math.sqrt(3), generator=generator),
    "truncated": _truncated,
    "sign": lambda x, generator: x.bernoulli_(0.5, generator=generator).mul_(2).sub_(1),
}


def activation_gain(activation: Callable[[Tensor], Tensor]) -> float:
    r"""The gain that makes up for an activation on normal pre-activations.

    $$g=\Big(\mathbb E_{z\sim\mathcal N(0,1)}f(z)^2\Big)^{-1/2} \tag{7}$$

    Args:
        activation: acts on each element; a kink at 0 is allowed.
    Errors: ValueError where the mean square is 0 or not finite.
    Cost: 800 evaluations; exact to 1e-12 for smooth functions.
    Example:
        >>> activation_gain(torch.relu), activation_gain(torch.tanh)
        (1.414213..., 1.592537...)
    """
    nodes, weights = np.polynomial.legendre.leggauss(400)
    z = torch.from_numpy(np.concatenate([6.5 * nodes - 6.5, 6.5 * nodes + 6.5]))  # the law beyond ±13 is below 1e-37
    density = torch.from_numpy(np.tile(weights * 6.5, 2)) * (-z.square() / 2).exp() / math.sqrt(2 * math.pi)
    mean_square = float((density * activation(z).double().square()).sum())
    if not 0 < mean_square < math.inf:
        raise invalid("the activation", "have a positive, finite mean square", mean_square)
    return 1 / math.sqrt(mean_square)  # (7)


class SignalReport(NamedTuple):
    """What a model does to the size of its input; see `signal_report`."""

    layers: dict[str, float]
    log_norm_mean: float
    log_norm_std: float
    singular_values: Float[Tensor, " values"]


def signal_report(model: torch.nn.Module, x: Float[Tensor, "inputs ..."]) -> SignalReport:
    r"""How a model changes norms, layer by layer and in all, and in which directions it stretches.

    Args:
        model: called on `x`, in evaluation mode; left as it was.
        x: some inputs, at least two.
    Returns: for each module without children the root mean square of ‖out‖/‖in‖; mean and standard deviation over
        inputs of log(‖model(x)‖²/‖x‖²); singular values of the Jacobian at the first input, in falling order.
    Cost: two forward passes, and one backward pass per output of the first input.
    Example:
        >>> report = signal_report(torch.nn.Linear(2, 2, bias=False).requires_grad_(False), torch.eye(2))
        >>> len(report.singular_values)
        2
    """
    if x.shape[0] < 2:
        raise invalid("x", "hold at least 2 inputs", x.shape[0])
    layers: dict[str, float] = {}
    leaves = {module: name for name, module in model.named_modules() if not any(module.children())}

    def note(module: torch.nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        ratio = _norms(out) / _norms(args[0])
        layers[leaves[module]] = ratio.square().mean().sqrt().item()

    handles = [module.register_forward_hook(note) for module in leaves]
    training = model.training
    try:
        model.eval()
        with torch.no_grad():
            out = model(x)
        for handle in handles:
            handle.remove()
        jacobian = torch.func.jacrev(lambda one: model(one[None])[0].flatten())(x[0].detach())
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)
    logs = 2 * (_norms(out) / _norms(x)).log()
    values = torch.linalg.svdvals(jacobian.reshape(jacobian.shape[0], -1))
    return SignalReport(layers, logs.mean().item(), logs.std().item(), values)


def _norms(x: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norms
