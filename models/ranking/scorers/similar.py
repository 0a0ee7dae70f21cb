"""The scorer of the placement product: alternatives to the items on the page.

An alternative is of the same kind: of the item's category, else of its parent. Among these count
what visits looked at together, what the same people bought, brand, price and title. What goes
together with an item but is of another kind belongs to the placement bought_together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from features.contracts.recommendations import Reason
from models.compiled.top_items import top_positions
from models.ranking.catalogue import Catalogue
from models.ranking.scored_items import ScoredItems
from models.ranking.scorers.scorer import ScoringRequest
from models.retrieval.interactions import invert_positions, scatter_scores
from models.retrieval.item_knn import ItemKnn
from models.retrieval.visit_sources import VisitSources

_MAX_CONTEXT = 5  # items of the page that count
# What people do decides within a category; brand, price and title where nobody did anything.
_BEHAVIOR_WEIGHT = 2.0
_BRAND_WEIGHT, _PRICE_WEIGHT, _TITLE_WEIGHT, _POPULARITY_WEIGHT = 0.2, 0.2, 0.4, 0.05
# The few nearest of the items that nobody has looked at or bought yet count as half as strong as
# the strongest: else they would wait below all others for their first look.
_N_UNSEEN, _UNSEEN_BEHAVIOR = 3, 0.5


class _Nearness(NamedTuple):
    """How near items are to one; `is_similar` where more than a parent category is in common.

    positions    int64 (n,), the others are of another kind
    values       float64 (n,)
    is_similar   bool (n,)
    """

    positions: Int64Array
    values: Float64Array
    is_similar: BoolArray


class SimilarScorer:
    """Alternatives to the context items, which are left out themselves."""

    def __init__(
        self, catalogue: Catalogue, item_knn: ItemKnn, visit_sources: VisitSources | None
    ) -> None:
        self._catalogue, self._item_knn = catalogue, item_knn
        self._knn_positions = catalogue.positions(item_knn.item_ids)
        self._knn_rows = invert_positions(self._knn_positions, catalogue.n_items)
        self._co_views = None if visit_sources is None else visit_sources.co_views
        item_ids = np.zeros(0, object) if visit_sources is None else visit_sources.item_ids
        self._view_positions = catalogue.positions(item_ids)
        self._view_rows = invert_positions(self._view_positions, catalogue.n_items)
        items = catalogue.items
        self._has_category = items.category.astype(str) != ""
        self._departments = catalogue.categories[0]
        order = np.argsort(self._departments, kind="stable")
        codes, starts = np.unique(self._departments[order], return_index=True)
        ends = [*starts[1:].tolist(), len(order)][: len(codes)]
        self._by_department = {
            code: order[start:end]
            for code, start, end in zip(codes.tolist(), starts.tolist(), ends, strict=True)
        }
        self._brands = np.unique(items.brand.astype(str), return_inverse=True)[1]
        self._has_brand = items.brand.astype(str) != ""
        missing = np.full(catalogue.n_items, np.nan, np.float32)
        price = items.columns.get("price_minor", missing)
        self._log_price = np.log(np.where(price > 0, price, np.nan))
        self._is_unseen = self._find_unseen()

    def score(self, request: ScoringRequest) -> ScoredItems:
        """Score the alternatives of the context items by their summed nearness."""
        context = np.array(request.query.context_item_ids, object)
        context = np.unique(self._catalogue.positions(context))
        context = context[context >= 0]
        scores = np.zeros(self._catalogue.n_items)
        is_similar = np.zeros(self._catalogue.n_items, bool)
        for position in context[:_MAX_CONTEXT].tolist():
            nearness = self._measure_nearness(position)
            scores[nearness.positions] += nearness.values
            is_similar[nearness.positions] |= nearness.is_similar
        scores[context] = 0
        near = np.flatnonzero(scores > 0)
        reasons = self._catalogue.general_reasons(near)
        reasons[is_similar[near]] = Reason.SIMILAR
        return ScoredItems(near, scores[near], reasons)

    def _measure_nearness(self, position: int) -> _Nearness:
        """Return the nearness of the items of the same department to one item.

        Where the item has no category, its kind is what people do with it.
        """
        behavior = self._measure_behavior(position)
        if not self._has_category[position]:
            near = np.flatnonzero(behavior)
            return _Nearness(near, behavior[near].astype(np.float64), np.ones(len(near), bool))
        near = self._by_department[self._departments[position]]
        behavior = behavior[near]
        codes = self._catalogue.categories
        shared = (codes[:, near] == codes[:, [position]]).mean(0)
        is_alternative = shared == 1
        alike = shared + self._compare_brand_and_price(position, near)
        alike += self._compare_titles(position, near)
        is_unseen = self._is_unseen[near] & is_alternative & (near != position)
        unseen = np.where(is_unseen, alike, 0).astype(np.float32)
        behavior[top_positions(unseen, _N_UNSEEN)] = _UNSEEN_BEHAVIOR
        values = alike + _BEHAVIOR_WEIGHT * shared * behavior
        values += _POPULARITY_WEIGHT * self._catalogue.popularity[near]
        return _Nearness(near, values, is_alternative | (behavior > 0))

    def _measure_behavior(self, position: int) -> Float32Array:
        """Return how much people saw and bought each item with this one, 1 for the strongest."""
        n_items = self._catalogue.n_items
        behavior = np.zeros(n_items, np.float32)
        row = self._knn_rows[position]
        if row >= 0:
            scores = self._item_knn.score(np.array([row]))
            behavior += _scale(scatter_scores(scores, self._knn_positions, n_items))
        view_row = self._view_rows[position]
        if self._co_views is not None and view_row >= 0:
            scores = self._co_views.score(np.array([view_row]))
            behavior += _scale(scatter_scores(scores, self._view_positions, n_items))
        behavior[position] = 0
        return _scale(behavior)

    def _compare_brand_and_price(self, position: int, others: Int64Array) -> Float64Array:
        """Return what brand and price in common add to the nearness of others (n,) to one item."""
        nearness = np.zeros(len(others))
        if self._has_brand[position]:
            nearness += _BRAND_WEIGHT * (self._brands[others] == self._brands[position])
        if np.isfinite(self._log_price[position]):
            ratio = np.abs(self._log_price[others] - self._log_price[position])
            nearness += _PRICE_WEIGHT * np.nan_to_num(np.exp(-ratio))
        return nearness

    def _compare_titles(self, position: int, others: Int64Array) -> Float64Array:
        """Return what the title of one item adds to the nearness of others (n,) with such words."""
        titles = self._catalogue.items.title
        if titles is None or not titles[position]:
            return np.zeros(len(others))
        match = self._catalogue.text_match.score(titles[position])[others]
        return _TITLE_WEIGHT * np.minimum(match, 1.0).astype(np.float64)

    def _find_unseen(self) -> BoolArray:
        """Return which items (n_items,) nobody has viewed or bought, as far as the model knows."""
        columns = self._catalogue.items.columns
        missing = np.zeros(self._catalogue.n_items, np.float32)
        views = np.nan_to_num(columns.get("views_1w", missing))
        known: Int64Array = np.concatenate([self._knn_positions, self._view_positions])
        is_unseen: BoolArray = ~self._catalogue.is_sold & (views == 0)
        is_unseen[known[known >= 0]] = False
        return is_unseen


def _scale(scores: Float32Array) -> Float32Array:
    """Return the scores as shares of the highest."""
    highest = float(scores.max(initial=0.0))
    return scores / np.float32(highest) if highest > 0 else scores
