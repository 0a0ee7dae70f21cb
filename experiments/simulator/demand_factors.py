"""Factors on demand that do not depend on prices.

Season and holidays, shocks of a category, slow drifts of an item.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.simulator.catalogue import Catalogue
from experiments.simulator.parameters import ShopParameters
from features.contracts.arrays import Float64Array

_WEEKS_A_YEAR = 52
_HOLIDAYS = (6, 14, 26, 35, 47, 51)  # weeks of the year


@dataclass(frozen=True)
class DemandFactors:
    """Factors on demand; their expectation is near 1.

    past    (N, T) in the weeks that are over
    ahead   (N, H) expected in the weeks to come, given the state of the last week
    """

    past: Float64Array
    ahead: Float64Array


def draw_demand_factors(
    parameters: ShopParameters,
    catalogue: Catalogue,
    rng: np.random.Generator,
    rng_of_extras: np.random.Generator,
) -> DemandFactors:
    """Draw the factors of the past and compute the expected ones to come.

    What is off by default draws from `rng_of_extras`.
    """
    n_categories, n_items = int(catalogue.category.max()) + 1, len(catalogue.item_ids)
    n_past, n_ahead = parameters.n_weeks, parameters.horizon_weeks
    yearly = _draw_yearly_factors(parameters, n_categories, rng)
    shock = _autoregress(rng.normal(size=(n_categories, n_past)), parameters.shock_memory)
    drift = _autoregress(rng.normal(size=(n_items, n_past)), parameters.drift_memory)
    past = (
        parameters.shock * shock[catalogue.category]
        + parameters.drift * drift
        + yearly[catalogue.category, :n_past]
    )
    item_draws = rng_of_extras.normal(size=(n_items, n_past))
    item_shock = _autoregress(item_draws, parameters.item_shock_memory)
    walk = np.cumsum(rng_of_extras.normal(size=(n_items, n_past)), axis=1)
    past = past + parameters.item_shock * item_shock
    past = past + parameters.level_drift / np.sqrt(_WEEKS_A_YEAR) * (walk - walk[:, -1:])
    expected_shock = _predict_log_factor(
        parameters.shock, parameters.shock_memory, shock[:, -1], n_ahead
    )
    expected_drift = _predict_log_factor(
        parameters.drift, parameters.drift_memory, drift[:, -1], n_ahead
    )
    ahead = yearly[catalogue.category, n_past:]
    ahead = ahead + expected_shock[catalogue.category]
    ahead = ahead + expected_drift
    ahead = ahead + _predict_log_factor(
        parameters.item_shock, parameters.item_shock_memory, item_shock[:, -1], n_ahead
    )
    return DemandFactors(np.exp(past), np.exp(ahead))


def _draw_yearly_factors(
    parameters: ShopParameters, n_categories: int, rng: np.random.Generator
) -> Float64Array:
    """Draw the log factors of season and holidays (C, T + H), which repeat every year."""
    week = np.arange(parameters.n_weeks + parameters.horizon_weeks)
    phase = rng.uniform(0, 2 * np.pi, (n_categories, 1))
    swing = parameters.season * rng.uniform(0.5, 1.5, (n_categories, 1))
    season = swing * np.sin(2 * np.pi * week / _WEEKS_A_YEAR + phase)
    size = parameters.holiday * rng.normal(size=(n_categories, len(_HOLIDAYS)))
    for k, holiday in enumerate(_HOLIDAYS):
        season[:, week % _WEEKS_A_YEAR == holiday] += size[:, k, None]
    return np.asarray(season)


def _autoregress(draws: Float64Array, memory: float) -> Float64Array:
    """Return an autoregression of spread 1 along the weeks, from standard normal draws (n, T).

    >>> _autoregress(np.array([[1.0, 0.0, 0.0]]), 0.5).tolist()
    [[1.0, 0.5, 0.25]]
    """
    states = np.empty_like(draws)
    states[:, 0] = draws[:, 0]
    for week in range(1, draws.shape[1]):
        states[:, week] = memory * states[:, week - 1] + np.sqrt(1 - memory**2) * draws[:, week]
    return states


def _predict_log_factor(
    spread: float, memory: float, last: Float64Array, n_ahead: int
) -> Float64Array:
    """Return the log of the expected exp(spread × state) (n, H), given the last state (n,).

    The mean, and half the variance that the last state leaves.
    """
    steps = np.arange(1, n_ahead + 1)
    mean = spread * last[:, None] * memory**steps
    return np.asarray(mean + spread**2 * (1 - memory ** (2 * steps)) / 2)
