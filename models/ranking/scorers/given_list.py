"""The scorer of a given list, and the items of the list that the catalogue does not know."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.recommendations import Reason, RecommendationQuery, ScoredItem
from models.ranking.catalogue import Catalogue
from models.ranking.model import DEFAULT_QUERY_WEIGHT
from models.ranking.scored_items import ScoredItems
from models.ranking.scorers.candidate_ranking import CandidateRanking
from models.ranking.scorers.next_items import VisitScorer
from models.ranking.scorers.scorer import ScoringRequest

# Where another than the ranker of purchases scores, from whose lists a weight is learnt.
_OTHER_MATCH_WEIGHT = DEFAULT_QUERY_WEIGHT


class GivenListScorer:
    """Ranks the candidates of the query; for an unknown visitor by popularity.

    How well an item matches what was searched for decides first, the visitor among those that
    match alike.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        ranking: CandidateRanking,
        visits: VisitScorer | None,
        query_weight: float,
    ) -> None:
        self._catalogue, self._ranking, self._visits = catalogue, ranking, visits
        self._query_weight = query_weight

    def score(self, request: ScoringRequest) -> ScoredItems:
        """Score the items of the list that the catalogue knows."""
        positions = self._catalogue.positions(np.array(request.query.candidate_ids, object))
        positions = np.unique(positions[positions >= 0])
        scored = self._score_for_visitor(request, positions)
        if not request.query.search_text:
            return scored
        matches = self._catalogue.text_match.score(request.query.search_text)
        match: Float64Array = matches[scored.positions].astype(np.float64)
        weight = self._query_weight if scored.task == "all" else _OTHER_MATCH_WEIGHT
        return replace(
            scored, scores=scored.scores + weight * match, match=match, match_weight=weight
        )

    def _score_for_visitor(self, request: ScoringRequest, positions: Int64Array) -> ScoredItems:
        if self._visits is not None and self._visits.serves(request.visitor, request.policy):
            scored = self._visits.score_list(request, positions)
            if scored is not None:
                return scored
        if not request.visitor.is_known:
            popularity = self._catalogue.popularity[positions].astype(np.float64)
            reasons = self._catalogue.general_reasons(positions)
            return ScoredItems(positions, popularity, reasons)
        return self._ranking.score(request, positions, "all")


def append_unknown_items(
    query: RecommendationQuery, slate: Sequence[ScoredItem], known: Container[str]
) -> tuple[ScoredItem, ...]:
    """Append the items of the given list that are not `known`, in the order given.

    Nobody has bought them, as far as anybody knows: they are new.
    """
    lowest = min((item.falling_score for item in slate), default=0.0)
    unknown = [
        item_id
        for item_id in dict.fromkeys(query.candidate_ids or ())
        if item_id not in known and item_id not in query.exclude_item_ids
    ]
    behind = [
        ScoredItem(item_id, len(slate) + n, lowest - n, Reason.NEW, lowest - n)
        for n, item_id in enumerate(unknown, start=1)
    ]
    return tuple([*slate, *behind][: query.count])
