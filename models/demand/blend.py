"""The blend of the learner and simple methods, with weights by segment fitted on backtests.

The weights are not negative and sum to 1, but for a factor that takes out the bias. Segments are
volume × intermittence of the last year.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from models.demand import planned_baseline
from models.demand.panel import DemandPanel
from models.demand.simple_methods import SIMPLE
from models.demand.stacking import Evidence, Prior, fit_scale, fit_weights

FITTED = ("trees", "TSB")  # the learner, and TSB without the effects of whole weeks
METHODS = (*FITTED, *SIMPLE)
TREES, TSB = range(len(FITTED))  # their positions on the last axis of an array of means
VOLUMES = (0.15, 0.4, 1.0, 2.5, 8.0, 25.0)  # weekly units at which one volume class ends
DENSE = 0.25  # a series is dense that sold in at least this share of the weeks
_MEMORY = 52
# Methods that suit most shops share the weight before any backtest; the others must earn theirs.
_EXPECTED = (
    planned_baseline.NAME,
    "mean of 8 weeks",
    "mean of 26 weeks",
    "decaying mean",
    "fast decaying mean",
    "mean while alive",
    "CrostonSBA",
    "ADIDA",
)
_PRIOR_WEIGHTS = np.array([name in _EXPECTED for name in METHODS]) / len(_EXPECTED)
_PLANNED_SHARE = 0.5  # of the learner before any backtest, where plans are known
# Standard deviations of a weight around its prior: of a shop's best simple forecast around the
# expected one, of the blend around the best simple forecast, of a segment around the shop.
_SIMPLE_DEVIATION, _LEARNER_DEVIATION, _SEGMENT_DEVIATION = 0.2, 0.2, 0.1
# Standard deviations of the bias of a shop, and of a segment around that of its shop.
_SHOP_BIAS, _SEGMENT_BIAS = 0.05, 0.02


@dataclass(frozen=True)
class Segment:
    """One segment: a volume class, 0 below VOLUMES[0] and so on, of dense or of sparse series."""

    volume: int
    dense: bool

    @property
    def name(self) -> str:
        """The segment in words.

        >>> Segment(1, True).name, Segment(6, False).name
        ('0.15 to 0.4 units a week, dense', 'over 25 units a week, sparse')
        """
        if self.volume == 0:
            size = f"under {VOLUMES[0]:g}"
        elif self.volume == len(VOLUMES):
            size = f"over {VOLUMES[-1]:g}"
        else:
            size = f"{VOLUMES[self.volume - 1]:g} to {VOLUMES[self.volume]:g}"
        return f"{size} units a week, {'dense' if self.dense else 'sparse'}"


SEGMENTS = tuple(
    Segment(volume, dense) for volume in range(len(VOLUMES) + 1) for dense in (False, True)
)


@dataclass(frozen=True)
class Segments:
    """The segments of n series: their volume classes and whether they are dense, n each."""

    volume: Int64Array
    dense: BoolArray

    @property
    def codes(self) -> Int64Array:
        """The position of each in SEGMENTS, n."""
        return 2 * self.volume + self.dense

    def take(self, series: Int64Array) -> Segments:
        """Return the segments of some series."""
        return Segments(self.volume[series], self.dense[series])

    def repeat(self, count: int) -> Segments:
        """Return each segment `count` times, one after the other."""
        return Segments(self.volume.repeat(count), self.dense.repeat(count))

    @classmethod
    def concatenate(cls, parts: Sequence[Segments]) -> Segments:
        """Return the segments of all parts, in their order."""
        return cls(
            np.concatenate([np.zeros(0, np.int64), *[part.volume for part in parts]]),
            np.concatenate([np.zeros(0, bool), *[part.dense for part in parts]]),
        )


def segment_series(panel: DemandPanel) -> Segments:
    """Return the segments of the panel's series, by what they sold in the last year."""
    units = panel.units[:, -_MEMORY:]
    volume = np.searchsorted(VOLUMES, units.mean(axis=1), side="right")
    dense = (units > 0).mean(axis=1) >= DENSE
    return Segments(np.asarray(volume, np.int64), np.asarray(dense))


@dataclass(frozen=True)
class Blend:
    """Weights of METHODS by segment, in the order of SEGMENTS."""

    weights: tuple[tuple[float, ...], ...]

    def combine(self, means: Float64Array, segments: Segments) -> Float64Array:
        """Return n × ... blended means of the n × ... × METHODS `means` of n series.

        A method without a forecast, NaN, has no weight: it was not compared either.
        """
        weights = np.array(self.weights)[segments.codes]
        known = np.nan_to_num(means, nan=0.0)
        return np.asarray(np.einsum("i...m,im->i...", known, weights), np.float64)


def serve_alone(method: str) -> Blend:
    """Return the blend in which one of METHODS has all the weight in every segment."""
    weights = tuple(float(name == method) for name in METHODS)
    return Blend((weights,) * len(SEGMENTS))


PRIOR_BLEND = Blend((tuple(_PRIOR_WEIGHTS.tolist()),) * len(SEGMENTS))


def expect_learner(panel: DemandPanel) -> float:
    """Return the learner's share before any backtest.

    It is 0 where it knows what simple methods know too; half where plans are known, for simple
    methods read neither promotions nor prices.
    """
    return _PLANNED_SHARE if panel.kinds or panel.offer_price is not None else 0.0


def fit_blend(evidence: Evidence, segments: Segments, learner_share: float = 0.0) -> Blend:
    """Fit the weights in three steps, each the prior of the next.

    The simple methods alone, then all methods where the learner was fitted too (its means are NaN
    elsewhere), then each segment. So the learner replaces the best simple forecast as far as
    backtests of this shop prove it better, and a segment departs from the shop as far as its own
    do. In the end factors near 1 take out the bias that they prove. `segments` of the evidence's
    R rows; `learner_share` as of expect_learner.
    """
    simple = _fit_simple(evidence)
    learnt = np.flatnonzero(np.isfinite(evidence.means[:, TREES]))
    if not len(learnt):
        return Blend((tuple(simple.tolist()),) * len(SEGMENTS))
    with_learner, codes = evidence.take(learnt), segments.codes[learnt]
    expected = (1 - learner_share) * simple
    expected[TREES] = learner_share
    overall = fit_weights(with_learner, Prior(expected, _LEARNER_DEVIATION))
    prior = Prior(overall, _SEGMENT_DEVIATION)
    fitted = [
        fit_weights(with_learner.take(np.flatnonzero(codes == code)), prior)
        for code in range(len(SEGMENTS))
    ]
    blend = Blend(tuple(tuple(weights.tolist()) for weights in fitted))
    return _take_out_bias(blend, with_learner, segments.take(learnt))


def _take_out_bias(blend: Blend, evidence: Evidence, segments: Segments) -> Blend:
    """Return the weights times a factor of the shop and one of the segment, both near 1."""
    mean = blend.combine(evidence.means, segments)
    shop = fit_scale(evidence.actual, mean, evidence.week, _SHOP_BIAS)
    scaled = []
    for code, weights in enumerate(blend.weights):
        rows = np.flatnonzero(segments.codes == code)
        sold, expected = evidence.actual[rows], shop * mean[rows]
        own = fit_scale(sold, expected, evidence.week[rows], _SEGMENT_BIAS)
        scaled.append(tuple(shop * own * weight for weight in weights))
    return Blend(tuple(scaled))


def _fit_simple(evidence: Evidence) -> Float64Array:
    """Return weights of METHODS in which the learner has none."""
    others = np.flatnonzero(np.arange(len(METHODS)) != TREES)
    simple = Evidence(evidence.actual, evidence.means[:, others], evidence.origin, evidence.week)
    weights = np.zeros(len(METHODS))
    weights[others] = fit_weights(simple, Prior(_PRIOR_WEIGHTS[others], _SIMPLE_DEVIATION))
    return weights
