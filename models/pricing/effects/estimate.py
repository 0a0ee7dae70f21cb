"""The effect of price changes on units, revenue and profit against keeping, with 80 % intervals.

m changes. Sold units are a count, known but for chance; the units of keeping are known as well as
the control knows them. Both are uncertain by themselves, so an effect is the difference of two
distributions. No effect is shrunk towards the predicted one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.pricing import Band, Effect

N_DRAWS = 4000
LEVEL = 0.8  # of all intervals
_TAIL = (1 - LEVEL) / 2
_JEFFREYS = 0.5  # added to a count: its mean is not 0 because nothing was sold


class Verdict(StrEnum):
    """What a change, a batch or a category did beside what its forecast said."""

    AS_EXPECTED = "as expected"
    BETTER = "better"
    WORSE = "worse"
    TOO_EARLY = "too early"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ObservedChanges:
    """m changes over the weeks that count of each; all arrays (m,).

    sold              units sold
    keeping           units expected had the price been kept (`Control`), and their dispersion
    control_error     standard error of the logarithm of `keeping`, all of it shared by a group
    group             number of the changes that have the same control
    predicted         ln of predicted units over those of keeping, as frozen; NaN where nothing was
                      predicted
    predicted_error   standard error of that
    net_before, net_after   prices net of tax, minor units; unit_cost: likewise
    """

    sold: Float64Array
    keeping: Float64Array
    dispersion: Float64Array
    control_error: Float64Array
    group: Int64Array
    predicted: Float64Array
    predicted_error: Float64Array
    net_before: Float64Array
    net_after: Float64Array
    unit_cost: Float64Array

    def select(self, rows: Int64Array) -> ObservedChanges:
        """Return some of the changes."""
        return ObservedChanges(
            **{field.name: getattr(self, field.name)[rows] for field in fields(self)}
        )

    def values(self) -> dict[str, tuple[Float64Array, Float64Array]]:
        """Return what a unit brings (m,), after and before the change, by quantity."""
        ones = np.ones(len(self.sold))
        return {
            "units": (ones, ones),
            "revenue": (self.net_after, self.net_before),
            "profit": (self.net_after - self.unit_cost, self.net_before - self.unit_cost),
        }


@dataclass(frozen=True)
class Draws:
    """Equally likely units (S, m): of the price as it is, of keeping, and as predicted.

    `predicted` is NaN where nothing was predicted.
    """

    sold: Float64Array
    keeping: Float64Array
    predicted: Float64Array


def draw_units(changes: ObservedChanges, rng: np.random.Generator, n_draws: int = N_DRAWS) -> Draws:
    """Draw expected units at the new price, of keeping, and as the forecast predicted them.

    Changes of one group err together, each by its own control error.
    """
    shape = (n_draws, len(changes.sold))
    of_group = rng.standard_normal((n_draws, int(changes.group.max(initial=-1)) + 1))
    common = np.exp(changes.control_error * of_group[:, changes.group])
    own = rng.gamma(1 / changes.dispersion, changes.dispersion, shape)
    keeping = changes.keeping * common * own
    response = changes.predicted + changes.predicted_error * rng.standard_normal(shape)
    sold = rng.gamma(changes.sold + _JEFFREYS, 1.0, shape)
    return Draws(sold, keeping, keeping * np.exp(response))


def estimate_effects(changes: ObservedChanges, draws: Draws) -> list[Effect]:
    """Return the effect of each change against keeping its price."""
    bands = {}
    for name, (after, before) in changes.values().items():
        middle = after * changes.sold - before * changes.keeping
        bands[name] = _find_bands(after * draws.sold - before * draws.keeping, middle)
    return [
        Effect(*(bands[name][row] for name in ("units", "revenue", "profit")))
        for row in range(len(changes.sold))
    ]


def estimate_sum(changes: ObservedChanges, draws: Draws) -> Effect:
    """Return the effect of all changes together, by the sum of their draws."""
    bands = []
    for after, before in changes.values().values():
        middle = (after * changes.sold - before * changes.keeping).sum(keepdims=True)
        total = (after * draws.sold - before * draws.keeping).sum(axis=1, keepdims=True)
        bands += _find_bands(total, middle)
    return Effect(*bands)


def decide_verdicts(draws: Draws) -> list[Verdict]:
    """Return whether each change sold as its forecast said, within the 80 % interval."""
    below = (draws.sold < draws.predicted).mean(axis=0)
    unknown = np.isnan(draws.predicted[0])
    return [
        Verdict.UNKNOWN if is_unknown else decide_verdict(share)
        for share, is_unknown in zip(below.tolist(), unknown.tolist(), strict=True)
    ]


def decide_verdict(below: float) -> Verdict:
    """Return the verdict of a change that sells less than predicted with probability `below`."""
    if below >= 1 - _TAIL:
        return Verdict.WORSE
    return Verdict.BETTER if below <= _TAIL else Verdict.AS_EXPECTED


def _find_bands(values: Float64Array, middle: Float64Array) -> list[Band]:
    """Return the 80 % interval of values (S, m) around their middles (m,), which it contains."""
    low, high = np.quantile(values, [_TAIL, 1 - _TAIL], axis=0)
    low, high = np.minimum(low, middle), np.maximum(high, middle)
    return [Band(*row) for row in np.stack([low, middle, high], axis=1).tolist()]
