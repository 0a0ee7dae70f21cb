"""The best choices found under limits and orders, with a bound on how much better any others could
be.

Lagrangian over the limits, exact programme along each chain, then moves of one item each; a gap
that is left in a small problem is closed by HiGHS. Where the limits cannot all be kept, the soft
ones give way, the least important first, each no further than it must.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from models.pricing.optimise.chain_programme import ChainProgramme
from models.pricing.optimise.lagrangian import minimise
from models.pricing.optimise.local_search import improve, repair, shortfall
from models.pricing.optimise.milp import MOST_CHOICES, close
from models.pricing.optimise.problem import Limit, Problem

MAX_STEPS = 80
_GOOD = 1e-3  # a gap that is worth no further start
_CLOSE = 1e-6  # a gap that small problems are not left with
_STARTS = 4
_EASE = 1e-6  # of a row's span: room left where a limit gave way to what can be reached


@dataclass(frozen=True)
class Broken:
    """A limit that is not kept: what it asked for and what was reached, summed over its groups that
    fall short."""

    rule: str
    asked: float
    reached: float
    n_groups: int
    hard: bool


@dataclass(frozen=True)
class Solution:
    """Choices (n,) with their value, and the bound above which no choices can be that keep the same
    limits.

    multipliers   (R,) what a unit of each row is worth
    broken        limits that gave way; the bound is then one for what is left of them
    """

    chosen: Int64Array
    value: float
    bound: float
    multipliers: Float64Array
    broken: tuple[Broken, ...]
    n_steps: int

    @property
    def gap(self) -> float:
        """How much better anything could be at most, as a share of the bound."""
        return max(self.bound - self.value, 0.0) / max(abs(self.bound), 1e-9)


def solve(
    problem: Problem, priorities: Mapping[str, int] | None = None, max_steps: int = MAX_STEPS
) -> Solution:
    """The best choices found. Chains must have choices that go together (`ChainProgramme.broken`).

    `priorities` names the soft limits: the lowest number gives way first, hard limits after all of
    them. Whatever gives way is kept as nearly as was found possible, and named.
    """
    programme = ChainProgramme(problem.choices, problem.links)
    wanted = problem
    solution, kept = _attempt(problem, programme, max_steps)
    weakest_first = sorted(priorities or {}, key=lambda rule: (priorities or {})[rule])
    weakest_first += [limit.rule for limit in problem.limits if limit.rule not in weakest_first]
    for rule in weakest_first:
        if kept:
            break
        if any(limit.rule == rule for limit in problem.limits):
            problem = _eased(problem, programme, rule, max_steps)
            solution, kept = _attempt(problem, programme, max_steps)
    return replace(solution, broken=_broken(wanted, solution.chosen, priorities or {}))


def _attempt(problem: Problem, programme: ChainProgramme, max_steps: int) -> tuple[Solution, bool]:
    """The best choices found, and whether they keep all limits."""
    dual = minimise(problem, programme.best, max_steps)
    found: tuple[float, float, Int64Array] | None = None
    for start in dual.tries[:_STARTS]:
        chosen = repair(problem, start, dual.multipliers)
        short = shortfall(problem, problem.slack(chosen))
        if not short:
            chosen = improve(problem, chosen)
        key = short, -problem.value(chosen)
        if found is None or key < found[:2]:
            found = (*key, chosen)
        if not found[0] and dual.bound + found[1] <= _GOOD * abs(dual.bound):
            break
    if found is None:
        raise ValueError("no choices were tried")
    short, loss, chosen = found
    bound = dual.bound
    if len(problem.choices.prices) <= MOST_CHOICES and (
        short or bound + loss > _CLOSE * abs(bound)
    ):
        exact, proven = close(problem)
        bound = min(bound, proven) if exact is not None else bound
        if exact is not None and (short or problem.value(exact) > -loss):
            short, loss, chosen = (
                shortfall(problem, problem.slack(exact)),
                -problem.value(exact),
                exact,
            )
    return Solution(chosen, -loss, bound, dual.multipliers, (), dual.n_steps), not short


def _eased(problem: Problem, programme: ChainProgramme, rule: str, max_steps: int) -> Problem:
    """The problem with one limit asking for no more than can be reached beside the others."""
    place = next(k for k, limit in enumerate(problem.limits) if limit.rule == rule)
    limit = problem.limits[place]
    others = tuple(each for each in problem.limits if each is not limit)
    counted = np.where(np.repeat(limit.group, problem.choices.counts) >= 0, limit.amount, 0.0)
    reach = replace(problem, limits=others, choices=replace(problem.choices, value=counted))
    # With many groups each counts by how far it can move, so that none is given up for another.
    alone = Problem(problem.choices, problem.links, (limit,))
    weight = np.append(1 / alone.scale, 0.0)[
        np.where(limit.group >= 0, limit.group, len(limit.least))
    ]
    reach = replace(
        reach,
        choices=replace(reach.choices, value=counted * np.repeat(weight, problem.choices.counts)),
    )
    best, _ = _attempt(reach, programme, max_steps)
    attained = alone.slack(best.chosen) + limit.least
    least = np.minimum(limit.least, attained - _EASE * alone.scale)
    limits = (*problem.limits[:place], replace(limit, least=least), *problem.limits[place + 1 :])
    return replace(problem, limits=limits)


def _broken(
    problem: Problem, chosen: Int64Array, priorities: Mapping[str, int]
) -> tuple[Broken, ...]:
    found = []
    for limit in problem.limits:
        alone = Problem(problem.choices, problem.links, (limit,))
        slack = alone.slack(chosen)
        short = slack < -2 * _EASE * alone.scale
        if short.any():
            asked = float(limit.least[short].sum())
            reached = asked + float(slack[short].sum())
            found.append(
                Broken(limit.rule, asked, reached, int(short.sum()), limit.rule not in priorities)
            )
    return tuple(found)


def fewest(rule: str, changed: Float64Array, n_items: int, most: int) -> Limit:
    """A limit on the number of changes: `changed` (N,) is 1 for each choice that is one."""
    return Limit(rule, np.zeros(n_items, np.int64), -changed, np.array([-float(most)]))
