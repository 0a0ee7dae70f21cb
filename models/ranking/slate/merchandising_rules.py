"""Merchandising rules: what the shop wants of its slates, applied after ranking and before the
slate is cut.

A set of rules is one YAML file in configs/rules; a placement names the sets that it obeys.
`RuleBook` binds them to one catalogue, so that at an answer only masks are looked up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.categories import SEPARATOR, codes
from features.contracts.errors import BadInput, UnknownName
from features.contracts.recommendations import ItemFeatures

Action = Literal["pin", "boost", "bury", "hide", "in_stock", "at_most"]
Per = Literal["together", "category_1", "category_2", "category_3", "brand"]

STOCK = "stock_on_hand"
# What each action takes beside the choice of items, the window and the zones.
_TAKES: Mapping[str, tuple[str, ...]] = {
    "pin": ("place",),
    "boost": ("factor", "places", "by"),
    "bury": ("factor", "places", "by"),
    "hide": (),
    "in_stock": (),
    "at_most": ("n", "per"),
}


@dataclass(frozen=True)
class Range:
    """A number of an item from `least` to `most`, both included; an unknown number lies in no
    range."""

    least: float | None = None
    most: float | None = None

    def __post_init__(self) -> None:
        if self.least is None and self.most is None:
            raise BadInput("a range needs least or most", where="rules")


@dataclass(frozen=True)
class Rule:
    """What is done, to which items, when and where.

    action       pin        the items of item_ids, in their order, from `place` on
                 boost      relevance times `factor` (above 1), or `places` further up
                 bury       relevance times `factor` (0 to 1), or `places` further down
                 hide       never shown
                 in_stock   shown only while in stock; unknown stock counts as some
                 at_most    `n` in a slate: of the chosen items together, or of each category or
                            brand among them
    item_ids, categories, brands, features
                 the items: every condition that is given holds; within one, any value. A category
                 holds all below it. `features` are ranges of item features, such as stock_on_hand.
                 None given: all items
    by           an item feature that weighs a factor: the item with the most of it gets all of it,
                 the least none
    valid_from, valid_to    half-open, on the business clock
    zones        where it holds; none given: everywhere
    """

    action: Action
    item_ids: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    features: Mapping[str, Range] = field(default_factory=dict)
    place: int | None = None
    factor: float | None = None
    places: int | None = None
    by: str | None = None
    n: int | None = None
    per: Per | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    zones: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"rule: {self.action}"
        for name in ("place", "factor", "places", "by", "n", "per"):
            if getattr(self, name) is not None and name not in _TAKES[self.action]:
                raise BadInput(f"{self.action} takes no {name}", where=where)
        if self.action == "pin" and (not self.item_ids or (self.place or 0) < 1):
            raise BadInput("pin needs item_ids and a place from 1", where=where)
        if self.action in ("boost", "bury"):
            self._check_move(where)
        if self.action == "at_most" and (self.n is None or self.n < 0):
            raise BadInput("at_most needs n, at least 0", where=where)
        for at in (self.valid_from, self.valid_to):
            if at is not None and at.tzinfo is None:
                raise BadInput("a time needs an offset", where=where, hint="End it with Z for UTC")
        if (
            self.valid_from is not None
            and self.valid_to is not None
            and self.valid_from >= self.valid_to
        ):
            raise BadInput("valid_to lies after valid_from", where=where)

    def _check_move(self, where: str) -> None:
        if (self.factor is None) == (self.places is None):
            raise BadInput(f"{self.action} needs a factor or places, not both", where=where)
        if self.places is not None and (self.places < 1 or self.by is not None):
            raise BadInput("places are at least 1 and take no `by`", where=where)
        if self.factor is None:
            return
        if self.action == "boost" and not 1 < self.factor <= 1e6:
            raise BadInput(
                "the factor of a boost is above 1", where=where, hint="Below 1 is action: bury"
            )
        if self.action == "bury" and not 0 <= self.factor < 1:
            raise BadInput(
                "the factor of a bury lies in 0..1", where=where, hint="Above 1 is action: boost"
            )

    def holds(self, zone: str, at: datetime) -> bool:
        """Whether the rule holds in `zone` at the business time `at`."""
        if self.zones and zone not in self.zones:
            return False
        started = self.valid_from is None or self.valid_from <= at
        return started and (self.valid_to is None or at < self.valid_to)


@dataclass(frozen=True)
class RuleSet:
    """One file in configs/rules: rules by name, so that an overlay may change or add one."""

    rules: Mapping[str, Rule] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True)
class Bound:
    """A rule in the positions of a catalogue.

    name     "set.rule"
    items    where it applies (n_items,)
    factor   what relevance is multiplied by (n_items,), for boost and bury by factor
    group    the group of each item (n_items,), -1 outside, for at_most
    pins     positions to pin, in order
    """

    name: str
    rule: Rule
    items: BoolArray
    factor: Float64Array | None = None
    group: Int64Array | None = None
    pins: tuple[int, ...] = ()


@dataclass(frozen=True)
class Moved:
    """Candidates after boosts and buries: `order` sorts them anew, `relevance` falls along it;
    `effects` by place."""

    order: Int64Array
    relevance: Float64Array


class RuleBook:
    """Every set of rules, bound to one catalogue. Raises UnknownName for an item feature it does
    not have."""

    def __init__(self, items: ItemFeatures, sets: Mapping[str, RuleSet]) -> None:
        self._items = items
        self._index = {str(item_id): place for place, item_id in enumerate(items.item_ids)}
        self._bound = {
            name: tuple(self._bind(f"{name}.{each}", rule) for each, rule in rules.rules.items())
            for name, rules in sets.items()
        }

    def active(self, names: Sequence[str], zone: str, at: datetime) -> tuple[Bound, ...]:
        """The rules of these sets that hold, in the order of the sets and their files."""
        return tuple(
            bound for name in names for bound in self._bound[name] if bound.rule.holds(zone, at)
        )

    def _bind(self, name: str, rule: Rule) -> Bound:
        items = self._chosen(rule)
        factor = group = None
        if rule.factor is not None:
            weight = items.astype(np.float64)
            if rule.by is not None:
                weight *= _standing(self._column(rule.by))
            factor = np.power(max(rule.factor, 1e-9), weight)
        if rule.action == "at_most":
            group = np.where(items, self._groups(rule.per or "together"), -1)
        if rule.action == "in_stock":
            stock = self._items.columns.get(STOCK)
            items &= np.zeros(len(items), bool) if stock is None else stock <= 0
        pins = (
            tuple(self._index[each] for each in rule.item_ids if each in self._index)
            if rule.action == "pin"
            else ()
        )
        return Bound(name, rule, items, factor, group, pins)

    def _chosen(self, rule: Rule) -> BoolArray:
        chosen = np.ones(len(self._items.item_ids), bool)
        if rule.item_ids:
            chosen &= np.isin(self._items.item_ids.astype(str), np.array(rule.item_ids, str))
        if rule.categories:
            below = tuple(each + SEPARATOR for each in rule.categories)
            found = [
                str(c) in rule.categories or str(c).startswith(below) for c in self._items.category
            ]
            chosen &= np.array(found, bool)
        if rule.brands:
            chosen &= np.isin(self._items.brand.astype(str), np.array(rule.brands, str))
        for name, wanted in rule.features.items():
            values = self._column(name)
            if wanted.least is not None:
                chosen &= values >= wanted.least
            if wanted.most is not None:
                chosen &= values <= wanted.most
        return chosen

    def _column(self, name: str) -> Float64Array:
        values = self._items.columns.get(name)
        if values is None:
            raise UnknownName(name, self._items.columns, kind="item feature", where="rules")
        return values.astype(np.float64)

    def _groups(self, per: Per) -> Int64Array:
        n_items = len(self._items.item_ids)
        if per == "together":
            return np.zeros(n_items, np.int64)
        if per == "brand":
            # Nobody's brand is no brand: such items do not stand in each other's way.
            known = self._items.brand != ""
            return np.where(known, codes(self._items.brand, 1), -1)
        depth = int(per[-1])
        return np.where(self._items.category != "", codes(self._items.category, depth), -1)


def hidden(active: Sequence[Bound], n_items: int) -> BoolArray:
    """The items (n_items,) that may not be shown."""
    mask = np.zeros(n_items, bool)
    for bound in active:
        if bound.rule.action in ("hide", "in_stock"):
            mask |= bound.items
    return mask


def moved(active: Sequence[Bound], places: Int64Array, relevance: Float64Array) -> Moved:
    """Boosts and buries of candidates at `places`, best first: factors, then places, each in the
    order written."""
    order = np.arange(len(places))
    relevance = relevance.copy()
    for bound in active:
        if bound.factor is not None:
            relevance *= bound.factor[places]
    if any(bound.factor is not None for bound in active):
        order = np.argsort(-relevance, kind="stable")
        relevance = relevance[order]
    for bound in active:
        if bound.rule.places is not None:
            concerned = bound.items[places[order]]
            step = bound.rule.places + 0.5
            key = np.arange(len(order)) + np.where(
                concerned, -step if bound.rule.action == "boost" else step, 0.0
            )
            order = order[np.argsort(key, kind="stable")]
    return Moved(order, relevance)


def pins(active: Sequence[Bound], keep: BoolArray) -> dict[int, tuple[int, str]]:
    """What is pinned where: place -> position and the rule's name. Who comes first has the place,
    others the next."""
    found: dict[int, tuple[int, str]] = {}
    taken: set[int] = set()
    for bound in active:
        place = bound.rule.place or 0
        for position in bound.pins:
            if not keep[position] or position in taken:
                continue
            while place in found:
                place += 1
            found[place] = (position, bound.name)
            taken.add(position)
    return found


def effects(active: Sequence[Bound], position: int) -> list[tuple[str, str]]:
    """What boosts and buries did to an item: the rule's name and the deed."""
    said: list[tuple[str, str]] = []
    for bound in active:
        if not bound.items[position]:
            continue
        if bound.factor is not None:
            said.append((bound.name, f"relevance x {bound.factor[position]:.3g}"))
        elif bound.rule.places is not None:
            said.append(
                (
                    bound.name,
                    f"{bound.rule.places} places {'up' if bound.rule.action == 'boost' else 'down'}",
                )
            )
    return said


def _standing(values: Float64Array) -> Float64Array:
    """0 for the least, 1 for the most, by rank; equal values stand alike, unknown ones at 0."""
    known = np.unique(values[~np.isnan(values)])
    if len(known) < 2:
        return np.where(np.isnan(values), 0.0, 1.0)
    standing = np.searchsorted(known, values).clip(max=len(known) - 1) / (len(known) - 1)
    return np.where(np.isnan(values), 0.0, standing)
