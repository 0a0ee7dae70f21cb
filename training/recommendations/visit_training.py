"""Fits what ranks the next items of a visit: sources on past visits, a ranker on later ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array
from features.contracts.recommendations import ItemFeatures
from features.contracts.seeds import generator
from features.contracts.visits import CARTED, OUTCOMES, WISHED, Visits
from features.online.histories import compute_offline_items
from features.online.past_visits import EPOCH, compute_offline_visits, count_milliseconds
from models.ranking.catalogue import Catalogue
from models.ranking.lambdarank import Ranker, fit_ranker
from models.ranking.model import RankingTask, RecommendationModel
from models.ranking.visit_candidates import VisitCandidates, name_visit_columns
from models.retrieval.visit_sources import VisitSources, VisitSourcesConfig, fit_visit_sources
from training.recommendations.config import VisitsConfig
from training.recommendations.ranking_rows import Rows, RowsBuilder
from training.recommendations.snapshots import TrainingContext
from training.recommendations.visit_baselines import (
    SINGLE_SOURCES,
    Tuning,
    make_position,
    tune_sources,
)

EVERY_LOOK: Mapping[str, float] = dict.fromkeys(OUTCOMES, 1.0)


class NextItem(NamedTuple):
    """One position to predict: the item at action `n` of a visit, from the actions before it."""

    visit: int
    n: int


@dataclass(frozen=True)
class FittedVisits:
    """Sources of all visits before an instant, and the ranker over them.

    config     of the sources, tuned
    tuning     what they were tuned on
    rows       what the ranker learnt from
    timezone   of the shop, in which the ranker reads hours
    """

    sources: VisitSources
    ranker: Ranker | None
    config: VisitSourcesConfig
    tuning: Tuning
    rows: Rows
    timezone: str

    def attach_to(self, model: RecommendationModel) -> RecommendationModel:
        """Return the model with these sources and this ranker; without one a source serves.

        The model stays as it is where there is neither.
        """
        rankers: dict[RankingTask, Ranker] = {**model.rankers}
        policies = [name for name in SINGLE_SOURCES.values() if name in self.sources.sources]
        if self.ranker is not None:
            rankers["visit"] = self.ranker
            policies.insert(0, "ranker")
        if not policies:
            return model
        return replace(
            model,
            rankers=rankers,
            policies={**model.policies, "visit": policies[0]},
            visit_sources=self.sources,
            visit_timezone=self.timezone,
        )


def count_visits(visits: Visits) -> int:
    """Return the number of visits of two looks or more: those with something to predict."""
    return int((visits.lengths > 1).sum())


def draw_next_items(
    visits: Visits,
    n: int,
    seed: int,
    purpose: str,
    *,
    weights: Mapping[str, float] = EVERY_LOOK,
) -> list[NextItem]:
    """Return at most `n` of the positions with actions before them, drawn by the seed, in order.

    A cart or a wish of an item that was viewed in the visit is no next item.

    weights   by outcome; a look whose outcome has none is no next item
    """
    visit = np.repeat(np.arange(len(visits)), visits.lengths)
    pairs = visit * len(visits.item_ids) + visits.items
    is_first_look = np.zeros(len(pairs), bool)
    is_first_look[np.unique(pairs, return_index=True)[1]] = True
    is_next = ~np.isin(visits.kinds, (CARTED, WISHED)) | is_first_look
    is_next[visits.starts[:-1]] = False
    is_next &= _weigh_outcomes(weights)[visits.outcomes] > 0
    actions = np.flatnonzero(is_next)
    if len(actions) > n:
        actions = actions[np.sort(generator(seed, purpose).permutation(len(actions))[:n])]
    numbers = actions - visits.starts[visit[actions]]
    return [NextItem(*pair) for pair in zip(visit[actions].tolist(), numbers.tolist(), strict=True)]


def _weigh_outcomes(weights: Mapping[str, float]) -> Float32Array:
    """Return what a next item of each outcome counts, in the order of OUTCOMES."""
    return np.array([weights.get(outcome, 0.0) for outcome in OUTCOMES], np.float32)


def read_visits(context: TrainingContext, end: datetime) -> Visits:
    """Return the visits before `end` that are learnt from: the latest, without those of robots."""
    config = context.config.visits
    visits = compute_offline_visits(context.facts, end)
    rows = np.flatnonzero(visits.lengths <= config.max_looks)
    return visits.select(rows[-config.max_visits :])


def fit_visits(
    context: TrainingContext,
    visits: Visits,
    names: tuple[str, ...],
    left_out: frozenset[str] = frozenset(),
) -> FittedVisits | None:
    """Fit on visits, in the order of time: the ranker on the last of them.

    None where all of them are of one instant, so that none comes before another.

    names      the item features that the ranker sees
    left_out   sources that are not fitted
    """
    config = context.config.visits
    earlier, later = split_for_ranker(visits, config)
    if not len(earlier) or not len(later):
        return None
    seed = context.settings.seed
    context.progress(f"sources of {len(visits):,} visits")
    sample = draw_next_items(later, config.n_tuned, seed, "visits to tune on")
    tuning = Tuning(earlier, [make_position(later, *position) for position in sample])
    sources_config = tune_sources(tuning, config.sources)
    candidates = {
        name: 0 if name in left_out else n for name, n in sources_config.candidates.items()
    }
    sources_config = replace(sources_config, candidates=candidates)
    split = EPOCH + timedelta(milliseconds=int(earlier.ended_at[-1]) + 1)
    items = compute_offline_items(
        context.facts, split, orders_per_buyer=context.settings.orders_per_buyer
    )
    weights = context.config.parsed_targets.of_visits
    positions = draw_next_items(
        later, config.max_learnt, seed, "visits to learn from", weights=weights
    )
    learnt_from = fit_visit_sources(earlier, sources_config)
    rows = _make_rows(_Task(items, names, learnt_from), later, positions, context)
    ranker = None
    if rows.relevant.any():
        context.progress("fitting the ranker of visits")
        columns = name_visit_columns(tuple(learnt_from.sources), names, with_session=True)
        ranker = fit_ranker(rows.to_grouped(columns), config.ranker, seed=seed)
    sources = fit_visit_sources(visits, sources_config)
    return FittedVisits(
        sources=sources,
        ranker=ranker,
        config=sources_config,
        tuning=tuning,
        rows=rows,
        timezone=context.settings.timezone,
    )


class _Task(NamedTuple):
    """What candidates and columns of the ranker's rows are made with."""

    items: ItemFeatures
    names: tuple[str, ...]
    sources: VisitSources


def _make_rows(
    task: _Task, visits: Visits, positions: list[NextItem], context: TrainingContext
) -> Rows:
    """Return the candidates of each position whose next item is one, irrelevant ones thinned."""
    catalogue = Catalogue(task.items, task.names)
    candidates = VisitCandidates(catalogue, task.sources, timezone=context.settings.timezone)
    targets = catalogue.positions(visits.item_ids)
    share = context.config.visits.ranker.share_negatives
    gains = _weigh_outcomes(context.config.parsed_targets.of_visits)
    rng = generator(context.settings.seed, "visit negatives")
    columns = name_visit_columns(tuple(task.sources.sources), task.names, with_session=True)
    rows = RowsBuilder(len(columns))
    for position in positions:
        action = int(visits.starts[position.visit] + position.n)
        bound = candidates.bind(visits.take_first(position.visit, position.n))
        if bound is None:
            continue
        matches = candidates.find_candidates(bound)
        labels = matches == targets[visits.items[action]]
        if labels.any():
            kept = labels | (rng.random(len(labels)) < share)
            matrix = candidates.make_columns(bound, matches)[kept]
            rows.add(matrix, labels[kept] * gains[visits.outcomes[action]], 1)
    return rows.build()


def split_for_ranker(visits: Visits, config: VisitsConfig) -> tuple[Visits, Visits]:
    """Return earlier visits, and those that began after these ended: the ranker learns from them.

    They are the last `share_learnt` of the visits, or as many as hold `max_learnt` next items: the
    nearer the two, the more what the ranker sees is what it will be asked.
    """
    n_next = np.cumsum((visits.lengths - 1)[::-1])
    n_enough = int(np.searchsorted(n_next, config.max_learnt)) + 1
    n_later = max(1, min(int(len(visits) * config.share_learnt), n_enough))
    split_ms = visits.ended_at[len(visits) - n_later]
    earlier = np.flatnonzero(visits.ended_at < split_ms)
    return visits.select(earlier), visits.select(np.flatnonzero(visits.began_at >= split_ms))


def split_visits(visits: Visits, cut: datetime) -> tuple[Visits, Visits]:
    """Return the visits that ended before `cut`, and those that began then or later."""
    cut_ms = count_milliseconds(cut)
    known: Int64Array = np.flatnonzero(visits.ended_at < cut_ms)
    return visits.select(known), visits.select(np.flatnonzero(visits.began_at >= cut_ms))
