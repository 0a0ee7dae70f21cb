"""Business weeks and days: Monday 00:00 in the time zone of the shop, as UTC instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

SECONDS_PER_WEEK = 7 * 24 * 3600
# Decay of a purchase's weight in `decayed_frequency`, per week of age.
DECAY_PER_WEEK = 0.9


def find_week_start(at: datetime, timezone: str) -> datetime:
    """Return the UTC instant at which the business week that contains `at` began.

    >>> find_week_start(datetime(2017, 12, 6, 12, tzinfo=UTC), "America/New_York").isoformat()
    '2017-12-04T05:00:00+00:00'
    """
    local = at.astimezone(ZoneInfo(timezone))
    monday = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None) - timedelta(
        days=local.weekday()
    )
    return monday.replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)


def add_weeks(start: datetime, n: int, timezone: str) -> datetime:
    """Return the start of the week `n` weeks later, with daylight saving."""
    local = start.astimezone(ZoneInfo(timezone)).replace(tzinfo=None) + timedelta(weeks=n)
    return local.replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)


def week_starts(first: datetime, last: datetime, timezone: str) -> list[datetime]:
    """Return the starts of all business weeks from that of `first` to that of `last`."""
    starts = [find_week_start(first, timezone)]
    while (following := add_weeks(starts[-1], 1, timezone)) <= last:
        starts.append(following)
    return starts


def day_starts(week: datetime, timezone: str) -> list[datetime]:
    """Return the starts of the seven days of a week: local midnights, 23, 24 or 25 hours apart.

    >>> week = datetime(2017, 10, 30, 4, tzinfo=UTC)  # summer time ends on its Sunday
    >>> sunday = day_starts(week, "America/New_York")[-1]
    >>> sunday.isoformat(), str(add_weeks(week, 1, "America/New_York") - sunday)
    ('2017-11-05T04:00:00+00:00', '1 day, 1:00:00')
    """
    monday = week.astimezone(ZoneInfo(timezone)).replace(tzinfo=None)
    days = (monday + timedelta(days=n) for n in range(7))
    return [day.replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC) for day in days]
