"""Spreads of categories, departments and zones, fitted level by level to errors of backtests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array, StringArray
from models.demand.reconcile import LEVELS
from models.demand.uncertainty.aggregates import (
    FIRST_GUESS,
    NEAR,
    SPANS,
    AggregateSpread,
    LevelSpreads,
    fit_aggregate_spread,
)


@dataclass(frozen=True)
class PastAggregates:
    """Forecasts of U aggregates made at a past origin, and what sold: U × weeks from the first."""

    means: Float64Array
    actual: Float64Array


def fit_level_spreads(
    past: Sequence[PastAggregates], levels: StringArray, rng: np.random.Generator
) -> Mapping[str, LevelSpreads]:
    """Fit the spreads of each level, the finest first, each shrunk towards the one below.

    `levels` U. Empty without backtests.
    """
    if not past or not len(levels):
        return {}
    below = LevelSpreads((FIRST_GUESS,) * len(SPANS), FIRST_GUESS)
    fitted = {}
    for level in reversed(LEVELS):
        rows = levels == level
        of_level = [
            PastAggregates(forecasts.means[rows], forecasts.actual[rows]) for forecasts in past
        ]
        below = fitted[level] = _fit_level(of_level, below, rng)
    return fitted


def _fit_level(
    past: Sequence[PastAggregates], below: LevelSpreads, rng: np.random.Generator
) -> LevelSpreads:
    near = _fit_weeks(
        [_select_weeks(forecasts, slice(NEAR)) for forecasts in past], below.spans[0], rng
    )
    spans = [near]
    for weeks, guess in zip(SPANS[1:], below.spans[1:], strict=True):
        whole = [forecasts for forecasts in past if forecasts.means.shape[1] >= weeks]
        spans.append(_fit_sums(whole, weeks, guess, rng) if whole else spans[-1])
    beyond = [_select_weeks(forecasts, slice(NEAR, None)) for forecasts in past]
    n_beyond = sum(forecasts.means.size for forecasts in beyond)
    far = _fit_weeks(beyond, below.far, rng) if n_beyond else near
    return LevelSpreads(tuple(spans), far)


def _select_weeks(past: PastAggregates, weeks: slice) -> PastAggregates:
    return PastAggregates(past.means[:, weeks], past.actual[:, weeks])


def _fit_weeks(
    past: Sequence[PastAggregates], below: AggregateSpread, rng: np.random.Generator
) -> AggregateSpread:
    """Fit the spread of single weeks."""
    actual = np.concatenate([forecasts.actual.ravel() for forecasts in past])
    means = np.concatenate([forecasts.means.ravel() for forecasts in past])
    return fit_aggregate_spread(actual, means, below, rng)


def _fit_sums(
    past: Sequence[PastAggregates], weeks: int, below: AggregateSpread, rng: np.random.Generator
) -> AggregateSpread:
    """Fit the spread of the first `weeks` weeks together."""
    actual = np.concatenate([forecasts.actual[:, :weeks].sum(axis=1) for forecasts in past])
    means = np.concatenate([forecasts.means[:, :weeks].sum(axis=1) for forecasts in past])
    return fit_aggregate_spread(actual, means, below, rng)
