"""A method that ranks by purchases alone, bound to a catalogue."""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import Float32Array
from features.contracts.histories import UserHistory
from models.ranking.catalogue import Catalogue
from models.retrieval.interactions import find_positions, scatter_scores
from models.retrieval.purchase_method import KnownPurchases, PurchaseMethod


class BoundMethod:
    """Scores the items of a catalogue by any purchases that the method knows.

    What was bought counts whether or not the catalogue still has it.
    """

    def __init__(self, method: PurchaseMethod, catalogue: Catalogue) -> None:
        self._method, self._n_items = method, catalogue.n_items
        self._rows = {item_id: row for row, item_id in enumerate(method.item_ids.tolist())}
        self._positions = catalogue.positions(method.item_ids)

    def score(self, history: UserHistory) -> Float32Array | None:
        """Return the scores (n_items,), 0 for what the method does not know; None where it knows
        nothing that was bought."""
        purchases = KnownPurchases.select(history, find_positions(self._rows, history.item_ids))
        if not len(purchases.rows):
            return None
        scores = self._method.score_purchases(purchases)
        return scatter_scores(np.maximum(scores, 0), self._positions, self._n_items)
