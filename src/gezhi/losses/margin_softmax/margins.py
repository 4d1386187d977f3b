"""Margins: what takes the place of the target's cosine."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from gezhi._checks import check_number

Margin = Callable[[Tensor], Tensor]


class UnreachableMarginWarning(UserWarning):
    """No pair of cosines differs by this margin, so the loss can never be small: lower the margin below 2."""


def additive_cosine(margin: float = 0.35) -> Margin:
    r"""AM-Softmax and CosFace: subtract a margin from the target's cosine.

    $$\psi=\cos\theta-m \tag{9}$$

    Args:
        margin: m ≥ 0. 0.35 is the choice of both papers; from 2 on it cannot be reached, which warns.
    Errors: ValueError for a negative margin.
    Example:
        >>> additive_cosine(0.25)(torch.tensor([1.0, 0.5]))
        tensor([0.7500, 0.2500])

    References: F. Wang, J. Cheng, W. Liu and H. Liu, Additive Margin Softmax for Face Verification, 2018; H. Wang et
        al., CosFace: Large Margin Cosine Loss for Deep Face Recognition, 2018.
    """
    check_number("margin", margin, at_least=0)
    if margin >= 2:
        warnings.warn(f"margin {margin:g}: two cosines differ by 2 at most", UnreachableMarginWarning, stacklevel=2)
    return partial(_additive_cosine, margin=float(margin))


def additive_angle(margin: float = 0.5) -> Margin:
    r"""ArcFace: add a margin to the target's angle, without forming the angle.

    $$\psi=\cos(\theta+m)=\cos\theta\cos m-\sin\theta\sin m,\qquad
      \psi=\cos\theta-m\sin m\ \text{ where }\theta+m>\pi \tag{10}$$

    Args:
        margin: m in radians, 0 ≤ m < π. 0.5 is the paper's choice (28.6 degrees in pytorch-metric-learning).
    Returns: a function with finite slope everywhere: near cosines of ±1 the sine is held above 0.
    Errors: ValueError for a margin outside that range.
    Example:
        >>> additive_angle(0.5)(torch.tensor([1.0, 0.0, -1.0]))
        tensor([ 0.8774, -0.4794, -1.2397])

    References: J. Deng, J. Guo, N. Xue and S. Zafeiriou, ArcFace: Additive Angular Margin Loss for Deep Face
        Recognition, 2018.
    """
    check_number("margin", margin, at_least=0)
    check_number("margin", margin, below=math.pi, fix="The angle is in radians.")
    return partial(_additive_angle, margin=float(margin))


def quadruple_angle() -> Margin:
    r"""The simpler A-Softmax of the 2018 article: four times the angle, and no constant to choose.

    $$\psi=\min(\cos4\theta,\cos\theta),\qquad\cos4\theta=8\cos^4\theta-8\cos^2\theta+1 \tag{11}$$

    Example:
        >>> quadruple_angle()(torch.tensor([1.0, 0.5, -0.5]))
        tensor([ 1.0000, -0.5000, -0.5000])

    References: W. Liu et al., SphereFace: Deep Hypersphere Embedding for Face Recognition, 2017; 苏剑林,
        基于GRU和AM-Softmax的句子相似度模型, 2018.
    """
    return _quadruple_angle


def _additive_cosine(cosine: Float[Tensor, "*rows"], margin: float) -> Float[Tensor, "*rows"]:
    return cosine - margin  # (9)


def _additive_angle(cosine: Float[Tensor, "*rows"], margin: float) -> Float[Tensor, "*rows"]:
    floor = 1e-12 if cosine.dtype == torch.float64 else 1e-7
    sine = (1 - cosine.square()).clamp(min=floor).sqrt()
    turned = cosine * math.cos(margin) - sine * math.sin(margin)
    beyond = cosine < -math.cos(margin)
    return torch.where(beyond, cosine - margin * math.sin(margin), turned)  # (10)


def _quadruple_angle(cosine: Float[Tensor, "*rows"]) -> Float[Tensor, "*rows"]:
    square = cosine.square()
    return torch.minimum(8 * square.square() - 8 * square + 1, cosine)  # (11)
