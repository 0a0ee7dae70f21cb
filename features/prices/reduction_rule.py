"""The rule by which the reductions of one item are counted: its zone's law with its options.

References: Directive 98/6/EC, article 6a, paragraph 2 (30 days), and the options of the member
states: paragraph 3 (perishable goods), 4 (goods on the market for less than 30 days) and 5
(reductions that grow step by step). China's provisions on the marking of prices: the lowest price
of a transaction of the seven days before, else that of the last transaction before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from configs.zone_settings import ZoneSettings
from features.contracts.pricing import PriceLaw

NEW_ARRIVAL = timedelta(days=30)  # an item is new for so long: article 6a, paragraph 4


@dataclass(frozen=True)
class SoldPrice:
    """A price at which an item was sold on one day, minor units: its first and its last sale."""

    price_minor: float
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True)
class PublicCoupon:
    """A coupon for everybody: it lowers the list price by the share `depth` while it runs."""

    starts_at: datetime
    ends_at: datetime
    depth: float


@dataclass(frozen=True)
class ReductionRule:
    """How the prior price of an item's reductions is found.

    days               length of the window before a reduction begins; 0: the price right before it
    new_arrival_days   length of the window while the item is new; None: `days`
    on_market_since    since when the item is on the market; None: since its first price
    progressive        a reduction that grows without interruption counts from its first step
    sold               prices at which the item was sold, for a law that counts transactions; where
                       there are none, offer prices count
    sold_until         until when sales are known; offer prices count from then on
    coupons            coupons for everybody, past and planned: their prices count as asked
    """

    days: int
    new_arrival_days: int | None = None
    on_market_since: datetime | None = None
    progressive: bool = False
    sold: tuple[SoldPrice, ...] = ()
    sold_until: datetime | None = None
    coupons: tuple[PublicCoupon, ...] = ()

    @classmethod
    def from_law(cls, law: PriceLaw | str) -> ReductionRule:
        """Return the rule of a law without any option."""
        return cls(PriceLaw(law).days)

    @classmethod
    def from_zone(cls, zone: ZoneSettings, *, perishable: bool = False) -> ReductionRule:
        """Return the rule of an item of a zone, by the zone's options."""
        days, new_days = zone.price_law.days, zone.new_arrival_days
        if perishable and zone.perishable_days is not None:
            days = min(days, zone.perishable_days)
            new_days = None if new_days is None else min(new_days, days)
        return cls(days, new_arrival_days=new_days, progressive=zone.progressive_reductions)

    def find_window_days(self, begins_at: datetime, first_price_at: datetime) -> int:
        """Return the length of the window before a reduction that begins at `begins_at`."""
        since = min(self.on_market_since or first_price_at, first_price_at)
        if self.new_arrival_days is None or begins_at - since >= NEW_ARRIVAL:
            return self.days
        return min(self.new_arrival_days, self.days)

    def describe_prior(self) -> str:
        """Return which price is the prior price."""
        if self.days == 0:
            return "the price right before"
        sold = " at which it was sold" if self.sold else ""
        return f"the lowest price{sold} of the {self.days} days before"


# The rule of each of some items of a zone, by item id.
FindRules = Callable[[str, Iterable[str]], Mapping[str, ReductionRule]]


def apply_to_all(rule: ReductionRule) -> FindRules:
    """Return the same rule for all items of all zones."""
    return lambda _zone, item_ids: dict.fromkeys(item_ids, rule)


# Every item under Directive 98/6/EC, article 6a, without any option.
PLAIN_RULES = apply_to_all(ReductionRule.from_law(PriceLaw.EU30))
