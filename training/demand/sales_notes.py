"""What was limited in the sales that demand is learnt from, in words, and weeks of gifts."""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import Float32Array, Float64Array
from features.contracts.tables import EventType
from features.facts.facts import Facts
from models.demand.odd_sales import OddSales
from models.demand.panel import DemandPanel
from training.splits import SalesSpan

_NAMED = 3  # of the largest, the others are counted
_MANY_REFUNDED = 0.05  # share of the units sold from which refunds are mentioned
_RARE = 0.25  # share of an item's weeks with gifts up to which they are an exception


def find_weeks_given_away(panel: DemandPanel, given_units: Float64Array) -> Float32Array | None:
    """Return the shares of weeks in stock, 0 where an item was by way of exception given away.

    What would have sold at its price in such a week is not known. Gifts that recur leave the weeks
    as they are.
    """
    given = given_units > panel.units
    with_sales = np.maximum(((panel.units > 0) | given).sum(axis=1, keepdims=True), 1)
    exception = given & (given.sum(axis=1, keepdims=True) <= _RARE * with_sales)
    if not exception.any():
        return panel.in_stock
    in_stock = np.ones(panel.units.shape, np.float32) if panel.in_stock is None else panel.in_stock
    return np.where(exception, np.float32(0), in_stock)


def describe_odd_sales(
    panel: DemandPanel, odd: OddSales, given_units: Float64Array
) -> tuple[str, ...]:
    """Return a sentence on each kind of sales that count less, or not, as what usually sells."""
    sentences = []
    series, weeks = np.nonzero(odd.odd)
    if len(series):
        sold = panel.units[series, weeks]
        largest = np.argsort(sold - odd.units[series, weeks])[::-1][:_NAMED]
        examples = [
            f"{panel.item_ids[series[row]]} in zone {panel.zones[series[row]]}, week of "
            f"{panel.week_starts[weeks[row]]:%Y-%m-%d}: {sold[row]:,.0f} units count as "
            f"{odd.units[series[row], weeks[row]]:,.0f}"
            for row in largest.tolist()
        ]
        sentences.append(
            f"{len(series):,} weeks of items hold an order, or sales, far beyond all others and "
            f"count as usual ones ({'; '.join(examples)}); what recurs counts in full"
        )
    total = given_units.sum()
    if total > 0:
        by_series = given_units.sum(axis=1)
        most = np.argsort(by_series)[::-1][:_NAMED]
        named = ", ".join(f"{panel.item_ids[n]} {by_series[n]:,.0f}" for n in most if by_series[n])
        sentences.append(
            f"{total:,.0f} units were given away at price 0 and are no demand at a price; "
            f"most of {named}"
        )
    return tuple(sentences)


def describe_refunds(facts: Facts, span: SalesSpan) -> tuple[str, ...]:
    """Return a sentence where many units came back: forecasts are of what was kept."""
    events = facts.read("events")
    events = events.filter(events.occurred_at >= span.first, events.occurred_at < span.end)
    quantity = events.quantity.fill_null(1.0)
    is_refund = events.event_type == EventType.REFUND.value
    is_purchase = events.event_type == EventType.PURCHASE.value
    units = events.aggregate(
        refunded=quantity.sum(where=is_refund), sold=quantity.sum(where=is_purchase)
    )
    row = units.to_pyarrow().to_pylist()[0]
    refunded, sold = row["refunded"] or 0.0, row["sold"] or 0.0
    if refunded < _MANY_REFUNDED * sold or not refunded:
        return ()
    share = (
        f"{refunded / sold:.0%} of the units sold came back: forecasts are of units less refunds"
    )
    return (f"{share}, each in the week in which it was made",)
