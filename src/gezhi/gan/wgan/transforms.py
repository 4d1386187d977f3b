"""Critics without a Lipschitz device: the other potential is a c-transform of the critic over the batch."""

from __future__ import annotations

import math

from torch import Tensor

from gezhi._checks import check_number, invalid
from gezhi.gan.divergences import Critic, Losses, scores_of
from gezhi.gan.wgan.transport import pairwise_distances


def c_transform(f_x: Tensor, cost: Tensor) -> Tensor:
    r"""$f^c(y_j)=\min_i\,[C_{ij}-f(x_i)]$, (m,): the largest potential at y that f allows.

    Args:
        f_x: (n,), the critic at the real samples.
        cost: (n, m).
    """
    return _excess(f_x, cost).amin(0)  # (4)


def soft_c_transform(f_x: Tensor, cost: Tensor, epsilon: float) -> Tensor:
    r"""$f^{c,\varepsilon}(y_j)=-\varepsilon\log\frac1n\sum_ie^{-(C_{ij}-f(x_i))/\varepsilon}$, a soft minimum, (m,).

    It lies between $f^c$ and $f^c+\varepsilon\log n$.

    Args:
        f_x, cost: of `c_transform`.
        epsilon: ε > 0; for the limit 0 use `c_transform`.
    """
    check_number("epsilon", epsilon, above=0, fix="For 0 use c_transform.")
    excess = _excess(f_x, cost)
    return -epsilon * ((-excess / epsilon).logsumexp(0) - math.log(len(f_x)))  # (5)


def _excess(f_x: Tensor, cost: Tensor) -> Tensor:
    if cost.ndim != 2 or not len(cost) or f_x.shape != cost.shape[:1]:
        raise invalid("f_x", "have one entry a row of cost", f"shapes {tuple(f_x.shape)} and {tuple(cost.shape)}")
    return cost - f_x[:, None]


class CTransform:
    r"""A divergence whose critic is paired with its c-transform: it measures the distance of the batch itself.

    $$L_D=-\overline{f(x)}-\overline{f^c(y)},\qquad L_G=\overline{f^c(y)}\text{, through the cost} \tag{6}$$

    Args:
        epsilon: ε ≥ 0; above 0 the soft minimum.
    Cost: O(nmd) for the distances of all pairs.
    """

    def __init__(self, epsilon: float = 0.0) -> None:
        self.epsilon = check_number("epsilon", epsilon, at_least=0)

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor) -> Losses:
        f_x, cost = scores_of(critic, real), pairwise_distances(real, fake)
        f_y = (soft_c_transform(f_x, cost, self.epsilon) if self.epsilon else c_transform(f_x, cost)).mean()
        return -f_x.mean() - f_y, f_y
