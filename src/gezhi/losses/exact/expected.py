"""The probability that the label's logit is the largest under Gaussian noise, by quadrature, and its two losses."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gezhi._checks import check_integer, check_number, invalid
from gezhi.losses._rows import Reduction, at_least_single, check_index, reduce
from gezhi.losses.exact.normal import log_cdf, mode_and_width


@lru_cache(maxsize=16)
def kept_rule(nodes: int) -> tuple[Tensor, Tensor]:
    """Computed once; of ordinary tensors, whoever asks first."""
    return _golub_welsch(nodes)


def log_expected_accuracy(
    logits: Float[Tensor, "rows classes"],
    labels: Int[Tensor, " rows"],
    *,
    sigma: float | Tensor = 1.0,
    nodes: int = 32,
) -> Float[Tensor, " rows"]:
    r"""Log-probability that the label's logit is the largest once independent normal noise is added to each.

    $$\log p,\qquad p=P\big(y=\operatorname*{argmax}_k(\mu_k+\sigma\varepsilon_k)\big)
      =\int\varphi(t)\prod_{k\neq y}\Phi(m_k+t)\,dt \tag{1}$$

    Args:
        logits: μ, at least two classes; -inf for a class that takes no part. Half precision is computed in float32.
        labels: y, one class a row.
        sigma: σ > 0, the standard deviation of the noise in units of the logits; a tensor may be learned.
        nodes: of the Gauss–Hermite rule around the mode of the integrand, ≥ 1. The error of log p is below 1e-7 with 32
            (float64) and 1e-5 with 16; two classes have a closed form.
    Returns: values ≤ 0, in float32 at least, exact to all digits of the tail: -19.26 at nine classes five σ above.
    Errors: ValueError for one class, labels outside, σ ≤ 0.
    Cost: O(rows · classes · nodes) time and memory, which the gradient shares.
    Use instead: `cross_entropy`, the same with Gumbel noise, which is cheaper and hardly different.
    Example:
        >>> log_expected_accuracy(torch.tensor([[1.0, 0.2, -0.5]]), torch.tensor([0])).exp()
        tensor([0.6560])

    References: I. Karpukhin, S. Dereka and S. Kolesnikov, EXACT: How to Train Your Accuracy, 2022, who sample the
        orthant probability instead; 苏剑林, 如何训练你的准确率?, 2022.
    """
    check_integer("nodes", nodes, at_least=1)
    _check_sigma(sigma)
    return _log_orthant(_differences(logits, labels) / sigma, nodes)


def expected_accuracy(
    logits: Float[Tensor, "rows classes"],
    labels: Int[Tensor, " rows"],
    *,
    sigma: float | Tensor = 1.0,
    nodes: int = 32,
) -> Float[Tensor, " rows"]:
    """The probability itself, from 0 to 1: the accuracy that noisy predictions have on average.

    Args: as in `log_expected_accuracy`.
    Example:
        >>> expected_accuracy(torch.zeros(1, 4), torch.tensor([2]))
        tensor([0.2500])
    """
    return log_expected_accuracy(logits, labels, sigma=sigma, nodes=nodes).exp()


def probit_predict_proba(
    logits: Float[Tensor, "rows classes"], *, sigma: float | Tensor = 1.0, nodes: int = 32
) -> Float[Tensor, "rows classes"]:
    """Probabilities of all classes under the same noise: what softmax is to cross-entropy.

    Args: as in `log_expected_accuracy`.
    Returns: rows that sum to 1 within the error of the rule, with their largest entry at the largest logit.
    Cost: `log_expected_accuracy` once a class.
    Example:
        >>> probit_predict_proba(torch.tensor([[1.0, 0.2, -0.5]]))
        tensor([[0.6560, 0.2535, 0.0906]])
    """
    rows, classes = _matrix(logits)
    labels = torch.arange(classes, device=logits.device)[:, None].expand(classes, rows)
    return torch.stack([expected_accuracy(logits, y, sigma=sigma, nodes=nodes) for y in labels], -1)


class ProbitLoss(torch.nn.Module):
    """Mean of -log p: cross-entropy with normal noise where softmax has Gumbel noise.

    Args:
        sigma: `"learned"` (starts at 1) or a number > 0. In a network whose last layer can scale its logits a number
            is as good.
        nodes, reduction: as in `log_expected_accuracy` and the other losses ("mean", "sum" or "none").
    Errors: ValueError as `log_expected_accuracy`.
    Example:
        >>> ProbitLoss()(torch.tensor([[1.0, 0.2, -0.5]]), torch.tensor([0])).item()
        0.4216...
    """

    def __init__(
        self, sigma: float | Literal["learned"] = 1.0, *, nodes: int = 32, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.log_sigma: torch.nn.Parameter | None = None
        if sigma == "learned":
            self.log_sigma = torch.nn.Parameter(torch.zeros(()))
        else:
            _check_sigma(sigma)
        self.fixed = None if self.log_sigma is not None else float(cast(float, sigma))
        self.nodes, self.reduction = check_integer("nodes", nodes, at_least=1), reduction

    @property
    def sigma(self) -> float | Tensor:
        """The present σ."""
        return cast(float, self.fixed) if self.log_sigma is None else self.log_sigma.exp()

    def forward(self, logits: Float[Tensor, "rows classes"], labels: Int[Tensor, " rows"]) -> Float[Tensor, "*rows"]:
        return reduce(-log_expected_accuracy(logits, labels, sigma=self.sigma, nodes=self.nodes), self.reduction)

    def extra_repr(self) -> str:
        return f"sigma={'learned' if self.fixed is None else format(self.fixed, 'g')}, nodes={self.nodes}"


class ExactLoss(ProbitLoss):
    r"""EXACT: one minus the mean expected accuracy.

    $$1-\frac1B\sum_{i=1}^Bp(y_i|x_i) \tag{2}$$

    Args:
        sigma: `"learned"` (starts at 1, as the paper has it) or a number > 0. With a fixed σ and logits that cannot
            grow the best model may be one that gives up a class.
        margin: r > 0, or None. Differences of logits are cut at r before they are divided by σ, so that a class that is
            beaten by r pulls no more; needs a fixed σ.
        standardize: subtract the mean of all logits of the batch and divide by their standard deviation first, as the
            official code does for a fixed σ.
        nodes, reduction: as in `ProbitLoss`.
    Returns: 0 where all are right beyond doubt, to 1. Its gradient is p times that of `ProbitLoss`: it fades for
        samples that are hopelessly wrong, so start from a model trained with cross-entropy, or expect a slow start.
    Errors: ValueError as `log_expected_accuracy`, and for a margin without a fixed σ.
    Example:
        >>> ExactLoss()(torch.tensor([[1.0, 0.2, -0.5], [0.0, 0.0, 0.0]]), torch.tensor([0, 1])).item()
        0.505...

    References: I. Karpukhin, S. Dereka and S. Kolesnikov, EXACT: How to Train Your Accuracy, 2022.
    """

    def __init__(
        self,
        sigma: float | Literal["learned"] = "learned",
        *,
        margin: float | None = None,
        standardize: bool = False,
        nodes: int = 32,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(sigma, nodes=nodes, reduction=reduction)
        if margin is not None:
            check_number("margin", margin, above=0)
            if self.fixed is None:
                fix = "A learned σ would shrink until every difference is beyond the margin."
                raise invalid("margin", "come with a fixed sigma", f"margin={margin:g} and sigma='learned'", fix)
        self.margin, self.standardize = margin, standardize

    def forward(self, logits: Float[Tensor, "rows classes"], labels: Int[Tensor, " rows"]) -> Float[Tensor, "*rows"]:
        if self.standardize:
            logits = _standardized(logits)
        differences = _differences(logits, labels)
        if self.margin is not None:
            differences = differences.clamp(max=self.margin)
        return reduce(-torch.expm1(_log_orthant(differences / self.sigma, self.nodes)), self.reduction)  # (2)

    def extra_repr(self) -> str:
        margin = "" if self.margin is None else f", margin={self.margin:g}"
        return super().extra_repr() + margin + (", standardize=True" if self.standardize else "")


def _matrix(logits: Tensor) -> tuple[int, int]:
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise invalid("logits", "have shape (rows, classes) with two classes or more", tuple(logits.shape))
    return logits.shape[0], logits.shape[1]


def _differences(logits: Tensor, labels: Tensor) -> Float[Tensor, "rows others"]:
    """μ_y - μ_k for every other class."""
    rows, classes = _matrix(logits)
    check_index("labels", labels, rows, classes)
    wide, own = at_least_single(logits, "logits"), labels.long()[:, None]
    others = torch.arange(classes - 1, device=logits.device).expand(rows, -1)
    return wide.gather(1, own) - wide.gather(1, others + (others >= own))


def _log_orthant(m: Float[Tensor, "rows others"], nodes: int) -> Float[Tensor, " rows"]:
    """(1) by Gauss–Hermite nodes x, moved to the mode and stretched to the width of the integrand."""
    if m.shape[1] == 1:
        return log_cdf(m.squeeze(1) / math.sqrt(2))
    centre, width = (value.to(m.dtype) for value in mode_and_width(m))
    x, log_weight = _rule(nodes, m)
    t = centre[:, None] + width[:, None] * x
    h = log_cdf(m[:, None, :] + t[:, :, None]).sum(-1) - t.square() / 2
    return width.log() + torch.logsumexp(log_weight + h, -1)  # (1)


def _rule(nodes: int, like: Tensor) -> tuple[Float[Tensor, " nodes"], Float[Tensor, " nodes"]]:
    """Nodes x, and log w + x²/2 for weights w that sum to 1, of the standard normal weight."""
    # A graph must not meet tensors of an earlier one.
    rule = _golub_welsch(nodes) if torch.compiler.is_compiling() else kept_rule(nodes)
    return rule[0].to(like), rule[1].to(like)


def _golub_welsch(nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes are eigenvalues of the Jacobi matrix; 1/w is the sum of squares of the orthonormal polynomials there."""
    steps = torch.arange(1, nodes, dtype=torch.float64).sqrt()
    x = torch.linalg.eigvalsh(torch.diag(steps, 1) + torch.diag(steps, -1))
    before, now, total = torch.zeros_like(x), torch.ones_like(x), torch.ones_like(x)
    for k in range(1, nodes):
        before, now = now, (x * now - math.sqrt(k - 1) * before) / math.sqrt(k)
        total = total + now.square()
    return x, x.square() / 2 - total.log()


def _standardized(logits: Tensor) -> Tensor:
    """All logits of the batch with mean 0 and standard deviation 1; zeros where they are all equal."""
    wide = at_least_single(logits, "logits")
    centred = wide - wide.sum() / max(wide.numel(), 1)
    spread: Tensor = torch.linalg.vector_norm(centred) / math.sqrt(max(wide.numel() - 1, 1))
    return centred / spread.masked_fill(spread <= torch.finfo(wide.dtype).tiny, 1)


def _check_sigma(sigma: Any) -> None:
    if not isinstance(sigma, Tensor):
        check_number("sigma", sigma, above=0, below=math.inf, fix="Pass the standard deviation of the noise.")
