"""Two clocks: business time for prices, decay and forecasts; system time for keys and audit.

A clock is made where a process is composed: in serving.server_opening and serving.cli.shop.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from features.contracts.errors import BadInput
from features.contracts.times import has_offset, read_time

# Slower changes are those of a clock that is kept right.
JUMP = timedelta(minutes=5)


class Clock(Protocol):
    """A source of the present time."""

    def now(self) -> datetime:
        """Return the present instant, timezone-aware, UTC."""
        ...


def read_wall_time() -> datetime:
    """Return the time of the machine; every clock here is made of it."""
    return datetime.now(UTC)


class SystemClock:
    """The time of the machine: keys, sessions, expiry and audit always use it."""

    def now(self) -> datetime:
        return read_wall_time()


class BusinessClock:
    """The time of the shop: `start` at the system instant `anchored_at`, and running from there.

    Without a start it is the system time.
    """

    def __init__(self, start: datetime | None = None, anchored_at: datetime | None = None) -> None:
        self._start = start
        self._anchored_at = anchored_at or read_wall_time()

    def now(self) -> datetime:
        present = read_wall_time()
        return present if self._start is None else self._start + (present - self._anchored_at)


class ClockWatch:
    """Notices when the time of the machine was set while this process ran.

    The time that has passed since the start is counted twice: by the clock that can be set, and by
    one that cannot (it goes on while the machine sleeps).
    """

    def __init__(self) -> None:
        self._began_at = read_wall_time()
        self._began_seconds = _read_uptime()

    def find_jump(self) -> timedelta | None:
        """Return by how much the clock is ahead of where it should be (below 0: behind); None where
        that is less than JUMP."""
        passed = timedelta(seconds=_read_uptime() - self._began_seconds)
        ahead = read_wall_time() - self._began_at - passed
        return ahead if abs(ahead) > JUMP else None

    @property
    def problem(self) -> str | None:
        """The jump in words; None without one."""
        jump = self.find_jump()
        if jump is None:
            return None
        way = "ahead" if jump > timedelta(0) else "back"
        hours = abs(jump) / timedelta(hours=1)
        size = f"{hours / 24:.0f} days" if hours > 48 else f"{hours:.1f} hours"
        return (
            f"the clock of the machine was set {way} by {size}; restart the server if it is right"
        )


def _read_uptime() -> float:
    boot_clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(boot_clock)


def feature_time(now: datetime) -> datetime:
    """Return `now` floored to the whole hour.

    Features are functions of this instant, so that two requests in one hour (and an evaluation at
    its start) see the same ages and decays, and their answers can be compared exactly.
    """
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def parse_time(text: str, *, where: str | None = None) -> datetime:
    """Return an instant as aware UTC; a time without an offset is refused.

    In rows of tables it is UTC (see times); whoever writes a command may mean the time of a clock.

    >>> parse_time("2017-12-04T05:00Z").isoformat()
    '2017-12-04T05:00:00+00:00'
    """
    moment = _read_time(text, where)
    if not has_offset(text):
        raise BadInput(f"{text!r} has no time zone", where=where, hint="End it with Z for UTC")
    return moment


def parse_local_time(text: str, timezone: str, *, where: str | None = None) -> datetime:
    """Return an instant as aware UTC; a time without an offset is one of `timezone`.

    >>> parse_local_time("2018-01-08", "America/New_York").isoformat()
    '2018-01-08T05:00:00+00:00'
    >>> parse_local_time("2018-01-08T00:00Z", "America/New_York").isoformat()
    '2018-01-08T00:00:00+00:00'
    """
    moment = _read_time(text, where)
    if has_offset(text):
        return moment
    return moment.replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)


def _read_time(text: str, where: str | None) -> datetime:
    """Return the time of a text, UTC where it has no offset. Raises BadInput."""
    moment = read_time(text)
    if moment is None:
        raise BadInput(f"{text!r} is no time", where=where, hint="Write it like 2017-12-04T05:00Z")
    return moment
