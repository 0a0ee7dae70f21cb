"""The Lagrangian dual: multipliers of the limits, and the upper bound that they prove.

Cutting planes in a box around the best multipliers so far (Marsten, Hogan and Blankenship, The
boxstep method, Operations Research 1975). Each step solves a linear programme with a variable per
row, and all chains exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from features.contracts.arrays import Float64Array, Int64Array
from models.pricing.optimise.problem import Problem

_MIN_GAIN = 1e-6  # a smaller expected gain, a share of the value's range, ends the search
_SERIOUS_STEP = 0.1  # share of the predicted improvement that moves the centre
_MAX_WIDTH = 1e9


@dataclass(frozen=True)
class DualSolution:
    """The least upper bound found.

    bound        no feasible selection has a larger value; -inf where a chain has none
    multipliers  (R,) value of a unit of each row
    selections   selections (n,) met on the way, the best last step first
    """

    bound: float
    multipliers: Float64Array
    selections: list[Int64Array]
    n_steps: int


@dataclass(frozen=True)
class _Cuts:
    """K cutting planes: bound >= bounds + slopes · (x - points); points and slopes (K, R)."""

    points: list[Float64Array]
    bounds: list[float]
    slopes: list[Float64Array]

    def add(self, point: Float64Array, bound: float, slope: Float64Array) -> None:
        """Add the plane at one point."""
        self.points.append(point)
        self.bounds.append(bound)
        self.slopes.append(slope)


def minimise_dual(
    problem: Problem, maximise: Callable[[Float64Array], tuple[Int64Array, float]], max_steps: int
) -> DualSolution:
    """Return the least bound within `max_steps` steps.

    `maximise` returns the best selection for scores of choices (N,), and its sum.
    """
    n_rows = len(problem.least)
    unit = problem.value_scale / problem.scale  # multipliers are of the order of 1 in these units

    def evaluate(point: Float64Array) -> tuple[float, Float64Array, Int64Array]:
        multipliers = point * unit
        selection, total = maximise(problem.lagrangian_scores(multipliers))
        slack = problem.compute_slack(selection)
        return total - float(multipliers @ problem.least), slack * unit, selection

    centre, width = np.zeros(n_rows), 1.0
    bound, slope, selection = evaluate(centre)
    cuts, selections = _Cuts([centre], [bound], [slope]), [selection]
    floor = float(np.minimum.reduceat(problem.choices.value, problem.choices.starts[:-1]).sum())
    steps = 1
    while (
        n_rows and np.isfinite(bound) and steps < max_steps and bound >= floor - problem.value_scale
    ):
        point, predicted = _solve_master(cuts, centre, width)
        touches_box = bool((np.abs(point - centre) >= width * (1 - 1e-9)).any())
        if bound - predicted <= _MIN_GAIN * problem.value_scale:
            if not touches_box or width > _MAX_WIDTH:
                break
            width *= 8
            continue
        new_bound, slope, selection = evaluate(point)
        steps += 1
        cuts.add(point, new_bound, slope)
        if bound - new_bound >= _SERIOUS_STEP * (bound - predicted):
            centre, bound = point, new_bound
            selections.insert(0, selection)
            width = width * 2 if touches_box else width
        else:
            selections.append(selection)
            width /= 2
    return DualSolution(bound, centre * unit, selections, steps)


def _solve_master(cuts: _Cuts, centre: Float64Array, width: float) -> tuple[Float64Array, float]:
    """Return the lowest point of the cutting planes within the box, and its height."""
    n = len(centre)
    points, bounds, slopes = np.array(cuts.points), np.array(cuts.bounds), np.array(cuts.slopes)
    # height >= bounds + slopes (x - points), all heights counted from the lowest bound
    base = float(bounds.min())
    columns = np.hstack([slopes, -np.ones((len(slopes), 1))])
    right = np.einsum("ij,ij->i", slopes, points) - (bounds - base)
    box = [(max(0.0, x - width), x + width) for x in centre]
    solution = linprog(
        np.append(np.zeros(n), 1.0), A_ub=columns, b_ub=right, bounds=[*box, (None, None)]
    )
    if solution.x is None:
        return centre, base
    return np.maximum(solution.x[:n], 0.0), base + float(solution.x[n])
