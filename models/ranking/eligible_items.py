"""Which items of a catalogue may be in the slate of a query."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from features.contracts.arrays import BoolArray
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
        return eligible

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
