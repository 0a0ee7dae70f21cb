"""Shoppers of the benchmarks: what they like, and how they read a slate.

Nothing here is known to an estimator. Shoppers differ in how much they click, read from the top and
stop after a click, tire of a category, or compare all items of the slate with one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array

Reading = Literal["from the top", "compares all"]
READINGS: tuple[Reading, ...] = ("from the top", "compares all")

# How much more a shopper clicks than another, how often each kind occurs, and how many further
# visits each kind makes on average.
ACTIVITY = np.array([0.5, 1.0, 1.8])
ACTIVITY_SHARES = np.array([0.4, 0.4, 0.2])
FURTHER_VISITS = np.array([0.5, 2.0, 5.0])

_CONTINUES, _CONTINUES_AFTER_CLICK = 0.85, 0.4
_TIRED = 0.5  # of the category of the item right above
_LOOKS_AT_RANK = 0.8  # to the power of the rank above
_COMPETITION = 0.6  # what the best other item takes


@dataclass(frozen=True)
class ShownSlates:
    """Slates of n shoppers: (n, K) how attractive the items are to the shopper, 0..1, and of which
    category they are."""

    attraction: Float64Array
    category: Int64Array


def compute_click_chances(slates: ShownSlates, activity: Float64Array) -> Float64Array:
    """Return (n, K) the chance of a click on an item that the shopper looks at."""
    chance = slates.attraction * activity[:, None]
    is_tired = slates.category[:, 1:] == slates.category[:, :-1]
    chance[:, 1:] *= np.where(is_tired, _TIRED, 1.0)
    return np.minimum(chance, 0.95)


def compute_mean_clicks(
    slates: ShownSlates, activity: Float64Array, reading: Reading
) -> Float64Array:
    """Return (n, K) the mean clicks by rank, exactly."""
    chance = compute_click_chances(slates, activity)
    if reading == "compares all":
        return _compute_compared(chance)
    means = np.empty_like(chance)
    looks = np.ones(len(chance))
    for rank in range(chance.shape[1]):
        means[:, rank] = looks * chance[:, rank]
        clicked = chance[:, rank]
        looks = looks * ((1 - clicked) * _CONTINUES + clicked * _CONTINUES_AFTER_CLICK)
    return means


def draw_clicks(
    slates: ShownSlates, activity: Float64Array, reading: Reading, rng: np.random.Generator
) -> Float64Array:
    """Return (n, K) clicks, 0 or 1."""
    chance = compute_click_chances(slates, activity)
    if reading == "compares all":
        return (rng.random(chance.shape) < _compute_compared(chance)).astype(float)
    clicks = np.zeros_like(chance)
    looks = np.ones(len(chance), bool)
    for rank in range(chance.shape[1]):
        clicks[:, rank] = looks & (rng.random(len(chance)) < chance[:, rank])
        continues = np.where(clicks[:, rank] > 0, _CONTINUES_AFTER_CLICK, _CONTINUES)
        looks &= rng.random(len(chance)) < continues
    return clicks


def _compute_compared(chance: Float64Array) -> Float64Array:
    """Return (n, K) the chances where each item competes with the best other one of the slate."""
    n_ranks = chance.shape[1]
    looks = _LOOKS_AT_RANK ** np.arange(n_ranks)
    others = np.stack(
        [np.delete(chance, rank, axis=1).max(axis=1) for rank in range(n_ranks)], axis=1
    )
    return np.asarray(looks * chance * (1 - _COMPETITION * others))


@dataclass(frozen=True)
class Visits:
    """Visits of shoppers: (n,) the number of the shopper, and their kind of activity."""

    shopper: Int64Array
    kind: Int64Array


def draw_visits(n_shoppers: int, rng: np.random.Generator) -> Visits:
    """Return the visits of so many shoppers: one each, and further ones by their kind."""
    kind = rng.choice(len(ACTIVITY), n_shoppers, p=ACTIVITY_SHARES)
    n_visits = 1 + rng.poisson(FURTHER_VISITS[kind])
    shopper = np.repeat(np.arange(n_shoppers), n_visits)
    return Visits(shopper, kind[shopper])


def compute_visit_shares() -> Float64Array:
    """Return the share of visits by kind of activity."""
    visits = ACTIVITY_SHARES * (1 + FURTHER_VISITS)
    return np.asarray(visits / visits.sum())
