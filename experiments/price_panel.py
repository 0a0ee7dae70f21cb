"""The panel of a price response, read from facts: item, zone and week; nothing about a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.settings import Settings
from features.contracts.arrays import BoolArray, Float64Array, Int64Array, ObjectArray
from features.contracts.calendar import week_starts
from features.contracts.errors import BadInput
from features.contracts.tables import TIMESTAMP
from features.facts.closed_days import mark_closed_weeks, read_closures
from features.facts.facts import Facts
from features.facts.stock_shares import complete_short_weeks
from features.pipelines.demand import Plans, reach_column, week_spans, weekly_demand
from features.pipelines.expressions import promotion_kinds, spread_plans
from features.pipelines.pricing import weekly_costs, weekly_stock_outs
from features.pipelines.weekly_stock import weekly_stock
from models.demand.odd_sales import limit_odd_orders
from models.pricing.response.panel import PricePanel, find_usual_prices, infer_list_prices

_WEEKLY = (
    "item_id",
    "zone",
    "week_start",
    "units",
    "largest_order",
    "mean_unit_price_minor",
    "planned_offer_price_minor",
    "planned_list_price_minor",
    "planned_share_reduced",
    "median_list_price_minor",
    "share_bought_reduced",
)
_SEPARATOR = "\x1f"  # between item and zone in a key
# A price list is used where it covers this share of the selling weeks, ...
_MIN_COVERAGE = 0.5
# ... and the median deviation of what was paid from it, in logarithms, is smaller than this.
_MAX_DEVIATION = 0.02
# A price below this share of the item's median price is a slip or a gift, not an offer.
_SLIP = 0.05
# A price is reduced that lies below the list price by more than this, in logarithms.
_MIN_REDUCTION = 0.005
# Silence at either end of a series in which it would usually have sold so many units: not on sale.
_MISSED_UNITS = 10.0


def read_price_panel(
    facts: Facts, settings: Settings, end: datetime
) -> tuple[PricePanel, list[datetime]]:
    """Return all weeks before `end` of every series that ever sold, and the starts of the weeks.

    Prices are those of the price list where it covers what was sold and agrees with what was paid;
    else the mean paid, and the list price seen in sales. Where no list price is known the usual
    price of the weeks around is taken for it. Raises BadInput where nothing was sold.
    """
    events, promotions = facts.read("events"), facts.read("promotions", known_at=end)
    first = events.occurred_at.min().to_pyarrow().as_py()
    starts = [start for start in week_starts(first, end, settings.timezone) if start < end]
    foreign = _list_foreign_zones(settings)
    kinds = promotion_kinds(promotions)
    plans = Plans(promotions, facts.read("price_history", known_at=end), foreign)
    weekly = weekly_demand(events, plans, as_of=end, week_starts=starts, kinds=kinds)
    rows = weekly.select(*_WEEKLY, *map(reach_column, kinds)).to_pyarrow()
    index = _PanelIndex(rows, starts)
    if not len(index.keys):
        raise BadInput(
            "nothing was sold, so there is no price response to learn",
            hint="Import purchases with prices",
        )
    weeks = week_spans(starts)
    listed_price = _drop_slips(index.build_matrix(rows, "planned_offer_price_minor", np.nan))
    paid = _drop_slips(index.build_matrix(rows, "mean_unit_price_minor", np.nan))
    listed = _find_listed_series(listed_price, paid)
    price = np.where(listed[:, None], listed_price, paid)
    counts = spread_plans(facts.read("stock"), events)
    stock = weekly_stock(counts, events, weeks, as_of=end).to_pyarrow()
    stock_outs = weekly_stock_outs(facts.read("stock"), events, weeks).to_pyarrow()
    units, is_short = complete_short_weeks(
        index.build_matrix(rows, "units", 0.0),
        index.build_matrix(stock, "share_in_stock", 1.0),
        index.build_flags(stock_outs),
    )
    price[is_short] = np.nan
    price[_find_closed_weeks(facts, settings, index, starts)] = np.nan
    price[_find_weeks_off_sale(units)] = np.nan
    costs = index.build_matrix(
        weekly_costs(facts.read("costs"), events, weeks, foreign).to_pyarrow(), "unit_cost_minor", 0
    )
    prices = _arrange_prices(index, rows, listed, price)
    reach = [index.build_matrix(rows, reach_column(kind), 0.0) for kind in kinds]
    panel = PricePanel(
        item_ids=index.item_ids,
        zones=index.zones,
        category=_read_attribute(facts, index.item_ids, "category"),
        family=_read_attribute(facts, index.item_ids, "family_id"),
        units=limit_odd_orders(units, index.build_matrix(rows, "largest_order", 0.0)),
        log_price=prices.log_price,
        log_list=prices.log_list,
        log_ratio=prices.log_ratio,
        announced=prices.announced,
        listed=listed,
        kinds=kinds,
        reach=np.stack(reach) if reach else np.zeros((0, *price.shape)),
        log_cost=_log(costs) if costs.any() else None,
        margin=_measure_margins(settings, index, prices.log_list, costs, _read_costs(facts)),
        guessed_list=prices.guessed_list,
        brand=_read_attribute(facts, index.item_ids, "brand"),
    )
    return panel, starts


def _find_closed_weeks(
    facts: Facts, settings: Settings, index: _PanelIndex, starts: Sequence[datetime]
) -> BoolArray:
    """Return (S, W): weeks with a closed day by the table of closures."""
    zones, zone_of_series = np.unique(index.zones.astype(str), return_inverse=True)
    closed = mark_closed_weeks(read_closures(facts), zones.tolist(), starts, settings.timezone)
    return closed[zone_of_series]


def _find_weeks_off_sale(units: Float64Array) -> BoolArray:
    """Return (S, W): weeks before the first and after the last sale, where they are too many.

    A price list often names an item before its launch and long after its end. Nothing sold then at
    any price; as counts of 0 these weeks would say that the last price ended the demand. Too many
    are those in which the series would have sold `_MISSED_UNITS` at the rate of its time on sale.

    >>> units = np.array([[0, 0, 6, 4, 0, 0, 0], [0, 1, 0, 0, 1, 0, 0]])
    >>> _find_weeks_off_sale(units).astype(int).tolist()
    [[1, 1, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]]
    """
    n_weeks = units.shape[1]
    week = np.arange(n_weeks)
    has_sale = units > 0
    first = np.where(has_sale.any(1), has_sale.argmax(1), 0)[:, None]
    last = np.where(has_sale.any(1), n_weeks - 1 - has_sale[:, ::-1].argmax(1), n_weeks)[:, None]
    rate = units.sum(1)[:, None] / (last - first + 1)
    is_before = (week < first) & (rate * first >= _MISSED_UNITS)
    is_after = (week > last) & (rate * (n_weeks - 1 - last) >= _MISSED_UNITS)
    return np.asarray(is_before | is_after)


def _drop_slips(price: Float64Array) -> Float64Array:
    """Return prices (S, W) without those next to nothing beside the series' median price."""
    known = np.where(price > 0, price, np.nan)
    some = np.isfinite(known).any(axis=1)
    usual = np.full(len(price), np.nan)
    usual[some] = np.nanmedian(known[some], axis=1)
    return np.where(known < _SLIP * usual[:, None], np.nan, price)


@dataclass(frozen=True)
class _Prices:
    """(S, W) each but the last one, (S,), as in `PricePanel`."""

    log_price: Float64Array
    log_list: Float64Array
    log_ratio: Float64Array
    announced: Float64Array
    guessed_list: BoolArray


def _arrange_prices(
    index: _PanelIndex, rows: pa.Table, listed: BoolArray, price: Float64Array
) -> _Prices:
    """Return log prices with the regular ones beside them.

    A list price seen in sales is a median of what few buyers found on the shelves of many shops: it
    counts as the median of the weeks around.
    """
    log_price = _log(price)
    of_list = _log(index.build_matrix(rows, "planned_list_price_minor", np.nan))
    seen = _log(index.build_matrix(rows, "median_list_price_minor", np.nan))
    recorded = np.where(listed[:, None], of_list, seen)
    n_known = np.isfinite(log_price).sum(1)
    has_list = np.isfinite(recorded).sum(1) >= _MIN_COVERAGE * n_known
    recorded = np.where(has_list[:, None], recorded, infer_list_prices(log_price))
    log_list = np.where(listed[:, None], recorded, find_usual_prices(recorded))
    log_list = np.where(has_list[:, None], log_list, recorded)
    log_ratio = np.minimum(log_price - recorded, 0.0)
    announced = np.where(
        listed[:, None],
        index.build_matrix(rows, "planned_share_reduced", 0.0),
        index.build_matrix(rows, "share_bought_reduced", 0.0),
    )
    announced = np.where(has_list[:, None], announced, 1.0)
    is_reduced = log_ratio < -_MIN_REDUCTION
    return _Prices(
        log_price=log_price,
        log_list=np.where(np.isfinite(log_list), log_list, log_price),
        log_ratio=np.where(
            np.isfinite(log_ratio), log_ratio, np.where(np.isnan(log_price), np.nan, 0)
        ),
        announced=np.where(is_reduced, announced, 0.0),
        guessed_list=~has_list,
    )


def _read_costs(facts: Facts) -> dict[str, float]:
    """Return the unit costs of today that items state, by item id."""
    rows = facts.read("items").select("item_id", "unit_cost_minor").to_pyarrow()
    pairs = zip(rows["item_id"].to_pylist(), rows["unit_cost_minor"].to_pylist(), strict=True)
    return {item_id: float(cost) for item_id, cost in pairs if cost}


def _measure_margins(
    settings: Settings,
    index: _PanelIndex,
    log_list: Float64Array,
    costs: Float64Array,
    costs_of_today: Mapping[str, float],
) -> Float64Array | None:
    """Return the mean net margin of the regular price (S,); NaN where no cost is known.

    Without costs of past weeks (S, W) that of the latest price and today's cost; costs of items are
    in the shop's own currency.
    """
    zones = index.zones
    divisor = np.ones(len(zones))
    for zone in set(zones.tolist()):
        tax = settings.zone(zone)
        divisor[zones == zone] = tax.tax_divisor
    has_list = np.isfinite(log_list)
    net_price = np.exp(np.where(has_list, log_list, 0.0)) / divisor[:, None]
    known = has_list & (costs > 0)
    margin = np.where(known, 1 - costs / net_price, 0.0).sum(1) / np.maximum(known.sum(1), 1)
    today = np.array([costs_of_today.get(item_id, np.nan) for item_id in index.item_ids])
    today[np.isin(zones.astype(str), _list_foreign_zones(settings))] = np.nan
    latest = log_list.shape[1] - 1 - np.argmax(has_list[:, ::-1], axis=1)
    latest_price = np.take_along_axis(net_price, latest[:, None], axis=1)[:, 0]
    margin_today = np.where(has_list.any(1), 1 - today / latest_price, np.nan)
    margin = np.where(known.any(1), margin, margin_today)
    return margin if np.isfinite(margin).any() else None


def _list_foreign_zones(settings: Settings) -> list[str]:
    """Return the zones that sell in another currency than the shop's."""
    return [name for name, zone in settings.zones.items() if zone.currency != settings.currency]


class _PanelIndex:
    """The series that ever sold, sorted by item and zone, and the weeks; finds rows among them."""

    def __init__(self, rows: pa.Table, starts: Sequence[datetime]) -> None:
        self._weeks = pa.array(starts, TIMESTAMP)
        sold = rows.filter(
            pc.and_(pc.greater(rows["units"], 0.0), pc.greater(rows["mean_unit_price_minor"], 0.0))
        )
        self.keys = np.unique(np.array(_build_keys(sold).to_pylist(), str))
        pairs = [key.split(_SEPARATOR) for key in self.keys.tolist()]
        self.item_ids = np.array([item for item, _ in pairs], object)
        self.zones = np.array([zone for _, zone in pairs], object)

    def build_matrix(self, rows: pa.Table, column: str, empty: float) -> Float64Array:
        """Return the values of a column (S, W); `empty` where there is no row or no value."""
        matrix = np.full((len(self.keys), len(self._weeks)), empty)
        series, week, known = self._find_rows(rows)
        values = rows[column].cast(pa.float64()).to_numpy()[known]
        matrix[series, week] = np.where(np.isnan(values), empty, values)
        return matrix

    def build_flags(self, rows: pa.Table) -> BoolArray:
        """Return whether there is a row (S, W)."""
        flags = np.zeros((len(self.keys), len(self._weeks)), bool)
        series, week, _ = self._find_rows(rows)
        flags[series, week] = True
        return flags

    def _find_rows(self, rows: pa.Table) -> tuple[Int64Array, Int64Array, BoolArray]:
        """Return series and week of the known rows (k,), and which rows (n,) are known."""
        series = pc.fill_null(
            pc.index_in(_build_keys(rows), value_set=pa.array(self.keys.tolist(), pa.string())), -1
        )
        week = pc.fill_null(
            pc.index_in(rows["week_start"].cast(TIMESTAMP), value_set=self._weeks), -1
        )
        indices = np.stack([series.to_numpy(), week.to_numpy()]).astype(np.int64)
        known = np.asarray((indices >= 0).all(0))
        return indices[0, known], indices[1, known], known


def _build_keys(rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(rows["item_id"], rows["zone"], _SEPARATOR)


def _find_listed_series(listed_price: Float64Array, paid: Float64Array) -> BoolArray:
    """Return whether a series' price list covers its selling weeks and agrees with what was paid.

    Both arguments (S, W), NaN where unknown; the result (S,).
    """
    sold, both = np.isfinite(paid), np.isfinite(paid) & (listed_price > 0)
    covered = both.sum(1) >= _MIN_COVERAGE * np.maximum(sold.sum(1), 1)
    deviation = np.where(both, np.abs(_log(listed_price) - _log(paid)), np.inf)
    middle = np.maximum(both.sum(1) - 1, 0) // 2
    median = np.take_along_axis(np.sort(deviation, axis=1), middle[:, None], axis=1)[:, 0]
    return np.asarray(covered & (median < _MAX_DEVIATION))


def _read_attribute(facts: Facts, item_ids: ObjectArray, name: str) -> ObjectArray:
    """Return an attribute of each item (n,); "" where unknown."""
    rows = facts.read("items").select("item_id", name).to_pyarrow()
    value_of = dict(zip(rows["item_id"].to_pylist(), rows[name].to_pylist(), strict=True))
    return np.array([value_of.get(item_id) or "" for item_id in item_ids], object)


def _log(values: Float64Array) -> Float64Array:
    """Return logarithms; NaN where the value is not above 0."""
    with np.errstate(invalid="ignore"):
        return np.log(np.where(values > 0, values, np.nan))
