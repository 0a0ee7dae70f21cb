"""Which price holds: read from the ledger and from nothing else. No person is known here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from features.contracts.pricing import PriceLaw
from features.database import reading
from features.prices.law import find_prior_prices
from features.prices.ledger import Ledger, Price


@dataclass(frozen=True)
class Quote:
    """The price of an item; `prior_price_minor` is the legal reference of a reduction, None when
    there is none."""

    price: Price
    prior_price_minor: int | None


def quote(
    engine: sa.Engine, item_ids: Sequence[str], zone: str, at: datetime, law: PriceLaw
) -> list[Quote]:
    """The prices in force at `at`, in the order of `item_ids`; items without a price are left out.

    `law` says from which earlier prices a reduction is counted in this zone.
    """
    with reading(engine) as connection:
        ledger = Ledger(connection)
        current = ledger.current(item_ids, zone, at)
        prior = find_prior_prices(ledger.histories(current, zone), current, at, law)
    return [
        Quote(current[item], prior[item]) for item in dict.fromkeys(item_ids) if item in current
    ]


def changes(engine: sa.Engine, after: int, limit: int, zone: str | None = None) -> list[Price]:
    """The ledger's rows after number `after`, in order."""
    with reading(engine) as connection:
        return Ledger(connection).after(after, limit, zone)
