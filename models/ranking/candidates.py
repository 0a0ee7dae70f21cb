"""Candidates: the items worth scoring for one visitor, from several sources."""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array
from features.contracts.histories import UserHistory
from models.compiled.merge_candidates import merge_candidates
from models.compiled.top_items import top_positions
from models.ranking.columns import Catalogue, FactorScores, SourceScores, Visitor
from models.ranking.model import CandidateConfig, Candidates, RankingTask, Retrieval
from models.retrieval.interactions import invert_positions

# What was viewed speaks as loudly as what was bought once.
_VIEW_WEIGHT = 1.0


class CandidateSource:
    """Sources bound to one catalogue: maps between their items and the catalogue's positions are
    made once."""

    def __init__(self, catalogue: Catalogue, retrieval: Retrieval, config: Candidates) -> None:
        self._catalogue = catalogue
        self._retrieval = retrieval
        self._config = config
        self._ease_at = catalogue.positions(retrieval.ease.item_ids)
        self._als_at = catalogue.positions(retrieval.als.item_ids)
        self._factors = np.vstack([retrieval.als.factors, np.zeros_like(retrieval.als.factors[:1])])
        self._to_ease = invert_positions(self._ease_at, catalogue.n_items)
        self._to_als = invert_positions(self._als_at, catalogue.n_items)
        self._nothing, self._nobody = (
            np.zeros(len(retrieval.ease.item_ids), np.float32),
            np.zeros(0, np.int64),
        )
        self.popular = top_positions(catalogue.popularity, catalogue.n_items)
        self._promoted = top_positions(_promoted(catalogue), catalogue.n_items)

    def visitor(self, history: UserHistory, places: Int64Array | None = None) -> Visitor:
        """The visitor's items and the sources' scores, in positions of the catalogue.

        `places` are the positions of the history's items where they have been looked up already.
        """
        places = self._catalogue.positions(history.item_ids) if places is None else places
        rows, own, weights = _select_known(places, history.decayed_frequency)
        bought, decayed = self._ease(own, weights)
        viewed, touched, seen = self._nobody, own, self._nothing
        if history.viewed_item_ids:
            viewed = self._catalogue.positions(np.array(history.viewed_item_ids, object))
            viewed = viewed[viewed >= 0]
            touched = np.concatenate([own, viewed])
            (seen,) = self._ease(viewed, np.full((1, len(viewed)), _VIEW_WEIGHT, np.float32))
        als, als_rows = self._retrieval.als, self._to_als[touched]
        return Visitor(
            history,
            own,
            rows,
            viewed,
            SourceScores(bought + seen if len(viewed) else bought, self._to_ease),
            SourceScores(seen, self._to_ease),
            SourceScores(decayed, self._to_ease),
            FactorScores(
                als.fold_in(als_rows[als_rows >= 0]), self._factors, als.nearest, self._to_als
            ),
        )

    def candidates(
        self, visitor: Visitor, task: RankingTask, config: CandidateConfig | None = None
    ) -> Int64Array:
        """Distinct positions, ascending, as many of each source as `config` says or the model
        learnt from.

        The task "new" leaves out what was bought.
        """
        config = config or self._config.of(task)
        parts = [
            self._ease_at[visitor.ease.best(config.ease, visitor.own)],
            self._ease_at[visitor.ease_decayed.best(config.ease_decayed, visitor.own)],
            self._als_at[visitor.als.best(config.als, visitor.own)],
            visitor.viewed,
            self.popular[: config.popular],
            self._promoted[: config.promoted],
        ]
        likeliest = visitor.own[:0]
        if task == "all":
            likeliest = _select_most_frequent(
                visitor.own, visitor.rows, visitor.history.decayed_frequency, config.own
            )
        return merge_candidates(np.concatenate([*parts, likeliest]), visitor.own, likeliest)

    def because(self, visitor: Visitor, places: Int64Array) -> list[str | None]:
        """The viewed item that speaks most for each of `places`, itself where it was viewed; None
        where none does."""
        ids = self._catalogue.items.item_ids
        found: list[str | None] = [
            str(ids[place]) if place in visitor.viewed else None for place in places
        ]
        viewed = visitor.viewed[self._to_ease[visitor.viewed] >= 0]
        columns = self._to_ease[places]
        if not len(viewed):
            return found
        weights = self._retrieval.ease.weights[self._to_ease[viewed]].tocsc()
        for n, column in enumerate(columns):
            if found[n] is None and column >= 0:
                spoken = weights[:, [column]].toarray().ravel()
                if spoken.max() > 0:
                    found[n] = str(ids[viewed[spoken.argmax()]])
        return found

    def _ease(self, held: Int64Array, weights: Float32Array) -> Float32Array:
        """Scores (n, items of EASE) of who holds the items at `held`, weighed in n ways (n,
        held)."""
        return self._retrieval.ease.score(self._to_ease[held], weights)


def _promoted(catalogue: Catalogue) -> Float32Array:
    """Planned promotion in the coming weeks, weighed by how well the item sells."""
    columns = catalogue.items.columns
    missing = np.zeros(catalogue.n_items, np.float32)
    reach = np.nan_to_num(columns.get("promotion_reach_next_4w", missing))
    sales = np.nan_to_num(columns.get("units_13w", missing))
    return np.asarray(reach * np.log1p(sales), np.float32)


def _select_known(
    positions: Int64Array, decayed_frequency: Float32Array
) -> tuple[Int64Array, Int64Array, Float32Array]:
    """Return the rows of a history whose item is in the catalogue, the positions of these, and
    their weights (2, n) in both kinds of EASE scores: 1, and the decayed frequency."""
    rows = np.flatnonzero(positions >= 0)
    weights = np.stack([np.ones(len(rows), np.float32), decayed_frequency[rows]])
    return rows, positions[rows], weights


def _select_most_frequent(
    positions: Int64Array, rows: Int64Array, decayed_frequency: Float32Array, k: int
) -> Int64Array:
    """Return the k of `positions` of highest decayed frequency, in their order; the first of equal
    ones. `rows`: the rows of the positions in `decayed_frequency`."""
    order = np.argsort(-decayed_frequency[rows], kind="stable")
    return positions[np.sort(order[:k])]
