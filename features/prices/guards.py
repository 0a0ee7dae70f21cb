"""The guard of prices: what no price may become without somebody who means it.

One rule for every door: imports, the opening of the ledger, edits, approvals of many, rollbacks.
"""

from __future__ import annotations

from collections.abc import Iterable

from features.contracts.errors import BadInput
from features.contracts.money import minor_digits, parse_amount, to_major, to_minor
from features.prices.ledger import NewPrice

# A price that moves by a larger share is a slipped point until somebody says that it is meant.
MAX_JUMP = 0.5
MAX_PRICE_MINOR = 10**12


def find_jump(price_minor: int, known_minor: Iterable[int]) -> float:
    """Return the share by which a price moves from the nearest of known prices; 0 without one.

    The list price is known beside the offer price: the end of a promotion is no jump. Rounded to
    nine digits, so that 1.90 for 2.00 is 5 % exactly.

    >>> find_jump(2595, [1000, 2595]), find_jump(1, [2595])
    (0.0, -0.999614644)
    """
    moves = [round(price_minor / known - 1, 9) for known in known_minor if known > 0]
    return min(moves, key=abs, default=0.0)


def explain_jump(price: NewPrice, before: NewPrice | None) -> str | None:
    """Return why a price must be confirmed before it is served, None where it need not be.

    `before` is the price that it replaces.
    """
    if price.offer_price_minor <= 0:
        return "it is a price of nothing"
    if before is None:
        return None
    known = before.offer_price_minor, before.list_price_minor
    for name, minor in (("offer", price.offer_price_minor), ("list", price.list_price_minor)):
        share = find_jump(minor, known)
        if abs(share) > MAX_JUMP:
            was = known[0] if name == "offer" else known[1]
            return (
                f"the {name} price moves by {share:+.1%}, from "
                f"{to_major(was, before.currency)} to {to_major(minor, price.currency)}"
            )
    return None


def parse_price(price: str, currency: str, *, where: str = "suggested_price") -> int:
    """Return a price in whole minor units, above zero and below a trillion of them."""
    minor = to_minor(price, currency)
    if not 0 < minor < MAX_PRICE_MINOR:
        raise BadInput(
            f"a price of {price} cannot be charged",
            where=where,
            hint="Give one above zero",
        )
    if parse_amount(price) != parse_amount(to_major(minor, currency)):
        raise BadInput(
            f"{price} {currency} is no whole amount",
            where=where,
            hint=f"{currency} has {minor_digits(currency)} digits after the point",
        )
    return minor
