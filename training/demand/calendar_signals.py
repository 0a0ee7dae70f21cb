"""Signals of whole weeks: the first days of a month, public holidays, the shop's regressors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import ibis
import numpy as np

from configs.settings import Settings
from features.contracts.arrays import Float32Array, Float64Array, Int8Array
from features.contracts.calendar import day_starts
from features.contracts.errors import BadInput
from features.contracts.tables import DEFAULT_ZONE
from features.facts.facts import Facts
from features.pipelines.demand import week_spans
from features.pipelines.expressions import instant
from models.demand.daily import EVE, HOLIDAY, MONTH_BEGINS, USUAL, WEEKDAYS

MONTH_BEGINS_SIGNAL, HOLIDAYS_SIGNAL = "month_begins", "holidays"
CALENDAR_SIGNALS = {MONTH_BEGINS_SIGNAL, HOLIDAYS_SIGNAL}  # known years ahead
_FIRST_DAYS = 7  # wages and benefits are paid then


def read_zone_signals(
    facts: Facts,
    settings: Settings,
    starts: Sequence[datetime],
    zones: Sequence[str],
    known_at: datetime | None,
) -> tuple[tuple[str, ...], Float32Array]:
    """Return names R, and R × Z × T values: regressors as known at `known_at` (None: all of them).

    Raises BadInput for a country that the holidays library does not know.
    """
    weeks = [_local_days(start, settings.timezone) for start in starts]
    begins = np.array([sum(day.day <= _FIRST_DAYS for day in week) / len(week) for week in weeks])
    signals: dict[str, Float64Array] = {MONTH_BEGINS_SIGNAL: np.tile(begins, (len(zones), 1))}
    countries = [settings.zone(zone).country or settings.country for zone in zones]
    if any(countries):
        signals[HOLIDAYS_SIGNAL] = np.array(
            [_count_holidays(country, weeks) for country in countries]
        )
    signals |= _read_regressors(facts, starts, zones, known_at)
    return tuple(signals), np.stack(list(signals.values())).astype(np.float32)


def _local_days(start: datetime, timezone: str) -> list[date]:
    """Return the dates of the week that begins at `start`."""
    return [day.astimezone(ZoneInfo(timezone)).date() for day in day_starts(start, timezone)]


def classify_days(
    settings: Settings, starts: Sequence[datetime], zones: Sequence[str]
) -> Int8Array:
    """Return Z × weeks × 7: the kind of each day, of models.demand.daily."""
    days = [_local_days(start, settings.timezone) for start in starts]
    kinds = np.full((len(zones), len(days), WEEKDAYS), USUAL, np.int8)
    for row, zone in enumerate(zones):
        holidays = _public_holidays(settings.zone(zone).country or settings.country, days)
        for week, weekday in np.ndindex(len(days), WEEKDAYS):
            day = days[week][weekday]
            if day in holidays:
                kinds[row, week, weekday] = HOLIDAY
            elif day + timedelta(days=1) in holidays:
                kinds[row, week, weekday] = EVE
            elif day.day <= _FIRST_DAYS:
                kinds[row, week, weekday] = MONTH_BEGINS
    return kinds


def _count_holidays(country: str, weeks: Sequence[Sequence[date]]) -> list[float]:
    """Return the number of public holidays of each week; 0 without a country."""
    holidays = _public_holidays(country, weeks)
    return [float(sum(day in holidays for day in week)) for week in weeks]


def _public_holidays(country: str, weeks: Sequence[Sequence[date]]) -> Collection[date]:
    """Return those of the years of the weeks, and of the next; "DE-BY" is Bavaria."""
    if not country:
        return ()
    import holidays

    name, _, part = country.partition("-")
    years = {day.year + ahead for week in weeks for day in week for ahead in (0, 1)}
    try:
        return set(holidays.country_holidays(name, subdiv=part or None, years=years))
    except NotImplementedError as error:
        raise BadInput(
            str(error), where="SHOPWRIGHT_COUNTRY", hint="Give an ISO 3166 code, as US or DE-BY"
        ) from error


def _read_regressors(
    facts: Facts, starts: Sequence[datetime], zones: Sequence[str], known_at: datetime | None
) -> Mapping[str, Float64Array]:
    """Return Z × T weekly means by name, ascending.

    A zone without rows of its own has those of the default zone, a week without rows has 0. A row
    whose `known_at` lies at or after the origin is not known yet; one without was always known.
    """
    rows = facts.read("regressors")
    if known_at is not None:
        rows = rows.filter(rows.known_at.isnull() | (rows.known_at < instant(known_at)))
    weeks = week_spans(starts)
    rows = rows.asof_join(weeks, rows["at"] >= weeks.week_start)
    rows = rows.filter(rows["at"] < rows.week_end)
    means = rows.group_by(
        "name", zone=rows.zone.fill_null(DEFAULT_ZONE), week_start=rows.week_start
    ).aggregate(value=rows["value"].mean())
    week_of = {start: week for week, start in enumerate(starts)}
    by_name: dict[str, dict[str, Float64Array]] = {}
    for row in means.order_by(["name", "zone", ibis.asc("week_start")]).to_pyarrow().to_pylist():
        by_zone = by_name.setdefault(row["name"], {})
        weekly = by_zone.setdefault(row["zone"], np.full(len(starts), np.nan))
        weekly[week_of[row["week_start"]]] = row["value"]
    blank = np.full(len(starts), np.nan)
    regressors = {}
    for name, by_zone in sorted(by_name.items()):
        usual = by_zone.get(DEFAULT_ZONE, blank)
        regressors[name] = _standardize(np.array([by_zone.get(zone, usual) for zone in zones]))
    return regressors


def _standardize(weekly: Float64Array) -> Float64Array:
    """Return values in two standard deviations from the mean, so that one penalty suits all.

    Unknown weeks get the mean.
    """
    known = np.isfinite(weekly)
    if not known.any():
        return np.zeros_like(weekly)
    deviation = float(weekly[known].std()) or 1.0
    return np.where(known, (weekly - weekly[known].mean()) / deviation / 2, 0.0)
