"""From facts to the panel that a price response is learnt from: item, zone and week; nothing about
a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.settings import Settings
from features.contracts.arrays import BoolArray, Float64Array, Int64Array, ObjectArray
from features.contracts.calendar import week_starts
from features.contracts.errors import BadInput
from features.contracts.tables import TIMESTAMP
from features.facts.facts import Facts
from features.pipelines.demand import REACH, week_spans, weekly_demand
from features.pipelines.expressions import promotion_kinds
from features.pipelines.pricing import weekly_costs, weekly_stock_outs
from models.pricing.response.panel import PricePanel

_BETWEEN = "\x1f"  # stands between zone and item while both are one key
_COVERED = 0.5  # a price list counts that covers this share of the selling weeks,
_AGREES = (
    0.02  # and from which what was paid departs by less than this in the median (in logarithms)
)


def price_panel(
    facts: Facts, settings: Settings, end: datetime
) -> tuple[PricePanel, list[datetime]]:
    """All weeks before `end` of every series that ever sold, and the weeks' starts.

    Prices are those of the price list where it covers what was sold and agrees with what was paid;
    else the mean paid.
    """
    events, promotions = facts.read("events"), facts.read("promotions")
    first = events.occurred_at.min().to_pyarrow().as_py()
    starts = [start for start in week_starts(first, end, settings.timezone) if start < end]
    foreign = [zone for zone, each in settings.zones.items() if each.currency != settings.currency]
    kinds = promotion_kinds(promotions)
    weekly = weekly_demand(
        events,
        promotions,
        facts.read("price_history", known_at=end),
        as_of=end,
        week_starts=starts,
        kinds=kinds,
        foreign=foreign,
    )
    columns = [
        "item_id",
        "zone",
        "week_start",
        "units",
        "mean_unit_price_minor",
        "planned_offer_price_minor",
    ]
    rows = weekly.select(*columns, *(REACH + kind for kind in kinds)).to_pyarrow()
    places = _Places(rows, starts)
    if not len(places.keys):
        raise BadInput(
            "nothing was sold, so there is no price response to learn",
            hint="Import purchases with prices",
        )
    weeks = week_spans(starts)
    listed_price = places.matrix(rows, "planned_offer_price_minor", np.nan)
    paid = places.matrix(rows, "mean_unit_price_minor", np.nan)
    listed = _follows_the_list(listed_price, paid)
    price = np.where(listed[:, None], listed_price, paid)
    price[places.flags(weekly_stock_outs(facts.read("stock"), events, weeks).to_pyarrow())] = np.nan
    costs = places.matrix(
        weekly_costs(facts.read("costs"), events, weeks, foreign).to_pyarrow(), "unit_cost_minor", 0
    )
    reach = [places.matrix(rows, REACH + kind, 0.0) for kind in kinds]
    panel = PricePanel(
        item_ids=places.item_ids,
        zones=places.zones,
        category=_attribute(facts, places.item_ids, "category"),
        family=_attribute(facts, places.item_ids, "family_id"),
        units=places.matrix(rows, "units", 0.0),
        log_price=_log(price),
        listed=listed,
        kinds=kinds,
        reach=np.stack(reach) if reach else np.zeros((0, *price.shape)),
        log_cost=_log(costs) if costs.any() else None,
    )
    return panel, starts


class _Places:
    """Where the rows of a table stand among the series that ever sold (in order of item, then zone)
    and the weeks."""

    def __init__(self, rows: pa.Table, starts: Sequence[datetime]) -> None:
        self._weeks = pa.array(starts, TIMESTAMP)
        sold = rows.filter(
            pc.and_(pc.greater(rows["units"], 0.0), pc.greater(rows["mean_unit_price_minor"], 0.0))
        )
        self.keys = np.unique(np.array(_keys(sold).to_pylist(), str))
        both = [key.split(_BETWEEN) for key in self.keys.tolist()]
        self.item_ids = np.array([item for item, _ in both], object)
        self.zones = np.array([zone for _, zone in both], object)

    def matrix(self, rows: pa.Table, column: str, empty: float) -> Float64Array:
        """(S, W) values of a column; `empty` where there is no row or no value."""
        values = np.full((len(self.keys), len(self._weeks)), empty)
        series, week, known = self._of(rows)
        found = rows[column].cast(pa.float64()).to_numpy()[known]
        values[series, week] = np.where(np.isnan(found), empty, found)
        return values

    def flags(self, rows: pa.Table) -> BoolArray:
        """(S, W) whether there is a row."""
        found = np.zeros((len(self.keys), len(self._weeks)), bool)
        series, week, _ = self._of(rows)
        found[series, week] = True
        return found

    def _of(self, rows: pa.Table) -> tuple[Int64Array, Int64Array, BoolArray]:
        series = pc.fill_null(
            pc.index_in(_keys(rows), value_set=pa.array(self.keys.tolist(), pa.string())), -1
        )
        week = pc.fill_null(
            pc.index_in(rows["week_start"].cast(TIMESTAMP), value_set=self._weeks), -1
        )
        places = np.stack([series.to_numpy(), week.to_numpy()]).astype(np.int64)
        known = np.asarray((places >= 0).all(0))
        return places[0, known], places[1, known], known


def _keys(rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(rows["item_id"], rows["zone"], _BETWEEN)


def _follows_the_list(listed: Float64Array, paid: Float64Array) -> BoolArray:
    """(S,) whether the price list covers the weeks in which a series sold, and agrees with what was
    paid in most."""
    sold, both = np.isfinite(paid), np.isfinite(paid) & (listed > 0)
    covered = both.sum(1) >= _COVERED * np.maximum(sold.sum(1), 1)
    apart = np.where(both, np.abs(_log(listed) - _log(paid)), np.inf)
    places = np.maximum(both.sum(1) - 1, 0) // 2
    median = np.take_along_axis(np.sort(apart, axis=1), places[:, None], axis=1)[:, 0]
    return np.asarray(covered & (median < _AGREES))


def _attribute(facts: Facts, item_ids: ObjectArray, name: str) -> ObjectArray:
    rows = facts.read("items").select("item_id", name).to_pyarrow()
    known = dict(zip(rows["item_id"].to_pylist(), rows[name].to_pylist(), strict=True))
    return np.array([known.get(item_id) or "" for item_id in item_ids], object)


def _log(values: Float64Array) -> Float64Array:
    """Logarithms; NaN where nothing above 0 is known."""
    with np.errstate(invalid="ignore"):
        return np.log(np.where(values > 0, values, np.nan))
