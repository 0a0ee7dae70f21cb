"""Splits by time: a cut, and the window of whole business weeks after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

import ibis

from configs.settings import Settings
from features.contracts.calendar import add_weeks, find_week_start
from features.contracts.errors import TooLittleData
from features.contracts.tables import EventType
from features.facts.facts import Facts
from features.pipelines.expressions import before, instant

_LAST_DAYS = timedelta(days=2)  # of a week: a sale on one of them shows that the week is over
_DAY = timedelta(days=1)
_USUAL_WEEKS = 13  # before the last sale, by which it is known on which days the shop sells
_WEEK = timedelta(weeks=1)
_LATE_WEEKS = 1  # without sales before the present: data that come late, not a stop
_FEW_WEEKS = 3  # below them the last week counts even if its last days have no sale
# Weeks from the data to the present that a forecast bridges: that are missing, that sold nothing.
MOST_MISSING, MOST_SILENT = 26, 52


@dataclass(frozen=True)
class Window:
    """Known: what occurred before `cut`. To predict: what occurs from `cut` until before `end`."""

    cut: datetime
    end: datetime


def end_of_data(facts: Facts, until: datetime | None, timezone: str) -> datetime:
    """Return the start of the first business week after the last visible event.

    `until` hides what occurs from then on. Raises TooLittleData without events.
    """
    latest = facts.latest_event_at()
    if latest is None:
        raise TooLittleData("there are no events to train on", hint="Try: shopwright import DIR")
    if until is not None and until <= latest:
        return until
    start = find_week_start(latest, timezone)
    return start if start == latest else add_weeks(start, 1, timezone)


@dataclass(frozen=True)
class SalesSpan:
    """What is known of sales, and the present.

    first, last   the first and the last sale
    sold_until    end of the last whole week with sales
    end           end of the last week that is known; weeks from `sold_until` on had no sale
    present       start of the week of the present, with which forecasts begin: `end` or later
    """

    first: datetime
    last: datetime
    sold_until: datetime
    end: datetime
    present: datetime

    @property
    def n_silent(self) -> int:
        """Whole weeks from the end of the sales to the present."""
        return round((self.present - self.sold_until) / _WEEK)

    @property
    def n_missing(self) -> int:
        """Whole weeks before the present of which the data are missing."""
        return round((self.present - self.end) / _WEEK)


def span_of_sales(facts: Facts, until: datetime | None, settings: Settings) -> SalesSpan:
    """Return the sales before `until`, which is the present; None: the present ends with the data.

    A week with a sale on one of its last two days counts as over: a week that is still being filled
    would look like a slump. Days at the end of a week on which the shop usually sells nothing, as
    at weekends, are not among these days. Several weeks without any sale before the present count
    as weeks in which nothing sold, but where the settings say until when the data are complete
    (data_until).
    Raises TooLittleData without a whole week of sales, and where they are too long ago.
    """
    events = facts.read("events")
    events = events.filter(events.event_type == EventType.PURCHASE.value)
    if until is not None:
        events = before(events, until)
    row = (
        events.aggregate(first=events.occurred_at.min(), last=events.occurred_at.max())
        .to_pyarrow()
        .to_pylist()[0]
    )
    if row["first"] is None:
        raise TooLittleData(
            "there are no purchases to learn from", hint="Import sales: shopwright import DIR"
        )
    timezone = settings.timezone
    latest = row["last"] + _LAST_DAYS + _measure_silent_days(events, row["last"], timezone)
    sold_until = find_week_start(latest if until is None else min(until, latest), timezone)
    present = sold_until if until is None else find_week_start(until, timezone)
    first_week = find_week_start(row["first"], timezone)
    if round((sold_until - first_week) / _WEEK) < _FEW_WEEKS:
        # A young shop has no week to leave out.
        sold_until = min(present, add_weeks(sold_until, 1, timezone))
    end = present if round((present - sold_until) / _WEEK) > _LATE_WEEKS else sold_until
    complete = settings.data_until
    if complete is not None and complete < present:
        end = min(find_week_start(complete, timezone), present)
    if end <= first_week:
        raise TooLittleData(
            f"sales began on {row['first']:%Y-%m-%d}, and no whole week of them is known",
            hint=f"Train again after {add_weeks(first_week, 1, timezone):%Y-%m-%d}",
        )
    span = SalesSpan(row["first"], row["last"], sold_until, end, present)
    _refuse_long_gap(span)
    return span


def _measure_silent_days(events: ibis.Table, last: datetime, timezone: str) -> timedelta:
    """Return how many days at the end of a week usually have no sale: 0 for a shop that always
    sells, 2 for one that is closed at weekends. The week of the last sale does not count."""
    recent = events.filter(events.occurred_at >= instant(last - _USUAL_WEEKS * _WEEK))
    days = recent.group_by(day=recent.occurred_at.date()).aggregate(last=recent.occurred_at.max())
    last_sales: dict[datetime, datetime] = {}
    for sold_at in sorted(days.to_pyarrow()["last"].to_pylist()):
        last_sales[find_week_start(sold_at, timezone)] = sold_at
    last_sales.pop(find_week_start(last, timezone))
    days_silent = [
        (add_weeks(week, 1, timezone) - sold_at) / _DAY for week, sold_at in last_sales.items()
    ]
    return int(median(days_silent)) * _DAY if days_silent else timedelta()


def _refuse_long_gap(span: SalesSpan) -> None:
    most = MOST_MISSING if span.n_missing > _LATE_WEEKS else MOST_SILENT
    if max(span.n_silent, span.n_missing) > most:
        raise TooLittleData(
            f"the last sale was on {span.last:%Y-%m-%d}, {span.n_silent} weeks before the present "
            f"({span.present:%Y-%m-%d}); a forecast bridges {most}",
            hint="Import newer sales; or set SHOPWRIGHT_CLOCK_START to a time right after the "
            "last sale to try the shop as of then",
        )


def describe_gap(span: SalesSpan) -> tuple[str, ...]:
    """Return a sentence on weeks between data and present; none where there are none."""
    if not span.n_silent and not span.n_missing:
        return ()
    gap = max(span.n_silent, span.n_missing)
    weeks = "1 week" if gap == 1 else f"{gap} weeks"
    stated = f"data end {span.last:%Y-%m-%d}, {weeks} before now ({span.present:%Y-%m-%d})"
    if span.n_missing > _LATE_WEEKS or span.end < span.sold_until:
        return (f"{stated}: complete until {span.end:%Y-%m-%d}, later weeks count as missing",)
    if span.n_missing:
        return (f"{stated}: the last week is not complete yet and is left out",)
    remedy = (
        f"If data are missing, say until when they are complete: --data-until "
        f"{span.sold_until:%Y-%m-%d}T00:00Z, or SHOPWRIGHT_DATA_UNTIL"
    )
    return (f"{stated}: they count as weeks without sales. {remedy}",)


def windows(end: datetime, n: int, n_weeks: int, timezone: str) -> list[Window]:
    """Return the last `n` windows of `n_weeks` each, the latest first, without gap or overlap."""
    cuts = [add_weeks(end, -n_weeks * k, timezone) for k in range(n + 1)]
    return [Window(cut, following) for cut, following in zip(cuts[1:], cuts[:-1], strict=True)]
