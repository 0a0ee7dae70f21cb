"""The one object that makes slates: the evaluation calls it, and so does the server."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Self

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array, ObjectArray
from features.contracts.errors import UnknownName
from features.contracts.histories import UserHistory
from features.contracts.recommendations import (
    ItemFeatures,
    Reason,
    RecommendationQuery,
    ScoredItem,
    Slate,
)
from models.ranking.candidates import CandidateSource
from models.ranking.cart import CartSource
from models.ranking.catalogue import Catalogue
from models.ranking.current_visit import RepeatRates, add_views, find_focus, match_search
from models.ranking.eligible_items import EligibleItems
from models.ranking.model import Policy, RankingTask, RecommendationModel
from models.ranking.placement import LEARNT, Fallback, Placement, ScorerName, add_rule_sets
from models.ranking.reasons import Reasons
from models.ranking.scored_items import ScoredItems
from models.ranking.scorers.bought_together import BoughtTogetherScorer
from models.ranking.scorers.buy_again import BuyAgainScorer
from models.ranking.scorers.candidate_ranking import CandidateRanking
from models.ranking.scorers.given_list import GivenListScorer, append_unknown_items
from models.ranking.scorers.next_items import SequenceScorer, VisitScorer
from models.ranking.scorers.popularity import FixedListScorer, make_fixed_lists
from models.ranking.scorers.ranked import RankedScorer
from models.ranking.scorers.scorer import Scorer, ScoringRequest
from models.ranking.scorers.similar import SimilarScorer
from models.ranking.slate.builder import DraftSlate, SlateBuilder, SlateContext
from models.ranking.slate.long_tail import (
    LongTail,
    choose_by_hash,
    fill_last_places,
    find_eligible,
)
from models.ranking.slate.merchandising_rules import RuleSet
from models.ranking.visitor import Visitor

# So many visitors are bound one after the other before their slates are made: the data of each of
# the two steps stays in the processor's cache.
_N_VISITORS_AT_ONCE = 64
_NO_RULES: Mapping[str, RuleSet] = {}


class SlateColumns(NamedTuple):
    """One slate by columns, best first: item_ids as str objects, scores float64, reasons, and
    the scores lowered so that they fall."""

    item_ids: ObjectArray
    scores: Float64Array
    reasons: tuple[Reason, ...]
    falling_scores: Float64Array

    @classmethod
    def from_items(cls, items: Sequence[ScoredItem]) -> Self:
        """Return the columns of the items of a slate."""
        return cls(
            np.array([item.item_id for item in items], object),
            np.array([item.score for item in items]),
            tuple(item.reason for item in items),
            np.array([item.falling_score for item in items]),
        )


class LongSlate(NamedTuple):
    """A usual slate and the next candidates behind it, for an assignment of the last ranks.

    relevance   float64 (ranks,), falls
    open        bool (ranks,), a candidate of the scorer that no rule pins
    """

    columns: SlateColumns
    relevance: Float64Array
    open: BoolArray


class _Visit(NamedTuple):
    """A query with its placement and its visitor."""

    query: RecommendationQuery
    placement: Placement
    visitor: Visitor


class _Answer(NamedTuple):
    """A slate without explanations, and the fallback that stands in for personal items."""

    draft: DraftSlate
    fallback: Fallback | None


class Recommender:
    """A model bound to the catalogue as of an instant, to the shop's placements and to its rules.

    It chooses the scorer of each query and makes the slate from the scored items. Every query is
    scored by itself, so that an answer never depends on other queries. Equal scores are ordered by
    item_id. Raises UnknownName for a set of rules or an item feature that does not exist.
    """

    def __init__(
        self,
        model: RecommendationModel,
        items: ItemFeatures,
        placements: Mapping[str, Placement],
        rules: Mapping[str, RuleSet] = _NO_RULES,
    ) -> None:
        self.model = model
        self.items = items
        self._own_placements = placements
        self.placements = add_rule_sets(placements, rules)
        catalogue = Catalogue(items, model.item_columns)
        self._catalogue = catalogue
        self._source = CandidateSource(catalogue, model.retrieval, model.candidates)
        carts = CartSource(catalogue, model.retrieval, model.candidates.cart)
        self._visits = None if model.visit_sources is None else VisitScorer(model, catalogue)
        self._sequences = (
            None if model.sequence_sources is None else SequenceScorer(model, catalogue)
        )
        self._reasons = Reasons(model, catalogue, self._source, carts, self._visits)
        self._builder = SlateBuilder(catalogue, rules)
        self._eligible = EligibleItems(catalogue)
        self._repeat_rates = RepeatRates(catalogue)
        self._fixed_lists = make_fixed_lists(catalogue)
        self._popular = FixedListScorer(self._fixed_lists["popular"])
        ranking = self._ranking = CandidateRanking(model, catalogue, self._reasons)
        self._given_list = GivenListScorer(catalogue, ranking, self._visits, model.query_weight)
        self._scorers: dict[ScorerName, Scorer] = {
            "all": self._make_ranked_scorer("all", ranking),
            "new": self._make_ranked_scorer("new", ranking),
            "similar": SimilarScorer(catalogue, model.retrieval.similar, model.visit_sources),
            "bought_together": BoughtTogetherScorer(model, catalogue, carts),
            "trending": FixedListScorer(self._fixed_lists["trending"]),
            "new_arrivals": FixedListScorer(self._fixed_lists["new"]),
            "buy_again": BuyAgainScorer(model.buy_again),
        }

    def with_rules(self, rules: Mapping[str, RuleSet]) -> Recommender:
        """Return a recommender that differs in the rules alone and shares all else.

        Raises UnknownName for a set of rules, a placement or an item feature that does not exist.
        """
        other = copy.copy(self)
        other.placements = add_rule_sets(self._own_placements, rules)
        other._builder = SlateBuilder(self._catalogue, rules)
        return other

    def with_placements(
        self, placements: Mapping[str, Placement], rules: Mapping[str, RuleSet]
    ) -> Recommender:
        """Return a recommender that differs in placements and rules and shares all else.

        Raises as `with_rules`.
        """
        other = copy.copy(self)
        other._own_placements = placements
        other.placements = add_rule_sets(placements, rules)
        other._scorers = {
            **self._scorers,
            "all": other._make_ranked_scorer("all", self._ranking),
            "new": other._make_ranked_scorer("new", self._ranking),
        }
        return other.with_rules(rules)

    def warm_up(self) -> None:
        """Answer a made-up visitor at every placement, so that compiled code is loaded now."""
        ids = self.items.item_ids[:2]
        if not len(ids):
            return
        ones = np.ones(len(ids), np.float32)
        now = np.full(len(ids), int(self.items.as_of.timestamp()))
        viewed = tuple(ids[:1].tolist())
        history = UserHistory(
            user_id=None,
            as_of=self.items.as_of,
            item_ids=ids,
            n_orders=ones,
            quantity=ones,
            decayed_frequency=ones,
            first_at=now,
            last_at=now,
            viewed_item_ids=viewed,
            viewed_at=(int(now[0]),),
        )
        self.recommend([RecommendationQuery(history, name, 20, viewed) for name in self.placements])

    def search(self, text: str, count: int) -> list[str]:
        """Return the items that match a text, at most `count`: those that sell best first."""
        is_match = match_search(self._catalogue, text)
        if is_match is None:
            return []
        positions = self._catalogue.find_best_sellers(is_match, count)
        return [str(item_id) for item_id in self.items.item_ids[positions]]

    def recommend(
        self, queries: Sequence[RecommendationQuery], *, policy: Policy | None = None
    ) -> list[Slate]:
        """Return a slate per query, ranks from 1.

        `policy` overrules the one that won when the model was evaluated. Raises UnknownName for a
        placement that the shop does not have.
        """
        return [self._make_slate(self._make_visit(query), policy) for query in queries]

    def recommend_columns(self, queries: Sequence[RecommendationQuery]) -> list[SlateColumns]:
        """Return items, scores and reasons of the slates of `recommend`, and nothing else of them.

        The items of all histories are looked up at once.
        """
        return [self._make_slate_columns(visit) for visit in self._make_visits(queries)]

    def recommend_ids(self, queries: Sequence[RecommendationQuery]) -> list[ObjectArray]:
        """Return the item ids of the slates of `recommend`; no reason is looked for."""
        slates = []
        for visit in self._make_visits(queries):
            draft = self._answer(visit, None).draft
            slates.append(self.items.item_ids[draft.scored.positions[draft.rows()]])
        return slates

    def recommend_long_slates(
        self, queries: Sequence[RecommendationQuery], n_more: int
    ) -> list[LongSlate]:
        """Return the usual slates, and behind each up to `n_more` of the next candidates.

        The long_tail of a placement changes nothing here.
        """
        slates = []
        for visit in self._make_visits(queries):
            draft = self._answer(visit, None, n_more).draft
            columns = self._make_columns(visit, draft)
            slates.append(LongSlate(columns, draft.measure_relevance(), ~draft.fixed))
        return slates

    def _make_visits(self, queries: Sequence[RecommendationQuery]) -> Iterator[_Visit]:
        """Yield the visit of each query; some of them are made one right after the other."""
        bought = self._catalogue.positions_of_each([query.history.item_ids for query in queries])
        for start in range(0, len(queries), _N_VISITORS_AT_ONCE):
            part = slice(start, start + _N_VISITORS_AT_ONCE)
            yield from [
                self._make_visit(query, positions)
                for query, positions in zip(queries[part], bought[part], strict=True)
            ]

    def _make_ranked_scorer(self, task: RankingTask, ranking: CandidateRanking) -> RankedScorer:
        learnt = self.model.candidates.of(task)
        configs = {
            name: placement.restrict_candidates(learnt)
            for name, placement in self.placements.items()
        }
        return RankedScorer(task, self._catalogue, self._source, ranking, configs, self._sequences)

    def _make_slate_columns(self, visit: _Visit) -> SlateColumns:
        if visit.query.candidate_ids is not None:
            return SlateColumns.from_items(self._rank_given_list(visit, None).items)
        return self._make_columns(visit, self._answer(visit, None).draft)

    def _make_columns(self, visit: _Visit, draft: DraftSlate) -> SlateColumns:
        if Reason.BECAUSE_YOU_VIEWED in draft.reasons:
            items = self._reasons.explain_slate(visit.query, visit.visitor, draft)
            return SlateColumns.from_items(items)
        rows, scored = draft.rows(), draft.scored
        item_ids = self.items.item_ids[scored.positions[rows]]
        return SlateColumns(item_ids, scored.scores[rows], draft.reasons, draft.falling_scores())

    def _make_slate(self, visit: _Visit, policy: Policy | None) -> Slate:
        if visit.query.candidate_ids is not None:
            return self._rank_given_list(visit, policy)
        draft, fallback = self._answer(visit, policy)
        items = self._reasons.explain_slate(visit.query, visit.visitor, draft)
        return Slate(tuple(items), fallback, draft.withheld)

    def _make_visit(self, query: RecommendationQuery, bought: Int64Array | None = None) -> _Visit:
        placement = self.placements.get(query.placement)
        if placement is None:
            raise UnknownName(query.placement, self.placements, kind="placement")
        if query.candidate_ids is None and placement.scorer in LEARNT and query.context_item_ids:
            query = replace(
                query,
                history=add_views(
                    query.history, query.context_item_ids, query.at or query.history.as_of
                ),
            )
        return _Visit(query, placement, self._source.make_visitor(query.history, bought))

    def _answer(self, visit: _Visit, policy: Policy | None, n_more: int | None = None) -> _Answer:
        query, placement, visitor = visit
        policy = policy or placement.policy
        is_personal = policy != "popular"
        scorer = self._choose_scorer(visit, policy)
        focus = searched = None
        if placement.scorer in LEARNT and is_personal:
            if query.history.search_text is not None:
                focus = searched = match_search(self._catalogue, query.history.search_text)
            if focus is None and scorer is not self._visits:
                focus = find_focus(self._catalogue, query.history)
        eligible = self._eligible.find(query, placement, visitor)
        repeat_rates: Mapping[int, float] = {}
        if placement.scorer in ("all", "buy_again") and is_personal:
            eligible[self._repeat_rates.find_bought_once(visitor.bought)] = False
            repeat_rates = self._repeat_rates.find_just_bought(visitor)
        if query.damping:
            repeat_rates = self._damp(repeat_rates, query.damping)
        scored = scorer.score(ScoringRequest(query, visitor, policy, eligible, focus))
        fallback: Fallback | None = None
        fillers = [] if query.strict else self._choose_fillers(placement.fallback)
        if not len(scored.positions) and fillers:
            scored, fallback = fillers[0], placement.fallback
        arrivals = self._fixed_lists["new"].positions
        context = SlateContext(eligible, fillers, arrivals, focus, searched is None, repeat_rates)
        long_tail, user_id = placement.long_tail, query.history.user_id
        if n_more is None and long_tail.places and user_id is not None and is_personal:
            draft = self._builder.build(query, placement, scored, context, n_more=long_tail.pool)
            return _Answer(self._fill_last_places(draft, query.count, long_tail, user_id), fallback)
        draft = self._builder.build(query, placement, scored, context, n_more=n_more or 0)
        return _Answer(draft, fallback)

    def _damp(
        self, rates: Mapping[int, float], damping: Mapping[str, float]
    ) -> Mapping[int, float]:
        """Return the factors on relevance by position, with those that the query gives."""
        damped = dict(rates)
        for item_id, factor in damping.items():
            position = self._catalogue.index.get(item_id)
            if position is not None:
                damped[position] = damped.get(position, 1.0) * factor
        return damped

    def _fill_last_places(
        self, draft: DraftSlate, count: int, long_tail: LongTail, user_id: str
    ) -> DraftSlate:
        """Return the slate with items of few buyers at its last ranks, chosen by a hash."""
        is_open, n_head = ~draft.fixed, max(count - long_tail.places, 0)
        positions = draft.scored.positions[draft.rows()][n_head:]
        given = np.zeros(len(is_open), bool)
        given[n_head:] = find_eligible(
            draft.measure_relevance()[n_head:], is_open[n_head:], long_tail
        ) & choose_by_hash(
            user_id, self.items.item_ids[positions], self._catalogue.buyers[positions], long_tail
        )
        return draft.select(fill_last_places(is_open, given, count, n_head))

    def _choose_scorer(self, visit: _Visit, policy: Policy | None) -> Scorer:
        """Return the placement's scorer; the personal one where that has nothing to score.

        Of whom only the present visit is known, that of visits is the personal one.
        """
        if policy == "popular":
            return self._popular
        query, placement, visitor = visit
        name: ScorerName = placement.scorer
        if name in ("similar", "bought_together") and not query.context_item_ids:
            name = "all"
        # What buyers look at next was measured with all items, not with new ones alone.
        if (
            name in LEARNT
            and self._visits is not None
            and self._visits.serves(visitor, policy, follows_buyers=name == "all")
        ):
            return self._visits
        return self._scorers.get(name, self._scorers["all"])

    def _choose_fillers(self, fallback: Fallback) -> list[ScoredItems]:
        """Return what fills a short slate, the placement's fallback first.

        New and unseen items come last: without them a new category would stay empty.
        """
        if fallback == "none":
            return []
        names = dict.fromkeys((fallback, "popular", "new", "unseen"))
        return [self._fixed_lists[name] for name in names]

    def _rank_given_list(self, visit: _Visit, policy: Policy | None) -> Slate:
        """Return a given list in order, unknown items at its end.

        No rule is applied: the list is the shop's own choice.
        """
        query, placement, visitor = visit
        eligible = self._eligible.find(query, placement, visitor)
        scored = self._given_list.score(ScoringRequest(query, visitor, policy, eligible))
        draft = self._builder.build(
            query, Placement(placement.scorer), scored, SlateContext(eligible)
        )
        items = self._reasons.explain_slate(query, visitor, draft)
        return Slate(append_unknown_items(query, items, self._catalogue.index))
