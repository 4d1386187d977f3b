r"""Softmax attention as the limit of linear attention: e^(q·k) as an inner product of ever more features.

Title: Softmax attention as infinite linear attention | 作为无限维的线性 Attention
Also: Taylor attention, polynomial attention, 8601
Tags: attention, linear attention, rank, feature maps
Articles: Transformer升级之路:5、作为无限维的线性Attention
Page: docs/methods/infinite_attention.md
Notation: $x=q\cdot k$; $N$ = `degree`; $T_N$, $L_N$ = the schemes `"taylor"` and `"limit"`.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from functools import cache, partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from gezhi._checks import check_choice, check_number, invalid
from gezhi.nn.attention import FeatureMap, Mask, dot_product_attention

__all__ = [
    "exp_degree",
    "limit_features",
    "numerical_rank",
    "polynomial_attention",
    "polynomial_feature_dim",
    "polynomial_kernel",
    "taylor_features",
]

Scheme = Literal["taylor", "limit"]
SCHEMES = ("taylor", "limit")
WIDEST = 1_000_000  # features; more is a mistake rather than a wish


def taylor_features(
    x: Float[Tensor, "*rows dim"], degree: int, *, symmetric: bool = True
) -> Float[Tensor, "*rows features"]:
    r"""Features whose inner product is the Taylor polynomial of $e^{q\cdot k}$.

    $$\phi_T(q)\cdot\phi_T(k)=T_N(q\cdot k)=\sum_{m=0}^N\frac{(q\cdot k)^m}{m!} \tag{1}$$

    Args:
        x: queries or keys, holding the root of the scale.
        degree: N ≥ 0; 0 gives one constant feature.
        symmetric: one feature for each multiset of at most N channels, C(d+N, N) in all, by degree and then in
            lexicographic order; else one for each tuple, with the same inner products.
    Errors: ValueError for a degree below 0, and for more than 10⁶ features.
    Cost: O(features) for each row.
    Example:
        >>> q, k = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -0.5])
        >>> taylor_features(q, 2), (taylor_features(q, 2) @ taylor_features(k, 2)).item()  # 1 - 1/2 + 1/8
        (tensor([1.0000, 1.0000, 2.0000, 0.7071, 2.0000, 2.8284]), 0.62...)

    References: 苏剑林, Transformer升级之路:5、作为无限维的线性Attention, 2021.
    """
    return _features(x, degree, "taylor", symmetric)


def limit_features(
    x: Float[Tensor, "*rows dim"], degree: int, *, symmetric: bool = True
) -> Float[Tensor, "*rows features"]:
    r"""Features whose inner product is $(1+q\cdot k/N)^N$, which tends to $e^{q\cdot k}$ as well.

    $$\phi_L(q)\cdot\phi_L(k)=L_N(q\cdot k)=\Big(1+\frac{q\cdot k}N\Big)^N \tag{2}$$

    Its relative error is about $-x^2/2N$, against $x^{N+1}/(N+1)!$ of `taylor_features` at the same width.

    Args:
        x, degree, symmetric: see `taylor_features`; without `symmetric` there are (1+d)^N features.
    Example:
        >>> limit_features(torch.tensor([1.0, 2.0]), 2)
        tensor([1.0000, 1.0000, 2.0000, 0.5000, 1.4142, 2.0000])

    References: 苏剑林, Transformer升级之路:5、作为无限维的线性Attention, 2021.
    """
    return _features(x, degree, "limit", symmetric)


def polynomial_feature_dim(dim: int, degree: int, scheme: Scheme = "taylor", *, symmetric: bool = True) -> int:
    """Width of the features; the same for both schemes if symmetric.

    Example:
        >>> [polynomial_feature_dim(16, 2, s, symmetric=c) for s in ("taylor", "limit") for c in (False, True)]
        [273, 153, 289, 153]
    """
    _check(degree, scheme)
    if symmetric:
        return math.comb(dim + degree, degree)  # (5)
    return (1 + dim) ** degree if scheme == "limit" else sum(dim**m for m in range(degree + 1))


def _features(x: Tensor, degree: int, scheme: Scheme, symmetric: bool) -> Tensor:
    width = polynomial_feature_dim(x.shape[-1], degree, scheme, symmetric=symmetric)
    if width > WIDEST:
        found = f"{width} for {x.shape[-1]} channels and degree {degree}"
        raise invalid("the number of features", f"be at most {WIDEST}", found, "Evaluate quadratically.")
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if symmetric:
        return _by_multiset(x, degree, scheme)
    if scheme == "limit":
        factor = torch.cat([torch.ones_like(x[..., :1]), x / math.sqrt(max(degree, 1))], -1)
        return _tensor_powers(factor, degree)[-1]
    return torch.cat([power / math.sqrt(math.factorial(m)) for m, power in enumerate(_tensor_powers(x, degree))], -1)


def _tensor_powers(x: Tensor, degree: int) -> list[Tensor]:
    powers = [torch.ones_like(x[..., :1])]
    for _ in range(degree):
        powers.append((powers[-1][..., :, None] * x[..., None, :]).flatten(-2))
    return powers


def _by_multiset(x: Tensor, degree: int, scheme: Scheme) -> Tensor:
    """Each monomial is one of the degree below times a channel that does not precede its last."""
    dim = x.shape[-1]
    steps, weights = _steps(dim, degree).to(x.device), _weights(dim, degree, scheme).to(x)
    powers = [torch.ones_like(x[..., :1])]
    for m in range(1, degree + 1):
        done, width = math.comb(dim + m - 1, m - 1), math.comb(dim + m - 1, m)
        parent, channel = steps[:, done : done + width]
        powers.append(powers[-1][..., parent] * x[..., channel])
    features: Tensor = torch.cat(powers, -1) * weights  # (4)
    return features


@cache
def _monomials(dim: int, degree: int) -> NDArray[np.float64]:
    """For each monomial, by degree: its parent in the degree below, its last channel, and Π αᵢ! of its exponents."""
    parents, channels, factorials = [0], [-1], [1]
    start, runs = 0, [0]
    for _ in range(degree):
        stop = len(channels)
        pairs = [(parent, c) for parent in range(start, stop) for c in range(max(channels[parent], 0), dim)]
        runs = [runs[parent - start] + 1 if channels[parent] == c else 1 for parent, c in pairs]
        factorials += [factorials[parent] * run for (parent, _), run in zip(pairs, runs, strict=True)]
        parents += [parent - start for parent, _ in pairs]
        channels += [c for _, c in pairs]
        start = stop
    return np.array([parents, channels, factorials], dtype=np.float64)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _steps(dim: int, degree: int) -> Int[Tensor, "2 features"]:
    return torch.from_numpy(_monomials(dim, degree)[:2]).long()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _weights(dim: int, degree: int, scheme: Scheme) -> Float[Tensor, " features"]:
    """Roots of the multinomial coefficients, relative to the coefficient of x^m in the polynomial."""
    of_power = [1.0 if scheme == "taylor" else math.perm(degree, m) / max(degree, 1) ** m for m in range(degree + 1)]
    counts = [math.comb(dim + m - 1, m) for m in range(degree + 1)]
    return torch.from_numpy(np.sqrt(np.repeat(of_power, counts) / _monomials(dim, degree)[2]))


def _check(degree: int, scheme: str) -> None:
    check_choice("scheme", scheme, SCHEMES)
    if isinstance(degree, bool) or not isinstance(degree, int) or degree < 0:
        raise invalid("degree", "be an integer of at least 0", repr(degree))


def _polynomial(x: Tensor, degree: int, scheme: Scheme) -> Tensor:
    if scheme == "limit":
        return (1 + x / degree) ** degree if degree else torch.ones_like(x)  # (2)
    value = torch.ones_like(x)
    for m in range(degree, 0, -1):
        value = 1 + value * x / m  # (1)
    return value


def _dense_weights(scores: Tensor, *, degree: int, scheme: Scheme) -> Tensor:
    """The kernel on scores: values of the polynomial over their sum."""
    hidden = scores == -math.inf
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32)).masked_fill(hidden, 0)
    values = _polynomial(wide, degree, scheme).masked_fill(hidden, 0)
    norms = values.sum(-1, keepdim=True)
    return (values / norms.masked_fill(norms == 0, 1)).to(scores.dtype)  # (8)


def polynomial_kernel(degree: int = 2, scheme: Scheme = "taylor", *, allow_negative: bool = False) -> FeatureMap:
    r"""The features as a `kernel=` of `dot_product_attention`, at O(n) cost.

    Args:
        degree: N; only even ones keep all weights positive.
        allow_negative: take an odd degree all the same; weights may be negative and normalisers zero.
    Errors: ValueError for an odd degree without `allow_negative`.
    Example:
        >>> x = torch.eye(2).reshape(1, 1, 2, 2)
        >>> dot_product_attention(x, x, x, kernel=polynomial_kernel(2), scale=1)[0, 0, 0]
        tensor([0.7143, 0.2857])
    """
    _check(degree, scheme)
    if degree % 2 and not allow_negative:
        fix = f"Odd degrees are negative below a root: pass {degree + 1}, or allow_negative=True."
        raise invalid("degree", "be even", degree, fix)
    features = partial(taylor_features if scheme == "taylor" else limit_features, degree=degree)
    return FeatureMap(features, features, scaled=True)


def polynomial_attention(
    query: Float[Tensor, "batch heads queries dim"],
    key: Float[Tensor, "batch key_heads keys dim"],
    value: Float[Tensor, "batch key_heads keys width"],
    *,
    degree: int = 2,
    scheme: Scheme = "taylor",
    scale: float | None = None,
    normalize_qk: bool = False,
    mask: Mask | Tensor | None = None,
    mode: Literal["auto", "linear", "quadratic"] = "auto",
    allow_negative: bool = False,
) -> Float[Tensor, "batch heads queries width"]:
    r"""Attention with $e^x$ replaced by a polynomial of x = scale · q·k.

    $$a_{ij}=\frac{T_N(x_{ij})}{\sum_tT_N(x_{it})} \tag{8}$$

    Args:
        degree, scheme, allow_negative: see `polynomial_kernel`.
        scale: 1/√dim by default; 1 is the article's form.
        normalize_qk: queries and keys of length 1, so that |x| ≤ scale and a low degree is enough.
        mask: True may attend; only a rule without a dense part can be served in linear mode.
        mode: `"linear"` by features, `"quadratic"` by scores; the result is the same. `"auto"` takes the cheaper one:
            quadratic for n < 2 D d_v / (d + d_v), D the number of features.
    Returns: a row per query, in its dtype.
    Errors: as `polynomial_kernel`; ValueError for an unknown scheme or mode.
    Example:
        >>> x = torch.eye(2).reshape(1, 1, 2, 2)
        >>> polynomial_attention(x, x, x, degree=4, scale=1.0)[0, 0, 0]
        tensor([0.7303, 0.2697])

    References: 苏剑林, Transformer升级之路:5、作为无限维的线性Attention, 2021; S. Arora et al., Based, 2024.
    """
    check_choice("mode", mode, ("auto", "linear", "quadratic"))
    kernel = polynomial_kernel(degree, scheme, allow_negative=allow_negative)
    if normalize_qk:
        query, key = (torch.nn.functional.normalize(x, dim=-1) for x in (query, key))
    dim, width = query.shape[-1], value.shape[-1]
    if mode == "auto":
        crossover = 2 * polynomial_feature_dim(dim, degree, scheme) * width / (dim + width)
        mode = "quadratic" if key.shape[-2] < crossover or isinstance(mask, Tensor) else "linear"
    if mode == "linear":
        return dot_product_attention(query, key, value, mask=mask, scale=scale, kernel=kernel)
    dense = partial(_dense_weights, degree=degree, scheme=scheme)
    return dot_product_attention(query, key, value, mask=mask, scale=scale, kernel=dense)


def exp_degree(radius: float, rtol: float, scheme: Scheme = "taylor", *, even: bool = True) -> int:
    r"""Least degree whose relative error is at most `rtol` for all |x| ≤ radius; the worst point is -radius.

    Args:
        radius: R > 0.
        rtol: in (0, 1).
        even: even degrees only, which keep weights positive.
    Example:
        >>> exp_degree(4, 1e-3, even=False), exp_degree(4, 1e-3, "limit", even=False)
        (17, 7999)
    """
    check_number("radius", radius, above=0)
    check_number("rtol", rtol, above=0, below=1)
    check_choice("scheme", scheme, SCHEMES)
    error = _taylor_error if scheme == "taylor" else _limit_error
    step = 2 if even else 1
    low, high = -1, 0  # in steps: the one fails, the other is enough once the loop ends
    while error(high * step, radius) > rtol:
        low, high = high, 2 * high + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if error(middle * step, radius) > rtol else (low, middle)
    return high * step


def _limit_error(degree: int, radius: float) -> float:
    if degree == 0:
        return math.expm1(radius)
    return 1.0 if degree <= radius else -math.expm1(degree * math.log1p(-radius / degree) + radius)


def _taylor_error(degree: int, radius: float) -> float:
    """|T_N(-R)e^R - 1|; the alternating sum needs as many more digits as its largest term has."""
    with localcontext() as context:
        context.prec = 40 + int(radius)
        x = -Decimal(radius)
        term = total = Decimal(1)
        for m in range(1, degree + 1):
            term = term * x / m
            total += term
        return float(abs(total * (-x).exp() - 1))


def numerical_rank(matrix: Float[Tensor, "*batch rows columns"], rtol: float) -> Tensor:
    """How many singular values exceed `rtol` times the largest.

    Example:
        >>> numerical_rank(torch.diag(torch.tensor([1.0, 0.1, 1e-4])), 1e-3).item()
        2
    """
    check_number("rtol", rtol, at_least=0, below=1)
    values = torch.linalg.svdvals(matrix)
    rank: Tensor = (values > rtol * values[..., :1]).sum(-1)
    return rank
