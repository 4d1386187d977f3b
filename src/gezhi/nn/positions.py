r"""Relative positions: rotations of queries and keys, and terms that depend on the distance alone.

Notation: r = j - i, key minus query. The last query stands at the last key, as in a causal mask with a cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gezhi._checks import check_number, invalid


@dataclass(frozen=True)
class Rotary:
    r"""Rotary position embedding, for `rotate=`: channel pair t of position i turns by the angle $i\,\theta_t$.

    $$\theta_t=\text{base}^{-2t/d},\qquad R_iq\cdot R_jk=q\cdot R_{j-i}k$$

    Args:
        base: > 1; the slowest pair turns once in about 2π · base positions. 10000 is the paper's choice.
        interleaved: pairs are (x₀, x₁), (x₂, x₃), … as in RoFormer; else (x₀, x_{d/2}), … as in GPT-NeoX and Llama.

    Errors: ValueError for base ≤ 1, and for an odd width.
    Example:
        >>> Rotary()(torch.tensor([[1.0, 0.0]]), start=1)
        tensor([[0.5403, 0.8415]])

    References: J. Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021.
    """

    base: float = 10000.0
    interleaved: bool = True

    def __post_init__(self) -> None:
        check_number("base", self.base, above=1)

    def __call__(self, x: Float[Tensor, "*heads tokens dim"], start: int = 0) -> Float[Tensor, "*heads tokens dim"]:
        """Tokens at the positions start, start + 1, …, turned."""
        left, right = self._pairs(x)
        cos, sin = self._table(x.shape[-2], x.shape[-1], start, x)
        return self._joined(left * cos - right * sin, left * sin + right * cos)

    def share_peak(self, x: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows dim"]:
        """The larger value of each pair, in both its channels: scaling by it commutes with the rotation."""
        peak = torch.maximum(*self._pairs(x))
        return self._joined(peak, peak)

    def _pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[-1] % 2:
            raise invalid("the width that rotates", "be even", x.shape[-1])
        return (x[..., ::2], x[..., 1::2]) if self.interleaved else x.chunk(2, -1)  # type: ignore[return-value]

    def _joined(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.stack([left, right], -1).flatten(-2) if self.interleaved else torch.cat([left, right], -1)

    def _table(self, n: int, dim: int, start: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """In float64, since in float32 the angle of position 10⁶ would be off by 0.06."""
        rate = self.base ** (-torch.arange(0, dim, 2, dtype=torch.float64, device=like.device) / dim)
        angle = torch.arange(start, start + n, device=like.device)[:, None] * rate
        return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


rotary = Rotary()


def relative_positions(n_q: int, n_k: int, device: torch.device | None = None) -> Int[Tensor, "queries keys"]:
    """Key position minus query position, (n_q, n_k).

    Example:
        >>> relative_positions(2, 3).tolist()
        [[-1, 0, 1], [-2, -1, 0]]
    """
    return torch.arange(n_k, device=device) - torch.arange(n_k - n_q, n_k, device=device)[:, None]


def alibi(num_heads: int, n_q: int, n_k: int, device: torch.device | None = None) -> Float[Tensor, "heads _ _"]:
    r"""ALiBi for `bias=`: minus the distance times a slope for each head.

    $$b_{hij}=-2^{-8h/H}|j-i|,\quad h=1..H$$

    For H that is no power of two the slopes of the next lower power are followed by every second one of the next.

    Example:
        >>> alibi(8, 1, 3)[0]
        tensor([[-1.0000, -0.5000, -0.0000]])

    References: O. Press et al., Train Short, Test Long: Attention with Linear Biases, 2022.
    """
    check_number("num_heads", num_heads, at_least=1)
    power = 1 << (num_heads.bit_length() - 1)
    slopes = [2 ** (-8 * h / power) for h in range(1, power + 1)]
    slopes += [2 ** (-4 * h / power) for h in range(1, 2 * (num_heads - power), 2)]
    return -torch.tensor(slopes, device=device)[:, None, None] * relative_positions(n_q, n_k, device).abs()


def t5_bucket(
    relative: Int[Tensor, "*shape"], *, num_buckets: int = 32, max_distance: int = 128, bidirectional: bool = True
) -> Int[Tensor, "*shape"]:
    """Bucket of each distance r = j - i: exact for short ones, logarithmic up to `max_distance`, one for the rest.

    Args:
        relative: integers, key minus query.
        num_buckets, max_distance: 32 and 128 are T5's choice; bidirectional, half of the buckets are for r > 0.
        bidirectional: False gives all later keys bucket 0.
    Example:
        >>> t5_bucket(torch.tensor([-20, -1, 0, 1, 20])).tolist()
        [10, 1, 0, 17, 26]

    References: C. Raffel et al., Exploring the Limits of Transfer Learning with a Unified Transformer, 2020.
    """
    check_number("num_buckets", num_buckets, at_least=4 if bidirectional else 2)
    check_number("max_distance", max_distance, above=num_buckets / 2)
    size = num_buckets // 2 if bidirectional else num_buckets
    exact = size // 2
    distance = relative.abs() if bidirectional else (-relative).clamp(min=0)
    log = (distance.clamp(min=1).double() / exact).log() / math.log(max_distance / exact)
    far = (exact + (log * (size - exact)).long()).clamp(max=size - 1)
    bucket = torch.where(distance < exact, distance, far)
    return bucket + size * (relative > 0) if bidirectional else bucket


def t5_bias(
    table: Float[Tensor, "buckets heads"], n_q: int, n_k: int, *, max_distance: int = 128, bidirectional: bool = True
) -> Float[Tensor, "heads _ _"]:
    """T5's bias for `bias=`: a trained number for each bucket of distances and each head.

    Args:
        table: one row a bucket; see `t5_bucket` for the other arguments.
    Example:
        >>> t5_bias(torch.arange(8.0)[:, None], 1, 3)[0]
        tensor([[2., 1., 0.]])
    """
    relative = relative_positions(n_q, n_k, table.device)
    bucket = t5_bucket(relative, num_buckets=table.shape[0], max_distance=max_distance, bidirectional=bidirectional)
    return table[bucket].movedim(-1, 0)
