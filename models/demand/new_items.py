"""Weekly rates of items that never sold: those of items of their category and brand.

Each level is shrunk towards the one above as if by a few more items of it: zone -> category path ->
category and brand. An item that has been listed for weeks without a sale has a lower rate: it gets
the rate of items that had waited as long and then sold or not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array, ObjectArray
from features.contracts.categories import levels, prefix
from models.demand.panel import DemandPanel

_WEEKS = 13
_STRENGTH = 5.0  # items that a level needs before it counts as much as the one above
_WAITING_WEEKS = 6  # weeks on sale after which an item without a sale is one that waits
# As _STRENGTH, of items that wait: few of them sell, so one is little evidence.
_WAITING_STRENGTH = 100.0
_BRAND = "\x1f"  # separates a category and a brand

_Key = tuple[str, str]  # a zone, and a category prefix or a category and a brand
T = TypeVar("T")


@dataclass(frozen=True)
class ItemRates:
    """Weekly units by zone and attributes, K keys.

    attributes   a category prefix ('' is the whole zone), or a category and a brand
    rates        of an item that is new in the shop
    waiting      of one that never sold and was listed over six weeks ago, or without a date
    """

    zones: ObjectArray
    attributes: ObjectArray
    rates: Float64Array
    waiting: Float64Array

    @cached_property
    def _by_key(self) -> Mapping[_Key, Float64Array]:
        keys = zip(self.zones.tolist(), self.attributes.tolist(), strict=True)
        return dict(zip(keys, np.stack([self.rates, self.waiting], axis=1), strict=True))

    def look_up(self, zone: str, category: str, brand: str = "", *, waits: bool = False) -> float:
        """Return the rate of the narrowest known attributes; in an unknown zone, of all zones."""
        rates = _look_up_narrowest(self._by_key, zone, category, brand)
        if rates is None:
            by_zone = [rates for (_, name), rates in self._by_key.items() if not name]
            rates = np.mean(by_zone, axis=0) if by_zone else np.zeros(2)
        return float(rates[int(waits)])


def find_waiting(panel: DemandPanel) -> BoolArray:
    """Return N: series that the catalogue does not list since six weeks ago, or later."""
    return np.asarray(panel.listed_week < panel.n_known - _WAITING_WEEKS)


@dataclass(frozen=True)
class _Attributes:
    """Zones, categories and brands of n items."""

    zones: ObjectArray
    categories: ObjectArray
    brands: ObjectArray

    def take(self, rows: Int64Array) -> _Attributes:
        return _Attributes(self.zones[rows], self.categories[rows], self.brands[rows])


def fit_item_rates(panel: DemandPanel, unsold: DemandPanel) -> ItemRates:
    """Fit rates to the last weeks of all items; those of the catalogue that never sold count as 0.

    panel    series that sold in the known weeks
    unsold   those of the catalogue that did not

    The rates of items that wait are fitted to series that had not sold six weeks ago. A zone with
    few of them keeps its waiting rates near its other rates.
    """
    items = _Attributes(
        np.concatenate([panel.zones, unsold.zones]),
        np.concatenate([panel.categories, unsold.categories]),
        np.concatenate([panel.brands, unsold.brands]),
    )
    no_units = np.zeros(unsold.n_series)
    recent = np.concatenate([panel.units[:, -_WEEKS:].mean(axis=1), no_units])
    new_rates = _shrink_rates(items, recent, _STRENGTH)
    late = ~(panel.units[:, :-_WAITING_WEEKS] > 0).any(axis=1)
    waited = np.concatenate([late & _find_waiting_then(panel), _find_waiting_then(unsold)])
    rows = np.flatnonzero(waited)
    since = np.concatenate([panel.units[:, -_WAITING_WEEKS:].mean(axis=1), no_units])
    waiting_rates = _shrink_rates(items.take(rows), since[rows], _WAITING_STRENGTH)
    n_waited = Counter(items.zones[rows].tolist())
    keys = sorted(new_rates)
    combined = []
    for key in keys:
        zone, attributes = key
        category, _, brand = attributes.partition(_BRAND)
        waiting = _look_up_narrowest(waiting_rates, zone, category, brand)
        combined.append(_combine_rates(new_rates[key], waiting, n_waited[zone]))
    return ItemRates(
        zones=np.array([zone for zone, _ in keys], object),
        attributes=np.array([attributes for _, attributes in keys], object),
        rates=np.array([new_rates[key] for key in keys], np.float64),
        waiting=np.array(combined, np.float64),
    )


def _find_waiting_then(panel: DemandPanel) -> BoolArray:
    """Return N: series that, six weeks ago, had been listed for six weeks, or without a date."""
    return np.asarray(panel.listed_week < panel.n_known - 2 * _WAITING_WEEKS)


def _combine_rates(new: float, waiting: float | None, n_waited: int) -> float:
    """Return a rate between that of new items and that of items that waited, by their number."""
    weight = n_waited / (n_waited + _WAITING_STRENGTH)
    return new if waiting is None else weight * waiting + (1 - weight) * new


def _shrink_rates(items: _Attributes, units: Float64Array, strength: float) -> dict[_Key, float]:
    """Return means of `units` by key, each shrunk to the key above as if by `strength` items."""
    sums: dict[_Key, list[float]] = {}
    parents: dict[_Key, _Key | None] = {}
    columns = (items.zones, items.categories, items.brands, units.tolist())
    for zone, category, brand, mean in zip(*columns, strict=True):
        parent = None
        for attributes in _widest_first(str(category), str(brand)):
            key = (str(zone), attributes)
            total = sums.setdefault(key, [0.0, 0.0])
            total[0] += mean
            total[1] += 1.0
            parents[key], parent = parent, key
    rates: dict[_Key, float] = {}
    for key, (total_units, count) in sums.items():  # a wider key always comes before
        above = parents[key]
        rates[key] = (
            total_units / count
            if above is None
            else (total_units + strength * rates[above]) / (count + strength)
        )
    return rates


def _look_up_narrowest(values: Mapping[_Key, T], zone: str, category: str, brand: str) -> T | None:
    """Return the value of the narrowest attributes that are known in the zone."""
    keys = ((zone, attributes) for attributes in reversed(_widest_first(category, brand)))
    return next((values[key] for key in keys if key in values), None)


def _widest_first(category: str, brand: str) -> list[str]:
    """Return the attributes of an item's keys, from the widest to the narrowest."""
    prefixes = [prefix(category, depth) for depth in range(len(levels(category)) + 1)]
    return [*prefixes, f"{prefixes[-1]}{_BRAND}{brand}"] if brand else prefixes
