"""The one object that makes slates: the evaluation calls it, and so does the server."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
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
from models.ranking.columns import Catalogue, Visitor, columns
from models.ranking.current_visit import BuyingAgain, focus, with_context
from models.ranking.model import Policy, RankingTask, RecommendationModel
from models.ranking.placement import LEARNT, Fallback, Placement
from models.ranking.reasons import Reasons
from models.ranking.scored_items import Scored
from models.ranking.scorers.popularity import stand_ins
from models.ranking.slate.finisher import Finished, Finisher, Wish
from models.ranking.slate.merchandising_rules import RuleSet

_MASKS_KEPT = 32
# Candidates that a visit about a category gets from it.
_FOCUS_CANDIDATES = 20
# Of the candidates at least so many go through every tree of the ranker, and three for each place
# of the slate.
_GONE_ON = 60
# So many visitors are looked at one after the other before their slates are made: what each of the
# two works with stays in the processor's cache.
_TOGETHER = 64
_NO_SETS: Mapping[str, RuleSet] = {}


class Lines(NamedTuple):
    """The places of one slate from the first on: item_ids as str objects, scores float64,
    reasons."""

    item_ids: ObjectArray
    scores: Float64Array
    reasons: tuple[Reason, ...]

    @classmethod
    def of(cls, items: Sequence[ScoredItem]) -> Self:
        """Of the items of a slate."""
        ids, scores = (
            np.array([item.item_id for item in items], object),
            np.array([item.score for item in items]),
        )
        return cls(ids, scores, tuple(item.reason for item in items))


class _Visit(NamedTuple):
    """The query as it is answered, its placement and its visitor."""

    query: RecommendationQuery
    placement: Placement
    visitor: Visitor


class _Answer(NamedTuple):
    """The slate before it is told, and what stands in for it."""

    finished: Finished
    fallback: Fallback | None


class Recommender:
    """A model bound to the catalogue as of an instant, to the shop's placements and to its
    merchandising rules.

    Every query is scored by itself, so an answer never depends on what else is asked. Equal scores
    go by item_id. Raises UnknownName for a set of rules or an item feature that does not exist.
    """

    def __init__(
        self,
        model: RecommendationModel,
        items: ItemFeatures,
        placements: Mapping[str, Placement],
        rules: Mapping[str, RuleSet] = _NO_SETS,
    ) -> None:
        self.model = model
        self.items = items
        self.placements = placements
        self._catalogue = Catalogue(items, model.item_columns)
        self._source = CandidateSource(self._catalogue, model.retrieval, model.candidates)
        self._candidates = {
            name: placement.restricted(model.candidates.of(_task(placement)))
            for name, placement in placements.items()
        }
        self._finisher = Finisher(self._catalogue, placements, rules)
        self._buying_again = BuyingAgain(self._catalogue)
        self._carts = CartSource(self._catalogue, model.retrieval, model.candidates.cart)
        similar = model.retrieval.similar.item_ids
        self._reasons = Reasons(model, self._catalogue, self._source, self._carts)
        self._knn_at = self._catalogue.positions(similar)
        self._knn_index = {item_id: row for row, item_id in enumerate(similar)}
        self._stand_ins = stand_ins(self._catalogue)
        self._masks: OrderedDict[frozenset[str], BoolArray] = OrderedDict()

    def warm(self) -> None:
        """Answers a made-up visitor at every placement: compiled code is loaded now, and no visitor
        waits for it."""
        ids = self.items.item_ids[:2]
        if not len(ids):
            return
        once, at = (
            np.ones(len(ids), np.float32),
            np.full(len(ids), int(self.items.as_of.timestamp())),
        )
        viewed = tuple(ids[:1].tolist())
        history = UserHistory(
            None,
            self.items.as_of,
            ids,
            once,
            once,
            once,
            at,
            at,
            viewed_item_ids=viewed,
            viewed_at=(int(at[0]),),
        )
        self.recommend([RecommendationQuery(history, name, 20, viewed) for name in self.placements])

    def recommend(
        self, queries: Sequence[RecommendationQuery], *, policy: Policy | None = None
    ) -> list[Slate]:
        """A slate per query, ranks from 1. `policy` overrules the policy that won when the model
        was evaluated.

        Raises UnknownName for a placement the shop does not have.
        """
        return [self._slate(self._visit(query), policy) for query in queries]

    def lines(self, queries: Sequence[RecommendationQuery]) -> list[Lines]:
        """Of each slate that `recommend` gives item, score and reason of its places, and nothing
        else of it.

        The items of all histories are looked up at once.
        """
        bought = self._catalogue.positions_of_each([query.history.item_ids for query in queries])
        found: list[Lines] = []
        for start in range(0, len(queries), _TOGETHER):
            some = slice(start, start + _TOGETHER)
            visits = [
                self._visit(query, places)
                for query, places in zip(queries[some], bought[some], strict=True)
            ]
            found += map(self._lines, visits)
        return found

    def _lines(self, visit: _Visit) -> Lines:
        if visit.query.candidate_ids is not None:
            return Lines.of(self._given(visit, None).items)
        finished = self._answer(visit, None).finished
        if Reason.BECAUSE_YOU_VIEWED in finished.reasons:
            return Lines.of(self._reasons.told(visit.query, visit.visitor, finished))
        rows = np.array([each.at for each in finished.chosen], np.int64)
        scored = finished.scored
        return Lines(
            self.items.item_ids[scored.places[rows]], scored.scores[rows], finished.reasons
        )

    def _slate(self, visit: _Visit, policy: Policy | None) -> Slate:
        if visit.query.candidate_ids is not None:
            return self._given(visit, policy)
        finished, fallback = self._answer(visit, policy)
        return Slate(
            tuple(self._reasons.told(visit.query, visit.visitor, finished)),
            fallback,
            finished.withheld,
        )

    def _visit(self, query: RecommendationQuery, bought: Int64Array | None = None) -> _Visit:
        placement = self._placement(query)
        if query.candidate_ids is None and placement.scorer in LEARNT and query.context_item_ids:
            query = replace(query, history=with_context(query.history, query.context_item_ids))
        return _Visit(query, placement, self._source.visitor(query.history, bought))

    def _placement(self, query: RecommendationQuery) -> Placement:
        placement = self.placements.get(query.placement)
        if placement is None:
            raise UnknownName(query.placement, self.placements, kind="placement")
        return placement

    def _answer(self, visit: _Visit, policy: Policy | None) -> _Answer:
        query, placement, visitor = visit
        about = focus(self._catalogue, query.history) if placement.scorer in LEARNT else None
        keep = self._keep(query, placement, visitor)
        again: Mapping[int, float] = {}
        if placement.scorer in ("all", "buy_again"):
            keep[self._buying_again.never(visitor.own)] = False
            again = self._buying_again.less(query.history, visitor.own, visitor.rows)
        scored = self._scored(query, placement, visitor, policy, about, keep)
        fallback: Fallback | None = None
        fillers = [] if query.strict else self._fallback(placement.fallback)
        if not len(scored.places) and fillers:
            scored, fallback = fillers[0], placement.fallback
        wish = Wish(keep, fillers, self._stand_ins["new"].places, about, again)
        return _Answer(self._finisher.finish(query, placement, scored, wish), fallback)

    def _given(self, visit: _Visit, policy: Policy | None) -> Slate:
        """A given list in order, unknown items at its end. No rule holds: the list is the shop's
        own choice."""
        query, placement, visitor = visit
        scored = self._rank_given(query, visitor, policy)
        finished = self._finisher.finish(
            query, Placement(placement.scorer), scored, Wish(self._keep(query, placement, visitor))
        )
        return Slate(self._with_unknown(query, self._reasons.told(query, visitor, finished)))

    def _scored(
        self,
        query: RecommendationQuery,
        placement: Placement,
        visitor: Visitor,
        policy: Policy | None,
        about: BoolArray | None,
        keep: BoolArray,
    ) -> Scored:
        if placement.scorer == "bought_together" and query.context_item_ids:
            return self._completing(query.context_item_ids, visitor, policy)
        if placement.scorer == "similar" and query.context_item_ids:
            return self._near(query.context_item_ids)
        if placement.scorer == "trending":
            return self._stand_ins["trending"]
        if placement.scorer == "new_arrivals":
            return self._stand_ins["new"]
        if not len(visitor.own) and not len(visitor.viewed):
            return Scored.nothing()
        if placement.scorer == "buy_again":
            return self._bought_again(visitor)
        task = _task(placement)
        places = self._source.candidates(visitor, task, self._candidates[query.placement])
        if about is not None:
            places = np.union1d(places, self._of_focus(about, visitor, task))
        return self._judged(
            visitor, places, task, policy, keep[places], max(_GONE_ON, 3 * query.count)
        )

    def _of_focus(self, about: BoolArray, visitor: Visitor, task: RankingTask) -> Int64Array:
        """What sells best in the categories of this visit, the newest where nothing does."""
        found = np.flatnonzero(about)
        if task == "new":
            found = np.setdiff1d(found, visitor.own)
        age = self._catalogue.column("age_days", missing=np.inf)[found]
        return found[np.lexsort((age, -self._catalogue.popularity[found]))][:_FOCUS_CANDIDATES]

    def _judged(
        self,
        visitor: Visitor,
        places: Int64Array,
        task: RankingTask,
        policy: Policy | None,
        kept: BoolArray,
        best: int | None = None,
    ) -> Scored:
        """Scores of the candidates at `places`; nothing is spent on those that are not `kept` for
        the slate.

        The columns are of all of them, as in training, so that a filter changes no score.
        """
        if (policy or self.model.policies[task]) == "buy_again":
            # Popularity is below the decayed frequency of any purchase of the last two years.
            scores = 1e-5 * self._catalogue.popularity[places].astype(np.float64)
            whole = np.zeros(self._catalogue.n_items)
            whole[visitor.own] = visitor.history.decayed_frequency[visitor.rows]
            reasons = np.where(
                np.isin(places, visitor.own), Reason.BUY_AGAIN, Reason.POPULAR
            ).astype(object)
            return Scored(places, scores + whole[places], reasons)
        if not len(places):
            return Scored.nothing()
        matrix = columns(self._catalogue, visitor, places, self.model.user_columns)
        ranker = self.model.rankers[task]
        if kept.all():  # the usual case
            scores = ranker.score(matrix, best=best)
        else:
            scores = np.full(len(places), -np.inf)
            scores[kept] = ranker.score(matrix[kept], best=best)
        untold = np.empty(len(places), object)
        return Scored(
            places,
            scores,
            untold,
            matrix,
            task,
            tell=self._reasons.teller(visitor, places, task, matrix),
        )

    def _fallback(self, name: Fallback) -> list[Scored]:
        """What stands in, the placement's choice first. New items come last: else a new category
        would stay empty."""
        if name == "none":
            return []
        return [self._stand_ins[each] for each in dict.fromkeys((name, "popular", "new", "unseen"))]

    def _rank_given(
        self, query: RecommendationQuery, visitor: Visitor, policy: Policy | None
    ) -> Scored:
        places = self._catalogue.positions(np.array(query.candidate_ids, object))
        places = np.unique(places[places >= 0])
        if not len(visitor.own) and not len(visitor.viewed):
            popular = self._catalogue.popularity[places].astype(np.float64)
            return Scored.of(places, popular, Reason.POPULAR)
        return self._judged(visitor, places, "all", policy, np.ones(len(places), bool))

    def _near(self, context_item_ids: Sequence[str]) -> Scored:
        """Items near the context items, which are left out themselves."""
        rows = np.array(
            [self._knn_index[each] for each in context_item_ids if each in self._knn_index],
            np.int64,
        )
        scores = self.model.retrieval.similar.score(rows)
        scores[rows] = 0
        found = np.flatnonzero((scores > 0) & (self._knn_at >= 0))
        return Scored.of(self._knn_at[found], scores[found].astype(np.float64), Reason.SIMILAR)

    def _completing(
        self, context_item_ids: tuple[str, ...], visitor: Visitor, policy: Policy | None
    ) -> Scored:
        """What completes the cart of the context items, by its ranker or by the rules between items
        alone."""
        cart = self._carts.cart(context_item_ids)
        # A policy of another task says nothing here.
        wanted = policy if policy in ("ranker", "association") else self.model.policies.get("cart")
        if wanted != "ranker" or "cart" not in self.model.rankers:
            together = cart.together.copy()
            together[cart.held] = 0
            found = np.flatnonzero(together > 0)
            return replace(
                Scored.of(found, together[found].astype(np.float64), Reason.BOUGHT_TOGETHER),
                cart=cart,
            )
        places = self._carts.candidates(cart, visitor)
        if not len(places):
            return Scored.nothing()
        matrix = self._carts.columns(cart, visitor, places, self.model.user_columns)
        reasons = np.full(len(places), Reason.POPULAR, object)
        reasons[cart.near[places] > 0] = Reason.SIMILAR
        reasons[np.isin(places, visitor.own)] = Reason.BUY_AGAIN
        reasons[cart.together[places] > 0] = Reason.BOUGHT_TOGETHER
        return Scored(
            places, self.model.rankers["cart"].score(matrix), reasons, matrix, "cart", cart
        )

    def _bought_again(self, visitor: Visitor) -> Scored:
        history, model = visitor.history, self.model.buy_again
        by_item = history.decayed_frequency if model is None else model.score(history)
        return Scored.of(visitor.own, by_item[visitor.rows].astype(np.float64), Reason.BUY_AGAIN)

    def _keep(
        self, query: RecommendationQuery, placement: Placement, visitor: Visitor
    ) -> BoolArray:
        """Which items of the catalogue may stand in the slate."""
        if query.allowed_item_ids is None:
            keep = np.ones(self._catalogue.n_items, bool)
        else:
            keep = self._mask(query.allowed_item_ids).copy()
        excluded = [
            *query.exclude_item_ids,
            *(query.context_item_ids if query.candidate_ids is None else ()),
        ]
        for item_id in excluded:
            place = self._catalogue.index.get(item_id)
            if place is not None:
                keep[place] = False
        # A given list is the shop's own choice: only what the query itself asks for is left out of
        # it.
        if query.exclude_purchased or (placement.exclude_purchased and query.candidate_ids is None):
            keep[visitor.own] = False
        return keep

    def _mask(self, allowed: frozenset[str]) -> BoolArray:
        mask = self._masks.get(allowed)
        if mask is None:
            mask = np.zeros(self._catalogue.n_items, bool)
            places = self._catalogue.positions(np.array(list(allowed), object))
            mask[places[places >= 0]] = True
            self._masks[allowed] = mask
            while len(self._masks) > _MASKS_KEPT:
                self._masks.popitem(last=False)
        return mask

    def _with_unknown(
        self, query: RecommendationQuery, slate: list[ScoredItem]
    ) -> tuple[ScoredItem, ...]:
        """Given items that the catalogue does not know stand at the end, in the order given."""
        lowest = min((item.score for item in slate), default=0.0)
        unknown = [
            each
            for each in dict.fromkeys(query.candidate_ids or ())
            if each not in self._catalogue.index and each not in query.exclude_item_ids
        ]
        behind = [
            ScoredItem(item_id, len(slate) + n, lowest - n, Reason.POPULAR)
            for n, item_id in enumerate(unknown, start=1)
        ]
        return tuple([*slate, *behind][: query.count])


def _task(placement: Placement) -> RankingTask:
    """What a learnt placement's ranker learnt."""
    return "new" if placement.scorer == "new" else "all"
