"""Small Ibis expressions that the feature pipelines share. Time is always an argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import ibis
import ibis.expr.types as ir

from features.contracts.calendar import DECAY_PER_WEEK, SECONDS_PER_WEEK
from features.contracts.tables import DEFAULT_ZONE
from features.pipelines.feature_constants import ALL_ZONES, NO_KIND


def instant(at: datetime) -> ir.TimestampScalar:
    """Return `at` as a literal, UTC."""
    return ibis.literal(at.astimezone(UTC))


def before(events: ir.Table, as_of: datetime) -> ir.Table:
    """Return the events that a feature as of `as_of` may use: those strictly before it."""
    return events.filter(events.occurred_at < instant(as_of))


def since(events: ir.Table, as_of: datetime, days: float) -> ir.Table:
    """Return the events of the last `days` days, of events already cut at `as_of`."""
    return events.filter(events.occurred_at >= instant(as_of - timedelta(days=days)))


def epoch_seconds(time: ir.TimestampValue) -> ir.NumericValue:
    """Return whole seconds since 1970 of an instant, floored."""
    return time.cast("timestamp").epoch_seconds().cast("float64").floor()


def age_seconds(seconds: ir.NumericValue, as_of: datetime) -> ir.NumericValue:
    """Return the seconds from `seconds` (epoch) to `as_of`, never negative; null stays null."""
    age = ibis.literal(int(as_of.timestamp())) - seconds
    return ibis.ifelse(age < 0, 0, age)


def decay(
    seconds: ir.NumericValue, as_of: datetime, per_week: float = DECAY_PER_WEEK
) -> ir.NumericValue:
    """Return `per_week` ** (age in weeks)."""
    weeks = age_seconds(seconds, as_of).cast("float64") / float(SECONDS_PER_WEEK)
    return ibis.literal(per_week, type="float64") ** weeks


def zone_of(table: ir.Table) -> ir.StringValue:
    """Return the zone column with its default."""
    return table.zone.coalesce(DEFAULT_ZONE)


def in_zone(table: ir.Table, zone: str) -> ir.Table:
    """Return the rows of one zone; ALL_ZONES keeps every row."""
    return table if zone == ALL_ZONES else table.filter(zone_of(table) == zone)


def spread_plans(plans: ir.Table, events: ir.Table) -> ir.Table:
    """Return plans (promotions, prices) in each zone of `events` in which they are valid.

    A plan without a zone is valid in every zone of the shop; so is one of the default zone where
    that zone sells nothing.
    """
    # A join forgets which columns are never null, and a union asks that both sides agree.
    plans = plans.cast({name: kind.copy(nullable=True) for name, kind in plans.schema().items()})
    zones = events.select(sold_in=zone_of(events)).distinct()
    zones = zones.mutate(no_default=~(zones.sold_in == DEFAULT_ZONE).any().over(ibis.window()))
    general = plans.zone.isnull() | (plans.zone == DEFAULT_ZONE)
    named = plans.filter(~general)
    spread = plans.filter(general).cross_join(zones)
    spread = spread.filter(
        spread.zone.isnull() | spread.no_default | (spread.sold_in == DEFAULT_ZONE)
    )
    spread = spread.mutate(zone=spread.sold_in).select(*plans.columns)
    return named.union(spread)


def kind_of(promotions: ir.Table) -> ir.StringValue:
    """Return the kind column with its default."""
    return promotions.kind.fill_null(NO_KIND)


def promotion_kinds(promotions: ir.Table) -> tuple[str, ...]:
    """Return the kinds of promotion that this shop plans, sorted. Runs a query."""
    kinds = promotions.select(kind=kind_of(promotions)).distinct().to_pyarrow()
    return tuple(sorted(kinds["kind"].to_pylist()))
