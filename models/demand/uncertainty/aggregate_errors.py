"""How far sums over items miss, learnt level by level on backtests of categories, departments and
zones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array, StringArray
from models.demand.reconcile import LEVELS
from models.demand.uncertainty.aggregates import (
    FIRST_GUESS,
    SPANS,
    NodeSpread,
    NodeSums,
    fit_node_spread,
)
from models.demand.uncertainty.backtest_calibration import NEAR


@dataclass(frozen=True)
class NodeBacktest:
    """What was foretold at an origin of U nodes and what then came, U × the weeks from the first
    one on."""

    means: Float64Array
    actual: Float64Array


def fit_nodes(
    seen: Sequence[NodeBacktest], levels: StringArray, rng: np.random.Generator
) -> Mapping[str, NodeSums]:
    """By level, from the finest on, each drawn to the one below; `levels` U. Empty without
    backtests."""
    if not seen or not len(levels):
        return {}
    below = NodeSums((FIRST_GUESS,) * len(SPANS), FIRST_GUESS)
    found = {}
    for level in reversed(LEVELS):
        part = [
            NodeBacktest(each.means[levels == level], each.actual[levels == level]) for each in seen
        ]
        below = found[level] = _fit_level(part, below, rng)
    return found


def _fit_level(seen: Sequence[NodeBacktest], below: NodeSums, rng: np.random.Generator) -> NodeSums:
    near = fit_node_spread(*_weeks(seen, 0, NEAR), below.spans[0], rng)
    spans = [near]
    for weeks, guess in zip(SPANS[1:], below.spans[1:], strict=True):
        whole = [each for each in seen if each.means.shape[1] >= weeks]
        means = [each.means[:, :weeks].sum(axis=1) for each in whole]
        actual = [each.actual[:, :weeks].sum(axis=1) for each in whole]
        spans.append(_fitted(actual, means, guess, rng) or spans[-1])
    beyond = _weeks(seen, NEAR, None)
    far = fit_node_spread(*beyond, below.far, rng) if len(beyond[0]) else near
    return NodeSums(tuple(spans), far)


def _fitted(
    actual: list[Float64Array],
    means: list[Float64Array],
    guess: NodeSpread,
    rng: np.random.Generator,
) -> NodeSpread | None:
    return (
        fit_node_spread(np.concatenate(actual), np.concatenate(means), guess, rng)
        if means
        else None
    )


def _weeks(
    seen: Sequence[NodeBacktest], first: int, last: int | None
) -> tuple[Float64Array, Float64Array]:
    """Sold and foretold of single weeks, one after the other."""
    parts = [
        (each.actual[:, first:last].ravel(), each.means[:, first:last].ravel()) for each in seen
    ]
    actual, means = (np.concatenate(part) for part in zip(*parts, strict=True))
    return actual, means
