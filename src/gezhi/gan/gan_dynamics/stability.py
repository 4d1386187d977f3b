"""What becomes of a state: the flow by an adaptive solver, and the eigenvalues of its linear part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from gezhi._checks import check_number, invalid
from gezhi.gan.game import Game, Method

Array = NDArray[np.float64]
Solver = Literal["RK45", "DOP853", "Radau", "LSODA"]
Verdict = Literal["contracts", "expands", "marginal"]


class Flow(NamedTuple):
    """Times (n,) and states (n, dim)."""

    t: Array
    states: Array


def simulate(
    field: Callable[[Any], Any],
    start: ArrayLike,
    t: float | ArrayLike,
    *,
    method: Solver = "DOP853",
    rtol: float = 1e-10,
    atol: float = 1e-12,
) -> Flow:
    """The flow of a field from a start.

    Args:
        field: velocity at a state; of arrays (`dirac_field`) or of tensors (`game.field`).
        start: state at time 0.
        t: the last time, then the solver's own steps are returned; or the times to return, ascending.
        method, rtol, atol: of `scipy.integrate.solve_ivp`.
    Errors: RuntimeError where the solver gives up, with its message.
    Example:
        >>> flow = simulate(lambda x: np.array([-x[1], x[0]]), [1.0, 0.0], [0.0, np.pi])
        >>> flow.states[-1].round(6).tolist()
        [-1.0, 0.0]
    """
    times = np.atleast_1d(np.asarray(t, dtype=np.float64))
    first = np.asarray(start, dtype=np.float64)
    check_number("t", float(times[-1]), above=0, below=float("inf"))

    def velocity(_: float, state: Any) -> Array:
        return _as_array(field(state if not _of_tensors(field) else torch.from_numpy(state)))

    asked = None if np.ndim(t) == 0 else times
    found = solve_ivp(velocity, (0.0, float(times[-1])), first, method=method, t_eval=asked, rtol=rtol, atol=atol)
    if not found.success:
        raise RuntimeError(f"the flow could not be followed to t = {times[-1]:g}: {found.message}")
    return Flow(found.t, found.y.T)


def _of_tensors(field: Any) -> bool:
    return isinstance(getattr(field, "__self__", None), Game)


def _as_array(value: Any) -> Array:
    return value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value, dtype=np.float64)


@dataclass(frozen=True)
class StabilityReport:
    """The linear part of a game at a state.

    Attributes:
        eigenvalues: complex, of the field's Jacobian or, with a step size, of the map's.
        spectral_radius: their largest absolute value.
        verdict: "contracts", "expands", or "marginal": then the linear part decides nothing, only a simulation does.
        growth: the largest real part, or with a step size the largest absolute value less 1.
    """

    eigenvalues: Array
    spectral_radius: float
    growth: float
    verdict: Verdict

    def __str__(self) -> str:
        tail = " (the eigenvalues decide nothing: simulate)" if self.verdict == "marginal" else ""
        return f"{self.verdict}{tail}; growth {self.growth:.3g}, spectral radius {self.spectral_radius:.6g}"


def stability_report(
    game: Game,
    state: Tensor | None = None,
    *,
    h: float | None = None,
    method: Method = "simultaneous",
    tol: float = 1e-9,
) -> StabilityReport:
    """Whether a game, bound to a batch, is drawn to a state, by the eigenvalues of its Jacobian there.

    Args:
        state: (φ, θ), by default the game's present parameters; where the field is not 0 the answer is that of the
            linear part alone.
        h, method: size and kind of a step (`Game.step`); without h the flow is judged. "optimistic" doubles the state.
        tol: growth of at most this size is marginal; ≥ 0.
    """
    check_number("tol", tol, at_least=0)
    at = game.state() if state is None else state
    if state is None and method == "optimistic":
        at = torch.cat([at, at])
    found = game.eigenvalues(at, h, method).numpy()
    growth = float(found.real.max()) if h is None else float(np.abs(found).max()) - 1
    verdict: Verdict = "marginal" if abs(growth) <= tol else "contracts" if growth < 0 else "expands"
    return StabilityReport(found, float(np.abs(found).max()), growth, verdict)


def phase_portrait(
    field: Callable[[Any], Any], center: ArrayLike, axes: tuple[int, int], *, radius: float = 1.0, n: int = 15
) -> tuple[Array, Array, Array, Array]:
    """A field on a square of a plane, for `matplotlib`'s `quiver` or `streamplot`.

    Args:
        center: the state in the middle.
        axes: which two of its entries vary.
        radius, n: half the side, and points a side.
    Returns: the two coordinates (n,) and the two velocities (n, n), rows along the second coordinate.
    """
    middle = np.asarray(center, dtype=np.float64)
    if len(set(axes)) < 2 or not all(0 <= axis < len(middle) for axis in axes):
        raise invalid("axes", f"be two different numbers from 0 to {len(middle) - 1}", axes)
    sides = [middle[axis] + np.linspace(-radius, radius, n) for axis in axes]
    found = np.empty((2, n, n))
    for j, second in enumerate(sides[1]):
        for i, first in enumerate(sides[0]):
            state = middle.copy()
            state[list(axes)] = first, second
            at = torch.from_numpy(state) if _of_tensors(field) else state
            found[:, j, i] = _as_array(field(at))[list(axes)]
    return sides[0], sides[1], found[0], found[1]
