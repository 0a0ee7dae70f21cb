"""Families of packs: chains from the smallest pack to the largest, and compatible prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.pricing import PricingItem
from models.pricing.optimise.chain_programme import ChainProgramme
from models.pricing.optimise.problem import Choices, Links, flatten_ladders
from models.pricing.rules import FamilyRule

_TINY = 1e-9


@dataclass(frozen=True)
class PackOrder:
    """Items sorted by their depth in the chain, and their links.

    order       (n,) the given item at each index
    links       by index in `order`
    cut_pairs   the pairs of given items, smaller pack first, of which no two prices are compatible
    """

    order: Int64Array
    links: Links
    cut_pairs: tuple[tuple[int, int], ...]


def order_packs(
    items: Sequence[PricingItem], ladders: Sequence[Sequence[int]], rule: FamilyRule
) -> PackOrder:
    """Return the chains of the families.

    They are cut between neighbours of which no two prices are compatible, whatever the others cost.
    """
    chains = find_pack_chains(items, rule)
    packs = _link_chains(items, ladders, chains, rule)
    if not chains:
        return packs
    choices = _build_choices(ladders, packs.order)
    infeasible = ChainProgramme(choices, packs.links).find_infeasible_chains()
    first_items = set(packs.order[infeasible].tolist())
    if not first_items:
        return packs
    feasible_chains: list[list[int]] = []
    cut_pairs: list[tuple[int, int]] = []
    for chain in chains:
        if chain[0] in first_items:
            parts = _split_chain(items, ladders, chain, rule)
            cut_pairs += [(before[-1], after[0]) for before, after in pairwise(parts)]
            feasible_chains += [part for part in parts if len(part) > 1]
        else:
            feasible_chains.append(chain)
    packs = _link_chains(items, ladders, feasible_chains, rule)
    return replace(packs, cut_pairs=tuple(cut_pairs))


def find_pack_chains(items: Sequence[PricingItem], rule: FamilyRule) -> list[list[int]]:
    """Return the chains of two and more items, by index, from the smallest pack to the largest."""
    if not rule.order:
        return []
    families: dict[tuple[str, str], list[int]] = {}
    for index, item in enumerate(items):
        if item.family_id and item.size is not None:
            families.setdefault((item.family_id, item.size.unit), []).append(index)
    chains = []
    for members in families.values():
        chain = sorted(members, key=lambda index: _pack_sort_key(items[index]))
        if not rule.same_size:
            chain = _keep_one_per_size(items, chain)
        if len(chain) > 1:
            chains.append(chain)
    return chains


def _pack_sort_key(item: PricingItem) -> tuple[float, float, str]:
    """Smallest pack first; of one size the best seller."""
    return _size_amount(item), -item.units_mean, item.item_id


def _keep_one_per_size(items: Sequence[PricingItem], chain: list[int]) -> list[int]:
    """Return the best seller of each size."""
    sizes = [_size_amount(items[index]) for index in chain]
    return [index for k, index in enumerate(chain) if not k or sizes[k] > sizes[k - 1]]


def _build_choices(ladders: Sequence[Sequence[int]], order: Int64Array) -> Choices:
    """Return the prices of the items in `order`, without values."""
    starts, prices = flatten_ladders([ladders[index] for index in order.tolist()])
    return Choices(starts, prices, np.zeros(len(prices)))


def _link_chains(
    items: Sequence[PricingItem],
    ladders: Sequence[Sequence[int]],
    chains: list[list[int]],
    rule: FamilyRule,
) -> PackOrder:
    n = len(items)
    depth, before = np.zeros(n, np.int64), np.full(n, -1, np.int64)
    for chain in chains:
        for k, index in enumerate(chain[1:], 1):
            depth[index], before[index] = k, chain[k - 1]
    order = np.argsort(depth, kind="stable")
    index_in_order = np.empty(n, np.int64)
    index_in_order[order] = np.arange(n)
    previous = np.where(before[order] >= 0, index_in_order[before[order]], -1)
    choices = _build_choices(ladders, order)
    first, end = np.zeros(len(choices.prices), np.int64), np.zeros(len(choices.prices), np.int64)
    sizes = np.array([np.nan if item.size is None else item.size.amount for item in items])[order]
    linked = np.flatnonzero(previous[choices.item] >= 0)
    if len(linked):
        item = choices.item[linked]
        lowest, highest = _find_smaller_pack_range(
            choices.prices[linked], sizes[previous[item]], sizes[item], rule
        )
        # One sorted key over all ladders: the item first, the price within.
        width = float(choices.prices.max()) * 2 + 2
        keys = choices.item * width + choices.prices
        lowest_keys = previous[item] * width + np.maximum(lowest, 0)
        highest_keys = previous[item] * width + highest
        first[linked] = np.searchsorted(keys, lowest_keys, "left")
        end[linked] = np.searchsorted(keys, highest_keys, "right")
    return PackOrder(order, Links(previous, first, end), ())


def _find_smaller_pack_range(
    price: Int64Array, smaller: Float64Array, larger: Float64Array, rule: FamilyRule
) -> tuple[Float64Array, Float64Array]:
    """Return the range of the smaller pack's price where the larger one costs `price`."""
    lowest = price * smaller / larger - _TINY if rule.unit_price else np.zeros(len(price))
    same_size = smaller == larger
    return np.where(same_size, price, lowest), price.astype(np.float64)


def _split_chain(
    items: Sequence[PricingItem],
    ladders: Sequence[Sequence[int]],
    chain: list[int],
    rule: FamilyRule,
) -> list[list[int]]:
    """Return a chain in parts within which prices are compatible.

    It is split before each item of which no price is compatible with the items before.
    """
    parts = [[chain[0]]]
    open_prices = np.array(ladders[chain[0]], np.int64)
    for before, index in pairwise(chain):
        prices = np.array(ladders[index], np.int64)
        smaller = np.full(len(prices), _size_amount(items[before]))
        larger = np.full(len(prices), _size_amount(items[index]))
        lowest, highest = _find_smaller_pack_range(prices, smaller, larger, rule)
        first = np.searchsorted(open_prices, lowest, "left")
        end = np.searchsorted(open_prices, highest, "right")
        compatible = first < end
        if compatible.any():
            parts[-1].append(index)
            open_prices = prices[compatible]
        else:
            parts.append([index])
            open_prices = prices
    return parts


def _size_amount(item: PricingItem) -> float:
    return 0.0 if item.size is None else item.size.amount
