"""Simple methods for the next item of a visit, tuned on the visits that the ranker learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from features.contracts.arrays import Float32Array, Float64Array, Int64Array
from features.contracts.visits import MAX_ACTIONS, Visits
from models.ranking.model import Policy
from models.retrieval.co_views import CoViewsConfig, fit_co_views
from models.retrieval.recent_views import RecentViewsConfig, fit_recent_views
from models.retrieval.sequential_rules import (
    SequentialRulesConfig,
    count_followers,
    fit_sequential_rules,
)
from models.retrieval.session_knn import SessionKnnConfig, fit_session_knn
from models.retrieval.visit_sources import VisitSourcesConfig

SESSION_KNN = "session kNN"
SEQUENTIAL_RULES = "sequential rules"
ASSOCIATION_RULES = "association rules"
ITEM_KNN = "item-kNN"
POPULARITY = "recent popularity"
DEPTH = 20
# Sources that serve by themselves where the ranker loses to them, by the name of the baseline; the
# strongest first.
SINGLE_SOURCES: Mapping[str, Policy] = {
    SESSION_KNN: "session_knn",
    SEQUENTIAL_RULES: "sequential_rules",
}

_NEIGHBORS, _VISITS_PER_ITEM, _IDF_WEIGHTS = (100, 500), (500, 5000), (0.0, 1.0, 5.0)
_STEPS = (1, 5, 10)
_HALF_LIVES = (0.25, 1.0, 7.0)  # days

Score = Callable[[Int64Array], Float32Array]


class Position(NamedTuple):
    """One position of a visit: what was viewed before, the latest first, and the next item."""

    viewed: Int64Array
    target: int


class Tuning(NamedTuple):
    """Earlier visits to fit on, and positions of later ones to choose settings by."""

    earlier: Visits
    positions: Sequence[Position]


@dataclass(frozen=True)
class AssociationRules:
    """How often two looks at items fell into one visit; CSR (items, items)."""

    counts: sparse.csr_matrix

    def score(self, viewed: Int64Array) -> Float32Array:
        """Return the counts (n_items,) with the latest item."""
        return np.asarray(self.counts[int(viewed[0])].toarray()[0], np.float32)


def fit_association_rules(visits: Visits) -> AssociationRules:
    """Count the pairs of looks of each visit; an item that is looked at twice meets itself.

    Looks that lie MAX_ACTIONS or more apart are no pair.
    """
    longest = min(int(visits.lengths.max(initial=1)), MAX_ACTIONS)
    counts = count_followers(visits, np.ones(longest - 1))
    return AssociationRules((counts + counts.T).tocsr())


def tune_sources(tuning: Tuning, config: VisitSourcesConfig) -> VisitSourcesConfig:
    """Return the config with the neighbours of session kNN that do best on later visits."""
    best = _choose(_list_knn_configs(config.session_knn), fit_session_knn, tuning)
    return replace(config, session_knn=best)


def fit_baselines(known: Visits, tuning: Tuning, knn: SessionKnnConfig) -> dict[str, Score]:
    """Return the score of every baseline, each tuned, and fitted on `known`.

    knn   the config of session kNN, which is tuned already
    """
    # The literature's rules have no prior: without one a rare item's only follower is sure.
    rules = _choose(
        [SequentialRulesConfig(steps, 10_000, prior) for steps in _STEPS for prior in (0.0, 5.0)],
        fit_sequential_rules,
        tuning,
    )
    half_life = _choose([RecentViewsConfig(days) for days in _HALF_LIVES], fit_recent_views, tuning)
    nearest = CoViewsConfig(max_viewed=1)
    return {
        SESSION_KNN: fit_session_knn(known, knn).score,
        SEQUENTIAL_RULES: fit_sequential_rules(known, rules).score,
        ASSOCIATION_RULES: fit_association_rules(known).score,
        ITEM_KNN: fit_co_views(known, nearest).score,
        POPULARITY: fit_recent_views(known, half_life).score,
    }


def make_position(visits: Visits, visit: int, n: int) -> Position:
    """Return the position of action `n` of a visit."""
    start = int(visits.starts[visit])
    before = visits.items[start : start + n][::-1]
    viewed = np.array(list(dict.fromkeys(before.tolist())), np.int64)
    return Position(viewed, int(visits.items[start + n]))


def rank_targets(score: Score, positions: Sequence[Position]) -> Int64Array:
    """Return the rank (positions,) of each next item among all, from 1; ties by position.

    An item without a score has the last rank.
    """
    ranks = np.empty(len(positions), np.int64)
    for n, (viewed, target) in enumerate(positions):
        scores = score(viewed)
        own = scores[target]
        ranks[n] = len(scores)
        if own > 0:
            ranks[n] = (scores > own).sum() + (scores[:target] == own).sum() + 1
    return ranks


def reciprocal_ranks(ranks: Int64Array, depth: int = DEPTH) -> Float64Array:
    """Return 1 / rank (positions,), 0 below `depth`."""
    return np.where(ranks <= depth, 1.0 / ranks, 0.0)


def _choose(
    configs: Sequence[Any],
    fit: Callable[[Visits, Any], Any],
    tuning: Tuning,
) -> Any:
    """Return the config of the highest MRR on the positions; the first of equal ones."""
    if not tuning.positions:
        return configs[0]
    ranks = [
        rank_targets(fit(tuning.earlier, config).score, tuning.positions) for config in configs
    ]
    values = [float(reciprocal_ranks(of_config).mean()) for of_config in ranks]
    return configs[int(np.argmax(values))]


def _list_knn_configs(config: SessionKnnConfig) -> list[SessionKnnConfig]:
    """Return the given config first, then a grid around it."""
    grid = [
        replace(config, n_neighbors=n, visits_per_item=visits, idf_weight=idf)
        for n, visits, idf in product(_NEIGHBORS, _VISITS_PER_ITEM, _IDF_WEIGHTS)
    ]
    return [config, *grid]
