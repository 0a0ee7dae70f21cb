"""The scorer of the placements cart and bought_together: what completes the context items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from features.contracts.arrays import Int64Array, ObjectArray
from features.contracts.recommendations import Reason
from models.ranking.cart import Cart, CartSource
from models.ranking.catalogue import Catalogue
from models.ranking.model import Policy, RecommendationModel
from models.ranking.scored_items import ScoredItems
from models.ranking.scorers.scorer import ScoringRequest
from models.ranking.visitor import Visitor


class BoughtTogetherScorer:
    """Completes the cart of the context items, by its ranker or by association rules alone."""

    def __init__(self, model: RecommendationModel, catalogue: Catalogue, carts: CartSource) -> None:
        self._model, self._catalogue, self._carts = model, catalogue, carts

    def score(self, request: ScoringRequest) -> ScoredItems:
        """Score items outside the cart."""
        cart = self._carts.make_cart(request.query.context_item_ids)
        if self._choose_policy(request.policy) == "ranker":
            return self._rank(cart, request.visitor)
        together = cart.together.copy()
        together[cart.held] = 0
        positions = np.flatnonzero(together > 0)
        scores = together[positions].astype(np.float64)
        scored = ScoredItems.with_reason(positions, scores, Reason.BOUGHT_TOGETHER)
        return replace(scored, cart=cart)

    def _choose_policy(self, requested: Policy | None) -> Policy:
        # A policy of another task is not one for carts.
        policy = requested
        if policy not in ("ranker", "association"):
            policy = self._model.policies.get("cart")
        if policy != "ranker" or "cart" not in self._model.rankers:
            return "association"
        return "ranker"

    def _rank(self, cart: Cart, visitor: Visitor) -> ScoredItems:
        candidates = self._carts.find_candidates(cart, visitor)
        if not len(candidates):
            return ScoredItems.empty()
        matrix = self._carts.make_columns(cart, visitor, candidates, self._model.user_columns)
        return ScoredItems(
            positions=candidates,
            scores=self._model.rankers["cart"].score(matrix),
            reasons=self._find_reasons(cart, visitor, candidates),
            matrix=matrix,
            task="cart",
            cart=cart,
        )

    def _find_reasons(self, cart: Cart, visitor: Visitor, candidates: Int64Array) -> ObjectArray:
        reasons = self._catalogue.general_reasons(candidates)
        reasons[cart.near[candidates] > 0] = Reason.SIMILAR
        reasons[np.isin(candidates, visitor.bought)] = Reason.BUY_AGAIN
        reasons[cart.together[candidates] > 0] = Reason.BOUGHT_TOGETHER
        return reasons
