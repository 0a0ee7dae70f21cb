"""What backtests before an origin teach the forecasts made at it: which method to trust, how wide
to spread counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from models.demand.blend import Blend, fit_blend
from models.demand.uncertainty.aggregates import SPANS, NodeSums, Spread
from models.demand.uncertainty.counts import QUANTILES, fit_counts

NEAR = 4  # horizons up to here share a distribution, those beyond another
_ENOUGH = 1_000


@dataclass(frozen=True)
class Backtest:
    """What the methods said at an origin and what then came: steps S, segment and N × S sold, N × S
    × M means."""

    origin: int
    steps: tuple[int, ...]
    segment: Int64Array
    means: Float64Array
    actual: Float64Array

    def before(self, n_known: int) -> Backtest:
        """The weeks that are over after `n_known` weeks."""
        kept = [place for place, step in enumerate(self.steps) if self.origin + step <= n_known]
        steps = tuple(self.steps[place] for place in kept)
        return Backtest(self.origin, steps, self.segment, self.means[:, kept], self.actual[:, kept])


@dataclass(frozen=True)
class Calibration:
    """Learnt on backtests before the origin: the blend, the spread near and far, and those of sums
    over weeks.

    sums    of items, by SPANS; the first one is `near`
    nodes   of nodes above the items, by level; a plain set of backtests knows none
    """

    blend: Blend
    near: Spread
    far: Spread
    sums: tuple[Spread, ...]
    nodes: Mapping[str, NodeSums] = field(default_factory=dict)

    def quantiles(
        self, mean: Float64Array, segment: Int64Array, step: int, at: Sequence[float] = QUANTILES
    ) -> Float64Array:
        """n × levels of n means `step` weeks ahead."""
        return (self.near if step <= NEAR else self.far).quantiles(mean, segment, at)

    def pit(
        self,
        actual: Float64Array,
        mean: Float64Array,
        segment: Int64Array,
        step: int,
        rng: np.random.Generator,
    ) -> Float64Array:
        """The randomised probability integral transform of n counts `step` weeks ahead."""
        return (self.near if step <= NEAR else self.far).pit(actual, mean, segment, rng)


def calibrate(backtests: Sequence[Backtest], n_known: int, rng: np.random.Generator) -> Calibration:
    """From backtests of earlier origins, of which only weeks before `n_known` are looked at."""
    seen = [backtest.before(n_known) for backtest in backtests]
    near = [
        _rows(each, [place for place, step in enumerate(each.steps) if step <= NEAR])
        for each in seen
    ]
    actual, means, segment = (np.concatenate(part) for part in zip(*near, strict=True))
    blend = fit_blend(actual, means, segment)
    close = _spread(actual, blend(means, segment), segment, rng)
    beyond = [
        _rows(each, [place for place, step in enumerate(each.steps) if step > NEAR])
        for each in seen
    ]
    actual, means, segment = (np.concatenate(part) for part in zip(*beyond, strict=True))
    far = _spread(actual, blend(means, segment), segment, rng) if len(actual) >= _ENOUGH else close
    sums = [close]
    for weeks in SPANS[1:]:
        found = _span(seen, blend, weeks)
        sums.append(sums[-1] if found is None else _spread(*found, rng))
    return Calibration(blend, close, far, tuple(sums))


def _span(
    seen: Sequence[Backtest], blend: Blend, weeks: int
) -> tuple[Float64Array, Float64Array, Int64Array] | None:
    """Sold, foretold and segment of the first `weeks` weeks together; None where no backtest saw
    all of them."""
    whole = [each for each in seen if each.steps[:weeks] == tuple(range(1, weeks + 1))]
    if not whole:
        return None
    sold = [each.actual[:, :weeks].sum(axis=1) for each in whole]
    foretold = [blend(each.means[:, :weeks], each.segment).sum(axis=1) for each in whole]
    return (
        np.concatenate(sold),
        np.concatenate(foretold),
        np.concatenate([each.segment for each in whole]),
    )


def _rows(backtest: Backtest, places: list[int]) -> tuple[Float64Array, Float64Array, Int64Array]:
    """Sold R, means R × M and segment R of some steps."""
    means = backtest.means[:, places]
    return (
        backtest.actual[:, places].ravel(),
        means.reshape(-1, means.shape[-1]),
        np.repeat(backtest.segment, len(places)),
    )


def _spread(
    actual: Float64Array, mean: Float64Array, segment: Int64Array, rng: np.random.Generator
) -> Spread:
    parts = [segment % 2 == 0, segment % 2 == 1]
    if min(rows.sum() for rows in parts) < _ENOUGH:
        whole = fit_counts(actual, mean, rng)
        return Spread(whole, whole)
    return Spread(*(fit_counts(actual[rows], mean[rows], rng) for rows in parts))
