"""What the table `promotions` plans for the items of a zone."""

from __future__ import annotations

from datetime import datetime

import ibis

from features.contracts.tables import DEFAULT_ZONE
from features.facts.facts import Facts
from features.pipelines.expressions import kind_of, spread_plans
from features.prices.law import PlannedReduction
from models.pricing.promotions.conflicts import PromotionRun

# Kinds that lower what is paid, also where their rows have no depth.
_LOWERING = ("price", "coupon", "bundle", "spend_save", "满减", "buy_get")


def find_planned_reductions(
    facts: Facts, zone: str, now: datetime
) -> dict[str, list[PlannedReduction]]:
    """Return the promotions with a discount that begin after `now`, by item."""
    table = facts.read("promotions")
    ahead = table.filter(
        table.depth > 0,
        table.starts_at > ibis.literal(now, "timestamp('UTC')"),
        table.zone.isin([DEFAULT_ZONE, zone]),
    )
    ordered = ahead.order_by(["item_id", "starts_at", "promotion_id"])
    reductions: dict[str, list[PlannedReduction]] = {}
    for row in ordered.to_pyarrow().to_pylist():
        reduction = PlannedReduction(row["promotion_id"], row["starts_at"], None)
        reductions.setdefault(row["item_id"], []).append(reduction)
    return reductions


def find_promotion_runs(
    facts: Facts, zone: str, starts_at: datetime, ends_at: datetime
) -> list[PromotionRun]:
    """Return the promotions that lower a price (by depth or kind) and overlap a time."""
    table = facts.read("promotions")
    first, last = (ibis.literal(time, "timestamp('UTC')") for time in (starts_at, ends_at))
    overlapping = table.filter(
        (table.depth > 0) | table.kind.isin(_LOWERING),
        table.starts_at < last,
        table.ends_at > first,
        table.zone.isin([DEFAULT_ZONE, zone]),
    )
    ordered = overlapping.order_by(["item_id", "starts_at", "promotion_id"])
    return [
        PromotionRun(row["promotion_id"], row["item_id"], row["starts_at"], row["ends_at"])
        for row in ordered.to_pyarrow().to_pylist()
    ]


def average_planned_reach(
    facts: Facts, zone: str, starts_at: datetime, ends_at: datetime, max_reach: float
) -> dict[tuple[str, str], float]:
    """Return the mean planned reach over a time by item and kind, none above `max_reach`."""
    table = facts.read("promotions")
    first, last = (ibis.literal(time, "timestamp('UTC')") for time in (starts_at, ends_at))
    plans = table.filter(table.starts_at < last, table.ends_at > first)
    plans = plans.select(
        "item_id",
        "zone",
        "starts_at",
        "ends_at",
        kind=kind_of(plans),
        reach=plans.reach.fill_null(1),
    )
    plans = spread_plans(plans, facts.read("events").select("zone"))
    means: dict[tuple[str, str], float] = {}
    for row in plans.filter(plans.zone == zone).to_pyarrow().to_pylist():
        overlap = min(row["ends_at"], ends_at) - max(row["starts_at"], starts_at)
        share = overlap / (ends_at - starts_at)
        key = row["item_id"], row["kind"]
        means[key] = min(means.get(key, 0.0) + min(row["reach"], max_reach) * share, max_reach)
    return means
