"""Who bought the units that were sold, and what they and others looked at: events of a shop with
tastes."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa

from experiments.simulator.world import SimulatedShop
from features.contracts.arrays import Float64Array, Int64Array

_NEW_LINE = 0.6  # share of further units of an item and week that are another shopper's
_BROWSED = 1.0  # views that lead to nothing, for each line bought
_LEFT = 0.2  # share of the views that lead to nothing but a cart
_FOCUS = 0.3  # of a shopper's taste for categories: the smaller, the fewer they buy
_WEEK = 7 * 24 * 3600


def shopping(
    shop: SimulatedShop, start: datetime, rng: np.random.Generator, *, clicks: bool = True
) -> pa.Table:
    """Rows of the table `events`: purchases that add up to the units sold, and with `clicks` views
    and carts.

    Nobody is answered with a price of their own: who buys is drawn after what was sold.
    """
    taste = _tastes(shop, rng)
    item, week = (np.asarray(axis) for axis in np.nonzero(shop.units))
    cell = np.repeat(np.arange(len(item)), shop.units[item, week])
    opens = rng.random(len(cell)) < _NEW_LINE
    opens[np.flatnonzero(np.diff(cell, prepend=-1))] = True
    quantity = np.bincount(np.cumsum(opens) - 1)
    bought, at_week = item[cell[opens]], week[cell[opens]]
    shopper = _shoppers(taste, bought, rng)
    second = _moments(shopper, at_week, len(taste), rng)
    lines = _Columns(shop, start)
    used = (rng.random(len(bought)) < shop.parameters.redeemed) * shop.plan.coupon[bought, at_week]
    lines.add("purchase", shopper, bought, at_week, second, (quantity, used))
    if clicks:
        lines.add(
            "add_to_cart", shopper, bought, at_week, second - rng.integers(30, 200, len(second))
        )
        lines.add(
            "view_item", shopper, bought, at_week, second - rng.integers(200, 900, len(second))
        )
        _browse(shop, lines, taste, int(_BROWSED * len(bought)), rng)
    return lines.table()


def _tastes(shop: SimulatedShop, rng: np.random.Generator) -> Float64Array:
    """(shoppers, N) weights: favourite categories, and favourite items within them."""
    category = shop.catalogue.category
    n_shoppers = shop.parameters.n_shoppers
    of_category = rng.dirichlet(np.full(int(category.max()) + 1, _FOCUS), n_shoppers)
    of_item = rng.gamma(0.5, 1.0, (n_shoppers, len(category)))
    return np.asarray(of_category[:, category] * of_item + 1e-9)


def _shoppers(taste: Float64Array, items: Int64Array, rng: np.random.Generator) -> Int64Array:
    """A shopper for each line, drawn by taste for its item."""
    chosen = np.empty(len(items), np.int64)
    draws = rng.random(len(items))
    for item in np.unique(items):
        ladder = np.cumsum(taste[:, item])
        rows = items == item
        chosen[rows] = np.searchsorted(ladder, draws[rows] * ladder[-1])
    return np.minimum(chosen, len(taste) - 1)


def _moments(
    shopper: Int64Array, week: Int64Array, n_shoppers: int, rng: np.random.Generator
) -> Int64Array:
    """Seconds within the week: a shopper comes once a week, and pays all lines together."""
    visit = rng.integers(1000, _WEEK - 1, (n_shoppers, int(week.max(initial=0)) + 1))
    return np.asarray(visit[shopper, week])


def _browse(
    shop: SimulatedShop,
    lines: _Columns,
    taste: Float64Array,
    n: int,
    rng: np.random.Generator,
) -> None:
    """Looks that lead to no purchase; some of them reach the cart."""
    shopper = rng.integers(0, len(taste), n)
    ladder = np.cumsum(taste, axis=1)
    draws = rng.random(n) * ladder[shopper, -1]
    item = np.empty(n, np.int64)
    for part in np.array_split(np.arange(n), max(n // 10_000, 1)):
        item[part] = (ladder[shopper[part]] < draws[part, None]).sum(1)
    item = np.minimum(item, taste.shape[1] - 1)
    week = rng.integers(0, shop.parameters.n_weeks, n)
    second = rng.integers(1000, _WEEK - 1, n)
    lines.add("view_item", shopper, item, week, second)
    left = rng.random(n) < _LEFT
    lines.add(
        "add_to_cart",
        shopper[left],
        item[left],
        week[left],
        np.minimum(second[left] + 60, _WEEK - 1),
    )


class _Columns:
    """Collects events as arrays."""

    def __init__(self, shop: SimulatedShop, start: datetime) -> None:
        self._shop = shop
        self._start = np.datetime64(start.replace(tzinfo=None), "s")
        self._parts: list[pa.Table] = []

    def add(
        self,
        event_type: str,
        shopper: Int64Array,
        item: Int64Array,
        week: Int64Array,
        second: Int64Array,
        paid: tuple[Int64Array, Float64Array] | None = None,
    ) -> None:
        """Events of one type; paid lines have quantities, and discounts by coupon."""
        n = len(item)
        plan = self._shop.plan
        quantity, discount = paid or (np.zeros(n, np.int64), np.zeros(n))
        each = np.rint(plan.offer[item, week] * (1 - discount))
        order = pa.array(
            [f"o{w}-{s}" for s, w in zip(shopper.tolist(), week.tolist(), strict=True)]
        )
        nothing = pa.nulls(n)
        columns = {
            "event_type": pa.array([event_type] * n),
            "occurred_at": pa.array(
                self._start + (week * _WEEK + second).astype("timedelta64[s]")
            ).cast(pa.timestamp("us", tz="UTC")),
            "user_id": pa.array([f"u{number:04d}" for number in shopper.tolist()]),
            "session_id": order,
            "item_id": pa.array(np.array(self._shop.item_ids)[item]),
            "quantity": pa.array(quantity.astype(np.float64))
            if paid
            else nothing.cast(pa.float64()),
            "line_amount": pa.array(each * quantity / 100) if paid else nothing.cast(pa.float64()),
            "list_price": pa.array(plan.regular[item, week] / 100)
            if paid
            else nothing.cast(pa.float64()),
            "order_id": order if paid else nothing.cast(pa.string()),
        }
        self._parts.append(pa.table(columns))

    def table(self) -> pa.Table:
        """All events, in the order of time."""
        events = pa.concat_tables(self._parts).sort_by(
            [("occurred_at", "ascending"), ("event_type", "ascending")]
        )
        ids = pa.array([f"e{number:07d}" for number in range(events.num_rows)])
        return events.add_column(0, "event_id", ids)
