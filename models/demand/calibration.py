"""What backtests before an origin teach the forecasts made at it: which method to trust, how wide to spread counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.demand.blend import Blend, fit_blend
from models.demand.distribution import QUANTILES, Counts, Doubles, fit_counts
from models.demand.panel import Ints

NEAR = 4  # horizons up to here share a distribution, those beyond another
_ENOUGH = 1_000


@dataclass(frozen=True)
class Backtest:
    """What the methods said at an origin and what then came: steps S, segment and N × S sold, N × S × M means."""

    origin: int
    steps: tuple[int, ...]
    segment: Ints
    means: Doubles
    actual: Doubles

    def before(self, n_known: int) -> Backtest:
        """The weeks that are over after `n_known` weeks."""
        kept = [place for place, step in enumerate(self.steps) if self.origin + step <= n_known]
        steps = tuple(self.steps[place] for place in kept)
        return Backtest(self.origin, steps, self.segment, self.means[:, kept], self.actual[:, kept])


@dataclass(frozen=True)
class Spread:
    """Distributions of sparse and of dense series."""

    sparse: Counts
    dense: Counts

    def quantiles(self, mean: Doubles, segment: Ints, at: Sequence[float] = QUANTILES) -> Doubles:
        """n × levels of n means."""
        result = np.empty((len(mean), len(at)))
        for counts, rows in self._parts(segment):
            result[rows] = counts.quantiles(mean[rows], at)
        return result

    def pit(self, actual: Doubles, mean: Doubles, segment: Ints, rng: np.random.Generator) -> Doubles:
        """The randomised probability integral transform of n counts."""
        result = np.empty(len(mean))
        for counts, rows in self._parts(segment):
            result[rows] = counts.pit(actual[rows], mean[rows], rng)
        return result

    def alpha(self, mean: Doubles, segment: Ints) -> Doubles:
        """The dispersion of each of n means."""
        result = np.empty(len(mean))
        for counts, rows in self._parts(segment):
            result[rows] = counts.alpha(mean[rows])
        return result

    def _parts(self, segment: Ints) -> list[tuple[Counts, npt.NDArray[np.bool_]]]:
        dense = segment % 2 == 1
        return [(self.sparse, ~dense), (self.dense, dense)]


@dataclass(frozen=True)
class Calibration:
    """Learnt on backtests before the origin: the blend, the spread near and far, and that of `NEAR` weeks' total."""

    blend: Blend
    near: Spread
    far: Spread
    total: Spread

    def quantiles(self, mean: Doubles, segment: Ints, step: int, at: Sequence[float] = QUANTILES) -> Doubles:
        """n × levels of n means `step` weeks ahead."""
        return (self.near if step <= NEAR else self.far).quantiles(mean, segment, at)

    def pit(self, actual: Doubles, mean: Doubles, segment: Ints, step: int, rng: np.random.Generator) -> Doubles:
        """The randomised probability integral transform of n counts `step` weeks ahead."""
        return (self.near if step <= NEAR else self.far).pit(actual, mean, segment, rng)


def calibrate(backtests: Sequence[Backtest], n_known: int, rng: np.random.Generator) -> Calibration:
    """From backtests of earlier origins, of which only weeks before `n_known` are looked at."""
    seen = [backtest.before(n_known) for backtest in backtests]
    near = [_rows(each, [place for place, step in enumerate(each.steps) if step <= NEAR]) for each in seen]
    actual, means, segment = (np.concatenate(part) for part in zip(*near, strict=True))
    blend = fit_blend(actual, means, segment)
    close = _spread(actual, blend(means, segment), segment, rng)
    beyond = [_rows(each, [place for place, step in enumerate(each.steps) if step > NEAR]) for each in seen]
    actual, means, segment = (np.concatenate(part) for part in zip(*beyond, strict=True))
    far = _spread(actual, blend(means, segment), segment, rng) if len(actual) >= _ENOUGH else close
    whole = [each for each in seen if set(range(1, NEAR + 1)) <= set(each.steps)]
    if not whole:
        return Calibration(blend, close, far, close)
    places = list(range(NEAR))
    totals = [
        (each.actual[:, places].sum(axis=1), blend(each.means[:, places], each.segment).sum(axis=1)) for each in whole
    ]
    actual, mean = (np.concatenate(part) for part in zip(*totals, strict=True))
    total = _spread(actual, mean, np.concatenate([each.segment for each in whole]), rng)
    return Calibration(blend, close, far, total)


def _rows(backtest: Backtest, places: list[int]) -> tuple[Doubles, Doubles, Ints]:
    """Sold R, means R × M and segment R of some steps."""
    means = backtest.means[:, places]
    return (
        backtest.actual[:, places].ravel(),
        means.reshape(-1, means.shape[-1]),
        np.repeat(backtest.segment, len(places)),
    )


def _spread(actual: Doubles, mean: Doubles, segment: Ints, rng: np.random.Generator) -> Spread:
    parts = [segment % 2 == 0, segment % 2 == 1]
    if min(rows.sum() for rows in parts) < _ENOUGH:
        whole = fit_counts(actual, mean, rng)
        return Spread(whole, whole)
    return Spread(*(fit_counts(actual[rows], mean[rows], rng) for rows in parts))
