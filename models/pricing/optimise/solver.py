"""The best selection found under limits and chain orders, with a bound on any better one.

Lagrangian dual over the limits, exact dynamic programme along each chain, then local search; a gap
that is left in a small problem is closed by HiGHS. Where the limits cannot all be satisfied, the
soft ones are relaxed, the least important first, each no further than necessary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from models.pricing.optimise.chain_programme import ChainProgramme
from models.pricing.optimise.lagrangian import minimise_dual
from models.pricing.optimise.local_search import improve, measure_shortfall, repair
from models.pricing.optimise.milp import MAX_CHOICES, solve_milp
from models.pricing.optimise.problem import Problem

MAX_STEPS = 80
_GOOD_GAP = 1e-3  # with a smaller gap no further start is tried
_MILP_GAP = 1e-6  # with a larger gap small problems are solved exactly
_MAX_STARTS = 4
_ROOM = 1e-6  # of a row's range: room left where a limit is relaxed to what can be reached


@dataclass(frozen=True)
class BrokenRule:
    """A limit that is not satisfied: the required sum and the one reached.

    Both are summed over its groups that fall short.
    """

    rule: str
    asked: float
    reached: float
    n_groups: int
    hard: bool


@dataclass(frozen=True)
class Solution:
    """A selection (n,) with its value, and an upper bound on any within the same limits.

    multipliers   (R,) value of a unit of each row
    broken        limits that were relaxed; the bound then holds for the relaxed ones
    """

    selection: Int64Array
    value: float
    bound: float
    multipliers: Float64Array
    broken: tuple[BrokenRule, ...]
    n_steps: int

    @property
    def gap(self) -> float:
        """How much better any selection could be at most, as a share of the bound."""
        return max(self.bound - self.value, 0.0) / max(abs(self.bound), 1e-9)


@dataclass(frozen=True)
class _Attempt:
    """A selection, how far it falls short of the limits (0 for within), and its value."""

    selection: Int64Array
    shortfall: float
    value: float

    @property
    def sort_key(self) -> tuple[float, float]:
        """Smaller is better."""
        return self.shortfall, -self.value


def solve(
    problem: Problem, priorities: Mapping[str, int] | None = None, max_steps: int = MAX_STEPS
) -> Solution:
    """Return the best selection found.

    Chains must have compatible choices (`ChainProgramme.find_infeasible_chains`). `priorities`
    names the soft limits: the lowest number is relaxed first, hard limits after all of them.
    Relaxed limits are satisfied as nearly as was found possible, and named.
    """
    programme = ChainProgramme(problem.choices, problem.links)
    original = problem
    priorities = priorities or {}
    solution, feasible = _search(problem, programme, max_steps)
    weakest_first = sorted(priorities, key=lambda rule: priorities[rule])
    weakest_first += [limit.rule for limit in problem.limits if limit.rule not in weakest_first]
    for rule in weakest_first:
        if feasible:
            break
        if any(limit.rule == rule for limit in problem.limits):
            problem = _relax_limit(problem, programme, rule, max_steps)
            solution, feasible = _search(problem, programme, max_steps)
    return replace(solution, broken=_list_broken_rules(original, solution.selection, priorities))


def _search(problem: Problem, programme: ChainProgramme, max_steps: int) -> tuple[Solution, bool]:
    """Return the best selection found, and whether it satisfies all limits."""
    dual = minimise_dual(problem, programme.maximise, max_steps)
    best: _Attempt | None = None
    for start in dual.selections[:_MAX_STARTS]:
        attempt = _search_from(problem, start, dual.multipliers)
        if best is None or attempt.sort_key < best.sort_key:
            best = attempt
        if not best.shortfall and dual.bound - best.value <= _GOOD_GAP * abs(dual.bound):
            break
    if best is None:
        raise ValueError("no selections were tried")
    bound = dual.bound
    if len(problem.choices.prices) <= MAX_CHOICES and (
        best.shortfall or bound - best.value > _MILP_GAP * abs(bound)
    ):
        exact, proven_bound = solve_milp(problem)
        bound = min(bound, proven_bound) if exact is not None else bound
        if exact is not None and (best.shortfall or problem.total_value(exact) > best.value):
            best = _evaluate(problem, exact)
    solution = Solution(
        selection=best.selection,
        value=best.value,
        bound=bound,
        multipliers=dual.multipliers,
        broken=(),
        n_steps=dual.n_steps,
    )
    return solution, not best.shortfall


def _search_from(problem: Problem, start: Int64Array, multipliers: Float64Array) -> _Attempt:
    """Return the result of local search from a selection."""
    selection = repair(problem, start, multipliers)
    attempt = _evaluate(problem, selection)
    if attempt.shortfall:
        return attempt
    selection = improve(problem, selection)
    return _Attempt(selection, attempt.shortfall, problem.total_value(selection))


def _evaluate(problem: Problem, selection: Int64Array) -> _Attempt:
    shortfall = measure_shortfall(problem, problem.compute_slack(selection))
    return _Attempt(selection, shortfall, problem.total_value(selection))


def _relax_limit(problem: Problem, programme: ChainProgramme, rule: str, max_steps: int) -> Problem:
    """Return the problem with one limit lowered to what can be reached beside the others."""
    index = next(k for k, limit in enumerate(problem.limits) if limit.rule == rule)
    limit = problem.limits[index]
    other_limits = tuple(other for other in problem.limits if other is not limit)
    # With many groups each counts as a share of its range, so that none is sacrificed for another.
    alone = Problem(problem.choices, problem.links, (limit,))
    weight = np.append(1 / alone.scale, 0.0)[
        np.where(limit.group >= 0, limit.group, len(limit.least))
    ]
    amounts = np.where(np.repeat(limit.group, problem.choices.counts) >= 0, limit.amount, 0.0)
    weighted = amounts * np.repeat(weight, problem.choices.counts)
    reach = replace(problem, limits=other_limits, choices=replace(problem.choices, value=weighted))
    best, _ = _search(reach, programme, max_steps)
    reached = alone.compute_slack(best.selection) + limit.least
    relaxed = replace(limit, least=np.minimum(limit.least, reached - _ROOM * alone.scale))
    limits = (*problem.limits[:index], relaxed, *problem.limits[index + 1 :])
    return replace(problem, limits=limits)


def _list_broken_rules(
    problem: Problem, selection: Int64Array, priorities: Mapping[str, int]
) -> tuple[BrokenRule, ...]:
    """Return the limits that a selection does not satisfy."""
    broken = []
    for limit in problem.limits:
        alone = Problem(problem.choices, problem.links, (limit,))
        slack = alone.compute_slack(selection)
        falls_short = slack < -2 * _ROOM * alone.scale
        if falls_short.any():
            asked = float(limit.least[falls_short].sum())
            broken.append(
                BrokenRule(
                    rule=limit.rule,
                    asked=asked,
                    reached=asked + float(slack[falls_short].sum()),
                    n_groups=int(falls_short.sum()),
                    hard=limit.rule not in priorities,
                )
            )
    return tuple(broken)
