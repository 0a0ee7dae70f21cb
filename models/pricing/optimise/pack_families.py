"""Families of packs: chains of items from the smallest to the largest, and which of their prices go
together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.pricing import PricingItem
from models.pricing.optimise.chain_programme import ChainProgramme
from models.pricing.optimise.problem import Choices, Links, flat
from models.pricing.rules import FamilyRule

_TINY = 1e-9


@dataclass(frozen=True)
class Ordered:
    """Items in the order that links ask for, and their links.

    order    (n,) the item at each place
    links    by place
    cut      the pairs of items, smaller pack first, of which no two prices go together
    """

    order: Int64Array
    links: Links
    cut: tuple[tuple[int, int], ...]


def families(items: Sequence[PricingItem], rule: FamilyRule) -> list[list[int]]:
    """The chains of two and more items, by number, from the smallest pack to the largest."""
    if not rule.order:
        return []
    groups: dict[tuple[str, str], list[int]] = {}
    for number, item in enumerate(items):
        if item.family_id and item.size is not None:
            groups.setdefault((item.family_id, item.size.unit), []).append(number)
    chains = []
    for members in groups.values():
        chain = sorted(
            members,
            key=lambda each: (_amount(items[each]), -items[each].units_mean, items[each].item_id),
        )
        if not rule.same_size:
            chain = [
                each
                for k, each in enumerate(chain)
                if not k or _amount(items[each]) > _amount(items[chain[k - 1]])
            ]
        if len(chain) > 1:
            chains.append(chain)
    return chains


def ordered(
    items: Sequence[PricingItem], ladders: Sequence[Sequence[int]], rule: FamilyRule
) -> Ordered:
    """The chains of the families, cut where no two prices of neighbours go together, whatever the
    others cost."""
    chains = families(items, rule)
    found = _link(items, ladders, chains, rule)
    if not chains:
        return found
    choices = _choices(ladders, found.order)
    broken = set(found.order[ChainProgramme(choices, found.links).broken()].tolist())
    if not broken:
        return found
    pieces: list[list[int]] = []
    cut: list[tuple[int, int]] = []
    for chain in chains:
        if chain[0] in broken:
            parts = _pieces(items, ladders, chain, rule)
            cut += [(before[-1], after[0]) for before, after in pairwise(parts)]
            pieces += [part for part in parts if len(part) > 1]
        else:
            pieces.append(chain)
    return replace(_link(items, ladders, pieces, rule), cut=tuple(cut))


def _choices(ladders: Sequence[Sequence[int]], order: Int64Array) -> Choices:
    starts, prices = flat([ladders[number] for number in order.tolist()])
    return Choices(starts, prices, np.zeros(len(prices)))


def _link(
    items: Sequence[PricingItem],
    ladders: Sequence[Sequence[int]],
    chains: list[list[int]],
    rule: FamilyRule,
) -> Ordered:
    n = len(items)
    depth, before = np.zeros(n, np.int64), np.full(n, -1, np.int64)
    for chain in chains:
        for place, number in enumerate(chain[1:], 1):
            depth[number], before[number] = place, chain[place - 1]
    order = np.argsort(depth, kind="stable")
    place_of = np.empty(n, np.int64)
    place_of[order] = np.arange(n)
    previous = np.where(before[order] >= 0, place_of[before[order]], -1)
    choices = _choices(ladders, order)
    first, end = np.zeros(len(choices.prices), np.int64), np.zeros(len(choices.prices), np.int64)
    sizes = np.array([np.nan if each.size is None else each.size.amount for each in items])[order]
    linked = np.flatnonzero(previous[choices.item] >= 0)
    if len(linked):
        here = choices.item[linked]
        lowest, highest = _range(choices.prices[linked], sizes[previous[here]], sizes[here], rule)
        # One sorted key over all ladders: the item first, the price within.
        width = float(choices.prices.max()) * 2 + 2
        keys = choices.item * width + choices.prices
        first[linked] = np.searchsorted(
            keys, previous[here] * width + np.maximum(lowest, 0), "left"
        )
        end[linked] = np.searchsorted(keys, previous[here] * width + highest, "right")
    return Ordered(order, Links(previous, first, end), ())


def _range(
    price: Int64Array, smaller: Float64Array, larger: Float64Array, rule: FamilyRule
) -> tuple[Float64Array, Float64Array]:
    """What the smaller pack may cost when the larger one costs `price`: lowest and highest."""
    lowest = price * smaller / larger - _TINY if rule.unit_price else np.zeros(len(price))
    same = smaller == larger
    return np.where(same, price, lowest), price.astype(np.float64)


def _pieces(
    items: Sequence[PricingItem],
    ladders: Sequence[Sequence[int]],
    chain: list[int],
    rule: FamilyRule,
) -> list[list[int]]:
    """A chain in pieces within which prices go together: cut before each item that none so far goes
    with."""
    parts = [[chain[0]]]
    open_prices = np.array(ladders[chain[0]], np.int64)
    for before, number in pairwise(chain):
        prices = np.array(ladders[number], np.int64)
        smaller, larger = (np.full(len(prices), _amount(items[each])) for each in (before, number))
        lowest, highest = _range(prices, smaller, larger, rule)
        goes = np.searchsorted(open_prices, lowest, "left") < np.searchsorted(
            open_prices, highest, "right"
        )
        if goes.any():
            parts[-1].append(number)
            open_prices = prices[goes]
        else:
            parts.append([number])
            open_prices = prices
    return parts


def _amount(item: PricingItem) -> float:
    return 0.0 if item.size is None else item.size.amount
