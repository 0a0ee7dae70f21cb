"""The items that are on sale and meet the filter and the stock condition of a request."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.arrays import BoolArray, Float64Array
from features.contracts.money import to_minor
from features.contracts.recommendations import ItemFeatures
from features.facts.off_sale import OffSaleItems
from features.online.live_catalogue import LiveCatalogue, LiveState
from features.prices.offers import OfferPrices
from models.served_recommender import ServedRecommender
from serving.recommendations.item_filter import NO_FILTER, CatalogueTexts, Filter

# How long the result of a filter is cached; prices and stock change meanwhile.
_CACHE_SECONDS = 5.0
_CACHE_SIZE = 64


@dataclass(frozen=True)
class ItemCondition:
    """The conditions on an item for a slate of this zone."""

    filter: Filter
    in_stock_only: bool
    zone: str


# When it ends, the ids, and what it was made from.
_Selection = tuple[float, frozenset[str], tuple[ItemFeatures, LiveState]]


class AllowedItems:
    """Applies conditions to a catalogue, and caches the results. Safe to share between threads."""

    def __init__(self, settings: Settings, engine: sa.Engine, live: LiveCatalogue) -> None:
        self._settings, self._live = settings, live
        self._offers = OfferPrices(engine)
        self._off_sale = OffSaleItems(settings)
        self._lock = threading.Lock()
        self._texts: CatalogueTexts | None = None
        self._cache: OrderedDict[tuple[object, ...], _Selection] = OrderedDict()

    def select(
        self, condition: ItemCondition, served: ServedRecommender, now: datetime
    ) -> frozenset[str] | None:
        """Return the ids of the items on sale that meet the condition; None when all of them do."""
        off_sale, items, state = self._off_sale.find(now), served.items, self._live.read()
        stock = self._find_stock(condition.zone, served) if condition.in_stock_only else None
        all_in_stock = stock is None or not bool(np.any(stock <= 0))
        if condition.filter == NO_FILTER and all_in_stock and not off_sale:
            return None
        key = (condition, id(items), id(state), off_sale)
        cached = self._cache.get(key)
        if cached is not None and cached[0] > time.monotonic():
            return cached[1]
        mask = self._meet(condition, items, now)
        if stock is not None:
            mask &= ~(stock <= 0)  # unknown stock is NaN and stays
        allowed = frozenset(items.item_ids[mask].tolist()) - off_sale
        with self._lock:
            # An equal set stays the same object, so that the recommender finds its mask again.
            if cached is not None and cached[1] == allowed:
                allowed = cached[1]
            # The key names objects by their addresses: they live as long as it does.
            self._cache[key] = (time.monotonic() + _CACHE_SECONDS, allowed, (items, state))
            self._cache.move_to_end(key)
            while len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
        return allowed

    def explain_unknown(self, given: Filter, items: ItemFeatures) -> tuple[str, ...]:
        """Return which names and values of a filter no item has, each with the nearest right one.

        Raises UnknownName for an attribute that no item has.
        """
        if not given.category and not given.brand and not given.attributes:
            return ()
        return self._read_texts(items).explain_unknown(given)

    def _read_texts(self, items: ItemFeatures) -> CatalogueTexts:
        live, texts = self._live.read().items, self._texts
        if texts is None or texts.live is not live or texts.items is not items:
            texts = self._texts = CatalogueTexts(live, items)
        return texts

    def counts_stock(self, zone: str, served: ServedRecommender) -> bool:
        """Return whether a zone counts its own stock."""
        return zone in served.zones or zone in self._live.read().counts

    def warm(self, now: datetime) -> None:
        """Read the catalogue, unless it was read already. Raises Damaged where that fails."""
        self._off_sale.find(now)
        self._live.warm()

    def find_off_sale(self, now: datetime) -> frozenset[str]:
        """Return the items that are off sale."""
        return self._off_sale.find(now)

    def _find_stock(self, zone: str, served: ServedRecommender) -> Float64Array:
        """Return the stock of now in a zone that counts its own, else that of all zones."""
        own_zone = zone if self.counts_stock(zone, served) else None
        return self._live.find_stock(served.items.item_ids, own_zone)

    def _meet(self, condition: ItemCondition, items: ItemFeatures, now: datetime) -> BoolArray:
        """Return a mask over the catalogue of what meets the filter."""
        given, zone = condition.filter, condition.zone
        if given == NO_FILTER:
            return np.ones(len(items.item_ids), bool)
        mask = given.match(self._read_texts(items))
        if given.price_min is None and given.price_max is None:
            return mask
        currency = self._settings.zone(zone).currency
        offers = self._offers.read(items.item_ids, zone, now)
        # No price is NaN and passes neither.
        if given.price_min is not None:
            mask &= offers >= to_minor(given.price_min, currency)
        if given.price_max is not None:
            mask &= offers <= to_minor(given.price_max, currency)
        return mask
