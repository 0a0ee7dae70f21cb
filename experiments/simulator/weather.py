"""What moves demand whatever prices do: season, holidays, shocks of a category, slow drifts of an
item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.simulator.catalogue import Catalogue
from experiments.simulator.parameters import ShopParameters
from features.contracts.arrays import Float64Array

_WEEKS_A_YEAR = 52
_HOLIDAYS = (6, 14, 26, 35, 47, 51)  # weeks of the year


@dataclass(frozen=True)
class Weather:
    """Factors on demand; their expectation is near 1.

    past    (N, T) of the weeks that are over
    ahead   (N, H) expected of the weeks to come, given how the last week was
    """

    past: Float64Array
    ahead: Float64Array


def draw_weather(
    parameters: ShopParameters, catalogue: Catalogue, rng: np.random.Generator
) -> Weather:
    """Draws the factors of the past and works out the expected ones to come."""
    n_categories, n_items = int(catalogue.category.max()) + 1, len(catalogue.item_ids)
    n_past, n_ahead = parameters.n_weeks, parameters.horizon_weeks
    known = _known(parameters, n_categories, rng)
    shock = _memory(rng.normal(size=(n_categories, n_past)), parameters.shock_memory)
    drift = _memory(rng.normal(size=(n_items, n_past)), parameters.drift_memory)
    past = (
        parameters.shock * shock[catalogue.category]
        + parameters.drift * drift
        + known[catalogue.category, :n_past]
    )
    ahead = known[catalogue.category, n_past:]
    ahead = (
        ahead
        + _expected(parameters.shock, parameters.shock_memory, shock[:, -1], n_ahead)[
            catalogue.category
        ]
    )
    ahead = ahead + _expected(parameters.drift, parameters.drift_memory, drift[:, -1], n_ahead)
    return Weather(np.exp(past), np.exp(ahead))


def _known(parameters: ShopParameters, n_categories: int, rng: np.random.Generator) -> Float64Array:
    """(C, T + H) season and holidays, which come back every year."""
    week = np.arange(parameters.n_weeks + parameters.horizon_weeks)
    phase = rng.uniform(0, 2 * np.pi, (n_categories, 1))
    swing = parameters.season * rng.uniform(0.5, 1.5, (n_categories, 1))
    season = swing * np.sin(2 * np.pi * week / _WEEKS_A_YEAR + phase)
    size = parameters.holiday * rng.normal(size=(n_categories, len(_HOLIDAYS)))
    for k, holiday in enumerate(_HOLIDAYS):
        season[:, week % _WEEKS_A_YEAR == holiday] += size[:, k, None]
    return np.asarray(season)


def _memory(draws: Float64Array, memory: float) -> Float64Array:
    """An autoregression of spread 1 along the weeks, from standard normal draws.

    >>> _memory(np.array([[1.0, 0.0, 0.0]]), 0.5).tolist()
    [[1.0, 0.5, 0.25]]
    """
    states = np.empty_like(draws)
    states[:, 0] = draws[:, 0]
    for week in range(1, draws.shape[1]):
        states[:, week] = memory * states[:, week - 1] + np.sqrt(1 - memory**2) * draws[:, week]
    return states


def _expected(spread: float, memory: float, last: Float64Array, n_ahead: int) -> Float64Array:
    """(n, H) log of the expected exp(spread × state): mean and half the variance that the last
    state leaves."""
    steps = np.arange(1, n_ahead + 1)
    mean = spread * last[:, None] * memory**steps
    return np.asarray(mean + spread**2 * (1 - memory ** (2 * steps)) / 2)
