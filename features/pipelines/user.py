"""User features: one pure function per column, over the user's kept order lines
(`user_item.select_kept_lines`).

Money is compared within one zone only, since zones may differ in currency: the money features look
at the zone in which the user bought the most lines (the first by name among equals).
"""

from __future__ import annotations

from datetime import datetime

import ibis
import ibis.expr.types as ir

from features.contracts.categories import SEPARATOR
from features.pipelines.expressions import age_seconds, decay
from features.pipelines.feature_constants import REDUCED_SHARE, SECONDS_PER_DAY


def recency_days(lines: ir.Table, as_of: datetime) -> ir.NumericScalar:
    """Return the days since the last purchase."""
    return age_seconds(lines["at"].max(), as_of) / float(SECONDS_PER_DAY)


def tenure_days(lines: ir.Table, as_of: datetime) -> ir.NumericScalar:
    """Return the days since the first purchase."""
    return age_seconds(lines["at"].min(), as_of) / float(SECONDS_PER_DAY)


def repeat_share(lines: ir.Table) -> ir.NumericScalar:
    """Return the share of order lines whose item was bought before: 1 - items ÷ lines."""
    return 1.0 - lines.item_id.nunique() / lines.count()


def frequency(orders: ir.Table) -> ir.NumericScalar:
    """Return the number of orders."""
    return orders.count().cast("float64")


def frequency_decayed(orders: ir.Table, as_of: datetime) -> ir.NumericScalar:
    """Return the sum over orders of DECAY_PER_WEEK ** (age in weeks)."""
    return decay(orders["at"], as_of).sum()


def order_interval_days(orders: ir.Table) -> ir.NumericScalar:
    """Return the mean days between orders; null below two."""
    gaps = (orders.count() - 1).nullif(0)
    return (orders["at"].max() - orders["at"].min()) / float(SECONDS_PER_DAY) / gaps


def lines_per_order(orders: ir.Table) -> ir.NumericScalar:
    """Return the mean number of different items in an order."""
    return orders.n_lines.mean()


def monetary_minor(lines: ir.Table) -> ir.NumericScalar:
    """Return the spend, minor units, in the user's main zone."""
    return lines.paid_minor.sum()


def monetary_decayed_minor(lines: ir.Table, as_of: datetime) -> ir.NumericScalar:
    """Return the spend weighted by DECAY_PER_WEEK ** (age in weeks), in the user's main zone."""
    return (lines.paid_minor * decay(lines["at"], as_of)).sum()


def discount_share(lines: ir.Table) -> ir.NumericScalar:
    """Return money saved ÷ list value over lines with a list price, in the main zone, else null."""
    saved = ibis.greatest(lines.list_minor - lines.paid_minor, 0.0).sum(
        where=lines.list_minor.notnull()
    )
    return saved / lines.list_minor.sum().nullif(0.0)


def price_sensitivity(lines: ir.Table) -> ir.NumericScalar:
    """Return the share of lines bought reduced, of those with a list price, in the main zone.

    Null without such a line.
    """
    reduced = lines.paid_minor <= lines.list_minor * (1.0 - REDUCED_SHARE)
    return reduced.mean(where=lines.list_minor.notnull())


NAMES = (
    "recency_days",
    "tenure_days",
    "repeat_share",
    "frequency",
    "frequency_decayed",
    "order_interval_days",
    "lines_per_order",
    "monetary_minor",
    "monetary_decayed_minor",
    "discount_share",
    "price_sensitivity",
)


def user_features(lines: ir.Table, as_of: datetime) -> ir.Table:
    """Return one row per user with a kept line: user_id and the columns of NAMES (float64).

    The rows have no order.
    """
    orders = lines.group_by(["user_id", "order_key"]).aggregate(
        at=lines["at"].min(), n_lines=lines.count()
    )
    by_lines = lines.group_by("user_id").aggregate(
        recency_days=recency_days(lines, as_of),
        tenure_days=tenure_days(lines, as_of),
        repeat_share=repeat_share(lines),
    )
    by_orders = orders.group_by("user_id").aggregate(
        frequency=frequency(orders),
        frequency_decayed=frequency_decayed(orders, as_of),
        order_interval_days=order_interval_days(orders),
        lines_per_order=lines_per_order(orders),
    )
    joined = by_lines.join(by_orders, "user_id").join(_sum_main_zone(lines, as_of), "user_id")
    return joined.select("user_id", **{name: joined[name].cast("float64") for name in NAMES})


def category_affinity(lines: ir.Table, items: ir.Table, as_of: datetime) -> ir.Table:
    """Return user_id, category (the first level) and affinity.

    The affinity is the share of the category in the decayed order lines of the user. Lines of items
    without a category count in the total and have no row.
    """
    top = items.select("item_id", category=items.category.split(SEPARATOR)[0])
    weighted = lines.select("user_id", "item_id", weight=decay(lines["at"], as_of))
    joined = weighted.left_join(top, "item_id")
    sums = joined.group_by(["user_id", "category"]).aggregate(weight=joined.weight.sum())
    shares = sums.mutate(affinity=sums.weight / sums.weight.sum().over(group_by=sums.user_id))
    return shares.filter(shares.category.notnull() & (shares.category != "")).select(
        "user_id", "category", "affinity"
    )


def _sum_main_zone(lines: ir.Table, as_of: datetime) -> ir.Table:
    by_zone = lines.group_by(["user_id", "zone"]).aggregate(
        n_lines=lines.count(),
        monetary_minor=monetary_minor(lines),
        monetary_decayed_minor=monetary_decayed_minor(lines, as_of),
        discount_share=discount_share(lines),
        price_sensitivity=price_sensitivity(lines),
    )
    ranked = by_zone.mutate(
        order=ibis.row_number().over(
            ibis.window(group_by=by_zone.user_id, order_by=[by_zone.n_lines.desc(), by_zone.zone])
        )
    )
    return ranked.filter(ranked.order == 0).drop("zone", "n_lines", "order")
