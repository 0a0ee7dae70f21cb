"""Fits what ranks the next purchase of buyers who seldom buy the same again.

Everybody's last purchase is what the ranker learns, from sources of the purchases before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from features.contracts.arrays import Int64Array
from features.contracts.histories import UserHistory
from features.contracts.seeds import generator
from features.contracts.visits import Visits
from models.ranking.catalogue import Catalogue
from models.ranking.lambdarank import Ranker, fit_ranker
from models.ranking.model import RankingTask, RecommendationModel
from models.ranking.visit_candidates import VisitCandidates, name_visit_columns
from models.retrieval.visit_sources import VisitSources, fit_visit_sources
from training.recommendations.ranking_rows import Rows, RowsBuilder
from training.recommendations.snapshots import Snapshot, TrainingContext


@dataclass(frozen=True)
class FittedSequences:
    """Sources of all purchases before a cut, and the ranker over them."""

    sources: VisitSources
    ranker: Ranker

    def attach_to(self, model: RecommendationModel) -> RecommendationModel:
        """Return the model with these sources and this ranker."""
        rankers: dict[RankingTask, Ranker] = {**model.rankers, "sequence": self.ranker}
        return replace(model, rankers=rankers, sequence_sources=self.sources)


def fit_sequences(context: TrainingContext, snapshot: Snapshot) -> FittedSequences | None:
    """Fit on the purchases before the snapshot's cut; None where they are repeats, or too few.

    The ranker sees no item features: as of the cut they count the purchases that it learns.
    """
    config, seed = context.config.sequences, context.settings.seed
    orders = snapshot.interactions.matrix
    share_repeats = 1 - orders.nnz / max(float(orders.sum()), 1.0)
    if share_repeats > config.max_repeats:
        return None
    sequences = read_sequences(snapshot.histories)
    sequences = sequences.select(np.flatnonzero(sequences.lengths <= config.max_items))
    long_ones = np.flatnonzero(sequences.lengths > 1)
    if len(long_ones) < config.min_buyers:
        return None
    context.progress(f"the order of the purchases of {len(sequences):,} buyers")
    drawn = generator(seed, "sequences to learn from").permutation(len(long_ones))
    chosen = np.sort(long_ones[drawn[: config.max_learnt]])
    rows = _make_rows(context, snapshot, sequences, chosen)
    if not rows.relevant.any():
        return None
    sources = fit_visit_sources(sequences, config.sources)
    columns = name_visit_columns(tuple(sources.sources), (), with_session=False)
    ranker = fit_ranker(rows.to_grouped(columns), config.ranker, seed=seed)
    return FittedSequences(sources, ranker)


def read_sequences(histories: Mapping[str, UserHistory]) -> Visits:
    """Return the distinct items of each buyer by their last purchase, as one visit each."""
    buyers = [history for _, history in sorted(histories.items()) if len(history.item_ids)]
    orders = [np.lexsort((history.item_ids, history.last_at)) for history in buyers]
    item_ids, items = np.unique(
        np.concatenate([h.item_ids[order] for h, order in zip(buyers, orders, strict=True)]),
        return_inverse=True,
    )
    at_ms = np.concatenate([h.last_at[order] for h, order in zip(buyers, orders, strict=True)])
    starts = np.concatenate([[0], np.cumsum([len(order) for order in orders])]).astype(np.int64)
    visits = Visits.of_views(item_ids, starts, items.astype(np.int64), at_ms * 1000)
    return visits.select(np.argsort(visits.ended_at, kind="stable"))


def _drop_last_items(sequences: Visits) -> Visits:
    """Return the sequences without the last item of each; those of one item stay empty."""
    kept = np.ones(len(sequences.items), bool)
    kept[sequences.starts[1:] - 1] = False
    lengths = sequences.lengths - 1
    return replace(
        sequences,
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=sequences.items[kept],
        kinds=sequences.kinds[kept],
        at_ms=sequences.at_ms[kept],
        seconds=sequences.seconds[kept],
        devices=sequences.devices[kept],
        outcomes=sequences.outcomes[kept],
    )


def _make_rows(
    context: TrainingContext,
    snapshot: Snapshot,
    sequences: Visits,
    chosen: Int64Array,
) -> Rows:
    """Return the candidates of the chosen buyers before their last purchase, thinned."""
    config = context.config.sequences
    shorter = _drop_last_items(sequences)
    lengths = shorter.lengths
    not_empty = shorter.select(np.flatnonzero(lengths > 0))
    sources = fit_visit_sources(not_empty, config.sources)
    catalogue = Catalogue(snapshot.items, ())
    candidates = VisitCandidates(catalogue, sources, with_features=False)
    positions = catalogue.positions(sequences.item_ids)
    rng = generator(context.settings.seed, "sequence negatives")
    rows = RowsBuilder(len(name_visit_columns(tuple(sources.sources), (), with_session=False)))
    for buyer in chosen.tolist():
        bound = candidates.bind(shorter.take_first(buyer, int(lengths[buyer])))
        if bound is None:
            continue
        matches = np.setdiff1d(candidates.find_candidates(bound), bound.viewed)
        labels = matches == positions[sequences.items[sequences.starts[buyer + 1] - 1]]
        if labels.any():
            kept = labels | (rng.random(len(labels)) < config.ranker.share_negatives)
            rows.add(candidates.make_columns(bound, matches)[kept], labels[kept], 1)
    return rows.build()
