"""The scorer of the placements home and discover: candidates of one task, by its ranker."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.ranking.candidates import CandidateSource
from models.ranking.catalogue import Catalogue
from models.ranking.current_visit import N_FOCUS_CANDIDATES
from models.ranking.model import CandidateConfig, RankingTask
from models.ranking.scored_items import ScoredItems
from models.ranking.scorers.candidate_ranking import CandidateRanking
from models.ranking.scorers.next_items import SequenceScorer
from models.ranking.scorers.scorer import ScoringRequest

# At least so many candidates go through every tree of the ranker, and three for each rank.
_MIN_IN_FULL = 60


class RankedScorer:
    """Ranks candidates for a known visitor.

    configs     by placement, how many candidates each source gives
    sequences   ranks in its place where the order of purchases says more
    """

    def __init__(
        self,
        task: RankingTask,
        catalogue: Catalogue,
        source: CandidateSource,
        ranking: CandidateRanking,
        configs: Mapping[str, CandidateConfig],
        sequences: SequenceScorer | None,
    ) -> None:
        self._task, self._catalogue, self._sequences = task, catalogue, sequences
        self._source, self._ranking, self._configs = source, ranking, configs

    def score(self, request: ScoringRequest) -> ScoredItems:
        """Score the visitor's candidates, and items of the categories that the visit is about."""
        query, visitor = request.query, request.visitor
        values = self._ranking.score_by_baseline(request, self._task)
        if values is None and not visitor.is_known:
            return ScoredItems.empty()
        if self._ranking.choose_policy(request, self._task) == "sequence" and self._sequences:
            return self._sequences.score(request)
        config = self._configs[query.placement]
        if values is None:
            candidates = self._source.find_candidates(visitor, self._task, config)
        else:  # a baseline ranks the whole catalogue
            candidates = np.flatnonzero(values > 0)
            if self._task == "new":
                candidates = np.setdiff1d(candidates, visitor.bought)
        if request.focus is not None:
            selected = request.focus.copy()
            if self._task == "new":
                selected[visitor.bought] = False
            focused = self._catalogue.find_best_sellers(selected, N_FOCUS_CANDIDATES)
            candidates = np.union1d(candidates, focused)
        if values is not None:
            return self._ranking.rank_by_baseline(visitor, values, candidates)
        n_in_full = max(_MIN_IN_FULL, 3 * query.count)
        return self._ranking.score(request, candidates, self._task, n_in_full=n_in_full)
