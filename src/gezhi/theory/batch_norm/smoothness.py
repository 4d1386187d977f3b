"""How fast the gradient of a linear model can change: exact constants from the moments of its input."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gezhi._checks import check_choice, invalid
from gezhi._numerics import real_array

CURVATURE = {"logistic": 0.25, "squared": 1.0}  # most that the loss bends in the model's output
SMALLEST = 1e-10  # of the largest eigenvalue; what is below is a column without spread, or a copy


def gradient_lipschitz(X: ArrayLike, *, loss: Literal["logistic", "squared"] = "logistic") -> float:
    r"""Smallest Lipschitz constant of the gradient of a linear model with a bias.

    $$L=c\,\lambda_{\max}\begin{pmatrix}\mathbb E\,xx^\top&\mathbb E\,x\\\mathbb E\,x^\top&1\end{pmatrix},\qquad
      c=\tfrac14\text{ (logistic)},\ 1\text{ (squared)} \tag{4}$$

    The mean loss falls with every gradient step below 2/L, and 1/L is the step that promises most.

    Args:
        X: input, (rows, columns), finite, a row at least.
        loss: `"logistic"`, $\log(1+e^z)-tz$, or `"squared"`, $\frac12(z-t)^2$; targets do not matter.
    Returns: L ≥ c, since the bias alone has the curvature c.
    Errors: ValueError for other shapes and for values that are not finite.
    Cost: O(rows · columns² + columns³).
    Example:
        >>> round(gradient_lipschitz([[1, -2], [2, 0.5], [4, 1], [-1, 3]]), 6)
        1.492046

    References: 苏剑林, BN究竟起了什么作用?一个闭门造车的分析, 2019.
    """
    check_choice("loss", loss, CURVATURE)
    return float(CURVATURE[loss] * np.linalg.eigvalsh(_moments(_table(X)))[-1])  # (4)


class InputSmoothness(NamedTuple):
    """What `input_smoothness` gives."""

    input_bound: float
    condition_number: float


def input_smoothness(X: ArrayLike) -> InputSmoothness:
    r"""Size of the input that bounds how fast a layer's gradient changes, and how unequal its directions are.

    $$\sqrt{\mathbb E\lVert x\rVert_2^2},\qquad\lambda_{\max}/\lambda_{\min} \tag{2}$$

    Args:
        X: input, (rows, columns), finite, a row at least.
    Returns: `input_bound`, smallest for centred input; `condition_number` of the matrix in (4), with the smallest
        eigenvalue above 1e-10 of the largest, so that columns without spread drop out.
    Example:
        >>> bound, condition = input_smoothness([[1, -2], [2, 0.5], [4, 1], [-1, 3]])
        >>> round(bound, 6), round(condition, 2)
        (3.010399, 13.84)
    """
    table = _table(X)
    eigenvalues = np.linalg.eigvalsh(_moments(table))
    smallest = eigenvalues[eigenvalues > SMALLEST * eigenvalues[-1]][0]
    bound = np.sqrt(np.square(table).sum(1).mean())  # (2)
    return InputSmoothness(float(bound), float(eigenvalues[-1] / smallest))


def _table(X: Any) -> NDArray[np.float64]:
    table = real_array("X", X)
    if table.ndim != 2 or not len(table):
        raise invalid("X", "be a table with a row at least", f"shape {table.shape}")
    return table


def _moments(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Second moments of the input with a 1 in front, which is the bias's."""
    extended = np.hstack([np.ones((len(table), 1)), table])
    return np.asarray(extended.T @ extended / len(table))  # (4)
