r"""FlatNCE: InfoNCE without the positive in the denominator, so that its gradient never fades.

Title: FlatNCE and InfoNCE | FlatNCE 与 InfoNCE
Also: FlatNCE, InfoNCE, 8586
Tags: loss, contrastive, embeddings
Articles: FlatNCE:小批次对比学习效果差的原因竟是浮点误差?
Page: docs/methods/flatnce.md
Notation: $s_j$ = `scores[i, j]`, already divided by the temperature $\tau$, $t$ = `positive_index[i]`.
"""

from __future__ import annotations

import math
import warnings
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gezhi._checks import check_choice, check_number, invalid
from gezhi.losses._rows import Reduction, check_index, reduce, unit_rows
from gezhi.losses.ranking import against_rest

__all__ = ["FlatNCELoss", "InfoNCELoss", "NoNegativeWarning", "flat_nce_loss", "info_nce_loss", "negative_ess"]
Negatives = Literal["views", "keys"]


class NoNegativeWarning(UserWarning):
    """A row has no negative, so FlatNCE learnt nothing from it. Remedy: drop a last batch of one pair."""


def info_nce_loss(
    scores: Float[Tensor, "rows candidates"],
    positive_index: Int[Tensor, " rows"],
    *,
    mask: Bool[Tensor, "rows candidates"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Tensor, "*rows"]:
    r"""Softmax cross-entropy of the positive, with all digits however small it is.

    $$\log(1+\xi),\qquad\xi=\sum_{j\neq t}e^{s_j-s_t} \tag{2}$$

    Args:
        scores: one row an anchor, divided by the temperature; -inf takes no part. Half precision is summed in float32.
        positive_index: column of each row's positive.
        mask: True where a candidate takes part; None: everywhere. The positive always does.
        reduction: "mean" over rows (0 without rows), "sum" or "none".
    Returns: values ≥ 0, in float32 at least; exactly 0, with gradient 0, where a row has no negative. Loss and gradient
        keep a relative error of about 1e-6 in float32 at every gap, where `cross_entropy` is 0 below 1e-7.
    Errors: ValueError for a score that is NaN or +inf, a positive of -inf and an index outside the row, naming the row.
    Example:
        >>> info_nce_loss(torch.tensor([[40.0, -3.0, -1.0]]), torch.tensor([0])).item()
        1.774...e-18

    References: A. van den Oord, Y. Li and O. Vinyals, Representation Learning with Contrastive Predictive Coding, 2018.
    """
    excess = _log_excess(scores, positive_index, mask)
    return reduce(torch.logaddexp(excess, torch.zeros_like(excess)), reduction)  # (2)


def flat_nce_loss(
    scores: Float[Tensor, "rows candidates"],
    positive_index: Int[Tensor, " rows"],
    *,
    mask: Bool[Tensor, "rows candidates"] | None = None,
    reduction: Reduction = "mean",
    report: Literal["log", "infonce"] = "log",
) -> Float[Tensor, "*rows"]:
    r"""InfoNCE with every anchor's gradient divided by $\xi/(1+\xi)$: the positive always pulls with weight 1.

    $$\log\xi=\log\sum_{j\neq t}e^{s_j-s_t} \tag{4}$$

    Its gradient is that of $\xi/\mathrm{sg}(\xi)$, the form in the paper, whose value is always 1.

    Args:
        scores, positive_index, mask, reduction: as in `info_nce_loss`.
        report: `"log"` returns log ξ, which is often negative: neither clamp it nor stop on it. `"infonce"` returns the
            value of `info_nce_loss`, to be compared in logs, with the gradient of log ξ.
    Returns: values in float32 at least. A row without a negative, whose log ξ would be -inf, is 0 with gradient 0 like
        that of `info_nce_loss`, and `NoNegativeWarning` says so.
    Errors: as `info_nce_loss`.
    Example:
        >>> flat_nce_loss(torch.tensor([[5.0, 1.0, -2.0, 0.5]]), torch.tensor([0])).item()
        -3.4954...

    References: J. Chen et al., Simpler, Faster, Stronger: Breaking The log-K Curse On Contrastive Learners With
        FlatNCE, 2021; C.-H. Yeh et al., Decoupled Contrastive Learning, 2021; 苏剑林,
        FlatNCE:小批次对比学习效果差的原因竟是浮点误差?, 2021.
    """
    check_choice("report", report, ("log", "infonce"))
    flat = _log_excess(scores, positive_index, mask)  # (4)
    alone = flat.detach() == -math.inf
    if not torch.compiler.is_compiling() and alone.any():
        text = f"{int(alone.sum())} of {len(alone)} rows have no negative: their loss is 0 and teaches nothing."
        warnings.warn(f"{text} Drop a last batch of one pair.", NoNegativeWarning, stacklevel=2)
    flat = flat.masked_fill(alone, 0)
    if report == "infonce":
        value = torch.logaddexp(flat, torch.zeros_like(flat)).detach().masked_fill(alone, 0)
        flat = value + (flat - flat.detach())  # the bracket is exactly 0
    return reduce(flat, reduction)


def negative_ess(
    scores: Float[Tensor, "rows candidates"],
    positive_index: Int[Tensor, " rows"],
    *,
    mask: Bool[Tensor, "rows candidates"] | None = None,
) -> Float[Tensor, " rows"]:
    r"""Share of the negatives that the gradient really sees: their effective sample size over their number.

    $$\frac1{K_-\sum_{j\neq t}w_j^2},\qquad w=\operatorname{softmax}_{j\neq t}s_j \tag{7}$$

    Returns: from 1 over the number of negatives (one carries all the weight) to 1 (all alike); NaN without a negative.
    Example:
        >>> negative_ess(torch.tensor([[9.0, 1.0, 1.0, 1.0]]), torch.tensor([0]))
        tensor([1.0000])
    """
    index = _checked(scores, positive_index, mask)
    taking = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask
    taking = taking.scatter(-1, index[:, None], False)
    weights = scores.to(torch.promote_types(scores.dtype, torch.float32)).masked_fill(~taking, -math.inf).softmax(-1)
    count = (taking & (scores != -math.inf)).sum(-1)
    return 1 / (count * weights.square().sum(-1))  # (7)


class InfoNCELoss(torch.nn.Module):
    r"""`info_nce_loss` of cosines over a temperature, between two batches of which row i belongs to row i.

    Args:
        temperature: τ > 0. SimCLR takes 0.1 (ImageNet) and 0.5 (CIFAR-10), SimCSE 0.05.
        negatives: `"views"` the two-view batch of SimCLR: each of the 2N rows is an anchor, against the 2N - 2 rows of
            other images; `"keys"` queries against keys, N - 1 in-batch negatives each; further keys may follow the N.
    Errors: ValueError for batches that do not match.
    Cost: O(N²) time and memory. Half precision and autocast are computed in float32.
    Example:
        >>> z1, z2 = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0], [0.0, 2.0]])
        >>> InfoNCELoss(0.5)(z1, z2).item()
        0.6366...

    References: T. Chen, S. Kornblith, M. Norouzi and G. Hinton, A Simple Framework for Contrastive Learning of Visual
        Representations, 2020.
    """

    def __init__(self, temperature: float = 0.1, *, negatives: Negatives = "views") -> None:
        super().__init__()
        check_number("temperature", temperature, above=0)
        check_choice("negatives", negatives, ("views", "keys"))
        self.temperature, self.negatives = float(temperature), negatives

    def forward(self, z1: Float[Tensor, "n dim"], z2: Float[Tensor, "keys dim"]) -> Float[Tensor, ""]:
        return info_nce_loss(*self.scores(z1, z2))

    def scores(self, z1: Tensor, z2: Tensor) -> tuple[Float[Tensor, "rows candidates"], Int[Tensor, " rows"]]:
        """Cosines over τ, -inf from a row to itself, and the column of each row's positive."""
        if z1.ndim != 2 or z2.ndim != 2 or z1.shape[1] != z2.shape[1]:
            raise invalid("z1 and z2", "be matrices of one width", f"{tuple(z1.shape)} and {tuple(z2.shape)}")
        if len(z1) > len(z2) or (self.negatives == "views" and len(z1) != len(z2)):
            fix = "Row i of z2 is the positive of row i of z1."
            raise invalid("z1 and z2", "have a row each for every pair", f"{len(z1)} and {len(z2)}", fix)
        with torch.autocast(z1.device.type, enabled=False):
            rows = torch.arange(len(z1), device=z1.device)
            if self.negatives == "keys":
                return unit_rows(z1) / self.temperature @ unit_rows(z2).mT, rows
            both = unit_rows(torch.cat([z1, z2]))
            scores = (both / self.temperature @ both.mT).fill_diagonal_(-math.inf)
            return scores, torch.cat([rows + len(z1), rows])

    def extra_repr(self) -> str:
        return f"temperature={self.temperature:g}, negatives={self.negatives!r}"


class FlatNCELoss(InfoNCELoss):
    """`flat_nce_loss` of the same scores as `InfoNCELoss`.

    Args:
        temperature, negatives: as in `InfoNCELoss`.
        report: the value that `forward` returns; see `flat_nce_loss`.
    Example:
        >>> z1, z2 = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0], [0.0, 2.0]])
        >>> FlatNCELoss(0.5)(z1, z2).item(), FlatNCELoss(0.5, report="infonce")(z1, z2).item()
        (-0.1910..., 0.6366...)

    References: J. Chen et al., Simpler, Faster, Stronger: Breaking The log-K Curse On Contrastive Learners With
        FlatNCE, 2021.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        report: Literal["log", "infonce"] = "log",
        *,
        negatives: Negatives = "views",
    ) -> None:
        super().__init__(temperature, negatives=negatives)
        check_choice("report", report, ("log", "infonce"))
        self.report = report

    def forward(self, z1: Float[Tensor, "n dim"], z2: Float[Tensor, "keys dim"]) -> Float[Tensor, ""]:
        return flat_nce_loss(*self.scores(z1, z2), report=self.report)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, report={self.report!r}"


def _log_excess(scores: Tensor, positive_index: Tensor, mask: Tensor | None) -> Float[Tensor, " rows"]:
    """log ξ, -inf in a row without a negative; bad scores show in it, without a look at each of them."""
    index = _checked(scores, positive_index, mask)
    x = against_rest(scores, index, mask=mask)
    if torch.compiler.is_compiling() or torch.isfinite(x.detach()).all():  # values are unknown to a compiler
        return x
    positive = scores.detach().gather(-1, index[:, None]).squeeze(-1)
    bad = x.detach().isnan() | (x.detach() == math.inf) | ~positive.isfinite()
    if bad.any():
        row = int(bad.nonzero()[0, 0])
        raise invalid("scores", "be finite, or -inf for a negative left out", f"{scores[row].tolist()} in row {row}")
    return x


def _checked(scores: Tensor, positive_index: Tensor, mask: Tensor | None) -> Int[Tensor, " rows"]:
    """The column of each row's positive."""
    if scores.ndim != 2 or not scores.is_floating_point():
        found = f"{scores.dtype} of shape {tuple(scores.shape)}"
        raise invalid("scores", "be a floating-point matrix", found, "Pass one row of candidates per anchor.")
    check_index("positive_index", positive_index, *scores.shape)
    if mask is not None and (mask.shape != scores.shape or mask.dtype != torch.bool):
        found = f"{mask.dtype} of shape {tuple(mask.shape)}"
        raise invalid("mask", f"be bool of shape {tuple(scores.shape)}", found)
    return positive_index.long()
