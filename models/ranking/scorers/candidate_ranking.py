"""Scores of given candidates: by the ranker of a task, by EASE, or by the rule "buy again"."""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array
from features.contracts.recommendations import Reason
from models.ranking.catalogue import Catalogue
from models.ranking.columns import make_columns
from models.ranking.model import Policy, RankingTask, RecommendationModel
from models.ranking.reasons import Reasons
from models.ranking.scored_items import ScoredItems
from models.ranking.scorers.bound_method import BoundMethod
from models.ranking.scorers.buy_again_rule import score_by_buy_again_rule
from models.ranking.scorers.scorer import ScoringRequest
from models.ranking.visitor import Visitor


class CandidateRanking:
    """The rankers of one model, bound to a catalogue."""

    def __init__(self, model: RecommendationModel, catalogue: Catalogue, reasons: Reasons) -> None:
        self._model, self._catalogue, self._reasons = model, catalogue, reasons
        self._baselines = {
            task: BoundMethod(method, catalogue) for task, method in model.baselines.items()
        }

    def score(
        self,
        request: ScoringRequest,
        positions: Int64Array,
        task: RankingTask,
        *,
        n_in_full: int | None = None,
    ) -> ScoredItems:
        """Score the candidates at `positions`; those that are not eligible get -inf.

        The columns are made of all candidates, as in training, so that a filter changes no score.

        n_in_full   of the candidates this many go through every tree of the ranker; None: all
        """
        visitor = request.visitor
        policy = self.choose_policy(request, task)
        values = self.score_by_baseline(request, task)
        if values is not None:
            return self.rank_by_baseline(visitor, values, positions)
        if policy == "ease":
            return self._score_by_ease(visitor, positions)
        if policy == "buy_again":
            return self._score_by_rule(visitor, positions)
        if not len(positions):
            return ScoredItems.empty()
        matrix = make_columns(self._catalogue, visitor, positions, self._model.user_columns)
        ranker = self._model.rankers[task]
        eligible = request.eligible[positions]
        if eligible.all():  # the usual case
            scores = ranker.score(matrix, best=n_in_full)
        else:
            scores = np.full(len(positions), -np.inf)
            scores[eligible] = ranker.score(matrix[eligible], best=n_in_full)
        return ScoredItems(
            positions=positions,
            scores=scores,
            reasons=np.empty(len(positions), object),
            matrix=matrix,
            task=task,
            explain_rows=lambda rows: self._reasons.find_reasons(
                visitor, positions[rows], task, matrix[rows]
            ),
        )

    def choose_policy(self, request: ScoringRequest, task: RankingTask) -> Policy:
        """Return the policy of the request, else the one that won."""
        return request.policy or self._model.policies[task]

    def score_by_baseline(self, request: ScoringRequest, task: RankingTask) -> Float32Array | None:
        """Return the scores (n_items,) of the task's baseline, 0 where it has none.

        None where another policy ranks, or where the baseline knows nothing that was bought.
        """
        baseline = self._baselines.get(task)
        if baseline is None or self.choose_policy(request, task) != "baseline":
            return None
        return baseline.score(request.visitor.history)

    def rank_by_baseline(
        self, visitor: Visitor, values: Float32Array, positions: Int64Array
    ) -> ScoredItems:
        """Rank by the scores; items without one follow by popularity."""
        scores = values[positions].astype(np.float64)
        reasons = self._catalogue.general_reasons(positions)
        reasons[scores > 0] = Reason.SIMILAR
        reasons[np.isin(positions, visitor.bought)] = Reason.BUY_AGAIN
        behind = self._catalogue.popularity[positions] - self._catalogue.popularity.max(initial=0)
        return ScoredItems(positions, np.where(scores > 0, scores, behind), reasons)

    def _score_by_ease(self, visitor: Visitor, positions: Int64Array) -> ScoredItems:
        """Score by EASE; items without a score above 0 follow by popularity."""
        similarity = np.maximum(visitor.ease.at(positions).astype(np.float64), 0.0)
        popularity = self._catalogue.popularity[positions].astype(np.float64)
        reasons = self._catalogue.general_reasons(positions)
        reasons[similarity > 0] = Reason.SIMILAR
        reasons[np.isin(positions, visitor.bought)] = Reason.BUY_AGAIN
        return ScoredItems(positions, score_by_buy_again_rule(similarity, popularity), reasons)

    def _score_by_rule(self, visitor: Visitor, positions: Int64Array) -> ScoredItems:
        decayed_frequency = np.zeros(self._catalogue.n_items)
        decayed_frequency[visitor.bought] = visitor.history.decayed_frequency[visitor.history_rows]
        popularity = self._catalogue.popularity[positions].astype(np.float64)
        scores = score_by_buy_again_rule(decayed_frequency[positions], popularity)
        is_bought = np.isin(positions, visitor.bought)
        is_similar = np.zeros(len(positions), bool)
        if not self._model.rankers:  # what was had together is all that is learnt
            similarity = np.maximum(visitor.ease.at(positions).astype(np.float64), 0.0)
            is_similar = ~is_bought & (similarity > 0)
            scores = scores + similarity
        reasons = self._catalogue.general_reasons(positions)
        reasons[is_similar] = Reason.SIMILAR
        reasons[is_bought] = Reason.BUY_AGAIN
        return ScoredItems(positions, scores, reasons)
