"""From choices that nearly keep the limits to choices that do, and on to better ones, by moves of
one item each.

All moves of all items are weighed at once; of one chain at most one is made at a time, so that
orders stay kept.
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
    """Moves of some items to other choices.

    to       (m,) the choice moved to
    gain     (m,) of value
    amounts  (m, limits) by which the sums move
    """

    to: Int64Array
    gain: Float64Array
    amounts: Float64Array


def repair(problem: Problem, chosen: Int64Array, multipliers: Float64Array) -> Int64Array:
    """Choices nearer to the limits, cheapest moves first at `multipliers` (R,); within them where
    moves lead there."""
    chosen = chosen.copy()
    for _ in range(_ROUNDS):
        slack = problem.slack(chosen)
        short = shortfall(problem, slack)
        if not short:
            break
        moves = _moves(problem, chosen)
        eased = -_shortfall_change(problem, slack, moves)
        loss = -moves.gain - _priced(problem, moves, multipliers)
        useful = np.flatnonzero(eased > _TINY * short)
        order = useful[
            np.argsort((np.maximum(loss[useful], 0) + _TINY) / eased[useful], kind="stable")
        ]
        order = _one_a_chain(problem, moves, order)
        if not len(order):
            break
        after = _after(problem, slack, moves, order)
        heights = (np.maximum(-after, 0) / problem.scale).sum(axis=1)
        heights[_kept(problem, after)] = 0
        n_made = int(np.argmin(heights)) + 1
        if heights[n_made - 1] >= short:
            break
        _make(problem, chosen, moves, order[:n_made])
    return chosen


def improve(problem: Problem, chosen: Int64Array) -> Int64Array:
    """Better choices, the limits kept; `chosen` must keep them."""
    chosen = chosen.copy()
    for _ in range(_ROUNDS):
        slack = problem.slack(chosen)
        moves = _moves(problem, chosen)
        spent = np.zeros(len(moves.to))
        fits = moves.gain > _TINY * problem.value_scale / len(problem.choices.prices)
        for k, rows in enumerate(_rows_of(problem, moves)):
            room = np.append(np.maximum(slack, 0), np.inf)[rows]
            down = np.maximum(-moves.amounts[:, k], 0)
            fits &= down <= room
            spent += np.divide(down, room, out=np.zeros_like(down), where=room > 0)
        able = np.flatnonzero(fits)
        order = _one_a_chain(
            problem,
            moves,
            able[np.argsort(-moves.gain[able] / (spent[able] + _TINY), kind="stable")],
        )
        if not len(order):
            break
        made = _largest_prefixes(problem, slack, moves, order)
        _make(problem, chosen, moves, made)
    return chosen


def shortfall(problem: Problem, slack: Float64Array) -> float:
    """How far the rows fall short altogether, each as a share of how far it can move; 0 when all
    are kept."""
    if bool(_kept(problem, slack[None, :])[0]):
        return 0.0
    return float((np.maximum(-slack, 0) / problem.scale).sum())


def _kept(problem: Problem, slack: Float64Array) -> BoolArray:
    """Whether all rows are kept, but for rounding (m,); `slack` (m, R)."""
    return np.asarray(
        (slack >= -_TINY * np.maximum(np.abs(problem.least), problem.scale)).all(axis=1)
    )


def _moves(problem: Problem, chosen: Int64Array) -> _Moves:
    """Every move of one item that keeps the orders with its neighbours."""
    choices, links = problem.choices, problem.links
    item = choices.item
    before, after = links.previous[item], links.following[item]
    place = np.arange(len(item))
    valid = place != chosen[item]
    has = before >= 0
    other = chosen[np.where(has, before, 0)]
    valid &= ~has | ((links.first <= other) & (other < links.end))
    has = after >= 0
    other = chosen[np.where(has, after, 0)]
    valid &= ~has | ((links.first[other] <= place) & (place < links.end[other]))
    to = np.flatnonzero(valid)
    now = chosen[item[to]]
    amounts = [limit.amount[to] - limit.amount[now] for limit in problem.limits]
    stacked = np.stack(amounts, axis=1) if amounts else np.zeros((len(to), 0))
    return _Moves(to, choices.value[to] - choices.value[now], stacked)


def _rows_of(problem: Problem, moves: _Moves) -> list[Int64Array]:
    """The row of each move (m,) in each limit."""
    items = problem.choices.item[moves.to]
    return [rows[items] for rows in problem.rows]


def _shortfall_change(problem: Problem, slack: Float64Array, moves: _Moves) -> Float64Array:
    change = np.zeros(len(moves.to))
    padded, scale = np.append(slack, np.inf), np.append(problem.scale, 1.0)
    for k, rows in enumerate(_rows_of(problem, moves)):
        now = padded[rows]
        change += (np.maximum(-(now + moves.amounts[:, k]), 0) - np.maximum(-now, 0)) / scale[rows]
    return change


def _priced(problem: Problem, moves: _Moves, multipliers: Float64Array) -> Float64Array:
    padded = np.append(multipliers, 0.0)
    total = np.zeros(len(moves.to))
    for k, rows in enumerate(_rows_of(problem, moves)):
        total += padded[rows] * moves.amounts[:, k]
    return total


def _one_a_chain(problem: Problem, moves: _Moves, order: Int64Array) -> Int64Array:
    """The first of each chain's moves, in the given order."""
    chain = problem.links.chain[problem.choices.item[moves.to[order]]]
    _, first = np.unique(chain, return_index=True)
    return order[np.sort(first)]


def _after(problem: Problem, slack: Float64Array, moves: _Moves, order: Int64Array) -> Float64Array:
    """The slack (m, R) after the first, the first two, ... of the moves in `order`."""
    steps = np.zeros((len(order), len(slack) + 1))
    for k, rows in enumerate(_rows_of(problem, moves)):
        np.add.at(steps, (np.arange(len(order)), rows[order]), moves.amounts[order, k])
    return slack + np.cumsum(steps[:, :-1], axis=0)


def _largest_prefixes(
    problem: Problem, slack: Float64Array, moves: _Moves, order: Int64Array
) -> Int64Array:
    """The moves in order that fit, one after the other: whoever does not fit is left out, and the
    next are tried."""
    made: list[Int64Array] = []
    for _ in range(_ROUNDS):
        if not len(order):
            break
        after = _after(problem, slack, moves, order)
        kept = _kept(problem, after)
        n_fit = len(order) if kept.all() else int(np.argmin(kept))
        made.append(order[:n_fit])
        if n_fit:
            slack = after[n_fit - 1]
        order = order[n_fit + 1 :]
    return np.concatenate(made) if made else np.zeros(0, np.int64)


def _make(problem: Problem, chosen: Int64Array, moves: _Moves, which: Int64Array) -> None:
    to = moves.to[which]
    chosen[problem.choices.item[to]] = to
