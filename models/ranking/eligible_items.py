"""Which items of a catalogue may be in the slate of a query."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from features.contracts.arrays import BoolArray, Int64Array
from features.contracts.recommendations import RecommendationQuery
from models.ranking.catalogue import Catalogue
from models.ranking.placement import Placement
from models.ranking.visitor import Visitor

_N_CACHED_MASKS = 32


class EligibleItems:
    """Masks of eligible items; those of allowed items are cached."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._masks: OrderedDict[frozenset[str], BoolArray] = OrderedDict()

    def find(self, query: RecommendationQuery, placement: Placement, visitor: Visitor) -> BoolArray:
        """Return the eligible items (n_items,), as a mask that the caller may change.

        A given list is the shop's own choice: only what the query itself excludes is left out.
        """
        if query.allowed_item_ids is None:
            eligible = np.ones(self._catalogue.n_items, bool)
        else:
            eligible = self._mask_allowed(query.allowed_item_ids).copy()
        is_given_list = query.candidate_ids is not None
        context = () if is_given_list else query.context_item_ids
        for item_id in (*query.exclude_item_ids, *context):
            position = self._catalogue.index.get(item_id)
            if position is not None:
                eligible[position] = False
        if query.exclude_purchased or (placement.exclude_purchased and not is_given_list):
            eligible[visitor.bought] = False
        if not is_given_list:
            eligible[self._find_relatives(query, placement, visitor)] = False
        return eligible

    def _find_relatives(
        self, query: RecommendationQuery, placement: Placement, visitor: Visitor
    ) -> Int64Array:
        """Return the other sizes of what is no news to the visitor, or on the page.

        What somebody owns in another size is not new to them, and no alternative to an item is the
        same in another size.
        """
        if placement.scorer == "similar":
            ids = np.array(query.context_item_ids, object)
            positions = self._catalogue.positions(ids)
            return self._catalogue.find_relatives(positions[positions >= 0])
        is_for_new = placement.scorer in ("new", "new_arrivals")
        if query.exclude_purchased or placement.exclude_purchased or is_for_new:
            return self._catalogue.find_relatives(visitor.bought)
        return np.zeros(0, np.int64)

    def _mask_allowed(self, allowed: frozenset[str]) -> BoolArray:
        mask = self._masks.get(allowed)
        if mask is None:
            mask = np.zeros(self._catalogue.n_items, bool)
            positions = self._catalogue.positions(np.array(list(allowed), object))
            mask[positions[positions >= 0]] = True
            self._masks[allowed] = mask
            while len(self._masks) > _N_CACHED_MASKS:
                self._masks.popitem(last=False)
        return mask
