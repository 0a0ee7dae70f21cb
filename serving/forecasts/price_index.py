"""What the shop's prices are beside those of its competitors, weighted by what was sold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.database import reading
from features.facts.facts import Facts
from features.prices.ledger import Ledger
from models.pricing.rules import CompetitorRule
from serving.forecasts.history import SalesHistoryService
from serving.pricing_inputs.item_facts import read_competitor_prices

# Of each competitor its latest price of the last 14 days counts, of an item the median of them.
REFERENCE = CompetitorRule(reference="median")
WEIGHT_WEEKS = 13
_WEEK = timedelta(weeks=1)


@dataclass(frozen=True)
class PriceIndex:
    """The mean of own price / competitors' price, weighted by revenue; None where none is known.

    week_before   the same of a week ago, with the same weights
    n_items       items whose own and competitors' price are known now
    """

    now: float | None = None
    week_before: float | None = None
    n_items: int = 0


def compute_index(
    own: Mapping[str, int], competitors: Mapping[str, float], revenue: Mapping[str, float]
) -> tuple[float | None, int]:
    """Return the weighted mean of own price / competitors' price, and of how many items it is.

    Items that sold nothing have no weight. None where no item with weight has both prices.

    >>> compute_index({"tea": 50, "rye": 300}, {"tea": 100.0, "rye": 200.0}, {"tea": 3, "rye": 1})
    (0.75, 2)
    """
    ratios = {
        item_id: own[item_id] / price
        for item_id, price in competitors.items()
        if price > 0 and own.get(item_id, 0) > 0 and revenue.get(item_id, 0.0) > 0
    }
    total = sum(revenue[item_id] for item_id in ratios)
    if not total:
        return None, 0
    weighted = sum(ratio * revenue[item_id] for item_id, ratio in ratios.items())
    return weighted / total, len(ratios)


@dataclass(frozen=True)
class PriceIndexService:
    """Reads the price index of a zone."""

    settings: Settings
    engine: sa.Engine
    clock: Clock
    history: SalesHistoryService

    def read_index(self, zone: str) -> PriceIndex:
        """Return the index by the offer prices of now and of a week ago.

        Competitors' prices are in the shop's own currency: a zone with another one has no index.
        """
        if self.settings.zone(zone).currency != self.settings.currency:
            return PriceIndex()
        now = self.clock.now()
        facts = Facts(self.settings)
        competitors = read_competitor_prices(facts, REFERENCE, now)
        if not competitors:
            return PriceIndex()
        revenue = self.history.read_revenue(zone, WEIGHT_WEEKS)
        index, n_items = compute_index(self._read_offers(zone, now), competitors, revenue)
        earlier = now - _WEEK
        before, _ = compute_index(
            self._read_offers(zone, earlier),
            read_competitor_prices(facts, REFERENCE, earlier),
            revenue,
        )
        return PriceIndex(index, before, n_items)

    def _read_offers(self, zone: str, at: datetime) -> dict[str, int]:
        with reading(self.engine) as connection:
            return Ledger(connection).read_offers(zone, at)
