"""Small Ibis expressions that the feature pipelines share. Time is always an argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import ibis

from features.contracts.histories import DECAY_PER_WEEK, SECONDS_PER_WEEK
from features.contracts.tables import DEFAULT_ZONE
from features.pipelines.rules import ALL_ZONES


def instant(at: datetime) -> Any:
    """`at` as a literal, UTC."""
    return ibis.literal(at.astimezone(UTC))


def before(events: Any, as_of: datetime) -> Any:
    """The events a feature as of `as_of` may know: those that occurred strictly before it."""
    return events.filter(events.occurred_at < instant(as_of))


def since(events: Any, as_of: datetime, days: float) -> Any:
    """Of events already cut at `as_of`, those of the last `days` days."""
    return events.filter(events.occurred_at >= instant(as_of - timedelta(days=days)))


def epoch_seconds(time: Any) -> Any:
    """Whole seconds since 1970 of an instant, floored."""
    return time.cast("timestamp").epoch_seconds().cast("float64").floor()


def age_seconds(seconds: Any, as_of: datetime) -> Any:
    """Seconds from `seconds` (epoch) to `as_of`, never negative; null stays null."""
    age = ibis.literal(int(as_of.timestamp())) - seconds
    return ibis.ifelse(age < 0, 0, age)


def decay(seconds: Any, as_of: datetime, per_week: float = DECAY_PER_WEEK) -> Any:
    """`per_week` ** (age in weeks)."""
    weeks = age_seconds(seconds, as_of).cast("float64") / float(SECONDS_PER_WEEK)
    return ibis.literal(per_week, type="float64") ** weeks


def zone_of(table: Any) -> Any:
    """The zone column with its default."""
    return table.zone.coalesce(DEFAULT_ZONE)


def in_zone(table: Any, zone: str) -> Any:
    """The rows of one zone; ALL_ZONES keeps every row."""
    return table if zone == ALL_ZONES else table.filter(zone_of(table) == zone)
