"""Nests: items among which shoppers choose, so that the price of one moves the units of others.

Items compete most with those of about their own price (Blattberg and Wisniewski, Price-induced
patterns of competition, Marketing Science 1989; Sethuraman, Srinivasan and Kim, Asymmetric and
neighborhood cross-price effects, Marketing Science 1999). So the items of a category that are in no
family are apart by price tier.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array, ObjectArray
from models.pricing.response.group_regression import Groups
from models.pricing.response.panel import PricePanel

_SEPARATOR = "\x1f"
_TIER_WIDTH = np.log(2.0)  # dearest over cheapest item of a price tier, at most
_RECENT_WEEKS = 26  # whose sales make an item's share of its nest


@dataclass(frozen=True)
class Nests:
    """The nest of each of S series.

    names      (S,) "" where a series has nobody beside it
    groups     of equal zone and name; a series without a nest is alone
    declared   (S,) the nest is a family that the shop names; else the rest of a price tier of the
               item's category: some of these items replace each other, and nobody knows which
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
    """Return the families of a panel, and for items without one the rests of their categories."""
    n = len(panel.units)
    family = np.where(panel.family == "", "", np.char.add("family ", panel.family.astype(str)))
    declared = _count_members(family, panel.zones) > 1
    names = np.where(declared, family, _name_rests(panel, ~declared & (panel.category != "")))
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


def _name_rests(panel: PricePanel, is_rest: BoolArray) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    """Return category and price tier of the series of a rest (S,), "" for the others."""
    known = np.isfinite(panel.log_list)
    log_price = np.where(known, panel.log_list, 0.0).sum(1) / np.maximum(known.sum(1), 1)
    names = np.full(len(is_rest), "", object)
    keys = np.char.add(np.char.add(panel.zones.astype(str), _SEPARATOR), panel.category.astype(str))
    for key in np.unique(keys[is_rest]):
        members = np.flatnonzero(is_rest & (keys == key))
        for tier, of_tier in enumerate(_split_into_tiers(members, log_price), start=1):
            names[of_tier] = f"rest of {panel.category[members[0]]}, price tier {tier}"
    return np.asarray(names.astype(str))


def _split_into_tiers(series: Int64Array, log_price: Float64Array) -> list[Int64Array]:
    """Return the series by price tier, the cheapest first: apart at the widest gaps.

    A series that would be alone is in the tier that is nearest.

    >>> prices = np.log([2.0, 9.0, 3.0, 4.0, 7.0, 30.0])
    >>> [tier.tolist() for tier in _split_into_tiers(np.arange(6), prices)]
    [[0, 2, 3], [4, 1, 5]]
    """
    ascending = series[np.argsort(log_price[series], kind="stable")]
    prices = log_price[ascending]
    cuts: list[int] = []
    pending = [(0, len(prices))]
    while pending:
        start, end = pending.pop()
        if prices[end - 1] - prices[start] > _TIER_WIDTH:
            cut = start + 1 + int(np.argmax(np.diff(prices[start:end])))
            cuts.append(cut)
            pending += [(start, cut), (cut, end)]
    gap_of = {cut: prices[cut] - prices[cut - 1] for cut in cuts}
    for position in range(len(prices)):
        sides = [cut for cut in (position, position + 1) if 0 < cut < len(prices)]
        if sides and all(cut in gap_of for cut in sides):  # alone
            del gap_of[min(sides, key=lambda cut: gap_of[cut])]
    return np.split(ascending, sorted(gap_of))


def _count_members(
    names: np.ndarray[tuple[int], np.dtype[np.str_]], zones: ObjectArray
) -> Float64Array:
    """Return how many series of the same zone have the name of each series; 0 for none."""
    keys = np.char.add(np.char.add(zones.astype(str), _SEPARATOR), names.astype(str))
    _, code, count = np.unique(keys, return_inverse=True, return_counts=True)
    return np.asarray(np.where(names == "", 0, count[code.ravel()]), np.float64)
