"""The dimension at which a softmax over random vectors runs out of entropy."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gezhi._checks import check_choice
from gezhi._numerics import real_array, spherical_entropy_shift

GOLDEN_SLOPE = float(np.log((1 + 5**0.5) / 2) / 2)  # of -h_n for large n: 0.240606
LOGARITHMS = {"joint": 2, "row": 1}  # the softmax is over N² pairs, or over N keys


def entropy_gap(n: ArrayLike) -> NDArray[np.float64]:
    r"""Entropy that n dimensions take away, in nats.

    $$h_n=\log\mathbb E\,e^{n\cos\theta}-\frac{\mathbb E[e^{n\cos\theta}\,n\cos\theta]}{\mathbb E\,e^{n\cos\theta}}
      \tag{3}$$

    θ is the angle of two random directions. A softmax over M random vectors with coordinates of size 1 has an entropy
    near log M + h_n, as long as that is well above 0.

    Args:
        n: dimensions, ≥ 2, real.
    Returns: values < 0, strictly decreasing, -0.2406 n - 0.0739 for large n; a scalar for a scalar.
    Example:
        >>> entropy_gap([32, 64, 128]).round(4).tolist()
        [-7.7747, -15.4734, -30.8718]

    References: 苏剑林, 最小熵原理(六):词向量的维度应该怎么选择?, 2020.
    """
    return spherical_entropy_shift(real_array("n", n, at_least=2), 1.0)  # (3)


def min_embedding_dim(N: ArrayLike, *, softmax: Literal["joint", "row"] = "joint") -> NDArray[np.float64]:
    r"""Dimension at which the entropy of a softmax over random vectors reaches 0.

    $$2\log N+h_n=0\ \text{(joint)},\qquad \log N+h_n=0\ \text{(row)} \tag{5}$$

    Args:
        N: words, nodes or keys, ≥ 2; the number itself, not its logarithm.
        softmax: what sums to 1: all N² pairs (`"joint"`, the article's choice), or each row of N (`"row"`, which is how
            attention and word2vec normalise). Row needs about half the width.
    Returns: the real root, a scalar for a scalar. The width is its ceiling.
    Use instead: a held-out score, where one can be had. Trained vectors pack more densely than random ones.
    Example:
        >>> min_embedding_dim([512, 100_000]).round(2).tolist()
        [51.54, 95.39]
        >>> float(min_embedding_dim(512, softmax="row").round(2))
        25.61

    References: 苏剑林, 关于维度公式"n > 8.33 log N"的可用性分析, 2021.
    """
    check_choice("softmax", softmax, LOGARITHMS)
    target = LOGARITHMS[softmax] * np.log(real_array("N", N, at_least=2))
    n = np.full_like(target, 2.0)
    # The slope of h_n stays within 1.4 % of its limit, so each step with the limit gains about two digits.
    for _ in range(8):
        n = n + (target + entropy_gap(n)) / GOLDEN_SLOPE  # (5)
    return n


def rule_of_thumb(N: ArrayLike, *, coefficient: float = 8.33) -> NDArray[np.float64]:
    r"""The published rule, linear in the logarithm.

    $$n=c\,\log N \tag{6}$$

    Args:
        N: words, nodes or keys, ≥ 2.
        coefficient: c > 0. 8.33 is the article's; unrounded it is 8.3123, and 4.1562 for a softmax over each row.
    Returns: the real value, a scalar for a scalar.
    Use instead: `min_embedding_dim`, which keeps the constant that the rule drops.
    Example:
        >>> float(rule_of_thumb(100_000).round(1))
        95.9

    References: 苏剑林, 最小熵原理(六):词向量的维度应该怎么选择?, 2020.
    """
    return real_array("coefficient", coefficient, above=0) * np.log(real_array("N", N, at_least=2))  # (6)
