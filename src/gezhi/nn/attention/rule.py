"""Who may attend to whom, as a rule that becomes a matrix only where one is needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

from gezhi._checks import check_number, invalid

_ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Mask:
    """Who may attend to whom, as a rule: a key is visible when every part allows it. The matrix is built where needed.

    Args:
        causal: the last query sees all keys, each earlier one a key less; with cached keys queries are the newest.
        prefix: so many keys from the first on are visible to all queries of a causal mask (UniLM).
        keys: True where the key is a token and not padding, on whichever side.
        dense: anything else, True: may attend; (n_q, n_k), (heads, n_q, n_k) or (batch, heads, n_q, n_k),
            an axis of length 1 being shared.

    Errors: TypeError for a part that is not bool; ValueError for a prefix without `causal`, and for n_q > n_k.
    Example:
        >>> Mask(causal=True).tensor(2, 3).long().tolist()
        [[1, 1, 0], [1, 1, 1]]
        >>> Mask(causal=True, keys=torch.tensor([[False, True, True]])).visible(2, 3).flatten().tolist()
        [1, 2]
    """

    causal: bool = False
    prefix: int = 0
    keys: Bool[Tensor, "batch keys"] | None = None
    dense: Bool[Tensor, "*heads queries keys"] | None = None

    def __post_init__(self) -> None:
        check_number("prefix", self.prefix, at_least=0)
        if self.prefix and not self.causal:
            raise invalid("prefix", "come with causal=True", self.prefix, "Without it every key is visible anyway.")
        for name, part in (("keys", self.keys), ("dense", self.dense)):
            if part is not None and part.dtype != torch.bool:
                raise _not_bool(name, part)
        if self.keys is not None and self.keys.ndim != 2:
            raise invalid("keys", "have the shape (batch, n_k)", tuple(self.keys.shape), "Pass other masks as dense.")
        if self.dense is not None and not 2 <= self.dense.ndim <= 4:
            raise invalid("dense", "have 2 to 4 axes, (batch, heads, n_q, n_k) at most", tuple(self.dense.shape))

    def tensor(
        self, n_q: int, n_k: int, device: torch.device | None = None, rows: slice = _ALL
    ) -> Bool[Tensor, "*heads _ _"] | None:
        """The matrix (or some of its rows), broadcasting to (batch, heads, n_q, n_k); None where nothing is hidden."""
        parts = [] if self.dense is None else [self.dense if self.dense.shape[-2] == 1 else self.dense[..., rows, :]]
        if self.keys is not None:
            parts.append(self.keys[:, None, None, :])
        if self._cuts(n_q, n_k):
            limit = self._limit(n_q, n_k, device)[rows]
            parts.append(torch.arange(n_k, device=limit.device) < limit[:, None])
        return reduce(torch.logical_and, parts) if parts else None

    def visible(self, n_q: int, n_k: int, device: torch.device | None = None) -> int | Int[Tensor, "*heads _ 1"]:
        """How many keys each query sees; an int where nothing is hidden. O(batch · (n_q + n_k)) without `dense`."""
        allowed = None if self.dense is None else self.tensor(n_q, n_k)
        if allowed is not None:
            return allowed.expand(*allowed.shape[:-1], n_k).sum(-1, keepdim=True)
        if not self._cuts(n_q, n_k):
            return n_k if self.keys is None else self.keys.sum(-1)[:, None, None, None]
        limit = self._limit(n_q, n_k, device)
        if self.keys is None:
            return limit[:, None]
        before = F.pad(self.keys.cumsum(-1), (1, 0))  # before[:, m]: tokens among the first m keys
        return before[:, None, limit, None]

    def check(self, batch: int, heads: int, n_q: int, n_k: int) -> None:
        """Raise ValueError unless every part fits scores of the shape (batch, heads, n_q, n_k)."""
        if self.keys is not None and self.keys.shape not in ((batch, n_k), (1, n_k)):
            raise invalid("mask.keys", f"have the shape (batch, n_k) = {(batch, n_k)}", tuple(self.keys.shape))
        if self.dense is not None:
            check_fits("mask", self.dense, (batch, heads, n_q, n_k))
        if self.causal and n_q > n_k:
            raise invalid("query", f"have at most as many tokens as key ({n_k}) under a causal mask", n_q)

    def _cuts(self, n_q: int, n_k: int) -> bool:
        """Whether causality hides anything; from a single query, or with a prefix as long as the keys, it does not."""
        return self.causal and n_q > 1 and self.prefix < n_k

    def _limit(self, n_q: int, n_k: int, device: torch.device | None) -> Int[Tensor, " queries"]:
        """Under `causal` and `prefix` query i sees exactly the keys j < limit[i]."""
        if n_q > n_k:
            raise invalid("query", f"have at most as many tokens as key ({n_k}) under a causal mask", n_q)
        device = next((part.device for part in (self.keys, self.dense) if part is not None), device)
        limit = torch.arange(n_k - n_q + 1, n_k + 1, device=device)
        return limit.clamp(min=self.prefix) if self.prefix else limit


def as_mask(mask: Mask | Tensor | None) -> Mask:
    """A rule from what a caller may pass: a rule, a bool matrix, or nothing."""
    if isinstance(mask, Tensor) and mask.dtype != torch.bool:
        raise _not_bool("mask", mask)
    if mask is None or isinstance(mask, Tensor):
        return Mask(dense=mask)
    if not isinstance(mask, Mask):
        raise invalid("mask", "be a Mask, a bool tensor or None", type(mask).__name__, kind=TypeError)
    return mask


def check_fits(name: str, part: Tensor, shape: tuple[int, int, int, int]) -> None:
    """Raise ValueError unless `part` broadcasts to the scores (batch, heads, n_q, n_k) without enlarging them."""
    found = (1,) * (4 - part.ndim) + tuple(part.shape)
    if len(found) > 4 or any(have not in (1, want) for have, want in zip(found, shape, strict=True)):
        must = f"broadcast to (batch, heads, n_q, n_k) = {shape}"
        fix = "One of (batch, n_q, n_k) becomes x[:, None]; which keys are tokens, (batch, n_k), is Mask(keys=…)."
        raise invalid(name, must, tuple(part.shape), fix)


def _not_bool(name: str, part: Tensor) -> Exception:
    reason = "Numbers are never taken for a mask: added to scores, 0 and 1 would hide nothing. "
    return invalid(name, "be bool", part.dtype, reason + "Pass mask.bool(), True: may attend.", kind=TypeError)
