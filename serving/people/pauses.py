"""How long a sign-in must wait after failed attempts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

# Attempts that fail without a pause. Many people may share an address.
FREE_BY_NAME = 5
FREE_BY_ADDRESS = 30
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=15)
# Without another failure for this time, all are forgotten.
FORGOTTEN_AFTER = timedelta(days=1)
_MOST_DOUBLINGS = 10


@dataclass(frozen=True)
class Failures:
    """The failed attempts of one name or from one address."""

    count: int
    last_at: datetime
    paused_until: datetime | None

    def seconds_to_wait(self, now: datetime) -> int:
        """Return the whole seconds until the next attempt may be made; 0 without a pause."""
        if self.paused_until is None or self.paused_until <= now:
            return 0
        return int((self.paused_until - now).total_seconds()) + 1


def add_failure(before: Failures | None, free: int, now: datetime) -> Failures:
    """Return the failures after one more: from number `free` on each pauses twice as long."""
    if before is None or before.last_at <= now - FORGOTTEN_AFTER:
        return Failures(1, now, None)
    count = before.count + 1
    if count < free:
        return Failures(count, now, None)
    pause = min(FIRST_PAUSE * 2 ** min(count - free, _MOST_DOUBLINGS), LONGEST_PAUSE)
    return Failures(count, now, now + pause)


def remove_failure(before: Failures) -> Failures | None:
    """Return the failures without the last one; it turned out to be none."""
    return Failures(before.count - 1, before.last_at, None) if before.count > 1 else None
