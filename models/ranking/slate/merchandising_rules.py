"""Merchandising rules: the shop's changes to slates, after ranking and before the slate is cut.

A set of rules is one YAML file in configs/rules; a placement names the sets that it follows.
`RuleBook` binds them to one catalogue, so that an answer only looks up masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.categories import SEPARATOR, codes
from features.contracts.errors import BadInput, UnknownName
from features.contracts.recommendations import AppliedRule, ItemFeatures
from models.ranking.catalogue import code_families

Action = Literal["pin", "boost", "bury", "hide", "in_stock", "at_most"]
Per = Literal["together", "category_1", "category_2", "category_3", "brand", "family_id"]

STOCK = "stock_on_hand"
# The fields of each action beside the choice of items, the window and the zones.
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "pin": ("place",),
    "boost": ("factor", "places", "by"),
    "bury": ("factor", "places", "by"),
    "hide": (),
    "in_stock": (),
    "at_most": ("n", "per"),
}


@dataclass(frozen=True)
class Range:
    """A range of an item feature, `least` and `most` included; an unknown value is outside."""

    least: float | None = None
    most: float | None = None

    def __post_init__(self) -> None:
        if self.least is None and self.most is None:
            raise BadInput("a range needs least or most", where="rules")


@dataclass(frozen=True)
class Rule:
    """An action on some items, at some time in some zones.

    action       pin        the items of item_ids, in their order, from `place` on
                 boost      relevance times `factor` (above 1), or `places` further up
                 bury       relevance times `factor` (0 to 1), or `places` further down
                 hide       never shown
                 in_stock   shown only while in stock; unknown stock counts as some
                 at_most    `n` in a slate: of the chosen items together, or of each category,
                            brand or family among them
    item_ids, categories, brands, features
                 the items that meet every given condition, each by any of its values. A category
                 includes all below it. `features` are ranges of item features, such as
                 stock_on_hand. None given: all items
    by           an item feature that weights the factor: the item with the highest value gets all
                 of it, the lowest none
    valid_from, valid_to    half-open, on the business clock
    zones        where the rule is valid; none given: everywhere
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
            if getattr(self, name) is not None and name not in _FIELDS[self.action]:
                raise BadInput(f"{self.action} takes no {name}", where=where)
        if self.action == "pin" and (not self.item_ids or (self.place or 0) < 1):
            raise BadInput("pin needs item_ids and a place from 1", where=where)
        if self.action in ("boost", "bury"):
            self._check_move(where)
        if self.action == "at_most" and (self.n is None or self.n < 0):
            raise BadInput("at_most needs n, at least 0", where=where)
        for instant in (self.valid_from, self.valid_to):
            if instant is not None and instant.tzinfo is None:
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

    def is_valid(self, zone: str, at: datetime) -> bool:
        """Return whether the rule is valid in `zone` at the business time `at`."""
        if self.zones and zone not in self.zones:
            return False
        started = self.valid_from is None or self.valid_from <= at
        return started and (self.valid_to is None or at < self.valid_to)


@dataclass(frozen=True)
class RuleSet:
    """One file in configs/rules: rules by name, so that an overlay may change or add one.

    placements   that follow the set, besides those whose own file names it
    """

    rules: Mapping[str, Rule] = field(default_factory=dict)
    description: str = ""
    placements: tuple[str, ...] = ()


@dataclass(frozen=True)
class BoundRule:
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


class Pin(NamedTuple):
    """A pinned item, and the name of the rule that pins it."""

    position: int
    rule: str


class RuleBook:
    """Every set of rules, bound to one catalogue.

    Raises UnknownName for an item feature that the catalogue does not have.
    """

    def __init__(self, items: ItemFeatures, sets: Mapping[str, RuleSet]) -> None:
        self._items = items
        self._index = {str(item_id): position for position, item_id in enumerate(items.item_ids)}
        self._bound: dict[str, tuple[BoundRule, ...]] = {}
        for set_name, rule_set in sets.items():
            bound = [
                self._bind(f"{set_name}.{name}", rule) for name, rule in rule_set.rules.items()
            ]
            # A cap on groups that no item is in changes nothing, and must cost no answer anything.
            self._bound[set_name] = tuple(
                rule for rule in bound if rule.group is None or (rule.group >= 0).any()
            )

    def find_valid(self, names: Sequence[str], zone: str, at: datetime) -> tuple[BoundRule, ...]:
        """Return the valid rules of these sets, in the order of the sets and their files."""
        return tuple(
            bound for name in names for bound in self._bound[name] if bound.rule.is_valid(zone, at)
        )

    def _bind(self, name: str, rule: Rule) -> BoundRule:
        items = self._select_items(rule)
        factor = group = None
        if rule.factor is not None:
            weight = items.astype(np.float64)
            if rule.by is not None:
                weight *= _scale_ranks(self._column(rule.by))
            factor = np.power(max(rule.factor, 1e-9), weight)
        if rule.action == "at_most":
            group = np.where(items, self._group_items(rule.per or "together"), -1)
        if rule.action == "in_stock":
            stock = self._items.columns.get(STOCK)
            items &= np.zeros(len(items), bool) if stock is None else stock <= 0
        pins: tuple[int, ...] = ()
        if rule.action == "pin":
            known = [item_id for item_id in rule.item_ids if item_id in self._index]
            pins = tuple(self._index[item_id] for item_id in known)
        return BoundRule(name, rule, items, factor=factor, group=group, pins=pins)

    def _select_items(self, rule: Rule) -> BoolArray:
        selected = np.ones(len(self._items.item_ids), bool)
        if rule.item_ids:
            selected &= np.isin(self._items.item_ids.astype(str), np.array(rule.item_ids, str))
        if rule.categories:
            below = tuple(category + SEPARATOR for category in rule.categories)
            in_categories = [
                str(category) in rule.categories or str(category).startswith(below)
                for category in self._items.category
            ]
            selected &= np.array(in_categories, bool)
        if rule.brands:
            selected &= np.isin(self._items.brand.astype(str), np.array(rule.brands, str))
        for name, limits in rule.features.items():
            values = self._column(name)
            if limits.least is not None:
                selected &= values >= limits.least
            if limits.most is not None:
                selected &= values <= limits.most
        return selected

    def _column(self, name: str) -> Float64Array:
        values = self._items.columns.get(name)
        if values is None:
            raise UnknownName(name, self._items.columns, kind="item feature", where="rules")
        return values.astype(np.float64)

    def _group_items(self, per: Per) -> Int64Array:
        n_items = len(self._items.item_ids)
        if per == "together":
            return np.zeros(n_items, np.int64)
        if per == "family_id":
            return code_families(self._items)
        if per == "brand":
            # Items without a brand are in no group: they do not count against each other.
            known = self._items.brand != ""
            return np.where(known, codes(self._items.brand, 1), -1)
        depth = int(per[-1])
        return np.where(self._items.category != "", codes(self._items.category, depth), -1)


def find_hidden(rules: Sequence[BoundRule], n_items: int) -> BoolArray:
    """Return the items (n_items,) that may not be shown."""
    hidden = np.zeros(n_items, bool)
    for bound in rules:
        if bound.rule.action in ("hide", "in_stock"):
            hidden |= bound.items
    return hidden


def reorder(
    rules: Sequence[BoundRule], positions: Int64Array, relevance: Float64Array
) -> tuple[Int64Array, Float64Array]:
    """Apply boosts and buries to candidates, best first: factors, then places, in written order.

    Returns the new order of the candidates, and the relevance that falls along it.
    """
    order = np.arange(len(positions))
    relevance = relevance.copy()
    for bound in rules:
        if bound.factor is not None:
            relevance *= bound.factor[positions]
    if any(bound.factor is not None for bound in rules):
        order = np.argsort(-relevance, kind="stable")
        relevance = relevance[order]
    for bound in rules:
        if bound.rule.places is not None:
            step = bound.rule.places + 0.5
            if bound.rule.action == "boost":
                step = -step
            key = np.arange(len(order)) + np.where(bound.items[positions[order]], step, 0.0)
            order = order[np.argsort(key, kind="stable")]
    return order, relevance


def place_pins(rules: Sequence[BoundRule], allowed: BoolArray) -> dict[int, Pin]:
    """Return the pinned items by rank: the first rule has its rank, later ones the next free."""
    pins: dict[int, Pin] = {}
    pinned: set[int] = set()
    for bound in rules:
        rank = bound.rule.place or 0
        for position in bound.pins:
            if not allowed[position] or position in pinned:
                continue
            while rank in pins:
                rank += 1
            pins[rank] = Pin(position, bound.name)
            pinned.add(position)
    return pins


def describe_effects(rules: Sequence[BoundRule], position: int) -> list[AppliedRule]:
    """Return what boosts and buries did to an item."""
    effects: list[AppliedRule] = []
    for bound in rules:
        if not bound.items[position]:
            continue
        if bound.factor is not None:
            effect = f"relevance x {bound.factor[position]:.3g}"
            effects.append(AppliedRule(bound.name, effect))
        elif bound.rule.places is not None:
            direction = "up" if bound.rule.action == "boost" else "down"
            effect = f"{bound.rule.places} places {direction}"
            effects.append(AppliedRule(bound.name, effect))
    return effects


def _scale_ranks(values: Float64Array) -> Float64Array:
    """Return ranks scaled to 0 for the least and 1 for the most; unknown values at 0."""
    known = np.unique(values[~np.isnan(values)])
    if len(known) < 2:
        return np.where(np.isnan(values), 0.0, 1.0)
    scaled = np.searchsorted(known, values).clip(max=len(known) - 1) / (len(known) - 1)
    return np.where(np.isnan(values), 0.0, scaled)
