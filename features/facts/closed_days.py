"""Closed days of zones, as the table of closures names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from features.contracts.arrays import BoolArray
from features.contracts.calendar import day_starts
from features.contracts.tables import DEFAULT_ZONE
from features.facts.facts import Facts

WEEKDAYS = 7


@dataclass(frozen=True)
class Closure:
    """A time in which a zone sells nothing, UTC: from `starts_at` to before `ends_at`."""

    zone: str
    starts_at: datetime
    ends_at: datetime

    @property
    def n_days(self) -> int:
        """Days, rounded."""
        return round((self.ends_at - self.starts_at) / timedelta(days=1))


def read_closures(facts: Facts) -> list[Closure]:
    """Return the rows of the table `closures`."""
    rows = facts.read("closures").select("zone", "starts_at", "ends_at").to_pyarrow().to_pylist()
    return [Closure(row["zone"] or DEFAULT_ZONE, row["starts_at"], row["ends_at"]) for row in rows]


def mark_open_days(
    closures: Sequence[Closure], zones: Sequence[str], days: Sequence[datetime]
) -> BoolArray:
    """Return Z × D: days of which less than half is closed, given the starts of days.

    A closure of the default zone is one of every zone where the shop sells nothing in that zone.
    """
    starts = np.array([day.timestamp() for day in days])
    length = np.diff(np.append(starts, starts[-1:] + timedelta(days=1).total_seconds()))
    covered = np.zeros((len(zones), len(days)))
    for closure in closures:
        general = closure.zone == DEFAULT_ZONE and DEFAULT_ZONE not in zones
        rows = [n for n, zone in enumerate(zones) if general or zone == closure.zone]
        first = np.maximum(starts, closure.starts_at.timestamp())
        last = np.minimum(starts + length, closure.ends_at.timestamp())
        covered[rows] += np.maximum(last - first, 0.0)
    return np.asarray(covered < length / 2)


def mark_closed_weeks(
    closures: Sequence[Closure], zones: Sequence[str], starts: Sequence[datetime], timezone: str
) -> BoolArray:
    """Return Z × T: weeks with a closed day, given the starts of weeks."""
    days = [day for week in starts for day in day_starts(week, timezone)]
    is_open = mark_open_days(closures, zones, days).reshape(len(zones), len(starts), WEEKDAYS)
    return np.asarray(~is_open.all(axis=2))
