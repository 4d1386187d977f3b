r"""Universal relative positional encoding: a factor after the softmax that tells a model where a token stands.

Title: Universal relative positional encoding | 通用相对位置编码
Also: URPE, attention with a Toeplitz gate, position probe, 9105
Tags: attention, position, softmax
Articles: 相对位置编码Transformer的一个理论缺陷与对策
Page: docs/methods/urpe.md
Notation: $c_r$ = `table`, $r=j-i$; $C_{ij}=c_{j-i}$ = what the module returns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gezhi._checks import check_number, invalid
from gezhi.nn.positions import t5_bucket

__all__ = ["URPE", "PositionProbe", "position_probe"]


class URPE(torch.nn.Module):
    r"""A trained Toeplitz factor on the attention weights, for the `gate=` of `dot_product_attention`.

    $$O=(A\odot C)V,\qquad C_{ij}=c_{j-i} \tag{3}$$

    Weights of softmax sum to 1 whatever stands inside it, so that equal tokens give equal outputs everywhere; the row
    sums of A ⊙ C differ. The table is best left out of weight decay, which would pull it from 1 towards 0.

    Args:
        num_heads: one row of factors each.
        max_len: longest input; distances of up to max_len - 1 have factors of their own.
        clip: farther tokens share the factor of this distance, on each side, and any length is allowed.
        buckets: so many factors, shared as in T5 up to the distance `max_len`; any length is allowed.
        init: 1 makes the start plain attention.

    Errors: ValueError for an input longer than max_len without `clip` or `buckets`, and for more queries than keys.
    Example:
        >>> gate = URPE(1, 4)
        >>> gate(2, 3).shape, gate.table.shape
        (torch.Size([1, 2, 3]), torch.Size([1, 7]))

    References: S. Luo et al., Your Transformer May Not be as Powerful as You Expect, 2022; 苏剑林,
        相对位置编码Transformer的一个理论缺陷与对策, 2022.
    """

    def __init__(
        self, num_heads: int, max_len: int, *, clip: int | None = None, buckets: int | None = None, init: float = 1.0
    ) -> None:
        super().__init__()
        check_number("num_heads", num_heads, at_least=1)
        check_number("max_len", max_len, at_least=1)
        if clip is not None and buckets is not None:
            raise invalid("clip and buckets", "not both be given", f"{clip} and {buckets}")
        if clip is not None:
            check_number("clip", clip, at_least=0)
        self.max_len, self.clip, self.buckets = max_len, clip, buckets
        reach = max_len - 1 if clip is None else clip
        self.table = torch.nn.Parameter(torch.full((num_heads, buckets or 2 * reach + 1), float(init)))

    def forward(
        self, n_q: int, n_k: int | None = None, start: int = 0, stop: int | None = None
    ) -> Float[Tensor, "heads rows keys"]:
        """The rows from `start` up to `stop` of C, all by default; the last query stands at the last key.

        A module is passed as `gate=` itself, so that its rows are built where they are needed.
        """
        n_k = n_q if n_k is None else n_k
        stop = n_q if stop is None else stop
        self._check(n_q, n_k)
        if start == stop or n_k == 0:
            return self.table.new_zeros(len(self.table), stop - start, n_k)
        cached = n_k - n_q
        distance = torch.arange(1 - cached - stop, n_k - cached - start, device=self.table.device)
        line = self.table[:, self._index(distance)]
        return line.unfold(-1, n_k, 1).flip(-2)  # (3), each later query sees the same factors one step to the left

    def _check(self, n_q: int, n_k: int) -> None:
        if n_q > n_k:
            raise invalid("n_q", f"be at most n_k = {n_k}, for queries stand at the last keys", n_q)
        if self.clip is None and self.buckets is None and n_k > self.max_len:
            fix = "Pass clip=… or buckets=… for longer inputs."
            raise invalid("the input", f"have at most max_len = {self.max_len} tokens", n_k, fix)

    def _index(self, distance: Tensor) -> Tensor:
        if self.buckets is not None:
            return t5_bucket(distance, num_buckets=self.buckets, max_distance=self.max_len)
        reach = self.table.shape[1] // 2
        return distance.clamp(-reach, reach) + reach


class PositionProbe(NamedTuple):
    """What a model learned about the places of equal tokens: at `loss` = `floor` = log n nothing at all."""

    loss: float
    accuracy: float
    floor: float


def position_probe(
    model_factory: Callable[[], torch.nn.Module],
    n: int = 16,
    *,
    steps: int = 600,
    lr: float = 3e-3,
    seed: int = 0,
) -> PositionProbe:
    r"""Train a fresh model to tell the places of n equal tokens apart, and say how far it came.

    Any stack whose positions enter through the scores of a softmax stays at log n: its outputs are all equal.

    Args:
        model_factory: builds a model from token ids (1, n) to logits (1, n, n) over the places.
        n: tokens, ≥ 2.
        steps, lr: of Adam on this single sample.
        seed: of the initial weights; the global generator is left as it was.
    Returns: cross-entropy in nats per token after the last step, share of places found, and log n. Judge by the loss:
        with ties an argmax finds some places by rounding.
    Example:
        >>> class Same(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.logits = torch.nn.Parameter(torch.zeros(4))
        ...     def forward(self, ids):
        ...         return self.logits.expand(1, 4, 4)
        >>> position_probe(Same, 4, steps=3).loss
        1.386...

    References: 苏剑林, 相对位置编码Transformer的一个理论缺陷与对策, 2022.
    """
    check_number("n", n, at_least=2)
    ids, places = torch.zeros(1, n, dtype=torch.long), torch.arange(n)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        model = model_factory()
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(ids)[0], places).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        logits = model(ids)[0]
    accuracy = (logits.argmax(-1) == places).double().mean().item()
    return PositionProbe(F.cross_entropy(logits, places).item(), accuracy, math.log(n))
