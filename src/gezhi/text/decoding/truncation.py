r"""Which tokens may come next: top-k and nucleus, their consistent forms, and a floor under the end mark.

All take scores (logits or log-probabilities) over the last axis; what is cut becomes -inf, so softmax renormalises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gezhi._checks import check_integer, check_number
from gezhi.text.decoding.survival import check_eos, check_epsilon, log_one_minus_exp, widened


def top_k(scores: Float[Tensor, "*rows vocab"], k: int) -> Float[Tensor, "*rows vocab"]:
    """Keep the k best tokens of a row.

    Args:
        scores: of the next token.
        k: how many stay, ≥ 1; of equal scores those of lower index. More than there are tokens keep them all.
    Returns: scores, -inf where a token is cut; in the dtype of the input.
    Errors: ValueError for k < 1.
    Cost: O(vocab) a row.
    Example:
        >>> top_k(torch.tensor([0.5, 2.0, 1.0]), 2)
        tensor([-inf, 2., 1.])
    """
    return scores.masked_fill(~_best(scores, k), -math.inf)


def top_p(
    scores: Float[Tensor, "*rows vocab"], p: float, *, min_tokens_to_keep: int = 1
) -> Float[Tensor, "*rows vocab"]:
    r"""Keep the nucleus: the fewest tokens, from the most probable on, whose probabilities sum to p at least.

    Args:
        scores: of the next token.
        p: mass in (0, 1]; 1 keeps everything. A prefix whose mass is p to 1e-6 (1e-12 in float64) has reached it.
        min_tokens_to_keep: so many stay in any case, ≥ 1.
    Returns: scores, -inf where a token is cut; in the dtype of the input.
    Errors: ValueError out of these ranges.
    Cost: O(vocab log vocab) a row, for the sort.
    Example:
        >>> top_p(torch.tensor([0.5, 0.3, 0.2]).log(), 0.6).exp()
        tensor([0.5000, 0.3000, 0.0000])

    References: A. Holtzman et al., The Curious Case of Neural Text Degeneration, 2020.
    """
    return scores.masked_fill(~_nucleus(scores, p, min_tokens_to_keep), -math.inf)


def consistent_top_k(
    scores: Float[Tensor, "*rows vocab"], k: int, *, eos_token_id: int | Sequence[int]
) -> Float[Tensor, "*rows vocab"]:
    r"""Keep the k best tokens and the end mark, so that sampling ends with probability 1 where the model's does.

    $$\tilde p_v\propto p_v\,[v\in\text{top-}k\cup\{\text{eos}\}]$$

    Args:
        scores, k: as for `top_k`.
        eos_token_id: the id or ids that always stay; one that is -inf already has no probability to keep.
    Returns: scores, -inf where a token is cut: at most k tokens beside the end mark.
    Errors: ValueError for k < 1, no id, an id that is no token.
    Cost: O(vocab) a row.  Use instead: a self-terminating head for greedy and beam search, which this leaves as
        they are, since the largest probability still wins.
    Example:
        >>> p = torch.tensor([0.45, 0.25, 0.15, 0.10, 0.05])
        >>> consistent_top_k(p.log(), 2, eos_token_id=4).softmax(-1)
        tensor([0.6000, 0.3333, 0.0000, 0.0000, 0.0667])

    References: S. Welleck et al., Consistency of a Recurrent Language Model With Respect to Incomplete Decoding, 2020.
    """
    return scores.masked_fill(~_with_eos(_best(scores, k), eos_token_id), -math.inf)


def consistent_top_p(
    scores: Float[Tensor, "*rows vocab"], p: float, *, eos_token_id: int | Sequence[int], min_tokens_to_keep: int = 1
) -> Float[Tensor, "*rows vocab"]:
    """Keep the nucleus and the end mark, so that sampling ends with probability 1 where the model's does.

    Args:
        scores, p, min_tokens_to_keep: as for `top_p`.
        eos_token_id: as for `consistent_top_k`.
    Returns: scores, -inf where a token is cut.
    Errors: ValueError out of these ranges.
    Cost: O(vocab log vocab) a row.
    Example:
        >>> p = torch.tensor([0.45, 0.25, 0.15, 0.10, 0.05])
        >>> consistent_top_p(p.log(), 0.2, eos_token_id=4).softmax(-1)
        tensor([0.9000, 0.0000, 0.0000, 0.0000, 0.1000])

    References: as for `consistent_top_k`.
    """
    return scores.masked_fill(~_with_eos(_nucleus(scores, p, min_tokens_to_keep), eos_token_id), -math.inf)


def termination_floor(
    scores: Float[Tensor, "*rows vocab"],
    step: int | Int[Tensor, "*#rows"],
    *,
    epsilon: float,
    eos_token_id: int | Sequence[int],
) -> Float[Tensor, "*rows vocab"]:
    r"""Mix the end mark into what any model says, by a share that grows to 1: self-termination without training.

    $$p'=(1-f_t)\,p+f_t\,\mathbb 1_{\text{eos}},\qquad f_t=1-(1-\epsilon)^{t+1}$$

    Args:
        scores: of the next token.
        step: t, how many tokens were generated before it (from 0); one for all rows or one a row.
        epsilon: ε in [0, 1); 0 changes nothing and is warned of.
        eos_token_id: the id or ids of the end mark; several share the mass in proportion to their own probabilities.
    Returns: log-probabilities, in float32 at least. They end within `termination_horizon(epsilon)` tokens.
    Errors: ValueError out of these ranges.
    Cost: O(vocab) a row. The price is in length and likelihood: a large ε ends good texts, too.
    Example:
        >>> p = torch.tensor([0.45, 0.25, 0.15, 0.10, 0.05])
        >>> termination_floor(p.log(), 9, epsilon=0.01, eos_token_id=4).exp()
        tensor([0.4070, 0.2261, 0.1357, 0.0904, 0.1408])
    """
    epsilon, ids = check_epsilon(epsilon), list(check_eos(eos_token_id, scores.shape[-1]))
    if not isinstance(step, Tensor):
        check_integer("step", step, at_least=0)
    log_p = widened(scores).log_softmax(-1)
    t = torch.as_tensor(step, device=log_p.device).to(log_p.dtype)
    rest = ((t + 1) * math.log1p(-epsilon))[..., None]  # log(1 - f)
    own = log_p[..., ids]
    share = (own - own.logsumexp(-1, keepdim=True)).nan_to_num(-math.log(len(ids)), neginf=-math.inf)
    floor = log_one_minus_exp(rest) + share
    mixed = (rest + log_p).clone()
    mixed[..., ids] = torch.logaddexp(rest + own, floor)
    return mixed


def _best(scores: Tensor, k: int) -> Bool[Tensor, "*rows vocab"]:
    """The k best; equal ones from the left."""
    check_integer("k", k, at_least=1)
    if k >= scores.shape[-1]:
        return torch.ones_like(scores, dtype=torch.bool)
    least = scores.topk(k, dim=-1).values[..., -1:]
    above, level = scores > least, scores == least
    return above | (level & (level.cumsum(-1) <= k - above.sum(-1, keepdim=True)))


def _nucleus(scores: Tensor, p: float, least: int) -> Bool[Tensor, "*rows vocab"]:
    """A token stays while the mass before it, in falling order, is below p."""
    check_number("p", p, above=0, at_most=1)
    check_integer("min_tokens_to_keep", least, at_least=1)
    if p == 1:
        return torch.ones_like(scores, dtype=torch.bool)
    ordered, order = widened(scores).sort(dim=-1, descending=True, stable=True)
    mass = ordered.softmax(-1).cumsum(-1)
    slack = 1e-12 if mass.dtype == torch.float64 else 1e-6
    before = F.pad(mass[..., :-1], (1, 0))
    kept = (before < p - slack) | (torch.arange(mass.shape[-1], device=mass.device) < least)
    return torch.zeros_like(kept).scatter(-1, order, kept)


def _with_eos(kept: Tensor, eos_token_id: int | Sequence[int]) -> Bool[Tensor, "*rows vocab"]:
    ids = check_eos(eos_token_id, kept.shape[-1])
    return kept.index_fill(-1, torch.tensor(ids, device=kept.device), True)
