"""The optimiser's problem as one mixed-integer programme for HiGHS, and random small problems."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from models.pricing.optimise.problem import Choices, Limit, Links, Problem


def solve_exactly(problem: Problem) -> float | None:
    """Return the value of the best choices; None when no choices satisfy all limits."""
    choices, links = problem.choices, problem.links
    n, size = len(choices.starts) - 1, len(choices.prices)
    one_per_item = sparse.csr_matrix(
        (np.ones(size), (choices.item, np.arange(size))), shape=(n, size)
    )
    constraints = [LinearConstraint(one_per_item, 1, 1)]
    # A choice of an item may be taken only with one of the choices first:end of the item before.
    rows = []
    for choice in range(size):
        if links.previous[choices.item[choice]] >= 0:
            row = np.zeros(size)
            row[choice] = 1
            row[links.first[choice] : links.end[choice]] -= 1
            rows.append(row)
    if rows:
        constraints.append(LinearConstraint(np.array(rows), -np.inf, 0))
    for limit in problem.limits:
        for group, least in enumerate(limit.least):
            row = np.where(np.repeat(limit.group, choices.counts) == group, limit.amount, 0.0)
            constraints.append(LinearConstraint(row, least, np.inf))
    options = {"mip_rel_gap": 1e-9}
    solution = milp(
        -choices.value,
        constraints=constraints,
        integrality=np.ones(size),
        bounds=Bounds(0, 1),
        options=options,
    )
    return None if solution.x is None else float(-solution.fun)


def draw_problem(
    seed: int,
    *,
    n_chains: int = 8,
    length: int = 3,
    n_prices: int = 6,
    floor: float | None = 1.0,
    most_changes: int | None = 6,
    n_groups: int = 0,
    equal: bool = False,
) -> Problem:
    """Return chains of items with a revenue floor, a cap on changes and group margins.

    The later item of a chain is not cheaper, or with `equal` costs the same.
    """
    rng = np.random.default_rng(seed)
    n = n_chains * length
    current = rng.integers(100, 400, n_chains)[None, :] + 40 * np.arange(length)[:, None] * (
        not equal
    )
    current = current.ravel()
    steps = np.linspace(-0.25, 0.25, n_prices)
    steps[n_prices // 2] = 0.0
    prices = np.round(current[:, None] * (1 + steps)).astype(np.int64)
    elasticity, units = -rng.gamma(5, 0.5, n), rng.gamma(1.0, 40, n)
    cost = current * rng.uniform(0.4, 0.9, n)
    sold = units[:, None] * (prices / current[:, None]) ** elasticity[:, None]
    revenue, profit = sold * prices, sold * (prices - cost[:, None])
    starts = np.arange(n + 1) * n_prices
    previous = np.concatenate([np.full(n_chains, -1), np.arange(n - n_chains)])
    first, end = np.zeros(n * n_prices, np.int64), np.zeros(n * n_prices, np.int64)
    for item in range(n_chains, n):
        previous_prices, rows = (
            prices[previous[item]],
            slice(item * n_prices, (item + 1) * n_prices),
        )
        first[rows] = starts[previous[item]] + (
            np.searchsorted(previous_prices, prices[item]) if equal else 0
        )
        end[rows] = starts[previous[item]] + np.searchsorted(previous_prices, prices[item], "right")
    one_group = np.zeros(n, np.int64)
    limits = []
    if floor is not None:
        now = revenue[:, n_prices // 2].sum()
        limits.append(Limit("revenue floor", one_group, revenue.ravel(), np.array([floor * now])))
    if most_changes is not None:
        changed = (prices != current[:, None]).astype(float)
        limits.append(
            Limit("changes", one_group, -changed.ravel(), np.array([-float(most_changes)]))
        )
    if n_groups:
        group = rng.integers(0, n_groups, n)
        above = profit - 0.25 * revenue
        now = np.bincount(group, above[:, n_prices // 2], n_groups)
        limits.append(Limit("group margin", group, above.ravel(), now))
    choices = Choices(starts, prices.ravel(), profit.ravel())
    return Problem(choices, Links(previous, first, end), tuple(limits))


def leave_unlinked(n_items: int, n_choices: int) -> Links:
    """Return links of items that are in no chain."""
    unused = np.zeros(n_choices, np.int64)
    return Links(np.full(n_items, -1, np.int64), unused, unused)
