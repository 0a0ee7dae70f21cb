"""The Lagrangian dual: a price for each limit such that the best choices at those prices bound what
is possible.

Cutting planes in a box around the best prices so far (Marsten, Hogan and Blankenship, The boxstep
method, Operations Research 1975). Each step solves a linear programme with a variable per row, and
all chains exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from features.contracts.arrays import Float64Array, Int64Array
from models.pricing.optimise.problem import Problem

_ENOUGH = 1e-6  # of the value's span: a smaller expected gain ends the search
_SERIOUS = 0.1  # share of the foreseen improvement that moves the centre
_WIDEST = 1e9


@dataclass(frozen=True)
class Dual:
    """The least upper bound found.

    bound        no feasible choices are worth more; -inf where a chain has none
    multipliers  (R,) what a unit of each row is worth
    tries        choices (n,) met on the way, the last best first
    """

    bound: float
    multipliers: Float64Array
    tries: list[Int64Array]
    n_steps: int


def minimise(
    problem: Problem, best: Callable[[Float64Array], tuple[Int64Array, float]], max_steps: int
) -> Dual:
    """The least bound within `max_steps` steps; `best` finds the choices for scores of choices
    (N,)."""
    n_rows = len(problem.least)
    unit = problem.value_scale / problem.scale  # multipliers are of the order of 1 in these units

    def at(point: Float64Array) -> tuple[float, Float64Array, Int64Array]:
        multipliers = point * unit
        chosen, total = best(problem.weighed(multipliers))
        slack = problem.slack(chosen)
        return total - float(multipliers @ problem.least), slack * unit, chosen

    centre, width = np.zeros(n_rows), 1.0
    bound, slope, chosen = at(centre)
    points, bounds, slopes, tries = [centre], [bound], [slope], [chosen]
    floor = float(np.minimum.reduceat(problem.choices.value, problem.choices.starts[:-1]).sum())
    steps = 1
    while (
        n_rows and np.isfinite(bound) and steps < max_steps and bound >= floor - problem.value_scale
    ):
        point, foreseen = _master(
            np.array(points), np.array(bounds), np.array(slopes), centre, width
        )
        touches = bool((np.abs(point - centre) >= width * (1 - 1e-9)).any())
        if bound - foreseen <= _ENOUGH * problem.value_scale:
            if not touches or width > _WIDEST:
                break
            width *= 8
            continue
        there, slope, chosen = at(point)
        steps += 1
        points.append(point)
        bounds.append(there)
        slopes.append(slope)
        if bound - there >= _SERIOUS * (bound - foreseen):
            centre, bound = point, there
            tries.insert(0, chosen)
            width = width * 2 if touches else width
        else:
            tries.append(chosen)
            width /= 2
    return Dual(bound, centre * unit, tries, steps)


def _master(
    points: Float64Array,
    bounds: Float64Array,
    slopes: Float64Array,
    centre: Float64Array,
    width: float,
) -> tuple[Float64Array, float]:
    """The lowest point of the cutting planes within the box, and its height."""
    n = len(centre)
    # height >= bounds + slopes (x - points), all heights counted from the lowest bound
    base = float(bounds.min())
    columns = np.hstack([slopes, -np.ones((len(slopes), 1))])
    right = np.einsum("ij,ij->i", slopes, points) - (bounds - base)
    box = [(max(0.0, x - width), x + width) for x in centre]
    found = linprog(
        np.append(np.zeros(n), 1.0), A_ub=columns, b_ub=right, bounds=[*box, (None, None)]
    )
    if found.x is None:
        return centre, base
    return np.maximum(found.x[:n], 0.0), base + float(found.x[n])
