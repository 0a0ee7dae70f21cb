"""The valid prices and the changes of prices: read from the ledger and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.database import reading
from features.prices.law import find_prior_prices
from features.prices.ledger import Ledger, Price
from features.prices.reduction_rule import FindRules


@dataclass(frozen=True)
class Quote:
    """The price of an item; `prior_price_minor` is the legal reference of a reduction, None when
    there is none."""

    price: Price
    prior_price_minor: int | None


@dataclass(frozen=True)
class PriceService:
    """Reads prices. No person is known here."""

    settings: Settings
    engine: sa.Engine
    clock: Clock
    find_rules: FindRules

    def now(self) -> datetime:
        """Return the present business time."""
        return self.clock.now()

    def quote_items(self, item_ids: Sequence[str], zone: str, at: datetime) -> list[Quote]:
        """Return the prices valid at `at`, in the order of `item_ids`.

        Items without a price are left out. A reduction is counted by the price law of the zone.
        """
        with reading(self.engine) as connection:
            ledger = Ledger(connection)
            current = ledger.find_current(item_ids, zone, at)
            histories = ledger.read_histories(current, zone)
        prior = find_prior_prices(histories, at, self.find_rules(zone, current))
        return [
            Quote(current[item_id], prior[item_id])
            for item_id in dict.fromkeys(item_ids)
            if item_id in current
        ]

    def list_changes(self, after: int, limit: int, zone: str | None = None) -> list[Price]:
        """Return the ledger's rows after number `after`, in order."""
        with reading(self.engine) as connection:
            return Ledger(connection).list_after(after, limit, zone)
