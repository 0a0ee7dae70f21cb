"""The scorer of the placement product: items near the context items, by who bought them."""

from __future__ import annotations

import numpy as np

from features.contracts.recommendations import Reason
from models.ranking.catalogue import Catalogue
from models.ranking.scored_items import ScoredItems
from models.ranking.scorers.scorer import ScoringRequest
from models.retrieval.item_knn import ItemKnn


class SimilarScorer:
    """Neighbours of the context items, which are left out themselves."""

    def __init__(self, catalogue: Catalogue, item_knn: ItemKnn) -> None:
        self._item_knn = item_knn
        self._positions = catalogue.positions(item_knn.item_ids)
        self._rows = {item_id: row for row, item_id in enumerate(item_knn.item_ids)}

    def score(self, request: ScoringRequest) -> ScoredItems:
        """Score the neighbours by summed similarity to the context items."""
        context = request.query.context_item_ids
        rows = [self._rows[item_id] for item_id in context if item_id in self._rows]
        context_rows = np.array(rows, np.int64)
        scores = self._item_knn.score(context_rows)
        scores[context_rows] = 0
        near = np.flatnonzero((scores > 0) & (self._positions >= 0))
        return ScoredItems.with_reason(
            self._positions[near], scores[near].astype(np.float64), Reason.SIMILAR
        )
