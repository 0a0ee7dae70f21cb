"""Daily demand: from facts to what sold on each day, and the day forecasts of one origin beside
daily baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.settings import Settings
from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.calendar import day_starts
from features.contracts.tables import TIMESTAMP
from features.facts.facts import Facts
from features.pipelines.demand import daily_units
from models.demand.baselines import DAILY
from models.demand.daily import WEEKDAYS, DayCounts, DayProfiles, DaySales
from models.demand.model import DAILY_FORECASTS
from models.demand.panel import DemandPanel
from training.demand.calendar_signals import day_kinds
from training.demand.metrics import bias, interval_coverage, ks_uniform, paired_gain, wmape
from training.demand.panel import of_series
from training.results import Comparison

DAILY_WMAPE = "daily WMAPE"
EVEN = "ours, the same on each day"


def build_days(panel: DemandPanel, facts: Facts, settings: Settings) -> DaySales:
    """What each series of the panel sold on each day of its known weeks."""
    end = panel.week_starts[panel.n_known]
    known = panel.week_starts[: panel.n_known]
    starts = [day for week in known for day in day_starts(week, settings.timezone)] + [end]
    rows, series = of_series(
        panel, daily_units(facts.read("events"), starts, as_of=end).to_pyarrow()
    )
    zones = sorted(set(panel.zones.tolist()))
    return DaySales(
        n_series=panel.n_series,
        n_known=panel.n_known,
        series=series,
        day=pc.index_in(rows["day_start"], value_set=pa.array(starts, TIMESTAMP))
        .to_numpy()
        .astype(np.int64),
        units=rows["units"].to_numpy(),
        kinds=day_kinds(settings, panel.week_starts, zones),
        zones=np.searchsorted(np.array(zones, str), panel.zones.astype(str)),
        groups=panel.groups[1],
    )


@dataclass(frozen=True)
class DayFold:
    """One origin: dense series × weeks ahead × 7 of what sold, was foretold, and the randomised PIT
    of it."""

    actual: Float64Array
    means: Float64Array
    quantiles: Float64Array  # × levels
    pit: Float64Array
    baselines: Mapping[str, Float64Array]


def day_fold(
    sales: DaySales,
    origin: int,
    series: Int64Array,
    weekly: Float64Array,
    profiles: DayProfiles,
    counts: DayCounts,
    rng: np.random.Generator,
) -> DayFold:
    """`series` are judged; `weekly` S × weeks are their served weekly means."""
    horizon = weekly.shape[1]
    past, actual = sales.of(series, 0, origin), sales.of(series, origin, origin + horizon)
    means = day_means(sales, series, weekly, profiles, np.arange(origin, origin + horizon))
    pit = np.empty(actual.shape)
    for week in range(horizon):
        said = counts.at(week + 1).pit(actual[:, week].ravel(), means[:, week].ravel(), rng)
        pit[:, week] = said.reshape(-1, WEEKDAYS)
    baselines = {
        name: np.repeat(level(past)[:, None], horizon, axis=1) for name, level in DAILY.items()
    }
    baselines[EVEN] = np.repeat(weekly[:, :, None] / WEEKDAYS, WEEKDAYS, axis=2)
    return DayFold(actual, means, day_quantiles(means, counts), pit, baselines)


def day_means(
    sales: DaySales,
    series: Int64Array,
    weekly: Float64Array,
    profiles: DayProfiles,
    weeks: Int64Array,
) -> Float64Array:
    """S × weeks × 7 from the S × weeks means of these weeks: the days of a week sum to its mean."""
    return np.asarray(weekly[:, :, None] * profiles.shares_of(sales, series, weeks), np.float64)


def day_quantiles(means: Float64Array, counts: DayCounts) -> Float64Array:
    """S × weeks × 7 × levels."""
    weeks = [
        counts.at(week + 1).quantiles(means[:, week].ravel()) for week in range(means.shape[1])
    ]
    return np.stack([each.reshape(len(means), WEEKDAYS, each.shape[1]) for each in weeks], axis=1)


def day_forecasts(
    panel: DemandPanel,
    sales: DaySales,
    series: Int64Array,
    weekly: Float64Array,
    profiles: DayProfiles,
    counts: DayCounts,
    timezone: str,
) -> pa.Table:
    """DAILY_FORECASTS rows of the weeks after the panel's known ones, series by series."""
    weeks = np.arange(panel.n_known, panel.n_known + weekly.shape[1])
    means = day_means(sales, series, weekly, profiles, weeks)
    quantiles = day_quantiles(means, counts)
    starts = [day for week in weeks for day in day_starts(panel.week_starts[week], timezone)]
    place = np.repeat(series, len(starts))
    columns = [
        pa.array(panel.item_ids[place], pa.string()),
        pa.array(panel.zones[place], pa.string()),
        pa.array(starts * len(series), TIMESTAMP),
        means.ravel(),
        *(quantiles[..., q].ravel() for q in range(quantiles.shape[-1])),
    ]
    return pa.table(columns, schema=DAILY_FORECASTS)


def judged_days(folds: Sequence[DayFold]) -> tuple[Comparison, dict[str, float]]:
    """Daily WMAPE of ours beside the baselines, and further figures, over all origins together."""
    actual = np.concatenate([fold.actual.ravel() for fold in folds])
    ours = np.concatenate([fold.means.ravel() for fold in folds])
    theirs = {
        n: np.concatenate([fold.baselines[n].ravel() for fold in folds]) for n in folds[0].baselines
    }
    errors = {name: wmape(actual, said) for name, said in theirs.items()}
    strongest = min((name for name in errors if name != EVEN), key=lambda name: errors[name])
    weeks = [
        (_by_series(f.actual), _by_series(f.means), _by_series(f.baselines[strongest]))
        for f in folds
    ]
    p_value = paired_gain(*(np.concatenate(part) for part in zip(*weeks, strict=True)))
    quantiles = np.concatenate(
        [fold.quantiles.reshape(-1, fold.quantiles.shape[-1]) for fold in folds]
    )
    figures = {
        "daily bias": bias(actual, ours),
        "daily coverage p10-p90": interval_coverage(actual, quantiles[:, 0], quantiles[:, -1]),
        "daily PIT KS": ks_uniform(np.concatenate([fold.pit.ravel() for fold in folds])),
        "n_daily_series": float(np.mean([len(fold.actual) for fold in folds])),
        **{f"daily bias {name}": bias(actual, said) for name, said in theirs.items()},
    }
    return Comparison(
        DAILY_WMAPE, wmape(actual, ours), errors, "lower", strongest, p_value
    ), figures


def _by_series(days: Float64Array) -> Float64Array:
    return days.reshape(len(days), -1)
