"""Lists that are the same for everybody, best first: popular, trending, new and unseen items."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from features.contracts.calendar import DECAY_PER_WEEK
from features.contracts.histories import FAST_DECAY_PER_WEEK
from features.contracts.recommendations import Reason
from models.compiled.top_items import top_positions
from models.ranking.catalogue import Catalogue
from models.ranking.scored_items import ScoredItems
from models.ranking.scorers.scorer import ScoringRequest

_NEW_ARRIVAL_DAYS = 28
# Orders a week that are added to every item: one order of a rare item is no trend.
_TRENDING_PRIOR = 5.0


class FixedListScorer:
    """The scorer of the placements trending and new_arrivals: one list for every request."""

    def __init__(self, items: ScoredItems) -> None:
        self._items = items

    def score(self, _request: ScoringRequest) -> ScoredItems:
        """Return the list."""
        return self._items


def make_fixed_lists(catalogue: Catalogue) -> Mapping[str, ScoredItems]:
    """Return the lists by name: popular, trending, new, and unseen."""
    return {
        "popular": _find_popular(catalogue),
        "trending": _find_trending(catalogue),
        "new": _find_new_arrivals(catalogue),
        "unseen": _find_unseen(catalogue),
    }


def _find_popular(catalogue: Catalogue) -> ScoredItems:
    """Return items by orders, and after them by views what nobody ordered lately.

    Where each item is sold once, what was ordered is gone, and views are all that is known.
    """
    ordered = top_positions(catalogue.popularity, catalogue.n_items)
    scores = catalogue.popularity[ordered].astype(np.float64)
    views = catalogue.column("views_1w").astype(np.float32)
    views[ordered] = 0.0
    viewed = top_positions(views, catalogue.n_items)
    lowest = float(scores.min(initial=1.0))
    below = lowest * views[viewed] / (views.max(initial=0.0) + 1.0)
    positions = np.concatenate([ordered, viewed])
    reasons = catalogue.general_reasons(positions)
    return ScoredItems(positions, np.concatenate([scores, below]), reasons)


def _find_trending(catalogue: Catalogue) -> ScoredItems:
    """Return rising items: orders a week now over the usual ones, by two decays.

    Both have _TRENDING_PRIOR orders added. A steady r orders a week add up to r / -ln(decay), so
    that each sum times -ln(decay) is a weekly rate. An item that would not rise without one order
    made just now is left out: what one buyer does is no trend.
    """
    weight = -math.log(FAST_DECAY_PER_WEEK)
    now = catalogue.column("orders_decayed_fast") * weight
    usual = catalogue.column("orders_decayed") * -math.log(DECAY_PER_WEEK)
    scores = np.log((now + _TRENDING_PRIOR) / (usual + _TRENDING_PRIOR))
    rising = np.flatnonzero(now - weight > usual)
    return ScoredItems.with_reason(rising, scores[rising], Reason.TRENDING).order()


def _find_new_arrivals(catalogue: Catalogue) -> ScoredItems:
    """Return the items that arrived in the last four weeks, the newest first.

    In a young shop, in the later half of its time: with its first events every item seems to
    arrive.
    """
    age = catalogue.column("age_days", missing=np.inf)
    shop_days = float(age[np.isfinite(age)].max(initial=0.0))
    new = np.flatnonzero(age <= min(_NEW_ARRIVAL_DAYS, shop_days / 2))
    return ScoredItems.with_reason(new, -age[new], Reason.NEW).order()


def _find_unseen(catalogue: Catalogue) -> ScoredItems:
    """Return items without a date of arrival that nobody has bought or viewed yet.

    Those of popular categories come first, the deepest level before those above it.
    """
    unseen = np.flatnonzero(np.isinf(catalogue.column("age_days", missing=np.inf)))
    keys = [-unseen]
    for codes in catalogue.categories:
        known = codes >= 0
        totals = np.bincount(
            codes[known], catalogue.popularity[known], minlength=int(codes.max(initial=0)) + 1
        )
        keys.append(np.where(known, totals[codes], 0.0)[unseen])
    ordered = unseen[np.lexsort(keys)[::-1]]
    scores = np.arange(len(ordered), 0, -1, dtype=np.float64)
    return ScoredItems.with_reason(ordered, scores, Reason.NEW)
