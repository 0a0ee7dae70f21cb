"""What a price is suggested from: the ledger's price, the unit cost and the forecast of each item.
Nothing personal."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.settings import Settings
from features.contracts.arrays import Float64Array
from features.contracts.tables import DEFAULT_ZONE, TIMESTAMP
from features.facts.facts import Facts
from features.pipelines.expressions import kind_of, spread_plans
from features.prices.law import PlannedReduction
from features.prices.ledger import Price
from models.pricing.promotions.what_if import PromotionRun
from models.pricing.rules import CompetitorRule
from serving.pricing_inputs.forecast_prices import price_moves

# So few items are looked for by name; of more, the whole catalogue is read.
_FEW = 1_000


@dataclass(frozen=True)
class ItemTerms:
    """What the catalogue and the costs say of an item; cost in minor units, net of tax.

    cost_assumed  no cost is known, so it was taken from the assumed margin of the settings
    attributes    the extra columns of the catalogue; rules know lifecycle_stage, map_price,
                  price_image, sell_by
    """

    item_id: str
    title: str | None
    category: str
    family_id: str | None
    unit_cost_minor: float
    cost_assumed: bool
    size: str | None = None
    available_from: datetime | None = None
    stock_on_hand: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HorizonForecast:
    """Units of n items in each of the horizon's W weeks, and their sums; weeks taken as moving
    together.

    weeks    float64 (n, W, 4): mean, p10, p50, p90
    assumed  float64 (n, W): the offer price that each forecast assumes, minor units; NaN where no
             plan told one

    Sums of quantiles are quantiles of the sum only when the weeks rise and fall together: the
    interval is a wide one.
    """

    item_ids: list[str]
    week_starts: list[datetime]
    weeks: Float64Array
    assumed: Float64Array

    @cached_property
    def mean(self) -> Float64Array:
        return self._sum(0)

    @cached_property
    def p10(self) -> Float64Array:
        return self._sum(1)

    @cached_property
    def p50(self) -> Float64Array:
        return self._sum(2)

    @cached_property
    def p90(self) -> Float64Array:
        return self._sum(3)

    def at_ledger_prices(
        self,
        histories: Mapping[str, Sequence[Price]],
        elasticity: Float64Array,
        now: datetime,
        timezone: str,
    ) -> HorizonForecast:
        """The same forecast at the prices that the ledger holds, where they are not the ones
        assumed.

        `histories` are the ledger's rows by item; `elasticity` (n,), NaN where none is known:
        nothing moves there.
        """
        factors = np.ones(self.assumed.shape)
        for n in np.flatnonzero(np.isfinite(elasticity)):
            assumed = [None if math.isnan(price) else price for price in self.assumed[n].tolist()]
            weeks = zip(self.week_starts, assumed, strict=True)
            moves = price_moves(histories.get(self.item_ids[n], ()), weeks, now, timezone)
            factors[n] = [
                1.0 if move is None else move.factor(float(elasticity[n])) for move in moves
            ]
        return replace(self, weeks=self.weeks * factors[:, :, None])

    def _sum(self, column: int) -> Float64Array:
        return np.asarray(self.weeks[:, :, column].sum(axis=1))


def horizon_forecast(
    forecasts: pa.Table, zone: str, now: datetime, weeks: int, item_ids: Sequence[str] | None = None
) -> HorizonForecast:
    """The first `weeks` weeks that end after `now`, of every item with that many in the zone, or of
    `item_ids` only.

    `forecasts` has the columns unique_id, zone, ds, mean, p10, p50, p90, and may have price_minor.
    """
    over = pa.scalar(now - timedelta(weeks=1), TIMESTAMP)
    running = pc.greater(forecasts["ds"].cast(TIMESTAMP), over)
    later = forecasts.filter(pc.and_(pc.equal(forecasts["zone"], zone), running))
    starts = sorted(pc.unique(later["ds"]).to_pylist())[:weeks]
    chosen = later.filter(pc.is_in(later["ds"], pa.array(starts, later["ds"].type)))
    if item_ids is not None:
        chosen = chosen.filter(pc.is_in(chosen["unique_id"], pa.array(list(item_ids), pa.string())))
    if "price_minor" not in chosen.column_names:
        chosen = chosen.append_column("price_minor", pa.nulls(chosen.num_rows, pa.float64()))
    counts = chosen.group_by("unique_id").aggregate([("ds", "count")])
    whole = counts.filter(pc.equal(counts["ds_count"], len(starts)))["unique_id"]
    rows = chosen.filter(pc.is_in(chosen["unique_id"], whole.combine_chunks()))
    rows = rows.sort_by([("unique_id", "ascending"), ("ds", "ascending")])
    names = ("mean", "p10", "p50", "p90", "price_minor")
    columns = [rows[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in names]
    values = np.stack(columns, axis=1).reshape(len(whole), len(starts), len(names))
    return HorizonForecast(
        rows["unique_id"].to_pylist()[:: max(len(starts), 1)],
        starts,
        values[:, :, :4],
        values[:, :, 4],
    )


def item_terms(
    facts: Facts,
    settings: Settings,
    prices: Mapping[str, Price],
    zone: str,
    now: datetime,
    opening: Mapping[str, int | None] | None = None,
) -> dict[str, ItemTerms]:
    """Title, category, family and unit cost of every priced item.

    The cost is the latest of `costs` for the zone (else the default zone), else that of `items`,
    else what the assumed margin leaves of the net list price: of the shop's own one (`opening`,
    minor units), since a cost that rose with each approved price would call for the next rise.
    Costs of the default zone and of `items` are in the shop's own currency: a zone with another one
    does not take them.
    """
    catalogue = facts.read("items")
    if len(prices) <= _FEW:
        catalogue = catalogue.filter(catalogue.item_id.isin(list(prices)))
    items = {row["item_id"]: row for row in _rows(catalogue) if row["item_id"] in prices}
    tax = settings.zone(zone)
    own_currency = tax.currency == settings.currency
    costs = _latest_costs(
        facts, list(dict.fromkeys([DEFAULT_ZONE, zone])) if own_currency else [zone], now
    )
    net = 1 / (1 + tax.tax_rate) if tax.prices_include_tax else 1.0
    terms = {}
    for item_id, price in prices.items():
        row = items.get(item_id, {})
        known = costs.get(item_id, row.get("unit_cost_minor") if own_currency else None)
        list_price = (opening or {}).get(item_id) or price.list_price_minor
        assumed = list_price * net * (1 - settings.assumed_margin)
        terms[item_id] = ItemTerms(
            item_id=item_id,
            title=row.get("title"),
            category=row.get("category") or "",
            family_id=row.get("family_id"),
            unit_cost_minor=assumed if known is None else float(known),
            cost_assumed=known is None,
            size=row.get("size"),
            available_from=row.get("available_from"),
            stock_on_hand=row.get("stock_on_hand"),
            attributes=json.loads(row.get("attributes") or "{}"),
        )
    return terms


def stock_on_hand(facts: Facts, zone: str, now: datetime) -> dict[str, float]:
    """The latest count of each item in the zone up to `now`."""
    table = facts.read("stock")
    counted = table.filter(table["at"] <= ibis.literal(now, "timestamp('UTC')"), table.zone == zone)
    latest = counted.group_by("item_id").aggregate(on_hand=counted.on_hand.argmax(counted["at"]))
    return {row["item_id"]: row["on_hand"] for row in _rows(latest)}


def competitor_prices(facts: Facts, rule: CompetitorRule, now: datetime) -> dict[str, float]:
    """What competitors ask for each item, minor units: by the rule, of each one's latest price that
    is not too old."""
    table = facts.read("competitor_prices")
    oldest = ibis.literal(now - timedelta(days=rule.max_age_days), "timestamp('UTC')")
    seen = table.filter(
        table.observed_at <= ibis.literal(now, "timestamp('UTC')"), table.observed_at >= oldest
    )
    latest = seen.group_by(["item_id", "competitor"]).aggregate(
        price=seen.price_minor.argmax(seen.observed_at)
    )
    price = latest.price.cast("float64")
    reckoned = {"lowest": price.min(), "median": price.median(), "mean": price.mean()}[
        rule.reference
    ]
    return {
        row["item_id"]: row["price"]
        for row in _rows(latest.group_by("item_id").aggregate(price=reckoned))
    }


def planned_promotions(facts: Facts, zone: str, now: datetime) -> dict[str, list[PlannedReduction]]:
    """The promotions with a discount that begin after `now`, by item."""
    table = facts.read("promotions")
    ahead = table.filter(
        table.depth > 0,
        table.starts_at > ibis.literal(now, "timestamp('UTC')"),
        table.zone.isin([DEFAULT_ZONE, zone]),
    )
    found: dict[str, list[PlannedReduction]] = {}
    for row in _rows(ahead.order_by(["item_id", "starts_at", "promotion_id"])):
        found.setdefault(row["item_id"], []).append(
            PlannedReduction(row["promotion_id"], row["starts_at"], None)
        )
    return found


def with_families(facts: Facts, item_ids: Sequence[str]) -> list[str]:
    """The items and all others of their families."""
    items = facts.read("items")
    named = (
        items.filter(items.item_id.isin(list(item_ids)), items.family_id.notnull())
        .select("family_id")
        .distinct()
    )
    relatives = items.semi_join(named, "family_id").select("item_id").order_by("item_id")
    return list(dict.fromkeys([*item_ids, *(row["item_id"] for row in _rows(relatives))]))


def promotion_runs(
    facts: Facts, zone: str, starts_at: datetime, ends_at: datetime
) -> list[PromotionRun]:
    """The promotions with a discount, or of kind price or coupon, that overlap a time."""
    table = facts.read("promotions")
    first, last = (ibis.literal(time, "timestamp('UTC')") for time in (starts_at, ends_at))
    overlapping = table.filter(
        (table.depth > 0) | table.kind.isin(["price", "coupon"]),
        table.starts_at < last,
        table.ends_at > first,
        table.zone.isin([DEFAULT_ZONE, zone]),
    )
    rows = _rows(overlapping.order_by(["item_id", "starts_at", "promotion_id"]))
    return [
        PromotionRun(row["promotion_id"], row["item_id"], row["starts_at"], row["ends_at"])
        for row in rows
    ]


def planned_reach(
    facts: Facts, zone: str, starts_at: datetime, ends_at: datetime, most: float
) -> dict[tuple[str, str], float]:
    """By item and kind, the mean reach over a time of what is planned for it, none counted beyond
    `most`."""
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
    found: dict[tuple[str, str], float] = {}
    for row in _rows(plans.filter(plans.zone == zone)):
        share = (min(row["ends_at"], ends_at) - max(row["starts_at"], starts_at)) / (
            ends_at - starts_at
        )
        key = row["item_id"], row["kind"]
        found[key] = min(found.get(key, 0.0) + min(row["reach"], most) * share, most)
    return found


def _latest_costs(facts: Facts, zones: Sequence[str], now: datetime) -> dict[str, int]:
    """The latest cost of each item in the last of `zones` that has one."""
    table = facts.read("costs")
    known = table.filter(
        table.valid_from <= ibis.literal(now, "timestamp('UTC')"), table.zone.isin(zones)
    )
    found: dict[str, int] = {}
    # Ascending, so that the last to be put in is that of the last zone, and the latest there.
    for row in sorted(_rows(known), key=lambda row: (zones.index(row["zone"]), row["valid_from"])):
        found[row["item_id"]] = row["unit_cost_minor"]
    return found


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    batches: Iterable[pa.RecordBatch] = table.to_pyarrow().to_batches()
    for batch in batches:
        yield from batch.to_pylist()
