"""Scorers of what comes next: after the looks of a visit, or after what somebody has bought."""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import Int64Array
from features.contracts.errors import BadInput
from features.contracts.histories import UserHistory
from features.contracts.recommendations import Reason
from features.contracts.visits import SILENCE_MS, find_purchases
from models.ranking.catalogue import Catalogue
from models.ranking.current_visit import N_FOCUS_CANDIDATES
from models.ranking.model import Policy, RecommendationModel
from models.ranking.scored_items import ScoredItems
from models.ranking.scorers.scorer import ScoringRequest
from models.ranking.visit_candidates import BoundVisit, VisitCandidates
from models.ranking.visitor import Visitor


class VisitScorer:
    """Ranks what a visitor looks at next, by the ranker of visits or the source that beat it.

    It serves visitors of whom only the present visit is known, and buyers where the model says so.
    """

    def __init__(self, model: RecommendationModel, catalogue: Catalogue) -> None:
        if model.visit_sources is None:
            raise BadInput("the model knows no visits", hint="Train it on views")
        self._model, self._catalogue = model, catalogue
        self._candidates = VisitCandidates(
            catalogue, model.visit_sources, timezone=model.visit_timezone
        )
        self._policy = model.policies["visit"]

    def serves(
        self, visitor: Visitor, policy: Policy | None, *, follows_buyers: bool = False
    ) -> bool:
        """Return whether the visit decides: nothing was bought, nothing is learnt from purchases,
        or visits say more than these of what buyers look at next.

        policy   of the request, where it has one: another than that of visits is not theirs
        follows_buyers   whether the visits of buyers were measured for what is asked
        """
        if policy not in (None, "ranker", self._policy):
            return False
        if len(visitor.bought) and self._model.ranks_purchases:
            if not (follows_buyers and self._model.visits_of_buyers):
                return False
            if not _goes_on(visitor.history):
                return False
        return self._candidates.can_bind(visitor.history.visit)

    def score(self, request: ScoringRequest) -> ScoredItems:
        """Score the candidates of the visit; none where the sources know none of its items."""
        bound = self._candidates.bind(request.query.history.visit)
        if bound is None:
            return ScoredItems.empty()
        candidates = self._candidates.find_candidates(bound)
        if request.focus is not None:
            focused = self._catalogue.find_best_sellers(request.focus, N_FOCUS_CANDIDATES)
            candidates = np.union1d(candidates, focused)
        return self._score(bound, candidates)

    def score_list(self, request: ScoringRequest, positions: Int64Array) -> ScoredItems | None:
        """Score the items of a given list, ascending; None where the visit says nothing."""
        bound = self._candidates.bind(request.query.history.visit)
        return None if bound is None else self._score(bound, positions)

    def find_viewed_reasons(self, visit: BoundVisit, positions: Int64Array) -> list[str | None]:
        """Return the viewed item that stands behind each of `positions`; None where none does."""
        return self._candidates.find_viewed_reasons(visit, positions)

    def _score(self, bound: BoundVisit, positions: Int64Array) -> ScoredItems:
        if not len(positions):
            return ScoredItems.empty()
        reasons = self._catalogue.general_reasons(positions)
        reasons[self._candidates.come_from_views(bound, positions)] = Reason.BECAUSE_YOU_VIEWED
        if self._policy != "ranker":
            scores = self._candidates.score_by(self._policy, bound)[positions]
            return ScoredItems(positions, scores, reasons, visit=bound)
        matrix = self._candidates.make_columns(bound, positions)
        scores = self._model.rankers["visit"].score(matrix)
        return ScoredItems(positions, scores, reasons, matrix=matrix, task="visit", visit=bound)


def _goes_on(history: UserHistory) -> bool:
    """Return whether the last look is no longer ago than a visit may be silent, by the whole hour
    that features are as of."""
    latest = history.visit.at_ms[:1]
    return bool(latest) and latest[0] >= history.as_of.timestamp() * 1000 - SILENCE_MS


class SequenceScorer:
    """Ranks what a buyer buys next and has not bought yet, from the order of the purchases."""

    def __init__(self, model: RecommendationModel, catalogue: Catalogue) -> None:
        if model.sequence_sources is None:
            raise BadInput("the model knows no order of purchases", hint="Train it on purchases")
        self._ranker, self._catalogue = model.rankers["sequence"], catalogue
        self._candidates = VisitCandidates(catalogue, model.sequence_sources, with_features=False)

    def score(self, request: ScoringRequest) -> ScoredItems:
        """Score the candidates; none where the sources know nothing that was bought."""
        bound = self._candidates.bind(find_purchases(request.query.history))
        if bound is None:
            return ScoredItems.empty()
        positions = self._candidates.find_candidates(bound)
        positions = np.setdiff1d(positions, request.visitor.bought)
        if not len(positions):
            return ScoredItems.empty()
        reasons = self._catalogue.general_reasons(positions)
        reasons[self._candidates.come_from_views(bound, positions)] = Reason.SIMILAR
        matrix = self._candidates.make_columns(bound, positions)
        scores = self._ranker.score(matrix)
        return ScoredItems(positions, scores, reasons, matrix=matrix, task="sequence")
