"""User features: one pure function per column, over the user's kept order lines
(`user_item.kept_lines`).

Money is compared within one zone only, since zones may differ in currency: the money features look
at the zone in which the user bought the most lines (the first by name among equals).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import ibis

from features.contracts.categories import SEPARATOR
from features.pipelines.expressions import age_seconds, decay
from features.pipelines.rules import REDUCED_SHARE, SECONDS_PER_DAY
from features.pipelines.user_item import kept_lines, order_lines


def recency_days(lines: Any, as_of: datetime) -> Any:
    """Days since the last purchase."""
    return age_seconds(lines["at"].max(), as_of) / float(SECONDS_PER_DAY)


def tenure_days(lines: Any, as_of: datetime) -> Any:
    """Days since the first purchase."""
    return age_seconds(lines["at"].min(), as_of) / float(SECONDS_PER_DAY)


def repeat_share(lines: Any) -> Any:
    """Share of the order lines whose item the user had bought before: 1 - items ÷ lines."""
    return 1.0 - lines.item_id.nunique() / lines.count()


def frequency(orders: Any) -> Any:
    """Orders ever."""
    return orders.count().cast("float64")


def frequency_decayed(orders: Any, as_of: datetime) -> Any:
    """Sum over orders of DECAY_PER_WEEK ** (age in weeks)."""
    return decay(orders["at"], as_of).sum()


def order_interval_days(orders: Any) -> Any:
    """Mean days between orders; null below two."""
    gaps = (orders.count() - 1).nullif(0)
    return (orders["at"].max() - orders["at"].min()) / float(SECONDS_PER_DAY) / gaps


def lines_per_order(orders: Any) -> Any:
    """Mean different items in an order."""
    return orders.n_lines.mean()


def monetary_minor(lines: Any) -> Any:
    """Spend ever, minor units, in the user's main zone."""
    return lines.paid_minor.sum()


def monetary_decayed_minor(lines: Any, as_of: datetime) -> Any:
    """Spend with each line weighed by DECAY_PER_WEEK ** (age in weeks), in the user's main zone."""
    return (lines.paid_minor * decay(lines["at"], as_of)).sum()


def discount_share(lines: Any) -> Any:
    """Money saved ÷ list value, over lines with a known list price, in the main zone; null without
    one."""
    saved = ibis.greatest(lines.list_minor - lines.paid_minor, 0.0).sum(
        where=lines.list_minor.notnull()
    )
    return saved / lines.list_minor.sum().nullif(0.0)


def price_sensitivity(lines: Any) -> Any:
    """Share of the lines with a known list price that were bought reduced, in the main zone; null
    without one."""
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


def user_features(events: Any, as_of: datetime) -> Any:
    """One row per user with a kept purchase before `as_of`: user_id and the columns of NAMES
    (float64), no order."""
    return features_of(kept_lines(order_lines(events, as_of)), as_of)


def features_of(lines: Any, as_of: datetime) -> Any:
    """`user_features` from kept lines."""
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
    joined = by_lines.join(by_orders, "user_id").join(_main_zone(lines, as_of), "user_id")
    return joined.select("user_id", **{name: joined[name].cast("float64") for name in NAMES})


def category_affinity(lines: Any, items: Any, as_of: datetime) -> Any:
    """user_id, category (the first level), affinity: the category's share of the user's decayed
    order lines.

    Lines of items without a category count in the whole and have no row.
    """
    top = items.select("item_id", category=items.category.split(SEPARATOR)[0])
    weighed = lines.select("user_id", "item_id", weight=decay(lines["at"], as_of))
    joined = weighed.left_join(top, "item_id")
    sums = joined.group_by(["user_id", "category"]).aggregate(weight=joined.weight.sum())
    shares = sums.mutate(affinity=sums.weight / sums.weight.sum().over(group_by=sums.user_id))
    return shares.filter(shares.category.notnull() & (shares.category != "")).select(
        "user_id", "category", "affinity"
    )


def _main_zone(lines: Any, as_of: datetime) -> Any:
    by_zone = lines.group_by(["user_id", "zone"]).aggregate(
        n_lines=lines.count(),
        monetary_minor=monetary_minor(lines),
        monetary_decayed_minor=monetary_decayed_minor(lines, as_of),
        discount_share=discount_share(lines),
        price_sensitivity=price_sensitivity(lines),
    )
    placed = by_zone.mutate(
        place=ibis.row_number().over(
            ibis.window(group_by=by_zone.user_id, order_by=[by_zone.n_lines.desc(), by_zone.zone])
        )
    )
    return placed.filter(placed.place == 0).drop("zone", "n_lines", "place")
