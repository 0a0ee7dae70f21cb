"""Mean spend of an order on the items of a promotion. Only a mean and a count leave this module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from features.contracts.errors import BadInput
from features.contracts.money import to_major
from features.facts.facts import Facts
from features.pipelines.orders import spend_per_order

BASKET_WEEKS = 8
MIN_ORDERS = 20  # a mean over fewer orders reveals too much of each, and too little of all


@dataclass(frozen=True)
class Basket:
    """Mean spend, minor units of the zone's currency, and the number of orders it is taken over."""

    mean_minor: int
    n_orders: int

    def describe(self, currency: str) -> str:
        """Return a note that says which mean basket was assumed."""
        return (
            f"mean_basket {to_major(self.mean_minor, currency)} {currency} was not given: "
            f"it is the mean of {self.n_orders:,} orders of the last {BASKET_WEEKS} weeks "
            "that hold any of the items"
        )


def mean_basket(facts: Facts, item_ids: Sequence[str], zone: str, now: datetime) -> Basket:
    """Return the mean spend on the items of an order that holds any of them.

    Orders of one zone over the eight weeks before `now` count. Raises BadInput where fewer than
    MIN_ORDERS are known.
    """
    since = now - timedelta(weeks=BASKET_WEEKS)
    spend = spend_per_order(facts.read("events"), item_ids, zone, since=since, until=now)
    row = spend.to_pyarrow().to_pylist()[0]
    if row["n_orders"] < MIN_ORDERS:
        raise BadInput(
            f"spend_save needs mean_basket: {row['n_orders']} orders of the last {BASKET_WEEKS} "
            f"weeks in {zone!r} hold these items, fewer than {MIN_ORDERS}",
            where="mean_basket",
            hint="Give the mean spend on these items of an order with any, "
            "or import purchases with an order_id",
        )
    return Basket(max(round(row["mean_minor"]), 1), row["n_orders"])
