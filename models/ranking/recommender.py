"""The one object that makes slates: the evaluation calls it, and so does the server."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.contracts.errors import UnknownName
from features.contracts.histories import DECAY_PER_WEEK, FAST_DECAY_PER_WEEK
from features.contracts.recommendations import ItemFeatures, Reason, RecommendationQuery, ScoredItem, Slate
from models.ranking.candidates import CandidateSource
from models.ranking.cart import Cart, CartSource
from models.ranking.features import Catalogue, Floats, Positions, Visitor, column_names, columns
from models.ranking.model import Policy, RecommendationModel, Task
from models.ranking.placement import Placement

_NEW_ARRIVAL_DAYS = 28
# Orders a week that are imagined behind every item: one order of a rarity is not a trend.
_TRENDING_PRIOR = 5.0
_MASKS_KEPT = 32


@dataclass(frozen=True)
class _Scored:
    """Positions with scores and reasons, in any order; `matrix` is the ranker's input when a ranker scored.

    `cart` is what rules between items were followed from."""

    places: Positions
    scores: npt.NDArray[np.float64]
    reasons: npt.NDArray[np.object_]
    matrix: Floats | None = None
    task: Task | None = None
    cart: Cart | None = None


class Recommender:
    """A model bound to the catalogue as of an instant and to the shop's placements.

    Every query is scored by itself, so an answer never depends on what else is asked. Equal scores go by item_id.
    """

    def __init__(
        self,
        model: RecommendationModel,
        items: ItemFeatures,
        placements: Mapping[str, Placement],
    ) -> None:
        self.model = model
        self.items = items
        self.placements = placements
        self._catalogue = Catalogue(items, model.item_columns)
        self._source = CandidateSource(self._catalogue, model.retrieval, model.candidates)
        self._carts = CartSource(self._catalogue, model.retrieval, model.candidates)
        similar = model.retrieval.similar.item_ids
        self._knn_at = self._catalogue.positions(similar)
        self._knn_index = {item_id: row for row, item_id in enumerate(similar)}
        self._masks: OrderedDict[frozenset[str], npt.NDArray[np.bool_]] = OrderedDict()

    def recommend(self, queries: Sequence[RecommendationQuery], *, policy: Policy | None = None) -> list[Slate]:
        """A slate per query, ranks from 1. `policy` overrules the policy that won when the model was evaluated.

        Raises UnknownName for a placement the shop does not have.
        """
        return [self._one(query, policy) for query in queries]

    def _one(self, query: RecommendationQuery, policy: Policy | None) -> Slate:
        placement = self.placements.get(query.placement)
        if placement is None:
            raise UnknownName(query.placement, self.placements, kind="placement")
        visitor = self._source.visitor(query.history)
        fallback = None
        if query.candidate_ids is not None:
            scored = self._rank_given(query, visitor, policy)
        else:
            scored = self._scored(query, placement, visitor, policy)
            if not len(scored.places) and not query.strict:
                scored, fallback = self._popular(), "popular"
        keep = self._keep(query, placement, visitor)
        chosen = np.flatnonzero(keep[scored.places])
        order = chosen[np.lexsort((scored.places[chosen], -scored.scores[chosen]))][: query.count]
        slate = self._items(query, scored, order)
        if query.candidate_ids is not None:
            return Slate(self._with_unknown(query, slate), fallback)
        if len(slate) < query.count and not query.strict and fallback is None:
            slate = self._filled(slate, query.count, keep)
        return Slate(tuple(slate), fallback)

    def _scored(
        self, query: RecommendationQuery, placement: Placement, visitor: Visitor, policy: Policy | None
    ) -> _Scored:
        if placement.scorer == "bought_together" and query.context_item_ids:
            return self._completing(query.context_item_ids, visitor, policy)
        if placement.scorer == "similar" and query.context_item_ids:
            return self._near(query.context_item_ids)
        if placement.scorer == "trending":
            return self._trending()
        if placement.scorer == "new_arrivals":
            return self._new_arrivals()
        if not len(visitor.own) and not len(visitor.viewed):
            return _nothing()
        if placement.scorer == "buy_again":
            return self._bought_again(visitor)
        return self._learnt(visitor, "new" if placement.scorer == "new" else "all", policy)

    def _learnt(self, visitor: Visitor, task: Task, policy: Policy | None) -> _Scored:
        """The candidates of the task, scored by its ranker or by the simple policy."""
        places = self._source.candidates(visitor, task)
        return self._judged(visitor, places, task, policy)

    def _judged(self, visitor: Visitor, places: Positions, task: Task, policy: Policy | None) -> _Scored:
        reasons = self._reasons(visitor, places)
        if (policy or self.model.policies[task]) == "buy_again":
            # Popularity is below the decayed frequency of any purchase of the last two years.
            scores = 1e-5 * self._catalogue.popularity[places].astype(np.float64)
            whole = np.zeros(self._catalogue.n_items)
            whole[visitor.own] = visitor.history.decayed_frequency[visitor.rows]
            return _Scored(places, scores + whole[places], reasons)
        if not len(places):
            return _nothing()
        matrix = columns(self._catalogue, visitor, places, self.model.user_columns)
        return _Scored(places, self.model.rankers[task].score(matrix), reasons, matrix, task)

    def _reasons(self, visitor: Visitor, places: Positions) -> npt.NDArray[np.object_]:
        """Why each candidate is one: the source that carries it."""
        owned = np.zeros(self._catalogue.n_items, bool)
        owned[visitor.own] = True
        ease, seen = visitor.ease[places], visitor.ease_viewed[places]
        viewed = np.isin(places, visitor.viewed) | ((seen > 0) & (seen > ease - seen))
        reasons = np.full(len(places), Reason.POPULAR, object)
        reasons[self._source.promoted[places]] = Reason.PROMOTED
        reasons[(ease > 0) | (visitor.als[places] > 0.1)] = Reason.SIMILAR
        reasons[viewed] = Reason.BECAUSE_YOU_VIEWED
        reasons[owned[places]] = Reason.BUY_AGAIN
        return reasons

    def _rank_given(self, query: RecommendationQuery, visitor: Visitor, policy: Policy | None) -> _Scored:
        places = self._catalogue.positions(np.array(query.candidate_ids, object))
        places = np.unique(places[places >= 0])
        if not len(visitor.own) and not len(visitor.viewed):
            popular = self._catalogue.popularity[places].astype(np.float64)
            return _Scored(places, popular, np.full(len(places), Reason.POPULAR, object))
        return self._judged(visitor, places, "all", policy)

    def _near(self, context_item_ids: Sequence[str]) -> _Scored:
        """Items near the context items, which are left out themselves."""
        rows = np.array([self._knn_index[each] for each in context_item_ids if each in self._knn_index], np.int64)
        scores = self.model.retrieval.similar.score(rows)
        scores[rows] = 0
        found = np.flatnonzero((scores > 0) & (self._knn_at >= 0))
        reasons = np.full(len(found), Reason.SIMILAR, object)
        return _Scored(self._knn_at[found], scores[found].astype(np.float64), reasons)

    def _completing(self, context_item_ids: tuple[str, ...], visitor: Visitor, policy: Policy | None) -> _Scored:
        """What completes the cart of the context items, by its ranker or by the rules between items alone."""
        cart = self._carts.cart(context_item_ids)
        # A policy of another task says nothing here.
        wanted = policy if policy in ("ranker", "association") else self.model.policies.get("cart")
        if wanted != "ranker" or "cart" not in self.model.rankers:
            together = cart.together.copy()
            together[cart.held] = 0
            found = np.flatnonzero(together > 0)
            reasons = np.full(len(found), Reason.BOUGHT_TOGETHER, object)
            return _Scored(found, together[found].astype(np.float64), reasons, cart=cart)
        places = self._carts.candidates(cart, visitor)
        if not len(places):
            return _nothing()
        matrix = self._carts.columns(cart, visitor, places, self.model.user_columns)
        reasons = np.full(len(places), Reason.POPULAR, object)
        reasons[cart.near[places] > 0] = Reason.SIMILAR
        reasons[np.isin(places, visitor.own)] = Reason.BUY_AGAIN
        reasons[cart.together[places] > 0] = Reason.BOUGHT_TOGETHER
        return _Scored(places, self.model.rankers["cart"].score(matrix), reasons, matrix, "cart", cart)

    def _trending(self) -> _Scored:
        """Rising: orders a week now over the usual ones, by two decays, both with _TRENDING_PRIOR orders added.

        A steady r orders a week sum up to r / -ln(decay), so each sum times -ln(decay) is a weekly rate.
        """
        now = self._column("orders_decayed_fast") * -math.log(FAST_DECAY_PER_WEEK)
        usual = self._column("orders_decayed") * -math.log(DECAY_PER_WEEK)
        scores = np.log((now + _TRENDING_PRIOR) / (usual + _TRENDING_PRIOR))
        found = np.flatnonzero(scores > 0)
        return _Scored(found, scores[found], np.full(len(found), Reason.TRENDING, object))

    def _new_arrivals(self) -> _Scored:
        """Arrived in the last four weeks, the newest first."""
        age = self._column("age_days", missing=np.inf)
        found = np.flatnonzero(age <= _NEW_ARRIVAL_DAYS)
        return _Scored(found, -age[found], np.full(len(found), Reason.NEW, object))

    def _bought_again(self, visitor: Visitor) -> _Scored:
        history, rows = visitor.history, visitor.rows
        model = self.model.buy_again
        by_item = history.decayed_frequency if model is None else model.score(history)
        scores = by_item[rows].astype(np.float64)
        return _Scored(visitor.own, scores, np.full(len(visitor.own), Reason.BUY_AGAIN, object))

    def _popular(self) -> _Scored:
        places = self._source.popular
        scores = self._catalogue.popularity[places].astype(np.float64)
        return _Scored(places, scores, np.full(len(places), Reason.POPULAR, object))

    def _column(self, name: str, missing: float = 0.0) -> npt.NDArray[np.float64]:
        values = self.items.columns.get(name)
        if values is None:
            return np.full(self._catalogue.n_items, missing)
        return np.nan_to_num(values.astype(np.float64), nan=missing, posinf=missing)

    def _keep(self, query: RecommendationQuery, placement: Placement, visitor: Visitor) -> npt.NDArray[np.bool_]:
        """Which items of the catalogue may stand in the slate."""
        if query.allowed_item_ids is None:
            keep = np.ones(self._catalogue.n_items, bool)
        else:
            keep = self._mask(query.allowed_item_ids).copy()
        excluded = [*query.exclude_item_ids, *(query.context_item_ids if query.candidate_ids is None else ())]
        for item_id in excluded:
            place = self._catalogue.index.get(item_id)
            if place is not None:
                keep[place] = False
        # A given list is the shop's own choice: only what the query itself asks for is left out of it.
        if query.exclude_purchased or (placement.exclude_purchased and query.candidate_ids is None):
            keep[visitor.own] = False
        return keep

    def _mask(self, allowed: frozenset[str]) -> npt.NDArray[np.bool_]:
        mask = self._masks.get(allowed)
        if mask is None:
            mask = np.zeros(self._catalogue.n_items, bool)
            places = self._catalogue.positions(np.array(list(allowed), object))
            mask[places[places >= 0]] = True
            self._masks[allowed] = mask
            while len(self._masks) > _MASKS_KEPT:
                self._masks.popitem(last=False)
        return mask

    def _items(self, query: RecommendationQuery, scored: _Scored, order: Positions) -> list[ScoredItem]:
        contributions: list[dict[str, float] | None] = [None] * len(order)
        if query.explain:
            contributions = self._contributions(scored, order)
        return [
            ScoredItem(
                str(self.items.item_ids[scored.places[at]]),
                rank,
                float(scored.scores[at]),
                Reason(scored.reasons[at]),
                contribution,
            )
            for rank, (at, contribution) in enumerate(zip(order, contributions, strict=True), start=1)
        ]

    def _contributions(self, scored: _Scored, order: Positions) -> list[dict[str, float] | None]:
        """What each column adds to the score, largest first; the score itself where no ranker scored.

        Rules that speak for the item are told behind it: "support X", "confidence X" and "lift X" of each context item.
        """
        rules = [self._carts.evidence(scored.cart, int(scored.places[at])) if scored.cart else {} for at in order]
        if scored.matrix is None or scored.task is None:
            return [
                {str(scored.reasons[at]): float(scored.scores[at])} | rule
                for at, rule in zip(order, rules, strict=True)
            ]
        ranker = self.model.rankers[scored.task]
        values = ranker.contributions(scored.matrix[order])
        explained: list[dict[str, float] | None] = []
        for row, rule in zip(values, rules, strict=True):
            largest = np.argsort(-np.abs(row), kind="stable")
            explained.append({ranker.columns[column]: float(row[column]) for column in largest if row[column]} | rule)
        return explained

    def _filled(self, slate: list[ScoredItem], count: int, keep: npt.NDArray[np.bool_]) -> list[ScoredItem]:
        """Popular items behind a short slate; each says so in its reason."""
        present = {item.item_id for item in slate}
        lowest = min((item.score for item in slate), default=1.0)
        filled = list(slate)
        for place in self._source.popular:
            if len(filled) >= count:
                break
            item_id = str(self.items.item_ids[place])
            if keep[place] and item_id not in present:
                score = min(lowest, 0.0) - 1.0 + float(self._catalogue.popularity[place])
                filled.append(ScoredItem(item_id, len(filled) + 1, score, Reason.POPULAR))
        return filled

    def _with_unknown(self, query: RecommendationQuery, slate: list[ScoredItem]) -> tuple[ScoredItem, ...]:
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


def _nothing() -> _Scored:
    return _Scored(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, object))


def ranker_columns(item_columns: Sequence[str], user_columns: Sequence[str]) -> tuple[str, ...]:
    """Names of the rankers' columns, in order."""
    return column_names(item_columns, user_columns)
