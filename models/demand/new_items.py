"""What an item without history sells a week: what items of its category, and within it of its
brand, sell.

Each level is drawn to the one above as if by a few more items of that: zone -> category path ->
category and brand. An item that has been listed for weeks without a sale sells less: as items that
had none either went on to sell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, ObjectArray
from features.contracts.categories import levels, prefix
from models.demand.panel import DemandPanel

_WEEKS = 13
_STRENGTH = 5.0  # items that a level needs before it counts as much as the one above
_PATIENCE = 6  # weeks on sale after which an item without a sale is one that waits
_WAITING_STRENGTH = 100.0  # as _STRENGTH, of items that wait: few of them sell, so one tells little
_BRAND = "\x1f"  # stands between a category and a brand

_Key = tuple[str, str]
T = TypeVar("T")


@dataclass(frozen=True)
class ItemRates:
    """Weekly units by zone and attributes: a category prefix ('' is the whole zone), or a category
    and a brand.

    rates     of an item that comes to the shop
    waiting   of one that never sold and was listed six weeks ago or earlier, or nobody knows when
    """

    zones: ObjectArray
    attributes: ObjectArray
    rates: Float64Array
    waiting: Float64Array

    @cached_property
    def _by_key(self) -> Mapping[_Key, Float64Array]:
        keys = zip(self.zones.tolist(), self.attributes.tolist(), strict=True)
        return dict(zip(keys, np.stack([self.rates, self.waiting], axis=1), strict=True))

    def of(self, zone: str, category: str, brand: str = "", *, waits: bool = False) -> float:
        """Of the nearest attributes that are known; the mean of all zones in a zone that is not."""
        found = _nearest(self._by_key, zone, category, brand)
        if found is None:
            whole = [both for (_, name), both in self._by_key.items() if not name]
            found = np.mean(whole, axis=0) if whole else np.zeros(2)
        return float(found[int(waits)])


def waiting(panel: DemandPanel) -> BoolArray:
    """N: series that no list says to have come in the last six weeks, or to come."""
    return np.asarray(panel.listed_week < panel.n_known - _PATIENCE)


def item_rates(panel: DemandPanel, unsold: DemandPanel) -> ItemRates:
    """From the last weeks of all items; those of the catalogue that never sold count as 0.

    panel    series that sold in the known weeks
    unsold   those of the catalogue that did not

    What waits is read off series that had not sold six weeks ago. Few of them in a zone leave its
    rates near those of items that come.
    """
    both = [
        np.concatenate([getattr(panel, name), getattr(unsold, name)])
        for name in ("zones", "categories", "brands")
    ]
    nothing = np.zeros(unsold.n_series)
    every = _drawn(
        both, np.concatenate([panel.units[:, -_WEEKS:].mean(axis=1), nothing]), _STRENGTH
    )
    late = ~(panel.units[:, :-_PATIENCE] > 0).any(axis=1)
    # Those that had waited as long six weeks ago already.
    waited = [each.listed_week < each.n_known - 2 * _PATIENCE for each in (panel, unsold)]
    rows = np.flatnonzero(np.concatenate([late & waited[0], waited[1]]))
    since = np.concatenate([panel.units[:, -_PATIENCE:].mean(axis=1), nothing])
    patient = _drawn([each[rows] for each in both], since[rows], _WAITING_STRENGTH)
    counts = Counter(both[0][rows].tolist())
    kept = sorted(every)
    return ItemRates(
        np.array([zone for zone, _ in kept], object),
        np.array([name for _, name in kept], object),
        np.array([every[key] for key in kept], np.float64),
        np.array(
            [_waiting_rate(key, every[key], patient, counts[key[0]]) for key in kept], np.float64
        ),
    )


def _waiting_rate(key: _Key, coming: float, patient: Mapping[_Key, float], n_seen: int) -> float:
    """Between the rate of items that come and that of those that waited, by how many of these the
    zone has."""
    category, _, brand = key[1].partition(_BRAND)
    found = _nearest(patient, key[0], category, brand)
    trust = n_seen / (n_seen + _WAITING_STRENGTH)
    return coming if found is None else trust * found + (1 - trust) * coming


def _drawn(about: Sequence[ObjectArray], units: Float64Array, strength: float) -> dict[_Key, float]:
    """Means of `units` by key, each drawn to the key above as if by `strength` more items.

    about   zones, categories and brands
    """
    sums: dict[_Key, list[float]] = {}
    parents: dict[_Key, _Key | None] = {}
    for zone, category, brand, mean in zip(*about, units.tolist(), strict=True):
        parent = None
        for attributes in _chain(str(category), str(brand)):
            key = (str(zone), attributes)
            total = sums.setdefault(key, [0.0, 0.0])
            total[0] += mean
            total[1] += 1.0
            parents[key], parent = parent, key
    rates: dict[_Key, float] = {}
    for key, (total_units, count) in sums.items():  # a wider key always came before
        above = parents[key]
        rates[key] = (
            total_units / count
            if above is None
            else (total_units + strength * rates[above]) / (count + strength)
        )
    return rates


def _nearest(values: Mapping[_Key, T], zone: str, category: str, brand: str) -> T | None:
    """That of the narrowest attributes that are known in the zone."""
    chain = ((zone, attributes) for attributes in reversed(_chain(category, brand)))
    return next((values[key] for key in chain if key in values), None)


def _chain(category: str, brand: str) -> list[str]:
    """Keys from the widest to the narrowest."""
    keys = [prefix(category, depth) for depth in range(len(levels(category)) + 1)]
    return [*keys, f"{keys[-1]}{_BRAND}{brand}"] if brand else keys
