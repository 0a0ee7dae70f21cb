"""Small problems solved exactly: one mixed-integer linear programme for HiGHS.

In a shop of forty items a limit may be met only by a combination of changes that no single move
finds. With thousands of items the gap of local search is negligible, and such a programme would not
finish.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from features.contracts.arrays import Float64Array, Int64Array
from models.pricing.optimise.problem import Problem, expand_windows

MAX_CHOICES = 3_000
_INFEASIBLE = 2  # HiGHS's status, as scipy reports it
_MAX_NODES = 5_000  # a count, not a time: the same problem always gives the same answer


def solve_milp(problem: Problem) -> tuple[Int64Array | None, float]:
    """Return the best selection (n,), and a bound on the value of any.

    The selection is None where none exists or none was found; the bound is -inf where it is proven
    that no selection satisfies all limits.
    """
    choices = problem.choices
    n, size = len(choices.starts) - 1, len(choices.prices)
    value_unit = problem.value_scale / n
    solution = milp(
        -choices.value / value_unit,
        constraints=_build_constraints(problem),
        integrality=np.ones(size),
        bounds=Bounds(0, 1),
        options={"node_limit": _MAX_NODES, "mip_rel_gap": 1e-7},
    )
    if solution.x is None:
        return None, -np.inf if solution.status == _INFEASIBLE else np.inf
    selection = np.flatnonzero(solution.x > 0.5)
    return selection, -float(solution.mip_dual_bound) * value_unit


def _build_constraints(problem: Problem) -> list[LinearConstraint]:
    """Return the constraints on one binary variable per choice (N,).

    One choice per item; a choice only with a compatible one of the item before; and the limits.
    """
    choices, links = problem.choices, problem.links
    n, size = len(choices.starts) - 1, len(choices.prices)
    one_each = _build_matrix(choices.item, np.arange(size), np.ones(size), (n, size))
    constraints = [LinearConstraint(one_each, 1, 1)]
    linked = np.flatnonzero(links.previous[choices.item] >= 0)
    if len(linked):
        first, end = links.first[linked], links.end[linked]
        end = np.maximum(first, end)
        compatible, _ = expand_windows(first, end)
        row = np.repeat(np.arange(len(linked)), end - first)
        shape = (len(linked), size)
        selected = _build_matrix(np.arange(len(linked)), linked, np.ones(len(linked)), shape)
        selected_before = _build_matrix(row, compatible, np.ones(len(compatible)), shape)
        constraints.append(LinearConstraint(selected - selected_before, -np.inf, 0))
    for limit in problem.limits:
        group = np.repeat(limit.group, choices.counts)
        inside = np.flatnonzero(group >= 0)
        shape = (len(limit.least), size)
        matrix = _build_matrix(group[inside], inside, limit.amount[inside], shape)
        constraints.append(LinearConstraint(matrix, limit.least, np.inf))
    return constraints


def _build_matrix(
    row: Int64Array, column: Int64Array, value: Float64Array, shape: tuple[int, int]
) -> sparse.csr_matrix:
    return sparse.csr_matrix((value, (row, column)), shape=shape)
