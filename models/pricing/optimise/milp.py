"""Small problems to the end: one mixed-integer programme for HiGHS, where moves of one item each
leave a gap.

In a shop of forty items a limit may be met only by a combination that no single move finds; with
thousands of items the gap is nothing, and one such programme would not end.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from features.contracts.arrays import Float64Array, Int64Array
from models.pricing.optimise.problem import Problem, windows

MOST_CHOICES = 3_000
_INFEASIBLE = 2  # HiGHS's status, as scipy tells it
_NODES = 5_000  # a count, not a time: the same problem always gives the same answer


def close(problem: Problem) -> tuple[Int64Array | None, float]:
    """The best choices (n,), and a bound on the value of any; None where there are none, or none
    were found.

    The bound is -inf where it is proven that no choices keep all limits.
    """
    choices = problem.choices
    n, size = len(choices.starts) - 1, len(choices.prices)
    scale = problem.value_scale / n
    constraints = [
        LinearConstraint(_rows(choices.item, np.arange(size), np.ones(size), (n, size)), 1, 1)
    ]
    linked = np.flatnonzero(problem.links.previous[choices.item] >= 0)
    if len(linked):
        first, end = problem.links.first[linked], problem.links.end[linked]
        end = np.maximum(first, end)
        places, _ = windows(first, end)
        number = np.repeat(np.arange(len(linked)), end - first)
        taken = _rows(np.arange(len(linked)), linked, np.ones(len(linked)), (len(linked), size))
        going = _rows(number, places, np.ones(len(places)), (len(linked), size))
        constraints.append(LinearConstraint(taken - going, -np.inf, 0))
    for limit in problem.limits:
        group = np.repeat(limit.group, choices.counts)
        here = np.flatnonzero(group >= 0)
        matrix = _rows(group[here], here, limit.amount[here], (len(limit.least), size))
        constraints.append(LinearConstraint(matrix, limit.least, np.inf))
    found = milp(
        -choices.value / scale,
        constraints=constraints,
        integrality=np.ones(size),
        bounds=Bounds(0, 1),
        options={"node_limit": _NODES, "mip_rel_gap": 1e-7},
    )
    if found.x is None:
        return None, -np.inf if found.status == _INFEASIBLE else np.inf
    chosen = np.flatnonzero(found.x > 0.5)
    return chosen, -float(found.mip_dual_bound) * scale


def _rows(
    row: Int64Array, column: Int64Array, value: Float64Array, shape: tuple[int, int]
) -> sparse.csr_matrix:
    return sparse.csr_matrix((value, (row, column)), shape=shape)
