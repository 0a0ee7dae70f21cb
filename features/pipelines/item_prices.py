"""Item features of prices: the price, its position in the category, the reduction, the margin."""

from __future__ import annotations

from datetime import datetime

import ibis
import ibis.expr.types as ir

from features.pipelines.expressions import instant, since, zone_of
from features.pipelines.feature_constants import PRICE_DAYS
from features.pipelines.price_lists import continue_ended_prices


def price_position(
    purchases: ir.Table,
    items: ir.Table,
    price_history: ir.Table,
    as_of: datetime,
    costs: ir.Table | None = None,
) -> ir.Table:
    """Return price_minor, list_price_minor, discount_depth, margin and price_position per item.

    The price is the one of the price list, else the one observed in sales. discount_depth = 1 -
    price ÷ list price, at least 0. margin = 1 - unit cost ÷ price; the cost is that of the zone in
    `costs`, else of the catalogue; without `costs` it is unknown. price_position: share of the
    other items of the category in the zone that are cheaper (0 cheapest, 1 the most expensive; ties
    share the lowest value; null in a category of one). Over all zones, an item is described by the
    zone in which it sold most lately (the first by name among equals), since zones may differ in
    currency.
    """
    prices = known_price(valid_price(price_history, as_of), sale_price(purchases, as_of))
    main = add_cost(select_main_zone(rank_in_category(prices, items)), items, costs, as_of)
    depth = 1.0 - main.price_minor / main.list_price_minor.nullif(0.0)
    return main.select(
        "item_id",
        "price_minor",
        "list_price_minor",
        price_position=ibis.ifelse(main.n_category > 1, main.price_position, None),
        discount_depth=ibis.ifelse(depth < 0.0, 0.0, depth),
        margin=1.0 - main.cost_minor / main.price_minor.nullif(0.0),
    )


def sale_price(purchases: ir.Table, as_of: datetime) -> ir.Table:
    """Return item_id, zone, price_minor and list_price_minor: medians of the last PRICE_DAYS days.

    Per unit sold.
    """
    recent = since(purchases, as_of, PRICE_DAYS)
    paid = (recent.line_amount_minor / recent.quantity.coalesce(1.0).nullif(0.0)).coalesce(
        recent.unit_price_minor
    )
    return recent.group_by(item_id=recent.item_id, zone=zone_of(recent)).aggregate(
        price_minor=paid.median(),
        list_price_minor=recent.list_price_minor.median(),
        n_sales=recent.count(),
    )


def valid_price(price_history: ir.Table, as_of: datetime) -> ir.Table:
    """Return item_id, zone, price_minor (offer) and list_price_minor, valid at `as_of`.

    Where all rows that began before have ended, the last list price goes on.
    """
    begun = price_history.filter(price_history.valid_from <= instant(as_of))
    begun = continue_ended_prices(begun.mutate(zone=zone_of(begun)))
    valid = begun.filter(
        (begun.valid_from <= instant(as_of))
        & (begun.valid_to.isnull() | (begun.valid_to > instant(as_of)))
    )
    latest = valid.mutate(
        order=ibis.row_number().over(
            ibis.window(group_by=[valid.item_id, valid.zone], order_by=valid.valid_from.desc())
        )
    )
    return latest.filter(latest.order == 0).select(
        "item_id",
        "zone",
        price_minor=latest.offer_price_minor.cast("float64"),
        list_price_minor=latest.list_price_minor.cast("float64"),
    )


def latest_cost(costs: ir.Table, as_of: datetime) -> ir.Table:
    """Return cost_item, cost_zone and cost_minor: the unit cost that is valid at `as_of`."""
    known = costs.filter(costs.valid_from <= instant(as_of))
    by = known.group_by(cost_item=known.item_id, cost_zone=known.zone)
    return by.aggregate(cost_minor=known.unit_cost_minor.argmax(known.valid_from))


def known_price(listed: ir.Table, observed: ir.Table) -> ir.Table:
    """Return item_id, zone, both prices and n_sales: those listed, else those observed in sales."""
    both = listed.outer_join(observed, ["item_id", "zone"])
    prices = both.select(
        item_id=both.item_id.coalesce(both.item_id_right),
        zone=both.zone.coalesce(both.zone_right),
        price_minor=both.price_minor.coalesce(both.price_minor_right),
        list_price_minor=both.list_price_minor.coalesce(both.list_price_minor_right),
        n_sales=both.n_sales.coalesce(0),
    )
    return prices.filter(prices.price_minor.notnull())


def rank_in_category(prices: ir.Table, items: ir.Table) -> ir.Table:
    """Return the prices with price_position and n_category, the priced items of the category."""
    ranked = prices.left_join(items.select("item_id", "category"), "item_id")
    of_category = [ranked.zone, ranked.category.coalesce("")]
    return ranked.mutate(
        price_position=ibis.percent_rank().over(
            ibis.window(group_by=of_category, order_by=ranked.price_minor)
        ),
        n_category=ranked.count().over(ibis.window(group_by=of_category)),
    )


def select_main_zone(prices: ir.Table) -> ir.Table:
    """Return one row per item: that of the zone in which it sold most."""
    most_sold_first = ibis.window(
        group_by=prices.item_id, order_by=[prices.n_sales.desc(), prices.zone]
    )
    numbered = prices.mutate(order=ibis.row_number().over(most_sold_first))
    return numbered.filter(numbered.order == 0)


def add_cost(
    prices: ir.Table, items: ir.Table, costs: ir.Table | None, as_of: datetime
) -> ir.Table:
    """Return the prices with cost_minor: that of the zone, else of the catalogue."""
    if costs is None:
        return prices.mutate(cost_minor=ibis.null("float64"))
    cost = latest_cost(costs, as_of)
    stated = items.select(stated_item=items.item_id, stated_cost=items.unit_cost_minor)
    joined = prices.left_join(
        cost, [prices.item_id == cost.cost_item, prices.zone == cost.cost_zone]
    )
    joined = joined.left_join(stated, joined.item_id == stated.stated_item)
    return joined.mutate(cost_minor=joined.cost_minor.coalesce(joined.stated_cost).cast("float64"))
