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
from features.contracts.arrays import BoolArray, ObjectArray
from features.contracts.errors import UnknownName
from features.contracts.money import to_minor
from features.contracts.recommendations import ItemFeatures
from features.facts.off_sale import OffSaleItems
from features.prices.offers import OfferPrices

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


class AllowedItems:
    """Applies conditions to a catalogue, and caches the results. Safe to share between threads."""

    def __init__(self, settings: Settings, engine: sa.Engine) -> None:
        self._settings = settings
        self._offers = OfferPrices(engine)
        self._off_sale = OffSaleItems(settings)
        self._lock = threading.Lock()
        self._names: tuple[ObjectArray, set[str], set[str]] | None = None
        self._cache: OrderedDict[tuple[object, ...], tuple[float, frozenset[str]]] = OrderedDict()

    def select(
        self, condition: ItemCondition, items: ItemFeatures, now: datetime
    ) -> frozenset[str] | None:
        """Return the ids of the items on sale that meet the condition; None when all of them do."""
        off_sale = self._off_sale.find(now)
        stock = items.columns.get("stock_on_hand")
        all_in_stock = stock is None or not bool(np.any(stock <= 0))
        is_plain = condition.filter == NO_FILTER and (not condition.in_stock_only or all_in_stock)
        if is_plain and not off_sale:
            return None
        key = (condition, items.as_of, id(items), off_sale)
        cached = self._cache.get(key)
        if cached is not None and cached[0] > time.monotonic():
            return cached[1]
        allowed = frozenset(items.item_ids[self._meet(condition, items, now)].tolist()) - off_sale
        with self._lock:
            # An equal set stays the same object, so that the recommender finds its mask again.
            if cached is not None and cached[1] == allowed:
                allowed = cached[1]
            self._cache[key] = (time.monotonic() + _CACHE_SECONDS, allowed)
            self._cache.move_to_end(key)
            while len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
        return allowed

    def explain_unknown(self, given: Filter, items: ItemFeatures) -> tuple[str, ...]:
        """Return which names of a filter no item has, each with the nearest right one."""
        if not given.category and not given.brand:
            return ()
        if self._names is None or self._names[0] is not items.category:
            paths = {str(category) for category in items.category if category}
            categories = {
                " > ".join(parts[:depth])
                for parts in (path.split(" > ") for path in paths)
                for depth in range(1, len(parts) + 1)
            }
            self._names = (
                items.category,
                categories,
                {str(brand) for brand in items.brand if brand},
            )
        _, categories, brands = self._names
        asked = [(name, categories, "category") for name in given.category]
        asked += [(name, brands, "brand") for name in given.brand]
        return tuple(
            str(UnknownName(name, known, kind=kind))
            for name, known, kind in asked
            if name not in known
        )

    def _meet(self, condition: ItemCondition, items: ItemFeatures, now: datetime) -> BoolArray:
        """Return a mask over the catalogue."""
        given = condition.filter
        mask = np.ones(len(items.item_ids), bool)
        if given.category:
            prefixes = tuple(f"{category} > " for category in given.category)
            mask &= np.array(
                [
                    category in given.category or str(category).startswith(prefixes)
                    for category in items.category
                ],
                bool,
            )
        if given.brand:
            mask &= np.isin(items.brand.astype(str), np.array(given.brand))
        stock = items.columns.get("stock_on_hand")
        if condition.in_stock_only and stock is not None:
            mask &= ~(stock <= 0)  # unknown stock is NaN and stays
        if given.price_max is not None:
            highest = to_minor(given.price_max, self._settings.zone(condition.zone).currency)
            offers = self._offers.read(items.item_ids, condition.zone, now)
            mask &= offers <= highest  # no price is NaN and does not pass
        return mask
