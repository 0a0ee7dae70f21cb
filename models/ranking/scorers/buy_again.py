"""The scorer of the placement buy_again: items bought before, by how likely they are due now."""

from __future__ import annotations

import numpy as np

from features.contracts.recommendations import Reason
from models.ranking.scored_items import ScoredItems
from models.ranking.scorers.scorer import ScoringRequest
from models.retrieval.buy_again import BuyAgain


class BuyAgainScorer:
    """Scores by the model of repeat purchases, or by decayed frequency without one."""

    def __init__(self, model: BuyAgain | None) -> None:
        self._model = model

    def score(self, request: ScoringRequest) -> ScoredItems:
        """Score the items that the visitor has bought."""
        visitor = request.visitor
        if not len(visitor.bought):
            return ScoredItems.empty()
        history = visitor.history
        scores = (history.decayed_frequency if self._model is None else self._model.score(history))[
            visitor.history_rows
        ]
        return ScoredItems.with_reason(visitor.bought, scores.astype(np.float64), Reason.BUY_AGAIN)
