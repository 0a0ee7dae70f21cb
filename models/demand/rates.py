"""What an item without history sells a week: what items of its category, and within it of its brand, sell.

Each level is drawn to the one above as if by a few more items of that: zone -> category path -> category and brand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from features.contracts.categories import levels, prefix
from models.demand.blend import Doubles
from models.demand.panel import DemandPanel, Texts

_WEEKS = 13
_STRENGTH = 5.0  # items that a level needs before it counts as much as the one above
_BRAND = "\x1f"  # stands between a category and a brand


@dataclass(frozen=True)
class ItemRates:
    """Weekly units by zone and attributes: a category prefix ('' is the whole zone), or a category and a brand."""

    zones: Texts
    attributes: Texts
    rates: Doubles

    @cached_property
    def _by_key(self) -> dict[tuple[str, str], float]:
        keys = zip(self.zones.tolist(), self.attributes.tolist(), strict=True)
        return dict(zip(keys, self.rates.tolist(), strict=True))

    def of(self, zone: str, category: str, brand: str = "") -> float:
        """Of the nearest attributes that are known; the mean of all zones in a zone that is not."""
        for attributes in reversed(_chain(category, brand)):
            found = self._by_key.get((zone, attributes))
            if found is not None:
                return found
        return float(np.mean([rate for (_, name), rate in self._by_key.items() if not name] or [0.0]))


def item_rates(panel: DemandPanel, unsold: DemandPanel) -> ItemRates:
    """From the last weeks of all items; those of the catalogue that never sold count as 0.

    So what such an item sells is not thought larger than it was.
    """
    units = np.concatenate([panel.units[:, -_WEEKS:].mean(axis=1), np.zeros(unsold.n_series)]).tolist()
    sums: dict[tuple[str, str], list[float]] = {}
    parents: dict[tuple[str, str], tuple[str, str] | None] = {}
    both = (np.concatenate([getattr(panel, n), getattr(unsold, n)]) for n in ("zones", "categories", "brands"))
    for zone, category, brand, mean in zip(*both, units, strict=True):
        parent = None
        for attributes in _chain(str(category), str(brand)):
            key = (str(zone), attributes)
            total = sums.setdefault(key, [0.0, 0.0])
            total[0] += mean
            total[1] += 1.0
            parents[key], parent = parent, key
    rates: dict[tuple[str, str], float] = {}
    for key, (total_units, count) in sums.items():  # a wider key always came before
        above = parents[key]
        strength = 0.0 if above is None else _STRENGTH
        rates[key] = (total_units + strength * (0.0 if above is None else rates[above])) / (count + strength)
    kept = sorted(rates)
    return ItemRates(
        np.array([zone for zone, _ in kept], object),
        np.array([name for _, name in kept], object),
        np.array([rates[key] for key in kept], np.float64),
    )


def _chain(category: str, brand: str) -> list[str]:
    """Keys from the widest to the narrowest."""
    keys = [prefix(category, depth) for depth in range(len(levels(category)) + 1)]
    return [*keys, f"{keys[-1]}{_BRAND}{brand}"] if brand else keys
