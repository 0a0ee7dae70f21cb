"""Local search: from selections that nearly satisfy the limits to ones that do, and to better ones.

A move gives one item another choice. All moves of all items are evaluated at once; of one chain at
most one is made at a time, so that its order stays satisfied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from models.pricing.optimise.problem import Problem

_ROUNDS = 60
_TINY = 1e-9


@dataclass(frozen=True)
class _Moves:
    """m moves of items to other choices.

    target   (m,) the choice moved to
    gain     (m,) of value
    amounts  (m, limits) change of the sums
    """

    target: Int64Array
    gain: Float64Array
    amounts: Float64Array


def repair(problem: Problem, selection: Int64Array, multipliers: Float64Array) -> Int64Array:
    """Return a selection nearer to the limits; within them where moves lead there.

    The moves of least loss per shortfall removed come first; the loss is counted at `multipliers`
    (R,).
    """
    selection = selection.copy()
    for _ in range(_ROUNDS):
        slack = problem.compute_slack(selection)
        shortfall = measure_shortfall(problem, slack)
        if not shortfall:
            break
        moves = _list_moves(problem, selection)
        removed = -_measure_shortfall_change(problem, slack, moves)
        loss = -moves.gain - _price_amounts(problem, moves, multipliers)
        useful = np.flatnonzero(removed > _TINY * shortfall)
        ratio = (np.maximum(loss[useful], 0) + _TINY) / removed[useful]
        order = useful[np.argsort(ratio, kind="stable")]
        order = _take_first_of_each_chain(problem, moves, order)
        if not len(order):
            break
        slack_after = _accumulate_slack(problem, slack, moves, order)
        shortfalls = (np.maximum(-slack_after, 0) / problem.scale).sum(axis=1)
        shortfalls[_satisfies_limits(problem, slack_after)] = 0
        n_made = int(np.argmin(shortfalls)) + 1
        if shortfalls[n_made - 1] >= shortfall:
            break
        _make_moves(problem, selection, moves, order[:n_made])
    return selection


def improve(problem: Problem, selection: Int64Array) -> Int64Array:
    """Return a better selection within the limits; `selection` must be within them."""
    selection = selection.copy()
    for _ in range(_ROUNDS):
        slack = problem.compute_slack(selection)
        moves = _list_moves(problem, selection)
        spent = np.zeros(len(moves.target))
        fits = moves.gain > _TINY * problem.value_scale / len(problem.choices.prices)
        for k, rows in enumerate(_find_rows(problem, moves)):
            room = np.append(np.maximum(slack, 0), np.inf)[rows]
            used = np.maximum(-moves.amounts[:, k], 0)
            fits &= used <= room
            spent += np.divide(used, room, out=np.zeros_like(used), where=room > 0)
        feasible = np.flatnonzero(fits)
        ratio = moves.gain[feasible] / (spent[feasible] + _TINY)
        order = feasible[np.argsort(-ratio, kind="stable")]
        order = _take_first_of_each_chain(problem, moves, order)
        if not len(order):
            break
        made = _select_moves_that_fit(problem, slack, moves, order)
        _make_moves(problem, selection, moves, made)
    return selection


def measure_shortfall(problem: Problem, slack: Float64Array) -> float:
    """Return how far the rows fall short altogether, each as a share of its range; 0 for none."""
    if bool(_satisfies_limits(problem, slack[None, :])[0]):
        return 0.0
    return float((np.maximum(-slack, 0) / problem.scale).sum())


def _satisfies_limits(problem: Problem, slack: Float64Array) -> BoolArray:
    """Return whether all rows are satisfied, but for rounding (m,); `slack` (m, R)."""
    tolerance = _TINY * np.maximum(np.abs(problem.least), problem.scale)
    return np.asarray((slack >= -tolerance).all(axis=1))


def _list_moves(problem: Problem, selection: Int64Array) -> _Moves:
    """Return every move of one item that is compatible with its neighbours in the chain."""
    choices, links = problem.choices, problem.links
    item = choices.item
    before, after = links.previous[item], links.following[item]
    choice = np.arange(len(item))
    valid = choice != selection[item]
    has_before = before >= 0
    neighbour = selection[np.where(has_before, before, 0)]
    valid &= ~has_before | ((links.first <= neighbour) & (neighbour < links.end))
    has_after = after >= 0
    neighbour = selection[np.where(has_after, after, 0)]
    valid &= ~has_after | ((links.first[neighbour] <= choice) & (choice < links.end[neighbour]))
    target = np.flatnonzero(valid)
    current = selection[item[target]]
    amounts = [limit.amount[target] - limit.amount[current] for limit in problem.limits]
    stacked = np.stack(amounts, axis=1) if amounts else np.zeros((len(target), 0))
    return _Moves(target, choices.value[target] - choices.value[current], stacked)


def _find_rows(problem: Problem, moves: _Moves) -> list[Int64Array]:
    """Return by limit the row of each move (m,)."""
    items = problem.choices.item[moves.target]
    return [rows[items] for rows in problem.rows]


def _measure_shortfall_change(problem: Problem, slack: Float64Array, moves: _Moves) -> Float64Array:
    """Return the change of the total shortfall by each move alone (m,)."""
    change = np.zeros(len(moves.target))
    padded, scale = np.append(slack, np.inf), np.append(problem.scale, 1.0)
    for k, rows in enumerate(_find_rows(problem, moves)):
        now = padded[rows]
        change += (np.maximum(-(now + moves.amounts[:, k]), 0) - np.maximum(-now, 0)) / scale[rows]
    return change


def _price_amounts(problem: Problem, moves: _Moves, multipliers: Float64Array) -> Float64Array:
    """Return the value of each move's amounts at the multipliers (m,)."""
    padded = np.append(multipliers, 0.0)
    total = np.zeros(len(moves.target))
    for k, rows in enumerate(_find_rows(problem, moves)):
        total += padded[rows] * moves.amounts[:, k]
    return total


def _take_first_of_each_chain(problem: Problem, moves: _Moves, order: Int64Array) -> Int64Array:
    """Return the first move of each chain, in the given order."""
    chain = problem.links.chain[problem.choices.item[moves.target[order]]]
    _, first = np.unique(chain, return_index=True)
    return order[np.sort(first)]


def _accumulate_slack(
    problem: Problem, slack: Float64Array, moves: _Moves, order: Int64Array
) -> Float64Array:
    """Return the slack (m, R) after the first, the first two, ... of the moves in `order`."""
    steps = np.zeros((len(order), len(slack) + 1))
    for k, rows in enumerate(_find_rows(problem, moves)):
        np.add.at(steps, (np.arange(len(order)), rows[order]), moves.amounts[order, k])
    return slack + np.cumsum(steps[:, :-1], axis=0)


def _select_moves_that_fit(
    problem: Problem, slack: Float64Array, moves: _Moves, order: Int64Array
) -> Int64Array:
    """Return the moves that stay within the limits, made one after the other in `order`.

    A move that does not fit is left out, and the next ones are tried.
    """
    made: list[Int64Array] = []
    for _ in range(_ROUNDS):
        if not len(order):
            break
        slack_after = _accumulate_slack(problem, slack, moves, order)
        satisfied = _satisfies_limits(problem, slack_after)
        n_fit = len(order) if satisfied.all() else int(np.argmin(satisfied))
        made.append(order[:n_fit])
        if n_fit:
            slack = slack_after[n_fit - 1]
        order = order[n_fit + 1 :]
    return np.concatenate(made) if made else np.zeros(0, np.int64)


def _make_moves(problem: Problem, selection: Int64Array, moves: _Moves, made: Int64Array) -> None:
    """Make the moves numbered `made`, in place."""
    target = moves.target[made]
    selection[problem.choices.item[target]] = target
