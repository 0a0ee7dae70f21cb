"""What a promotion offers everybody: its terms in words for a storefront, and prices under them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from features.contracts.errors import BadInput
from features.contracts.money import to_major, to_minor
from models.pricing.promotions.mechanics import REDUCTIONS, Mechanic

# These set the price of the item itself; a coupon leaves it, but announces a lower one.
PRICED = (Mechanic.PERCENT_OFF, Mechanic.PRICE_OFF)
_FIELDS: Mapping[Mechanic, tuple[str, ...]] = {
    Mechanic.PERCENT_OFF: ("percent",),
    Mechanic.PRICE_OFF: ("amount",),
    Mechanic.COUPON: ("percent", "amount"),
    Mechanic.BUNDLE: ("amount",),
    Mechanic.SPEND_SAVE: ("threshold", "amount", "repeats"),
    Mechanic.BUY_GET: ("buy", "free"),
}


@dataclass(frozen=True)
class Offer:
    """The terms of a promotion; money in minor units."""

    mechanic: Mechanic
    percent: float | None = None
    amount_minor: int | None = None
    threshold_minor: int | None = None
    buy: int = 1
    free: int = 0

    @classmethod
    def from_terms(cls, mechanic: str, terms: Mapping[str, object], currency: str) -> Offer:
        """Return the offer of stored terms."""
        percent, amount, threshold = (terms.get(n) for n in ("percent", "amount", "threshold"))
        return cls(
            Mechanic(mechanic),
            None if percent is None else float(str(percent)),
            None if amount is None else to_minor(str(amount), currency),
            None if threshold is None else to_minor(str(threshold), currency),
            buy=int(str(terms.get("buy", 1))),
            free=int(str(terms.get("free", 0))),
        )

    def announce(self, price_minor: int) -> int | None:
        """Return the price that is announced for an item, None where none is.

        >>> Offer(Mechanic.PERCENT_OFF, percent=0.2).announce(394)
        315
        """
        if self.mechanic not in REDUCTIONS:
            return None
        if self.percent is not None:
            return round(price_minor * (1 - self.percent))
        return price_minor - (self.amount_minor or 0)

    def find_lowest_price(self, price_minor: int, all_prices_minor: Sequence[int]) -> float:
        """Return what is paid for an item where everybody uses the offer to the full.

        all_prices_minor   the prices of all items of the promotion, for a bundle

        >>> Offer(Mechanic.BUY_GET, buy=2, free=1).find_lowest_price(300, [300])
        200.0
        >>> Offer(Mechanic.SPEND_SAVE, amount_minor=500, threshold_minor=2000).find_lowest_price(
        ...     400, [400]
        ... )
        300.0
        """
        announced = self.announce(price_minor)
        if announced is not None:
            return announced
        amount, threshold = self.amount_minor or 0, self.threshold_minor or 0
        together = sum(all_prices_minor)
        share = 1.0
        if self.mechanic is Mechanic.BUY_GET:
            share = self.buy / (self.buy + self.free)
        elif self.mechanic is Mechanic.SPEND_SAVE and threshold > 0:
            share = 1 - amount / threshold
        elif self.mechanic is Mechanic.BUNDLE and together > 0:
            share = amount / together
        return price_minor * share

    def find_fault(self, prices_minor: Sequence[int]) -> str | None:
        """Return why the terms are no offer on items of these prices; None where they are."""
        amount, threshold = self.amount_minor or 0, self.threshold_minor or 0
        if self.mechanic is Mechanic.BUNDLE and amount >= sum(prices_minor):
            return "the bundle costs no less than its items one by one"
        if self.mechanic is Mechanic.BUNDLE and len(prices_minor) < 2:
            return "a bundle has two items or more"
        if self.mechanic is Mechanic.SPEND_SAVE and amount >= threshold:
            return "what is saved is no less than what must be spent"
        return None


def describe_terms(
    mechanic: Mechanic, given: Mapping[str, object], currency: str
) -> dict[str, object]:
    """Return the terms of a request as a storefront shows them, amounts in major units.

    Raises BadInput for a field that the mechanic does not use: it would seem to count.
    """
    terms: dict[str, object] = {}
    for name in _FIELDS[mechanic]:
        value = given.get(name)
        if value is not None:
            is_amount = name in ("amount", "threshold")
            terms[name] = to_major(to_minor(str(value), currency), currency) if is_amount else value
    for name in ("percent", "amount", "threshold"):
        if given.get(name) is not None and name not in terms:
            raise BadInput(f"{mechanic} has no {name}", where=name)
    return terms
