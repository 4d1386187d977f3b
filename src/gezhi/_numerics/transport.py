"""Exact optimal transport between two weighted sets of points: assignment, network simplex, or linear programming."""

from __future__ import annotations

import importlib.util
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, sparse

from gezhi._checks import check_choice, invalid, require

Array = NDArray[np.float64]
Solver = Literal["auto", "assignment", "pot", "highs"]


def exact_transport(
    cost: ArrayLike, a: ArrayLike | None = None, b: ArrayLike | None = None, *, solver: Solver = "auto"
) -> tuple[float, Array]:
    r"""The cheapest plan that moves masses a to masses b, and what it costs.

    $$\min_{\gamma\ge0}\sum_{ij}\gamma_{ij}C_{ij},\qquad \sum_j\gamma_{ij}=a_i,\quad \sum_i\gamma_{ij}=b_j$$

    Args:
        cost: C, (n, m), finite.
        a, b: masses ≥ 0 that sum to 1; uniform by default.
        solver: "auto": assignment where n = m and no masses are given, else POT where it is installed, else HiGHS.
    Returns: the cost and the plan γ, both float64; the plan's rows and columns sum to a and b.
    Cost: assignment O(n³); POT's network simplex about O(n³ log n); HiGHS several times as much.
    """
    check_choice("solver", solver, ("auto", "assignment", "pot", "highs"))
    costs = _costs(cost)
    plain = a is None and b is None and costs.shape[0] == costs.shape[1]
    masses = [_masses(name, mass, n) for name, mass, n in zip("ab", (a, b), costs.shape, strict=True)]
    if solver == "assignment" and not plain:
        raise invalid("solver", "be another one for masses or batches of two sizes", "'assignment'", "Use 'auto'.")
    if solver == "assignment" or (solver == "auto" and plain):
        plan = _assignment(costs)
    elif solver == "pot" or (solver == "auto" and importlib.util.find_spec("ot")):
        plan = _network_simplex(costs, *masses)[0]
    else:
        plan = _linear_program(costs, *masses)[0]
    return float((plan * costs).sum()), plan


def transport_with_potentials(costs: Array, a: Array, b: Array) -> tuple[float, Array]:
    """What the cheapest plan costs, and the potentials of the rows in the dual problem; for inner loops, unchecked.

    Args:
        costs: (n, m), finite, float64.
        a, b: masses > 0 of equal sums.
    Returns: the cost, and u, (n,): with v_j = min_i(C_ij − u_i), u·a + v·b is the cost. For any u it is a lower bound.
    """
    solve = _network_simplex if importlib.util.find_spec("ot") else _linear_program
    plan, potentials = solve(costs, a, b)
    return float((plan * costs).sum()), potentials


def _costs(cost: ArrayLike) -> Array:
    costs = np.asarray(cost, dtype=np.float64)
    if costs.ndim != 2 or not costs.size:
        raise invalid("cost", "be a matrix with a row and a column at least", f"shape {costs.shape}")
    if not np.isfinite(costs).all():
        row, column = np.argwhere(~np.isfinite(costs))[0]
        raise invalid("cost", "be finite", f"{costs[row, column]} in row {row}, column {column}")
    return costs


def _masses(name: str, mass: ArrayLike | None, size: int) -> Array:
    if mass is None:
        return np.full(size, 1 / size)
    masses = np.asarray(mass, dtype=np.float64)
    if masses.shape != (size,):
        raise invalid(name, f"have shape ({size},), one mass a point", f"shape {masses.shape}")
    if not (masses >= 0).all():
        raise invalid(name, "be at least 0", masses[~(masses >= 0)][0])
    if abs(masses.sum() - 1) > 1e-6:
        raise invalid(name, "sum to 1 within 1e-6", masses.sum(), f"Divide {name} by its sum.")
    normal: Array = masses / masses.sum()
    return normal


def _assignment(costs: Array) -> Array:
    plan = np.zeros_like(costs)
    plan[optimize.linear_sum_assignment(costs)] = 1 / len(costs)
    return plan


def _network_simplex(costs: Array, a: Array, b: Array) -> tuple[Array, Array]:
    found, log = require("ot", "ot").emd(
        a, b, costs, numItermax=10_000_000, log=True, center_dual=False, check_marginals=False
    )
    if log["warning"]:
        raise RuntimeError(f"POT found no optimal plan: {log['warning']}")
    return np.asarray(found), np.asarray(log["u"])


def _linear_program(costs: Array, a: Array, b: Array) -> tuple[Array, Array]:
    n, m = costs.shape
    rows = sparse.kron(sparse.eye_array(n), np.ones((1, m)))
    columns = sparse.kron(np.ones((1, n)), sparse.eye_array(m))
    sums: Any = sparse.vstack([rows, columns])
    found = optimize.linprog(costs.ravel(), A_eq=sums, b_eq=np.r_[a, b], method="highs")
    if found.x is None:
        raise RuntimeError(f"HiGHS found no optimal plan: {found.message}")
    return np.asarray(found.x).reshape(n, m), np.asarray(found.eqlin.marginals)[:n]
