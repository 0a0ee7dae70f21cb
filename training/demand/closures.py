"""Days without a sale that look like closures, and what a closed day takes from a week."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from configs.settings import Settings
from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from features.contracts.calendar import day_starts, week_starts
from features.facts.closed_days import WEEKDAYS, Closure, mark_open_days, read_closures
from features.facts.facts import Facts
from features.pipelines.demand import selling_hours
from training.splits import SalesSpan

_HALF_DAY = timedelta(hours=12)
# Days without a sale look like a closure that chance explains with less than this probability.
_CHANCE = 1e-4
_LONG_RUN = 7  # days without a sale that say nothing about how often a usual day has none
_YEAR, _AROUND = timedelta(weeks=52), timedelta(weeks=5)  # a year later, on the same weekday


def measure_open_shares(is_open: BoolArray, units: Float64Array) -> Float32Array:
    """Return Z × T shares of a week's usual sales that fall on its open days.

    is_open   Z × T × 7
    units     Z × known weeks × 7, sold; a weekday counts by what its open days sold
    """
    known = is_open[:, : units.shape[1]]
    by_weekday = (units * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    total = by_weekday.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, by_weekday / np.where(total > 0, total, 1.0), 1 / WEEKDAYS)
    return np.asarray(np.einsum("ztd,zd->zt", is_open, shares), np.float32)


def propose_closures(facts: Facts, settings: Settings, span: SalesSpan) -> list[Closure]:
    """Return times up to the present in which a whole zone sold nothing, though it usually does.

    They are runs of days, with the table's closures left out, that the share of usual days without
    a sale explains by chance once in 10,000 cases. Silence of all zones up to the present is one.
    One that goes on ends when the zone was back a year earlier, as sales or the table say, else
    now. Times are local.
    """
    weeks = week_starts(span.first, span.present, settings.timezone)[:-1]
    local = ZoneInfo(settings.timezone)
    days = [day.astimezone(local) for week in weeks for day in day_starts(week, settings.timezone)]
    if not days:
        return []
    zones, has_sale = _read_selling_days(facts, [*days, span.present])
    known = read_closures(facts)
    is_open = mark_open_days(known, zones, days)
    proposed = []
    for row, zone in enumerate(zones):
        sold = has_sale[row]
        ends = [*days[1:], span.present.astimezone(local)]
        of_zone = [
            Closure(zone, days[first], ends[last])
            for first, last in _find_silent_runs(sold, is_open[row])
        ]
        if of_zone and goes_on(of_zone[-1], span):
            earlier = [
                replace(
                    closure,
                    starts_at=closure.starts_at.astimezone(local),
                    ends_at=closure.ends_at.astimezone(local),
                )
                for closure in known
                if closure.zone == zone
            ]
            of_zone[-1] = _end_as_last_year(of_zone[-1], [*of_zone[:-1], *earlier])
        proposed += of_zone
    return proposed


def goes_on(closure: Closure, span: SalesSpan) -> bool:
    """Return whether a proposed closure lasts at present: nobody knows when it will end."""
    return closure.ends_at >= span.present


def _end_as_last_year(closure: Closure, earlier: Sequence[Closure]) -> Closure:
    """Return a closure that goes on with the end of the one that began about a year earlier."""

    def measure_distance(other: Closure) -> timedelta:
        return abs(closure.starts_at - other.starts_at - _YEAR)

    last_year = min(earlier, key=measure_distance, default=None)
    if last_year is None or measure_distance(last_year) > _AROUND:
        return closure
    return replace(closure, ends_at=max(closure.ends_at, last_year.ends_at + _YEAR))


def describe_closures(closures: Sequence[Closure], span: SalesSpan) -> tuple[str, ...]:
    """Return a sentence on each proposed closure, with what confirms it."""
    return tuple(_describe_closure(closure, span) for closure in closures)


def _describe_closure(closure: Closure, span: SalesSpan) -> str:
    confirm = "with `shopwright closures --out DIR/closures.csv` and `shopwright import DIR`"
    if goes_on(closure, span):
        until_now = replace(closure, ends_at=span.present)
        return (
            f"zone {closure.zone} sold nothing on {until_now.n_days} days, since "
            f"{closure.starts_at:%Y-%m-%d}. Is it closed? Confirm it {confirm}, with the day on "
            f"which it opens as ends_at ({closure.ends_at:%Y-%m-%d} is proposed): from then on "
            "it is forecast to sell as usual"
        )
    return (
        f"zone {closure.zone} sold nothing on {closure.n_days} days, {closure.starts_at:%Y-%m-%d} "
        f"to {closure.ends_at - _HALF_DAY:%Y-%m-%d}. Was it closed? Confirm it {confirm}"
    )


def _read_selling_days(facts: Facts, days: Sequence[datetime]) -> tuple[list[str], BoolArray]:
    """Return the zones, and Z × (days - 1): whether one has a purchase; the last instant ends."""
    rows = selling_hours(facts.read("events")).to_pyarrow()
    zones = sorted(set(rows["zone"].to_pylist()))
    starts = np.array([day.timestamp() for day in days])
    day: Int64Array = np.searchsorted(starts, rows["second"].to_numpy(), side="right") - 1
    zone = np.searchsorted(np.array(zones, str), np.array(rows["zone"].to_pylist(), str))
    known = (day >= 0) & (day < len(days) - 1)
    has_sale = np.zeros((len(zones), len(days) - 1), bool)
    has_sale[zone[known], day[known]] = True
    return zones, has_sale


def _find_silent_runs(sold: BoolArray, is_open: BoolArray) -> list[tuple[int, int]]:
    """Return the first and the last day of each run of open days without a sale that is odd."""
    silent = ~sold & is_open
    if not sold.any():
        return []
    first = int(np.argmax(sold))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], silent[first:], [0]]))) + first
    runs = [(int(start), int(end) - 1) for start, end in edges.reshape(-1, 2)]
    usual = is_open.copy()
    usual[:first] = False
    for start, end in runs:
        usual[start : end + 1] &= end - start + 1 < _LONG_RUN
    weekday = np.arange(len(sold)) % WEEKDAYS
    n_usual = np.bincount(weekday[usual], minlength=WEEKDAYS)
    n_empty = np.bincount(weekday[usual & ~sold], minlength=WEEKDAYS)
    log_empty = np.log((n_empty + 1) / (n_usual + 2))
    return [
        (start, end)
        for start, end in runs
        if log_empty[weekday[start : end + 1]].sum() < np.log(_CHANCE)
    ]
