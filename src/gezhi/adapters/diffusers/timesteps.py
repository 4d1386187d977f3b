"""Timesteps as diffusers counts them: 0 is its first noisy state, which is t = 1 here, and the last is T - 1."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from gezhi._checks import check_integer, invalid
from gezhi.diffusion.timesteps import SPACINGS as SPACINGS
from gezhi.diffusion.timesteps import timestep_subsequence


def spaced(training_steps: int, count: int | None, spacing: str, offset: int = 0) -> list[int]:
    """`count` timesteps from the highest down, as diffusers spaces them.

    "leading" adds `offset`. "linspace" is rounded on 0..T-1, as there, and "trailing" from the exact fraction, where
    diffusers' own is off for some counts. "quadratic" is ours. One step begins at the end, T - 1, for every spacing.

    Errors: ValueError for a count above T, one whose entries repeat (quadratic), and an offset that leaves 0..T-1.
    """
    count = check_integer("num_inference_steps", count, at_least=1, at_most=training_steps)
    if spacing == "linspace" and count > 1:
        found = [round(Fraction(i * (training_steps - 1), count - 1)) for i in range(count)]
    else:
        found = [t - 1 for t in timestep_subsequence(training_steps, count, spacing).tolist()]  # type: ignore[arg-type]
    if spacing == "leading" and count > 1:
        found = [t + offset for t in found]
    if found[-1] >= training_steps:
        raise invalid("steps_offset", f"leave the timesteps below {training_steps}", f"{offset}, up to {found[-1]}")
    return found[::-1]


def checked(training_steps: int, timesteps: Sequence[int]) -> list[int]:
    """A user's own timesteps, from the highest down.

    Errors: ValueError where they are empty, out of order, repeated, or outside 0..T-1.
    """
    found = [check_integer("timesteps", t) for t in timesteps]
    if not found:
        raise invalid("timesteps", "hold at least one", found)
    for t in (t for t in found if not 0 <= t < training_steps):
        raise invalid("timesteps", f"lie in 0..{training_steps - 1}", t)
    for above, below in pairwise(found):
        if not above > below:
            raise invalid("timesteps", "descend", f"{below} after {above}", "Pass them from the highest to the lowest.")
    return found
