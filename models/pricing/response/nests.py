"""Nests: items among which shoppers choose, so that the price of one moves the units of others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, ObjectArray
from models.pricing.response.group_regression import Groups
from models.pricing.response.panel import PricePanel

_SEPARATOR = "\x1f"
_RECENT_WEEKS = 26  # whose sales make an item's share of its nest


@dataclass(frozen=True)
class Nests:
    """The nest of each of S series.

    names      (S,) "" where a series has nobody beside it
    groups     of equal zone and name; a series without a nest is alone
    declared   (S,) the nest is a family that the shop names; else the rest of the item's category:
               some of these items replace each other, and nobody knows which
    units      (S,) mean weekly units of the recent weeks
    share      (S,) of the nest's recent sales
    """

    names: ObjectArray
    groups: Groups
    declared: BoolArray
    units: Float64Array
    share: Float64Array

    @property
    def nested(self) -> BoolArray:
        """(S,) whether the series has others beside it."""
        return np.asarray(self.names != "")


def build_nests(panel: PricePanel) -> Nests:
    """Return the families of a panel, and for items without one the rest of their category."""
    n = len(panel.units)
    family = np.where(panel.family == "", "", np.char.add("family ", panel.family.astype(str)))
    declared = _count_members(family, panel.zones) > 1
    rest = np.where(
        declared | (panel.category == ""), "", np.char.add("rest of ", panel.category.astype(str))
    )
    names = np.where(declared, family, rest)
    names = np.where(_count_members(names, panel.zones) > 1, names, "")
    keys = [
        _SEPARATOR.join((zone, name or f"{_SEPARATOR}{series}"))
        for series, (zone, name) in enumerate(zip(panel.zones, names.tolist(), strict=True))
    ]
    groups = Groups.from_values(np.array(keys))
    recent = panel.observed[:, -_RECENT_WEEKS:]
    units = (panel.units[:, -_RECENT_WEEKS:] * recent).sum(1) / recent.shape[1]
    units = np.maximum(units, 1e-3 * max(float(units.max(initial=0.0)), 1e-9))
    share = units / groups.sum_by_group(units)[groups.codes]
    names_of_objects = np.empty(n, object)
    names_of_objects[:] = names.tolist()
    return Nests(names_of_objects, groups, declared & (names != ""), units, np.asarray(share))


def _count_members(
    names: np.ndarray[tuple[int], np.dtype[np.str_]], zones: ObjectArray
) -> Float64Array:
    """Return how many series of the same zone have the name of each series; 0 for none."""
    keys = np.char.add(np.char.add(zones.astype(str), _SEPARATOR), names.astype(str))
    _, code, count = np.unique(keys, return_inverse=True, return_counts=True)
    return np.asarray(np.where(names == "", 0, count[code.ravel()]), np.float64)
