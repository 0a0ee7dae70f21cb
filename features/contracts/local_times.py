"""Times as people write them: an instant, or a time of the clock in some time zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from features.contracts.clock import parse_time
from features.contracts.errors import BadInput
from features.contracts.times import has_offset

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_LOCAL = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?))?")
_WEEKDAY = re.compile(rf"({'|'.join(_DAYS)})(?: (\d\d?:\d\d))?")
_HINT = "Write it like 2018-01-08T06:00Z, 2018-01-08 06:00 or Monday 06:00"


def parse_local_time(
    text: str, now: datetime, timezone: str, *, where: str | None = None
) -> datetime:
    """Return the instant that a text names, in UTC.

    With an offset it is that instant; without one the time of the clock in `timezone`; a day
    without a time is its midnight. A weekday is the next one after `now`. An hour that comes twice
    is the first one. Raises BadInput for an hour that the clock skips, and for what is no time.

    >>> now = datetime(2018, 1, 5, 12, tzinfo=UTC)
    >>> parse_local_time("Monday 06:00", now, "Europe/Berlin").isoformat()
    '2018-01-08T05:00:00+00:00'
    """
    given = text.strip()
    if match := _WEEKDAY.fullmatch(given.lower()):
        clock = _read_clock(match[2] or "00:00", text, where)
        day = now.astimezone(ZoneInfo(timezone)).replace(tzinfo=None)
        days = (_DAYS.index(match[1]) - day.weekday()) % 7
        local = datetime.combine(day.date() + timedelta(days=days), clock.time())
        moment = _to_utc(local, text, timezone, where)
        return moment if moment > now else _to_utc(local + timedelta(days=7), text, timezone, where)
    if match := _LOCAL.fullmatch(given):
        try:
            local = datetime.fromisoformat(f"{match[1]}T{match[2] or '00:00'}")
        except ValueError as error:
            raise BadInput(f"{text!r} is no time", where=where, hint=_HINT) from error
        return _to_utc(local, text, timezone, where)
    if not has_offset(given):
        raise BadInput(f"{text!r} is no time", where=where, hint=_HINT)
    return parse_time(given, where=where)


def _read_clock(clock: str, text: str, where: str | None) -> datetime:
    try:
        return datetime.strptime(clock, "%H:%M")  # noqa: DTZ007
    except ValueError as error:
        raise BadInput(f"{text!r} is no time", where=where, hint=_HINT) from error


def _to_utc(local: datetime, text: str, timezone: str, where: str | None) -> datetime:
    moment = local.replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)
    if moment.astimezone(ZoneInfo(timezone)).replace(tzinfo=None) != local:
        raise BadInput(
            f"the clock of {timezone} skips {text!r}", where=where, hint="Give another hour"
        )
    return moment
