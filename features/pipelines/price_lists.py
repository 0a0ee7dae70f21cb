"""The price list as it is served: what ended goes on at its last list price."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir


def continue_ended_prices(prices: ir.Table) -> ir.Table:
    """Return the rows of a price list, and those that go on where all rows of an item have ended.

    From the end of the last row on its list price is served, without an end and without a
    reduction. The ledger has the same rule (`Price.continue_expired`), and a test compares both.
    `prices` has item_id, zone, valid_from, valid_to, list_price_minor and offer_price_minor.
    """
    # A union asks that both sides agree on which columns may be null.
    prices = prices.cast({name: kind.copy(nullable=True) for name, kind in prices.schema().items()})
    series = ["item_id", "zone"]
    latest_first = ibis.window(
        group_by=series, order_by=[prices.valid_to.desc(), prices.valid_from.desc()]
    )
    ranked = prices.mutate(
        is_open=prices.valid_to.isnull().any().over(ibis.window(group_by=series)),
        n_later=ibis.row_number().over(latest_first),
    )
    last = ranked.filter(~ranked.is_open, ranked.n_later == 0)
    going_on = last.mutate(
        valid_from=last.valid_to,
        valid_to=ibis.null(last.valid_to.type()),
        offer_price_minor=last.list_price_minor,
    )
    return prices.union(going_on.select(*prices.columns))
