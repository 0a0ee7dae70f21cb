"""What a price is suggested from: the ledger's price, the unit cost and the forecast of each item. Nothing personal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import ibis
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.settings import Settings
from features.contracts.tables import DEFAULT_ZONE, TIMESTAMP
from features.store.facts import Facts
from features.store.ledger import Price


@dataclass(frozen=True)
class ItemTerms:
    """What the catalogue and the costs say of an item; cost in minor units, net of tax.

    cost_assumed  no cost is known, so it was taken from the assumed margin of the settings
    """

    item_id: str
    title: str | None
    category: str
    family_id: str | None
    unit_cost_minor: float
    cost_assumed: bool


@dataclass(frozen=True)
class HorizonForecast:
    """Units of n items summed over the horizon's weeks, float64 (n,); weeks taken as moving together.

    Sums of quantiles are quantiles of the sum only when the weeks rise and fall together: the interval is a wide one.
    """

    item_ids: list[str]
    mean: npt.NDArray[np.float64]
    p10: npt.NDArray[np.float64]
    p50: npt.NDArray[np.float64]
    p90: npt.NDArray[np.float64]


def horizon_forecast(forecasts: pa.Table, zone: str, now: datetime, weeks: int) -> HorizonForecast:
    """The first `weeks` weeks that end after `now`, of every item with that many in the zone.

    `forecasts` has the columns unique_id, zone, ds, mean, p10, p50, p90.
    """
    over = pa.scalar(now - timedelta(weeks=1), TIMESTAMP)
    running = pc.greater(forecasts["ds"].cast(TIMESTAMP), over)
    later = forecasts.filter(pc.and_(pc.equal(forecasts["zone"], zone), running))
    starts = sorted(set(later["ds"].to_pylist()))[:weeks]
    chosen = later.filter(pc.is_in(later["ds"], pa.array(starts, later["ds"].type)))
    names = ("mean", "p10", "p50", "p90")
    summed = chosen.group_by("unique_id").aggregate([*((name, "sum") for name in names), ("ds", "count")])
    whole = summed.filter(pc.equal(summed["ds_count"], len(starts))).sort_by("unique_id")
    arrays = {name: whole[f"{name}_sum"].to_numpy().astype(np.float64) for name in names}
    return HorizonForecast(whole["unique_id"].to_pylist(), **arrays)


def item_terms(
    facts: Facts, settings: Settings, prices: Mapping[str, Price], zone: str, now: datetime
) -> dict[str, ItemTerms]:
    """Title, category, family and unit cost of every priced item.

    The cost is the latest of `costs` for the zone (else the default zone), else that of `items`, else what the assumed
    margin leaves of the net list price.
    """
    items = {row["item_id"]: row for row in _rows(facts.read("items")) if row["item_id"] in prices}
    costs = _latest_costs(facts, zone, now)
    tax = settings.zone(zone)
    net = 1 / (1 + tax.tax_rate) if tax.prices_include_tax else 1.0
    terms = {}
    for item_id, price in prices.items():
        row = items.get(item_id, {})
        known = costs.get(item_id, row.get("unit_cost_minor"))
        assumed = price.list_price_minor * net * (1 - settings.assumed_margin)
        terms[item_id] = ItemTerms(
            item_id=item_id,
            title=row.get("title"),
            category=row.get("category") or "",
            family_id=row.get("family_id"),
            unit_cost_minor=assumed if known is None else float(known),
            cost_assumed=known is None,
        )
    return terms


def _latest_costs(facts: Facts, zone: str, now: datetime) -> dict[str, int]:
    table = facts.read("costs")
    known = table.filter(
        table.valid_from <= ibis.literal(now, "timestamp('UTC')"), table.zone.isin([zone, DEFAULT_ZONE])
    )
    found: dict[str, int] = {}
    # Ascending, so that the last to be put in is the zone's own before the default zone's, and the latest of each.
    for row in sorted(_rows(known), key=lambda row: (row["zone"] == zone, row["valid_from"])):
        found[row["item_id"]] = row["unit_cost_minor"]
    return found


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    batches: Iterable[pa.RecordBatch] = table.to_pyarrow().to_batches()
    for batch in batches:
        yield from batch.to_pylist()
