"""Candidates: the items worth scoring for one visitor, from several sources."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array
from features.contracts.histories import UserHistory
from models.compiled.merge_candidates import merge_candidates
from models.compiled.top_items import top_positions
from models.ranking.catalogue import Catalogue
from models.ranking.model import CandidateConfig, Candidates, RankingTask, Retrieval
from models.ranking.visitor import FactorScores, SourceScores, Visitor
from models.retrieval.interactions import invert_positions

# A view weighs as much as one order.
_ORDERS_OF_A_VIEW = np.ones(1, np.float32)


class CandidateSource:
    """The sources of one model bound to a catalogue."""

    def __init__(self, catalogue: Catalogue, retrieval: Retrieval, config: Candidates) -> None:
        self._catalogue = catalogue
        self._retrieval = retrieval
        self._config = config
        self._ease_positions = catalogue.positions(retrieval.ease.item_ids)
        self._als_positions = catalogue.positions(retrieval.als.item_ids)
        self._factors = np.vstack([retrieval.als.factors, np.zeros_like(retrieval.als.factors[:1])])
        self._ease_rows = invert_positions(self._ease_positions, catalogue.n_items)
        self._als_rows = invert_positions(self._als_positions, catalogue.n_items)
        self._no_scores = np.zeros(len(retrieval.ease.item_ids), np.float32)
        self._no_items = np.zeros(0, np.int64)
        self._view_weight = retrieval.ease.weigh(_ORDERS_OF_A_VIEW)
        self._popular = top_positions(catalogue.popularity, catalogue.n_items)
        self._promoted = top_positions(_promotion_weights(catalogue), catalogue.n_items)

    def make_visitor(
        self, history: UserHistory, history_positions: Int64Array | None = None
    ) -> Visitor:
        """Bind a history to the catalogue, with the sources' scores.

        `history_positions` are those of the history's items, where they are already known.
        """
        if history_positions is None:
            history_positions = self._catalogue.positions(history.item_ids)
        purchases = self._select_known(history, history_positions)
        bought = purchases.positions
        ease, decayed = self._score_by_ease(bought, purchases.weights)
        viewed, viewed_scores = self._no_items, self._no_scores
        als_items = bought
        if history.viewed_item_ids:
            viewed = self._catalogue.positions(np.array(history.viewed_item_ids, object))
            viewed = viewed[viewed >= 0]
            als_items = np.concatenate([bought, viewed])
            view_weights = np.tile(self._view_weight, (1, len(viewed)))
            (viewed_scores,) = self._score_by_ease(viewed, view_weights)
            if len(viewed):
                ease = ease + viewed_scores
        als, als_rows = self._retrieval.als, self._als_rows[als_items]
        return Visitor(
            history=history,
            bought=bought,
            history_rows=purchases.rows,
            viewed=viewed,
            ease=SourceScores(ease, self._ease_rows),
            ease_viewed=SourceScores(viewed_scores, self._ease_rows),
            ease_decayed=SourceScores(decayed, self._ease_rows),
            als=FactorScores(
                als.fold_in(als_rows[als_rows >= 0]), self._factors, als, self._als_rows
            ),
        )

    def find_candidates(
        self, visitor: Visitor, task: RankingTask, config: CandidateConfig | None = None
    ) -> Int64Array:
        """Return distinct positions, ascending; the task "new" leaves out what was bought.

        `config` says how many of each source; without it as many as the model was fitted with.
        """
        config = config or self._config.of(task)
        bought = visitor.bought
        parts = [
            self._ease_positions[visitor.ease.best_rows(config.ease, bought)],
            self._ease_positions[visitor.ease_decayed.best_rows(config.ease_decayed, bought)],
            self._als_positions[visitor.als.best_rows(config.als, bought)],
            visitor.viewed,
            self._popular[: config.popular],
            self._promoted[: config.promoted],
        ]
        bought_again = self._no_items
        if task == "all":
            frequency = visitor.history.decayed_frequency[visitor.history_rows]
            bought_again = _select_most_frequent(bought, frequency, config.own)
        return merge_candidates(np.concatenate([*parts, bought_again]), bought, bought_again)

    def find_viewed_reasons(self, visitor: Visitor, positions: Int64Array) -> list[str | None]:
        """Return the viewed item with the highest EASE weight for each of `positions`.

        An item that was viewed is its own reason; None where no view has a weight.
        """
        ids = self._catalogue.items.item_ids
        reasons: list[str | None] = [
            str(ids[position]) if position in visitor.viewed else None for position in positions
        ]
        viewed = visitor.viewed[self._ease_rows[visitor.viewed] >= 0]
        columns = self._ease_rows[positions]
        others = [n for n, reason in enumerate(reasons) if reason is None and columns[n] >= 0]
        if not len(viewed) or not others:
            return reasons
        rows = self._retrieval.ease.weights[self._ease_rows[viewed]]
        weights = rows[:, columns[others]].toarray()
        for n, strongest, weight in zip(
            others, weights.argmax(axis=0), weights.max(axis=0), strict=True
        ):
            if weight > 0:
                reasons[n] = str(ids[viewed[strongest]])
        return reasons

    def _score_by_ease(self, positions: Int64Array, weights: Float32Array) -> Float32Array:
        """Return scores (n, items of EASE) from the items at `positions`, by n kinds of weights.

        weights   (n, positions)
        """
        return self._retrieval.ease.score(self._ease_rows[positions], weights)

    def _select_known(self, history: UserHistory, positions: Int64Array) -> _KnownPurchases:
        rows = np.flatnonzero(positions >= 0)
        counted = self._retrieval.ease.weigh(history.n_orders[rows].astype(np.float32, copy=False))
        weights = np.stack([counted, history.decayed_frequency[rows]])
        return _KnownPurchases(rows, positions[rows], weights)


class _KnownPurchases(NamedTuple):
    """The purchases of a history whose item is in the catalogue.

    rows        int64 (n,), in the history's arrays
    positions   int64 (n,)
    weights     float32 (2, n), in both kinds of EASE scores: by the orders as EASE weighs them,
                and the decayed frequency
    """

    rows: Int64Array
    positions: Int64Array
    weights: Float32Array


def _select_most_frequent(
    positions: Int64Array, decayed_frequency: Float32Array, k: int
) -> Int64Array:
    """Return the k of `positions` of highest decayed frequency, in their order.

    The first of equal ones.
    """
    order = np.argsort(-decayed_frequency, kind="stable")
    return positions[np.sort(order[:k])]


def _promotion_weights(catalogue: Catalogue) -> Float32Array:
    """Return the reach of planned promotions of the coming weeks, times log sales (n_items,)."""
    columns = catalogue.items.columns
    missing = np.zeros(catalogue.n_items, np.float32)
    reach = np.nan_to_num(columns.get("promotion_reach_next_4w", missing))
    sales = np.nan_to_num(columns.get("units_13w", missing))
    return np.asarray(reach * np.log1p(sales), np.float32)
