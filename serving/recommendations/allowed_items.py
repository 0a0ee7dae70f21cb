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
from features.contracts.errors import UnknownName
from features.contracts.money import to_minor
from features.contracts.recommendations import ItemFeatures
from features.facts.off_sale import OffSaleItems
from features.online.live_catalogue import LiveCatalogue, LiveItems, LiveState
from features.prices.offers import OfferPrices
from models.served_recommender import ServedRecommender

# How long the result of a filter is cached; prices and stock change meanwhile.
_CACHE_SECONDS = 5.0
_CACHE_SIZE = 64


@dataclass(frozen=True)
class Filter:
    """Conditions on an item. `price_max` is in major units of the zone's currency and is compared
    with offer prices.

    A category includes everything below it: "Grocery" also "Grocery > Dairy".
    """

    category: tuple[str, ...] = ()
    brand: tuple[str, ...] = ()
    price_max: str | None = None


NO_FILTER = Filter()


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
        self._names: tuple[LiveItems, set[str], set[str]] | None = None
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
        """Return which names of a filter no item has, each with the nearest right one."""
        if not given.category and not given.brand:
            return ()
        live = self._live.read().items
        if self._names is None or self._names[0] is not live:
            paths = set(live.texts("category", items.item_ids, items.category)) - {""}
            categories = {
                " > ".join(parts[:depth])
                for parts in (path.split(" > ") for path in paths)
                for depth in range(1, len(parts) + 1)
            }
            brands = set(live.texts("brand", items.item_ids, items.brand)) - {""}
            self._names = live, categories, brands
        _, categories, brands = self._names
        asked = [(name, categories, "category") for name in given.category]
        asked += [(name, brands, "brand") for name in given.brand]
        return tuple(
            str(UnknownName(name, known, kind=kind))
            for name, known, kind in asked
            if name not in known
        )

    def _find_stock(self, zone: str, served: ServedRecommender) -> Float64Array:
        """Return the stock of now in a zone that counts its own, else that of all zones."""
        is_own = zone in served.zones or zone in self._live.read().counts
        return self._live.find_stock(served.items.item_ids, zone if is_own else None)

    def _meet(self, condition: ItemCondition, items: ItemFeatures, now: datetime) -> BoolArray:
        """Return a mask over the catalogue of what meets the filter."""
        given, live = condition.filter, self._live.read().items
        mask = np.ones(len(items.item_ids), bool)
        if given.category:
            prefixes = tuple(f"{category} > " for category in given.category)
            categories = live.texts("category", items.item_ids, items.category)
            mask &= np.array(
                [
                    category in given.category or str(category).startswith(prefixes)
                    for category in categories
                ],
                bool,
            )
        if given.brand:
            brands = live.texts("brand", items.item_ids, items.brand)
            mask &= np.isin(brands.astype(str), np.array(given.brand))
        if given.price_max is not None:
            highest = to_minor(given.price_max, self._settings.zone(condition.zone).currency)
            offers = self._offers.read(items.item_ids, condition.zone, now)
            mask &= offers <= highest  # no price is NaN and does not pass
        return mask
