"""What items of a zone sold in whole weeks, and what else moved: no column about a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts.arrays import BoolArray, Float64Array
from features.contracts.calendar import add_weeks
from features.contracts.tables import TIMESTAMP
from features.facts.facts import Facts
from features.facts.stock_shares import complete_short_weeks
from features.pipelines.demand import (
    reach_column,
    week_spans,
    weekly_prices,
    weekly_promotions,
    weekly_sales,
)
from features.pipelines.expressions import (
    before,
    instant,
    promotion_kinds,
    spread_plans,
    zone_of,
)
from features.pipelines.pricing import weekly_stock_outs
from features.pipelines.weekly_stock import weekly_stock

# A display in a few of a hundred shops moves nothing that a week's sales could show.
MIN_REACH = 0.2


@dataclass(frozen=True)
class WeeklySales:
    """N items of a zone in W whole weeks.

    units         (N, W) sold, less refunds
    offer_minor   (N, W) mean offer price of the price list and the ledger; NaN unknown
    reduced       (N, W) an offer below the list price for a part of the week
    promoted      (N, W) a promotion with a discount, or one that reaches a fifth of the shop
    sold_out      (N, W) a count of the stock was 0; of items of which this is so in most weeks,
                  those in which they were out of stock in half of the usual sales
    closed        (W,) the zone was closed for a part of the week
    """

    item_ids: tuple[str, ...]
    week_starts: tuple[datetime, ...]
    units: Float64Array
    offer_minor: Float64Array
    reduced: BoolArray
    promoted: BoolArray
    sold_out: BoolArray
    closed: BoolArray

    def select_weeks(self, week_starts: Sequence[datetime]) -> WeeklySales:
        """Return the sums of consecutive weeks, at least one, which are among these."""
        first = self.week_starts.index(week_starts[0])
        weeks = slice(first, first + len(week_starts))
        return WeeklySales(
            item_ids=self.item_ids,
            week_starts=self.week_starts[weeks],
            units=self.units[:, weeks],
            offer_minor=self.offer_minor[:, weeks],
            reduced=self.reduced[:, weeks],
            promoted=self.promoted[:, weeks],
            sold_out=self.sold_out[:, weeks],
            closed=self.closed[weeks],
        )


def read_weekly_sales(
    facts: Facts,
    item_ids: Sequence[str],
    zone: str,
    week_starts: Sequence[datetime],
    timezone: str,
    foreign: Sequence[str] = (),
) -> WeeklySales:
    """Return what items of a zone sold in consecutive weeks, at least one, that are over.

    foreign   zones that use another currency than the default zone
    """
    end = add_weeks(week_starts[-1], 1, timezone)
    cells = _Cells(tuple(item_ids), tuple(week_starts), zone)
    weeks = week_spans([*week_starts, end])
    everything = facts.read("events")
    events = before(everything.filter(everything.occurred_at >= instant(week_starts[0])), end)
    sales = weekly_sales(events.filter(zone_of(events) == zone), weeks).to_pyarrow()
    prices = weekly_prices(facts.read("price_history"), everything, weeks, foreign)
    listed = prices.filter(prices.zone == zone).to_pyarrow()
    table = facts.read("promotions")
    kinds = promotion_kinds(table)
    running = table.filter(table.ends_at > instant(week_starts[0]), table.starts_at < instant(end))
    plans = weekly_promotions(running, everything, weeks, kinds)
    plans = plans.filter(plans.zone == zone).to_pyarrow()
    counts = spread_plans(facts.read("stock"), everything)
    stock = weekly_stock(counts, everything, weeks, as_of=end)
    in_stock = cells.arrange(stock.filter(stock.zone == zone).to_pyarrow(), "share_in_stock", 1.0)
    outs = weekly_stock_outs(facts.read("stock"), everything, weeks)
    has_empty = cells.mark(outs.filter(outs.zone == zone).to_pyarrow())
    promoted = cells.arrange(plans, "promotion_depth", 0.0) > 0
    for kind in kinds:
        promoted |= cells.arrange(plans, reach_column(kind), 0.0) >= MIN_REACH
    return WeeklySales(
        item_ids=cells.item_ids,
        week_starts=cells.week_starts,
        units=cells.arrange(sales, "units", 0.0),
        offer_minor=cells.arrange(listed, "planned_offer_price_minor", np.nan),
        reduced=cells.arrange(listed, "planned_share_reduced", 0.0) > 0,
        promoted=promoted,
        sold_out=complete_short_weeks(in_stock, in_stock, has_empty)[1],
        closed=_find_closed_weeks(facts, zone, week_starts, end),
    )


def _find_closed_weeks(
    facts: Facts, zone: str, week_starts: Sequence[datetime], end: datetime
) -> BoolArray:
    """Return (W,) weeks with a closed day, by the table of closures."""
    table = facts.read("closures")
    rows = table.filter(table.zone.isnull() | (table.zone == zone)).to_pyarrow().to_pylist()
    ends = [*week_starts[1:], end]
    return np.array(
        [
            any(row["starts_at"] < week_end and row["ends_at"] > start for row in rows)
            for start, week_end in zip(week_starts, ends, strict=True)
        ],
        bool,
    )


@dataclass(frozen=True)
class _Cells:
    """The items and weeks of the arrays; finds the rows of a relation among them."""

    item_ids: tuple[str, ...]
    week_starts: tuple[datetime, ...]
    zone: str

    def arrange(self, rows: pa.Table, column: str, empty: float) -> Float64Array:
        """Return the values of a column (N, W); `empty` where there is no row or no value."""
        values = np.full((len(self.item_ids), len(self.week_starts)), empty)
        item, week, known = self._locate(rows)
        numbers = rows[column].cast(pa.float64()).to_numpy(zero_copy_only=False)[known]
        values[item, week] = np.where(np.isnan(numbers), empty, numbers)
        return values

    def mark(self, rows: pa.Table) -> BoolArray:
        """Return whether there is a row (N, W)."""
        marks = np.zeros((len(self.item_ids), len(self.week_starts)), bool)
        item, week, _ = self._locate(rows)
        marks[item, week] = True
        return marks

    def _locate(self, rows: pa.Table) -> tuple[np.ndarray, np.ndarray, BoolArray]:
        """Return item and week of the rows that have both, and which rows these are."""
        ids = pa.array(self.item_ids, pa.string())
        starts = pa.array(self.week_starts, TIMESTAMP)
        item = pc.fill_null(pc.index_in(rows["item_id"], value_set=ids), -1).to_numpy()
        week = pc.index_in(rows["week_start"].cast(TIMESTAMP), value_set=starts)
        week = pc.fill_null(week, -1).to_numpy()
        known = (item >= 0) & (week >= 0)
        return item[known], week[known], known
