r"""What self-terminating heads and the floor share: a survival that falls by 1 − ε a token, and its horizon."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gezhi._checks import check_integer, check_number, invalid

EosTokenId = int | Sequence[int]

HALF = (torch.float16, torch.bfloat16)


class NoTerminationGuaranteeWarning(UserWarning):
    """With ε = 0 the probability of the end mark has no lower bound: decoding may go on for ever."""


def termination_horizon(epsilon: float, beams: int = 1) -> int:
    r"""Tokens within which greedy and beam search end, whatever a self-terminating model has learned.

    $$n=\Big\lfloor\frac{-\ln2}{\ln(1-\epsilon)}\Big\rfloor+1\text{ tokens; }n+k-1\text{ with }k\text{ beams}$$

    From the n-th token on the end mark has more than half of the probability, so the best candidate of every step is a
    finished one. With beams it holds for the total log-probability (`length_penalty=0`) and with `early_stopping=True`.

    Args:
        epsilon: ε in (0, 1) of the head, or of `termination_floor`.
        beams: k ≥ 1, width of the search; 1 is greedy search.
    Errors: ValueError out of these ranges.
    Example:
        >>> [termination_horizon(epsilon) for epsilon in (0.1, 0.01, 0.001)], termination_horizon(0.1, beams=4)
        ([7, 69, 693], 10)

    References: S. Welleck et al., Consistency of a Recurrent Language Model With Respect to Incomplete Decoding, 2020.
    """
    check_number("epsilon", epsilon, above=0, below=1)
    check_integer("beams", beams, at_least=1)
    return math.floor(-math.log(2) / math.log1p(-epsilon)) + beams


def check_epsilon(epsilon: float) -> float:
    """ε in [0, 1); 0 is warned of."""
    check_number("epsilon", epsilon, at_least=0, below=1)
    if epsilon == 0:
        text = "epsilon = 0 guarantees nothing: decoding may never end. Pass at least about ln 2 / (longest text)."
        warnings.warn(text, NoTerminationGuaranteeWarning, stacklevel=3)
    return float(epsilon)


def ids_of(eos_token_id: EosTokenId) -> tuple[int, ...]:
    """The ids of the end mark, perhaps none."""
    ids = tuple(eos_token_id) if isinstance(eos_token_id, Iterable) else (eos_token_id,)
    return tuple(check_integer("eos_token_id", token, at_least=0) for token in ids)


def check_eos(eos_token_id: EosTokenId, vocab_size: int | None = None) -> tuple[int, ...]:
    """The ids of the end mark, at least one of them, each a token."""
    ids = ids_of(eos_token_id)
    if not ids:
        raise invalid("eos_token_id", "be one id or several", "none", "Without an end mark nothing can end.")
    if vocab_size is not None and max(ids) >= vocab_size:
        raise invalid("eos_token_id", f"be a token of the {vocab_size} there are", max(ids))
    return ids


def widened(scores: Tensor) -> Tensor:
    """Half precision is computed in float32."""
    return scores.float() if scores.dtype in HALF else scores


def log_one_minus_exp(s: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    r"""$\log(1-e^s)$ for s ≤ 0, by expm1 near 0 and by log1p below -ln 2.

    s = 0 is taken for the smallest number below it, so the result is -87 in float32 and not -inf, whose gradient
    would be NaN. Each branch gets only arguments at which its gradient is finite.
    """
    s = s.clamp(max=-torch.finfo(s.dtype).tiny)
    near, far = s.clamp(min=-math.log(2)), s.clamp(max=-math.log(2))
    return torch.where(s > -math.log(2), torch.log(-torch.expm1(near)), torch.log1p(-torch.exp(far)))
