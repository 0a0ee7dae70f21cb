"""What is known of whole weeks: the first days of a month, public holidays, and the regressors of
the shop."""

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
from models.demand.daily import EVE, HOLIDAY, USUAL, WEEKDAYS
from models.demand.daily import MONTH_BEGINS as BEGINS

MONTH_BEGINS, HOLIDAYS = "month_begins", "holidays"
_FIRST_DAYS = 7  # wages and benefits come then


def zone_signals(
    facts: Facts,
    settings: Settings,
    starts: Sequence[datetime],
    zones: Sequence[str],
    known_at: datetime | None,
) -> tuple[tuple[str, ...], Float32Array]:
    """Names R, and R × Z × T values: regressors as known at `known_at` (None: all of them).

    Raises BadInput for a country that the holidays library does not know.
    """
    days = [_days(start, settings.timezone) for start in starts]
    begins = np.array([sum(day.day <= _FIRST_DAYS for day in week) / len(week) for week in days])
    found: dict[str, Float64Array] = {MONTH_BEGINS: np.tile(begins, (len(zones), 1))}
    countries = [settings.zone(zone).country or settings.country for zone in zones]
    if any(countries):
        found[HOLIDAYS] = np.array([_holidays(country, days) for country in countries])
    found |= _regressors(facts, starts, zones, known_at)
    return tuple(found), np.stack(list(found.values())).astype(np.float32)


def _days(start: datetime, timezone: str) -> list[date]:
    return [day.astimezone(ZoneInfo(timezone)).date() for day in day_starts(start, timezone)]


def day_kinds(settings: Settings, starts: Sequence[datetime], zones: Sequence[str]) -> Int8Array:
    """Z × weeks × 7: the kind of each day (models.demand.daily)."""
    days = [_days(start, settings.timezone) for start in starts]
    kinds = np.full((len(zones), len(days), WEEKDAYS), USUAL, np.int8)
    for place, zone in enumerate(zones):
        calendar = _calendar(settings.zone(zone).country or settings.country, days)
        for week, weekday in np.ndindex(len(days), WEEKDAYS):
            day = days[week][weekday]
            if day in calendar:
                kinds[place, week, weekday] = HOLIDAY
            elif day + timedelta(days=1) in calendar:
                kinds[place, week, weekday] = EVE
            elif day.day <= _FIRST_DAYS:
                kinds[place, week, weekday] = BEGINS
    return kinds


def _holidays(country: str, days: Sequence[Sequence[date]]) -> list[float]:
    """Public holidays in each week; none without a country."""
    calendar = _calendar(country, days)
    return [float(sum(day in calendar for day in week)) for week in days]


def _calendar(country: str, days: Sequence[Sequence[date]]) -> Collection[date]:
    """Public holidays of the years of `days`, and of the next; "DE-BY" is Bavaria."""
    if not country:
        return ()
    import holidays

    name, _, part = country.partition("-")
    years = {day.year + ahead for week in days for day in week for ahead in (0, 1)}
    try:
        return set(holidays.country_holidays(name, subdiv=part or None, years=years))
    except NotImplementedError as error:
        raise BadInput(
            str(error), where="SHOPWRIGHT_COUNTRY", hint="Give an ISO 3166 code, as US or DE-BY"
        ) from error


def _regressors(
    facts: Facts, starts: Sequence[datetime], zones: Sequence[str], known_at: datetime | None
) -> Mapping[str, Float64Array]:
    """Weekly means by name; a zone without rows of its own takes those of the default zone, a week
    without takes 0.

    A row whose `known_at` lies at or after the origin is not known yet; one without was known all
    along.
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
    place = {start: week for week, start in enumerate(starts)}
    values: dict[str, dict[str, Float64Array]] = {}
    for row in means.order_by(["name", "zone", ibis.asc("week_start")]).to_pyarrow().to_pylist():
        weekly = values.setdefault(row["name"], {}).setdefault(
            row["zone"], np.full(len(starts), np.nan)
        )
        weekly[place[row["week_start"]]] = row["value"]
    blank = np.full(len(starts), np.nan)
    chosen = {
        name: np.array([by_zone.get(zone, by_zone.get(DEFAULT_ZONE, blank)) for zone in zones])
        for name, by_zone in sorted(values.items())
    }
    return {name: _centred(weekly) for name, weekly in chosen.items()}


def _centred(weekly: Float64Array) -> Float64Array:
    """In standard deviations from the mean, so that one penalty suits all; unknown weeks are usual
    ones."""
    known = np.isfinite(weekly)
    if not known.any():
        return np.zeros_like(weekly)
    spread = float(weekly[known].std()) or 1.0
    return np.where(known, (weekly - weekly[known].mean()) / spread / 2, 0.0)
