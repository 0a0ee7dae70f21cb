"""Two clocks: business time for prices, decay and forecasts; system time for keys and audit.

A clock is made where a process is composed (serving.server, serving.cli.shop) and passed on.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from features.contracts.errors import BadInput


class Clock(Protocol):
    """A source of the present time."""

    def now(self) -> datetime:
        """Return the present instant, timezone-aware, UTC."""
        ...


class SystemClock:
    """The time of the machine: keys, sessions, expiry and audit always use it."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class BusinessClock:
    """The time of the shop: `start` at the system instant `anchored_at`, and running from there.

    Without a start it is the system time.
    """

    def __init__(self, start: datetime | None = None, anchored_at: datetime | None = None) -> None:
        self._start = start
        self._anchored_at = anchored_at or datetime.now(UTC)

    def now(self) -> datetime:
        present = datetime.now(UTC)
        return present if self._start is None else self._start + (present - self._anchored_at)


def feature_time(now: datetime) -> datetime:
    """Return `now` floored to the whole hour.

    Features are functions of this instant, so that two requests in one hour (and an evaluation at
    its start) see the same ages and decays, and their answers can be compared exactly.
    """
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def parse_time(text: str, *, where: str | None = None) -> datetime:
    """Return an RFC 3339 instant as aware UTC; a time without an offset is refused.

    >>> parse_time("2017-12-04T05:00Z").isoformat()
    '2017-12-04T05:00:00+00:00'
    """
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(
            f"{text!r} is no time", where=where, hint="Write it like 2017-12-04T05:00:00Z"
        ) from error
    if value.tzinfo is None:
        raise BadInput(f"{text!r} has no time zone", where=where, hint="End it with Z for UTC")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise BadInput(
            f"{text!r} lies outside the calendar", where=where, hint="Use years 1 to 9999 in UTC"
        ) from error
