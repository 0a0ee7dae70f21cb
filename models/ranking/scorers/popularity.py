"""What is the same for everybody: popular, trending and new items, the best first."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from features.contracts.calendar import DECAY_PER_WEEK
from features.contracts.histories import FAST_DECAY_PER_WEEK
from features.contracts.recommendations import Reason
from models.compiled.top_items import top_positions
from models.ranking.columns import Catalogue
from models.ranking.scored_items import Scored

_NEW_ARRIVAL_DAYS = 28
# Orders a week that are imagined behind every item: one order of a rarity is not a trend.
_TRENDING_PRIOR = 5.0


def stand_ins(catalogue: Catalogue) -> Mapping[str, Scored]:
    """By name: popular, trending, new, and unseen."""
    return {
        "popular": _popular(catalogue),
        "trending": _trending(catalogue),
        "new": _new_arrivals(catalogue),
        "unseen": _unseen(catalogue),
    }


def _popular(catalogue: Catalogue) -> Scored:
    places = top_positions(catalogue.popularity, catalogue.n_items)
    scores = catalogue.popularity[places].astype(np.float64)
    return Scored.of(places, scores, Reason.POPULAR)


def _trending(catalogue: Catalogue) -> Scored:
    """Rising: orders a week now over the usual ones, by two decays, both with _TRENDING_PRIOR
    orders added.

    A steady r orders a week sum up to r / -ln(decay), so each sum times -ln(decay) is a weekly
    rate.
    """
    now = catalogue.column("orders_decayed_fast") * -math.log(FAST_DECAY_PER_WEEK)
    usual = catalogue.column("orders_decayed") * -math.log(DECAY_PER_WEEK)
    scores = np.log((now + _TRENDING_PRIOR) / (usual + _TRENDING_PRIOR))
    found = np.flatnonzero(scores > 0)
    return Scored.of(found, scores[found], Reason.TRENDING).sorted()


def _new_arrivals(catalogue: Catalogue) -> Scored:
    """Arrived in the last four weeks, the newest first."""
    age = catalogue.column("age_days", missing=np.inf)
    found = np.flatnonzero(age <= _NEW_ARRIVAL_DAYS)
    return Scored.of(found, -age[found], Reason.NEW).sorted()


def _unseen(catalogue: Catalogue) -> Scored:
    """Items without a date of arrival that nobody has bought or viewed yet."""
    found = np.flatnonzero(np.isinf(catalogue.column("age_days", missing=np.inf)))
    return Scored.of(found, np.zeros(len(found)), Reason.NEW)
