"""What was sold by week: of an item with its prices and promotions, of many items, of a zone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir

from configs.settings import Settings
from features.contracts.calendar import add_weeks, day_starts, find_week_start, week_starts
from features.contracts.clock import Clock
from features.contracts.event_types import DEFAULT_ZONE, EventType
from features.facts.facts import Facts
from features.pipelines.demand import (
    Plans,
    daily_units,
    week_spans,
    weekly_demand,
    weekly_sales,
)
from features.pipelines.expressions import instant, zone_of


@dataclass(frozen=True)
class SoldWeek:
    """A business week of an item; prices are means over the week, None where unknown."""

    week_start: datetime
    units: float
    revenue_minor: float
    list_price_minor: float | None
    offer_price_minor: float | None
    promotion_depth: float | None


@dataclass(frozen=True)
class ZoneWeek:
    """A business week of a zone: what everybody bought together.

    costed_revenue_minor   the revenue of items whose cost was known, net of tax
    profit_minor           what that revenue leaves after their costs
    """

    week_start: datetime
    units: float
    revenue_minor: float
    orders: int
    costed_revenue_minor: float = 0.0
    profit_minor: float = 0.0

    @property
    def margin(self) -> float | None:
        """The share of the costed revenue that is left; None where no cost is known."""
        if self.costed_revenue_minor <= 0:
            return None
        return self.profit_minor / self.costed_revenue_minor


@dataclass(frozen=True)
class SoldDay:
    """A business day of an item."""

    day_start: datetime
    units: float


@dataclass(frozen=True)
class PlannedPromotion:
    """A promotion of an item as the shop plans it; `depth` is a share, None for none."""

    promotion_id: str
    kind: str
    depth: float | None
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True)
class SalesHistoryService:
    """Reads sales by business week; the last week is the last whole one."""

    settings: Settings
    clock: Clock

    def read_item(self, item_id: str, zone: str, n_weeks: int = 52) -> list[SoldWeek]:
        """Return the last whole weeks of an item, weeks without a sale too."""
        starts, end = self._list_weeks(n_weeks)
        facts = Facts(self.settings)
        chosen = [facts.read(name) for name in ("events", "promotions", "price_history")]
        events, promotions, prices = (table.filter(table.item_id == item_id) for table in chosen)
        weekly = weekly_demand(
            events.filter(zone_of(events) == zone),
            Plans(promotions, prices),
            as_of=end,
            week_starts=starts,
            kinds=(),
        )
        rows = weekly.filter(weekly.zone == zone).to_pyarrow().to_pylist()
        by_week = {row["week_start"]: row for row in rows}
        return [_read_week(start, by_week.get(start, {})) for start in starts]

    def read_item_days(self, item_id: str, zone: str, n_weeks: int = 8) -> list[SoldDay]:
        """Return the days of the last whole weeks of an item, days without a sale too."""
        starts, end = self._list_weeks(n_weeks)
        days = [day for week in starts for day in day_starts(week, self.settings.timezone)]
        events = self._read_sales(zone, days[0], end)
        sold = daily_units(events.filter(events.item_id == item_id), [*days, end], as_of=end)
        rows = sold.filter(sold.zone == zone).to_pyarrow().to_pylist()
        units = {row["day_start"]: row["units"] for row in rows}
        return [SoldDay(day, units.get(day, 0.0)) for day in days]

    def list_promotions(
        self, item_id: str, zone: str, since: datetime, until: datetime
    ) -> list[PlannedPromotion]:
        """Return the promotions of an item that overlap a span of time, the first first."""
        table = Facts(self.settings).read("promotions")
        overlapping = table.filter(
            table.item_id == item_id,
            table.zone.isin([DEFAULT_ZONE, zone]),
            table.starts_at < instant(until),
            table.ends_at > instant(since),
        )
        rows = overlapping.order_by(["starts_at", "promotion_id"]).to_pyarrow().to_pylist()
        return [
            PlannedPromotion(
                row["promotion_id"],
                row["kind"] or "",
                row["depth"],
                row["starts_at"],
                row["ends_at"],
            )
            for row in rows
        ]

    def read_units(
        self, item_ids: Sequence[str], zone: str, n_weeks: int = 13
    ) -> dict[str, list[float]]:
        """Return the units of the last whole weeks by item; items that sold nothing have zeros."""
        starts, end = self._list_weeks(n_weeks)
        events = self._read_sales(zone, starts[0], end)
        events = events.filter(events.item_id.isin(list(item_ids)))
        sold = weekly_sales(events, week_spans(starts))
        rows = sold.select("item_id", "week_start", "units").to_pyarrow().to_pylist()
        places = {start: place for place, start in enumerate(starts)}
        units = {item_id: [0.0] * n_weeks for item_id in item_ids}
        for row in rows:
            units[row["item_id"]][places[row["week_start"]]] = row["units"]
        return units

    def read_category(
        self, category: str, zone: str, n_weeks: int = 13
    ) -> list[tuple[datetime, float]]:
        """Return start and units of the last whole weeks of a category with those below it."""
        starts, end = self._list_weeks(n_weeks)
        facts = Facts(self.settings)
        items = facts.read("items")
        is_below = (items.category == category) | items.category.startswith(f"{category} > ")
        members = items.filter(is_below).select("item_id")
        events = self._read_sales(zone, starts[0], end, facts).semi_join(members, "item_id")
        sold = weekly_sales(events, week_spans(starts))
        totals = sold.group_by("week_start").aggregate(units=ibis._.units.sum())
        by_week = {row["week_start"]: row["units"] for row in totals.to_pyarrow().to_pylist()}
        return [(start, by_week.get(start, 0.0)) for start in starts]

    def read_zone(self, zone: str, n_weeks: int = 13) -> list[ZoneWeek]:
        """Return the last whole weeks of a zone."""
        starts, end = self._list_weeks(n_weeks)
        events = self._read_sales(zone, starts[0], end)
        weeks = week_spans(starts)
        facts = Facts(self.settings)
        sold = self._add_costs(weekly_sales(events, weeks), weeks, zone, facts)
        is_costed = sold.unit_cost.notnull()
        net_revenue = sold.revenue_minor * self.settings.zone(zone).net_share
        profit = net_revenue - sold.units * sold.unit_cost
        totals = sold.group_by("week_start").aggregate(
            units=sold.units.sum(),
            revenue_minor=sold.revenue_minor.sum(),
            costed_revenue_minor=ibis.ifelse(is_costed, net_revenue, 0.0).sum(),
            profit_minor=ibis.ifelse(is_costed, profit, 0.0).sum(),
        )
        bought = events.filter(events.event_type == EventType.PURCHASE.value)
        dated = bought.asof_join(weeks, bought.occurred_at >= weeks.week_start)
        order = dated.order_id.fill_null(dated.event_id)
        orders = dated.group_by("week_start").aggregate(orders=order.nunique())
        rows = totals.left_join(orders, "week_start").to_pyarrow().to_pylist()
        by_week = {row["week_start"]: row for row in rows}
        return [_read_zone_week(start, by_week.get(start, {})) for start in starts]

    def read_revenue(self, zone: str, n_weeks: int = 13) -> dict[str, float]:
        """Return the revenue of the last whole weeks by item, minor units."""
        starts, end = self._list_weeks(n_weeks)
        sold = weekly_sales(self._read_sales(zone, starts[0], end), week_spans(starts))
        totals = sold.group_by("item_id").aggregate(revenue=sold.revenue_minor.sum())
        return {row["item_id"]: row["revenue"] for row in totals.to_pyarrow().to_pylist()}

    def _add_costs(self, sold: ir.Table, weeks: ir.Table, zone: str, facts: Facts) -> ir.Table:
        """Return the sales with the unit cost at the end of each week, null where none is known.

        As in `read_known_costs`: the zone's own cost, else that of the default zone, else that of
        the catalogue; the last two not in a zone with another currency.
        """
        costs, items = facts.read("costs"), facts.read("items")
        is_own = self.settings.zone(zone).currency == self.settings.currency
        sold = sold.join(weeks.select("week_start", "week_end"), "week_start")
        sold = sold.select("item_id", "week_start", "week_end", "units", "revenue_minor")
        zones = list(dict.fromkeys([zone, DEFAULT_ZONE])) if is_own else [zone]
        names = []
        for position, cost_zone in enumerate(zones):
            name = f"cost_{position}"
            of_zone = costs.filter(costs.zone == cost_zone).select(
                "item_id", "valid_from", **{name: costs.unit_cost_minor.cast("float64")}
            )
            joined = sold.asof_join(of_zone, sold.week_end > of_zone.valid_from, "item_id")
            names.append(name)
            sold = joined.select(*sold.columns, name)
        if is_own:
            listed = items.select("item_id", listed=items.unit_cost_minor.cast("float64"))
            sold = sold.left_join(listed, "item_id").select(*sold.columns, "listed")
            names.append("listed")
        return sold.mutate(unit_cost=ibis.coalesce(*(sold[name] for name in names)))

    def _list_weeks(self, n_weeks: int) -> tuple[list[datetime], datetime]:
        """Return the starts of the last whole weeks, and the end of the last one."""
        timezone = self.settings.timezone
        end = find_week_start(self.clock.now(), timezone)
        first = add_weeks(end, -n_weeks, timezone)
        return week_starts(first, end - timedelta(days=1), timezone)[:n_weeks], end

    def _read_sales(
        self, zone: str, since: datetime, until: datetime, facts: Facts | None = None
    ) -> ir.Table:
        """Return the purchases and refunds of a zone in a span of time."""
        events = (facts or Facts(self.settings)).read("events")
        return events.filter(
            zone_of(events) == zone,
            events.event_type.isin([EventType.PURCHASE.value, EventType.REFUND.value]),
            events.occurred_at >= instant(since),
            events.occurred_at < instant(until),
        )


def _read_zone_week(start: datetime, row: dict[str, float | None]) -> ZoneWeek:
    return ZoneWeek(
        week_start=start,
        units=row.get("units") or 0.0,
        revenue_minor=row.get("revenue_minor") or 0.0,
        orders=int(row.get("orders") or 0),
        costed_revenue_minor=row.get("costed_revenue_minor") or 0.0,
        profit_minor=row.get("profit_minor") or 0.0,
    )


def _read_week(start: datetime, row: dict[str, float | None]) -> SoldWeek:
    return SoldWeek(
        week_start=start,
        units=row.get("units") or 0.0,
        revenue_minor=row.get("revenue_minor") or 0.0,
        list_price_minor=row.get("planned_list_price_minor") or row.get("median_list_price_minor"),
        offer_price_minor=row.get("planned_offer_price_minor") or row.get("mean_unit_price_minor"),
        promotion_depth=row.get("promotion_depth"),
    )
