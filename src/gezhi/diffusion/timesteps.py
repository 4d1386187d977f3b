"""Sub-sequences of the steps of a chain: which K of the T times a sampler visits."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from gezhi._checks import check_choice, check_integer, invalid

SPACINGS = ("linspace", "leading", "trailing", "quadratic")


def timestep_subsequence(
    steps: int, count: int, spacing: Literal["linspace", "leading", "trailing", "quadratic"] = "linspace"
) -> Int[Tensor, " count"]:
    r"""K of the times 1..T, ascending; a sampler walks them downwards and ends at 0.

    `linspace`: from 1 to T evenly (Analytic-DPM's code). `leading`: 1 + k⌊T/K⌋ (DDIM's code, diffusers' default).
    `trailing`: T - kT/K, so that it ends at T. `quadratic`: dense near the data, up to 0.8 T (DDIM on CIFAR-10).
    Fractions are rounded half to even from their exact value, not from a float.

    Args:
        steps: T ≥ 1.
        count: K, from 1 to T; K = 1 is [T] for every spacing.
        spacing: see above.
    Errors: ValueError for a `quadratic` whose entries repeat; it names the largest count below that does not.
    Example:
        >>> timestep_subsequence(1000, 5).tolist(), timestep_subsequence(1000, 5, "trailing").tolist()
        ([1, 251, 500, 750, 1000], [200, 400, 600, 800, 1000])

    References: J. Song, C. Meng and S. Ermon, Denoising Diffusion Implicit Models, 2020; 苏剑林, 生成扩散模型漫谈(四).
    """
    steps = check_integer("steps", steps, at_least=1)
    count = check_integer("count", count, at_least=1, at_most=steps)
    check_choice("spacing", spacing, SPACINGS)
    found = _spaced(steps, count, spacing)
    if not _ascending(found):
        legal = next(k for k in range(count - 1, 0, -1) if _ascending(_spaced(steps, k, spacing)))
        raise invalid("count", f"give {spacing} times that differ", count, f"The largest below that does is {legal}.")
    return torch.tensor(found)


def _spaced(steps: int, count: int, spacing: str) -> list[int]:
    if count == 1:
        return [steps]
    k = range(count)
    if spacing == "linspace":
        return [round(1 + Fraction(i * (steps - 1), count - 1)) for i in k]
    if spacing == "leading":
        return [1 + i * (steps // count) for i in k]
    if spacing == "trailing":
        return sorted(round(steps - Fraction(i * steps, count)) for i in k)
    return [int(Fraction(i * i * 4 * steps, 5 * (count - 1) ** 2)) + 1 for i in k]


def _ascending(times: Sequence[Any]) -> bool:
    return all(a < b for a, b in pairwise(times))


def chain(times: Sequence[int | float] | Tensor, steps: int) -> list[int | float]:
    """The times of a sampler from noise to data: downwards through `times`, then 0; given in either direction."""
    found = times.tolist() if isinstance(times, Tensor) else list(times)
    if not found:
        raise invalid("times", "hold at least one time", found)
    found = found if len(found) > 1 and found[0] > found[-1] else found[::-1]
    outside = [t for t in found if not 0 < t <= steps]
    if outside:
        raise invalid("times", f"lie in (0, {steps}]", outside[0], "The step to 0 is added to every chain.")
    if not _ascending(found[::-1]):
        raise invalid("times", "be strictly monotone", found)
    return [*found, 0]
