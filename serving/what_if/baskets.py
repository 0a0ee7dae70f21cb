"""What an order spends on the items of a promotion, read off the facts. Only a mean and a count
leave here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from features.contracts.errors import BadInput
from features.contracts.money import to_major
from features.facts.facts import Facts
from features.pipelines.orders import spend_per_order

BASKET_WEEKS = 8
MIN_ORDERS = 20  # a mean over fewer tells too much of each, and too little of all


@dataclass(frozen=True)
class Basket:
    """Mean spend, minor units of the zone's currency, over so many orders."""

    mean_minor: int
    n_orders: int

    def told(self, currency: str) -> str:
        """What was assumed, for whoever asks."""
        return (
            f"mean_basket {to_major(self.mean_minor, currency)} {currency} was not given: it is the mean of "
            f"{self.n_orders:,} orders of the last {BASKET_WEEKS} weeks that hold any of the items"
        )


def mean_basket(facts: Facts, item_ids: Sequence[str], zone: str, now: datetime) -> Basket:
    """Mean spend on the items of an order that holds any of them, over the eight weeks before `now`
    in one zone.

    Raises BadInput where fewer than MIN_ORDERS are known.
    """
    since = now - timedelta(weeks=BASKET_WEEKS)
    found = (
        spend_per_order(facts.read("events"), item_ids, zone, since=since, until=now)
        .to_pyarrow()
        .to_pylist()[0]
    )
    if found["n_orders"] < MIN_ORDERS:
        raise BadInput(
            f"spend_save needs mean_basket: {found['n_orders']} orders of the last {BASKET_WEEKS} weeks in {zone!r} "
            f"hold these items, fewer than {MIN_ORDERS}",
            where="mean_basket",
            hint="Give the mean spend on these items of an order with any, or import purchases with an order_id",
        )
    return Basket(max(round(found["mean_minor"]), 1), found["n_orders"])
