"""Calibration of forecasts by past ones: the weights of the blend, and the spread of counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from features.contracts.arrays import Float64Array
from models.demand.blend import METHODS, Blend, Segments, fit_blend
from models.demand.stacking import Evidence
from models.demand.uncertainty.aggregates import NEAR, SPANS, ItemSpread, LevelSpreads
from models.demand.uncertainty.counts import QUANTILES, fit_count_distribution

_MIN_ROWS = 1_000


@dataclass(frozen=True)
class PastForecasts:
    """Unblended forecasts of N series made at a past origin, and what sold.

    steps      S weeks ahead, 1 is the first week after the origin
    segments   of the N series at the origin
    means      N × S × METHODS; NaN of the learner where it was not fitted
    actual     N × S units
    drift      N × S, how far the zone's level had moved by that week (None: not at all); nobody
               could know it, so the blend is not fitted to it, while the spread of counts holds it
    """

    origin: int
    steps: tuple[int, ...]
    segments: Segments
    means: Float64Array
    actual: Float64Array
    drift: Float64Array | None = None

    def select_steps(self, first: int, last: int | None = None) -> PastForecasts:
        """Return those of `first` to `last` weeks ahead, both included; None has no upper end."""
        columns = [
            column
            for column, step in enumerate(self.steps)
            if first <= step and (last is None or step <= last)
        ]
        return PastForecasts(
            self.origin,
            tuple(self.steps[column] for column in columns),
            self.segments,
            self.means[:, columns],
            self.actual[:, columns],
            None if self.drift is None else self.drift[:, columns],
        )


@dataclass(frozen=True)
class Calibration:
    """Fitted to forecasts of earlier origins.

    near, far    spreads of a week up to NEAR weeks ahead, and of one beyond
    spans        spreads of one item's sums over SPANS weeks; the first one is `near`
    levels       spreads of the aggregates above the items; empty unless they were fitted too
    """

    blend: Blend
    near: ItemSpread
    far: ItemSpread
    spans: tuple[ItemSpread, ...]
    levels: Mapping[str, LevelSpreads] = field(default_factory=dict)

    def at_step(self, step: int) -> ItemSpread:
        """Return the spread `step` weeks ahead."""
        return self.near if step <= NEAR else self.far

    def quantiles(
        self,
        means: Float64Array,
        segments: Segments,
        levels: Sequence[float] = QUANTILES,
    ) -> Float64Array:
        """Return N × H × levels quantiles around the N × H means of the first H weeks ahead."""
        by_step = [
            self.at_step(step).quantiles(means[:, step - 1], segments.dense, levels)
            for step in range(1, means.shape[1] + 1)
        ]
        return np.stack(by_step, axis=1)

    def pit(
        self,
        actual: Float64Array,
        means: Float64Array,
        segments: Segments,
        rng: np.random.Generator,
    ) -> Float64Array:
        """Return the randomised PIT of N × H counts of the first H weeks ahead."""
        by_step = [
            self.at_step(step).pit(actual[:, step - 1], means[:, step - 1], segments.dense, rng)
            for step in range(1, means.shape[1] + 1)
        ]
        return np.column_stack(by_step)


def calibrate(
    past: Sequence[PastForecasts],
    n_known: int,
    rng: np.random.Generator,
    simple: Sequence[PastForecasts] = (),
    learner_share: float = 0.0,
    blend: Blend | None = None,
) -> Calibration:
    """Fit a calibration to forecasts of earlier origins; weeks from `n_known` on are left out.

    past     with all methods; spreads and blend are fitted to them
    simple   of further origins, without the learner; the blend reads them too
    learner_share   of the blend before any backtest
    blend    None: it is fitted too
    """
    over = [forecasts.select_steps(1, n_known - forecasts.origin) for forecasts in past]
    near = [forecasts.select_steps(1, NEAR) for forecasts in over]
    further = [
        forecasts.select_steps(1, min(NEAR, n_known - forecasts.origin)) for forecasts in simple
    ]
    all_weeks = _stack_weeks([*near, *further])
    if blend is None:
        blend = fit_blend(all_weeks.move_with_drift(), all_weeks.segments, learner_share)
    near_weeks = _stack_weeks(near)
    near_spread = _fit_spread(near_weeks.blend(blend), rng)
    far_weeks = _stack_weeks([forecasts.select_steps(NEAR + 1) for forecasts in over])
    enough = len(far_weeks.evidence.actual) >= _MIN_ROWS
    far = _fit_spread(far_weeks.blend(blend), rng) if enough else near_spread
    spans = [near_spread]
    for weeks in SPANS[1:]:
        sums = _sum_weeks(over, blend, weeks)
        spans.append(spans[-1] if sums is None else _fit_spread(sums, rng))
    return Calibration(blend, near_spread, far, tuple(spans))


@dataclass(frozen=True)
class _Rows:
    """R counts with their blended means."""

    actual: Float64Array
    mean: Float64Array
    segments: Segments


@dataclass(frozen=True)
class _UnblendedRows:
    """R counts with the means of the methods, R × METHODS, and the drift of their zones, R."""

    evidence: Evidence
    segments: Segments
    drift: Float64Array

    def move_with_drift(self) -> Evidence:
        """Return the evidence as if the movement of the zones had been known."""
        return replace(self.evidence, means=self.evidence.means * self.drift[:, None])

    def blend(self, blend: Blend) -> _Rows:
        means = blend.combine(self.evidence.means, self.segments)
        return _Rows(self.evidence.actual, means, self.segments)


def _stack_weeks(past: Sequence[PastForecasts]) -> _UnblendedRows:
    """Return a row for each series and week of the forecasts."""
    n_methods = len(METHODS)
    weeks = [
        np.tile(np.array(forecasts.steps, np.int64) + forecasts.origin - 1, len(forecasts.actual))
        for forecasts in past
    ]
    origins = [
        np.full(len(week), forecasts.origin) for week, forecasts in zip(weeks, past, strict=True)
    ]
    evidence = Evidence(
        actual=np.concatenate([np.zeros(0), *[forecasts.actual.ravel() for forecasts in past]]),
        means=np.concatenate(
            [np.zeros((0, n_methods)), *[f.means.reshape(-1, n_methods) for f in past]]
        ),
        origin=np.concatenate([np.zeros(0, np.int64), *origins]),
        week=np.concatenate([np.zeros(0, np.int64), *weeks]),
    )
    segments = [forecasts.segments.repeat(len(forecasts.steps)) for forecasts in past]
    drift = [
        np.ones(forecasts.actual.size) if forecasts.drift is None else forecasts.drift.ravel()
        for forecasts in past
    ]
    return _UnblendedRows(
        evidence, Segments.concatenate(segments), np.concatenate([np.zeros(0), *drift])
    )


def _sum_weeks(past: Sequence[PastForecasts], blend: Blend, weeks: int) -> _Rows | None:
    """Return a row for each series: the sum of its first `weeks` weeks.

    None where no forecasts have all of these weeks.
    """
    span = tuple(range(1, weeks + 1))
    whole = [forecasts for forecasts in past if forecasts.steps[:weeks] == span]
    if not whole:
        return None
    means = [
        blend.combine(forecasts.means[:, :weeks], forecasts.segments).sum(axis=1)
        for forecasts in whole
    ]
    return _Rows(
        np.concatenate([forecasts.actual[:, :weeks].sum(axis=1) for forecasts in whole]),
        np.concatenate(means),
        Segments.concatenate([forecasts.segments for forecasts in whole]),
    )


def _fit_spread(rows: _Rows, rng: np.random.Generator) -> ItemSpread:
    """Fit distributions of sparse and of dense series; one for both where one has few rows."""
    dense = rows.segments.dense
    if min((~dense).sum(), dense.sum()) < _MIN_ROWS:
        common = fit_count_distribution(rows.actual, rows.mean, rng)
        return ItemSpread(common, common)
    return ItemSpread(
        fit_count_distribution(rows.actual[~dense], rows.mean[~dense], rng),
        fit_count_distribution(rows.actual[dense], rows.mean[dense], rng),
    )
