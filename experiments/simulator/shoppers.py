"""Events of a simulated shop: who bought the units that were sold, and what shoppers looked at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from experiments.simulator.shop import SimulatedShop
from features.contracts.arrays import BoolArray, Float64Array, Int64Array

_NEW_LINE = 0.6  # share of further units of an item and week that are another shopper's
_BROWSED = 1.0  # views without a purchase, for each line bought
_LEFT_IN_CART = 0.2  # share of the views without a purchase that lead to a cart
_FOCUS = 0.3  # of a shopper's taste for categories: the smaller, the fewer they buy
_WEEK_SECONDS = 7 * 24 * 3600


def draw_events(
    shop: SimulatedShop, start: datetime, rng: np.random.Generator, *, clicks: bool = True
) -> pa.Table:
    """Return rows of the table `events`: purchases that add up to the units sold.

    With `clicks` there are views and carts as well. No shopper gets a price of their own: who buys
    is drawn after what was sold.
    """
    tastes = _draw_tastes(shop, rng)
    item, week = (np.asarray(axis) for axis in np.nonzero(shop.units))
    cell = np.repeat(np.arange(len(item)), shop.units[item, week])
    opens_line = rng.random(len(cell)) < _NEW_LINE
    opens_line[np.flatnonzero(np.diff(cell, prepend=-1))] = True
    quantity = np.bincount(np.cumsum(opens_line) - 1)
    line_item, line_week = item[cell[opens_line]], week[cell[opens_line]]
    shopper = _draw_shoppers(tastes, line_item, rng)
    second = _draw_seconds(shopper, line_week, len(tastes), rng)
    bought = _Actions(shopper, line_item, line_week, second)
    events = _EventBuilder(shop, start)
    uses_coupon = rng.random(len(line_item)) < shop.parameters.redeemed
    discount = uses_coupon * shop.plan.coupon[line_item, line_week]
    events.add_purchases(bought, quantity, discount)
    if clicks:
        cart_second = second - rng.integers(30, 200, len(second))
        events.add("add_to_cart", _Actions(shopper, line_item, line_week, cart_second))
        view_second = second - rng.integers(200, 900, len(second))
        events.add("view_item", _Actions(shopper, line_item, line_week, view_second))
        _add_browsing(shop, events, tastes, int(_BROWSED * len(line_item)), rng)
    return events.build_table()


@dataclass(frozen=True)
class _Actions:
    """Who did something with which item, in which week and second of the week; (n,) each."""

    shopper: Int64Array
    item: Int64Array
    week: Int64Array
    second: Int64Array

    def select(self, mask: BoolArray) -> _Actions:
        """Return the actions where `mask` (n,) is true."""
        return _Actions(self.shopper[mask], self.item[mask], self.week[mask], self.second[mask])


def _draw_tastes(shop: SimulatedShop, rng: np.random.Generator) -> Float64Array:
    """Draw weights (shoppers, N): favourite categories, and favourite items within them."""
    category = shop.catalogue.category
    n_shoppers = shop.parameters.n_shoppers
    category_taste = rng.dirichlet(np.full(int(category.max()) + 1, _FOCUS), n_shoppers)
    item_taste = rng.gamma(0.5, 1.0, (n_shoppers, len(category)))
    return np.asarray(category_taste[:, category] * item_taste + 1e-9)


def _draw_shoppers(tastes: Float64Array, items: Int64Array, rng: np.random.Generator) -> Int64Array:
    """Draw a shopper for each line (n,), by taste for its item."""
    shopper = np.empty(len(items), np.int64)
    draws = rng.random(len(items))
    for item in np.unique(items):
        cumulated = np.cumsum(tastes[:, item])
        lines = items == item
        shopper[lines] = np.searchsorted(cumulated, draws[lines] * cumulated[-1])
    return np.minimum(shopper, len(tastes) - 1)


def _draw_seconds(
    shopper: Int64Array, week: Int64Array, n_shoppers: int, rng: np.random.Generator
) -> Int64Array:
    """Draw seconds within the week (n,): a shopper comes once a week, and pays all lines then."""
    visit = rng.integers(1000, _WEEK_SECONDS - 1, (n_shoppers, int(week.max(initial=0)) + 1))
    return np.asarray(visit[shopper, week])


def _add_browsing(
    shop: SimulatedShop,
    events: _EventBuilder,
    tastes: Float64Array,
    n: int,
    rng: np.random.Generator,
) -> None:
    """Add `n` views without a purchase; some of them lead to a cart."""
    shopper = rng.integers(0, len(tastes), n)
    cumulated = np.cumsum(tastes, axis=1)
    draws = rng.random(n) * cumulated[shopper, -1]
    item = np.empty(n, np.int64)
    for part in np.array_split(np.arange(n), max(n // 10_000, 1)):
        item[part] = (cumulated[shopper[part]] < draws[part, None]).sum(1)
    item = np.minimum(item, tastes.shape[1] - 1)
    week = rng.integers(0, shop.parameters.n_weeks, n)
    second = rng.integers(1000, _WEEK_SECONDS - 1, n)
    events.add("view_item", _Actions(shopper, item, week, second))
    in_cart = rng.random(n) < _LEFT_IN_CART
    cart_second = np.minimum(second + 60, _WEEK_SECONDS - 1)
    events.add("add_to_cart", _Actions(shopper, item, week, cart_second).select(in_cart))


class _EventBuilder:
    """Collects events as tables."""

    def __init__(self, shop: SimulatedShop, start: datetime) -> None:
        self._shop = shop
        self._start = np.datetime64(start.replace(tzinfo=None), "s")
        self._parts: list[pa.Table] = []

    def add(self, event_type: str, actions: _Actions) -> None:
        """Add events without a payment."""
        n = len(actions.item)
        columns = self._build_columns(event_type, actions) | {
            "quantity": pa.nulls(n).cast(pa.float64()),
            "line_amount": pa.nulls(n).cast(pa.float64()),
            "list_price": pa.nulls(n).cast(pa.float64()),
            "order_id": pa.nulls(n).cast(pa.string()),
        }
        self._parts.append(pa.table(columns))

    def add_purchases(
        self, actions: _Actions, quantity: Int64Array, discount: Float64Array
    ) -> None:
        """Add purchases of `quantity` (n,), with a `discount` by coupon (n,), a share."""
        plan = self._shop.plan
        unit_price = np.rint(plan.offer[actions.item, actions.week] * (1 - discount))
        columns = self._build_columns("purchase", actions)
        columns |= {
            "quantity": pa.array(quantity.astype(np.float64)),
            "line_amount": pa.array(unit_price * quantity / 100),
            "list_price": pa.array(plan.regular[actions.item, actions.week] / 100),
            "order_id": columns["session_id"],
        }
        self._parts.append(pa.table(columns))

    def _build_columns(self, event_type: str, actions: _Actions) -> dict[str, pa.Array]:
        seconds = (actions.week * _WEEK_SECONDS + actions.second).astype("timedelta64[s]")
        visits = zip(actions.shopper.tolist(), actions.week.tolist(), strict=True)
        return {
            "event_type": pa.array([event_type] * len(actions.item)),
            "occurred_at": pa.array(self._start + seconds).cast(pa.timestamp("us", tz="UTC")),
            "user_id": pa.array([f"u{number:04d}" for number in actions.shopper.tolist()]),
            "session_id": pa.array([f"o{week}-{shopper}" for shopper, week in visits]),
            "item_id": pa.array(np.array(self._shop.item_ids)[actions.item]),
        }

    def build_table(self) -> pa.Table:
        """Return all events, sorted by time."""
        events = pa.concat_tables(self._parts).sort_by(
            [("occurred_at", "ascending"), ("event_type", "ascending")]
        )
        ids = pa.array([f"e{number:07d}" for number in range(events.num_rows)])
        return events.add_column(0, "event_id", ids)
