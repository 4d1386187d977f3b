"""Many distances at once on any device: plans blurred by entropy, then made exact in their marginals."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from gezhi._checks import check_integer, check_number, invalid


def sinkhorn(
    p: Float[Tensor, "*batch n"],
    q: Float[Tensor, "*batch m"],
    cost: Float[Tensor, "*batch n m"],
    *,
    blur: float = 0.02,
    max_iter: int = 100,
) -> Float[Tensor, "*batch"]:
    r"""An upper bound of `emd`, for a batch of pairs: what Sinkhorn's plan costs once its marginals are exact.

    $$\gamma=\mathrm{diag}(e^f)\,e^{-D/\varepsilon}\,\mathrm{diag}(e^g),\qquad
      \hat\gamma=\gamma'+\frac{e_pe_q^\top}{\lVert e_p\rVert_1} \tag{9}$$

    with $\gamma'$ the plan γ scaled down to rows of at most p, then to columns of at most q, and $e_p,e_q$ what these
    then lack.

    Args:
        p, q: weights ≥ 0 that sum to 1. Documents of unequal lengths are padded with words of weight 0.
        cost: D, finite also where it is padding.
        blur: ε as a share of each pair's largest cost, > 0. 0.02 is our choice; smaller is nearer to `emd` and needs
            more rounds.
        max_iter: rounds, ≥ 1. After any number of them the result is a bound.
    Returns: an upper bound a pair, differentiable in the cost, in the dtype given (half precision in float32).
    Errors: ValueError for shapes that do not fit.
    Cost: O(nm) a round and pair. Use instead: `emd` for the value itself; on a CPU it is faster than this bound.
    Example:
        >>> p, q, cost = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> round(float(sinkhorn(p, q, cost)), 4)
        0.25

    References: Altschuler, Weed and Rigollet, Near-linear time approximation algorithms for optimal transport via
        Sinkhorn iteration, 2017.
    """
    blur = check_number("blur", blur, above=0)
    rounds = check_integer("max_iter", max_iter, at_least=1)
    if cost.shape != (*p.shape, *q.shape[-1:]) or p.shape[:-1] != q.shape[:-1]:
        shapes = f"{tuple(cost.shape)} for {tuple(p.shape)} and {tuple(q.shape)}"
        raise invalid("cost", "have shape (*batch, n, m) for p (*batch, n) and q (*batch, m)", shapes)
    if cost.dtype in (torch.float16, torch.bfloat16):
        p, q, cost = p.float(), q.float(), cost.float()
    real = (p > 0).unsqueeze(-1) & (q > 0).unsqueeze(-2)
    largest = cost.detach().abs().masked_fill(~real, 0).amax((-2, -1), keepdim=True)
    kernel = (-cost / (blur * largest + (largest == 0))).masked_fill(~real, 0)
    (log_p, off_p), (log_q, off_q) = _logs(p), _logs(q)
    g = torch.zeros_like(log_q)
    for _ in range(rounds):
        f = log_p - torch.logsumexp(kernel + (g + off_q).unsqueeze(-2), -1)
        g = log_q - torch.logsumexp(kernel + (f + off_p).unsqueeze(-1), -2)
    plan = (kernel + (f + off_p).unsqueeze(-1) + (g + off_q).unsqueeze(-2)).exp()
    return (_exact(plan, p, q) * cost).sum((-2, -1))


def _logs(weights: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithms, finite everywhere so that gradients are, and −∞ beside them where a weight is 0."""
    off = torch.zeros_like(weights).masked_fill(weights == 0, -torch.inf)
    return torch.where(weights > 0, weights, 1).log(), off


def _exact(plan: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """The second half of (9)."""
    plan = plan * _within(plan.sum(-1), p).unsqueeze(-1)
    plan = plan * _within(plan.sum(-2), q).unsqueeze(-2)
    lack_p, lack_q = (p - plan.sum(-1)).clamp(min=0), (q - plan.sum(-2)).clamp(min=0)
    whole = lack_p.sum(-1)[..., None, None]
    return plan + lack_p.unsqueeze(-1) * lack_q.unsqueeze(-2) / (whole + (whole == 0))


def _within(sums: Tensor, most: Tensor) -> Tensor:
    """min(1, most / sums); 1 where both are 0."""
    larger = torch.maximum(sums, most)
    return (most + (larger == 0)) / (larger + (larger == 0))
