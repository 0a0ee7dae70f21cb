"""What completes a cart: candidates and columns for one cart and its visitor, known or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array
from models.compiled.top_items import top_positions
from models.ranking.columns import Catalogue, Visitor, column_names, columns
from models.ranking.model import CartCandidates, Retrieval
from models.retrieval.interactions import invert_positions, scatter_scores

_CART = (
    "together_sum",
    "together_mean",
    "together_max",
    "together_rank",
    "near_sum",
    "cart_items",
    "price_to_cart",
)


@dataclass(frozen=True)
class Cart:
    """A cart in positions of the catalogue, and what its items speak for.

    held                  positions of the cart's items, distinct
    together, strongest   sum and maximum (n_items,) of the rules from the cart's items
    near                  summed similarity (n_items,) to them, by who bought both
    """

    held: Int64Array
    together: Float32Array
    strongest: Float32Array
    near: Float32Array


class CartSource:
    """The rules and neighbours of one model bound to a catalogue."""

    def __init__(self, catalogue: Catalogue, retrieval: Retrieval, config: CartCandidates) -> None:
        self._catalogue = catalogue
        self._association = retrieval.bought_together
        self._similar = retrieval.similar
        self._config = config
        self._association_at = catalogue.positions(self._association.item_ids)
        self._similar_at = catalogue.positions(self._similar.item_ids)
        self._to_association = invert_positions(self._association_at, catalogue.n_items)
        self._to_similar = invert_positions(self._similar_at, catalogue.n_items)
        self._popular = top_positions(catalogue.popularity, config.popular)
        price = catalogue.items.columns.get("price_minor")
        self._price = np.full(catalogue.n_items, np.nan, np.float32) if price is None else price

    def cart(self, item_ids: tuple[str, ...]) -> Cart:
        """The cart of these items; what the catalogue does not know is left out."""
        held = np.unique(self._catalogue.positions(np.array(item_ids, object)))
        held = held[held >= 0]
        rules = self._to_association[held]
        summed, strongest = self._association.sum_and_strongest(rules[rules >= 0])
        rows = self._to_similar[held]
        near = self._similar.score(rows[rows >= 0])
        n = self._catalogue.n_items
        together = (
            scatter_scores(summed, self._association_at, n),
            scatter_scores(strongest, self._association_at, n),
        )
        return Cart(held, *together, scatter_scores(near, self._similar_at, n))

    def candidates(self, cart: Cart, visitor: Visitor) -> Int64Array:
        """Distinct positions outside the cart, ascending; popular items stand only beside
        others."""
        config = self._config
        chosen = np.zeros(self._catalogue.n_items, bool)
        chosen[top_positions(cart.together, config.together)] = True
        chosen[top_positions(cart.near, config.near)] = True
        frequency = visitor.history.decayed_frequency[visitor.rows]
        chosen[visitor.own[top_positions(frequency, config.own)]] = True
        if chosen.any():
            chosen[self._popular] = True
        chosen[cart.held] = False
        return np.flatnonzero(chosen)

    def columns(
        self, cart: Cart, visitor: Visitor, places: Int64Array, user_columns: tuple[str, ...]
    ) -> Float32Array:
        """The ranker's input (n_candidates, columns): what the visitor's tasks see, and the cart's
        own columns."""
        together = cart.together[places]
        n_held = np.float32(len(cart.held))
        rank = np.empty(len(places), np.float32)
        rank[np.argsort(-together, kind="stable")] = np.arange(len(places), dtype=np.float32)
        prices = self._price[cart.held]
        known = prices[np.isfinite(prices) & (prices > 0)]
        to_cart = self._price[places] / (known.mean() if len(known) else np.float32(np.nan))
        of_cart = [
            together,
            together / max(n_held, np.float32(1)),
            cart.strongest[places],
            rank,
            cart.near[places],
            np.full(len(places), n_held),
            to_cart,
        ]
        for codes in self._catalogue.categories:
            same = np.bincount(codes[cart.held], minlength=int(codes.max(initial=0)) + 1)
            of_cart.append(same[codes[places]] / max(n_held, np.float32(1)))
        own = columns(self._catalogue, visitor, places, user_columns)
        return np.concatenate([own, np.stack(of_cart, axis=1).astype(np.float32)], axis=1)

    def evidence(self, cart: Cart, place: int) -> dict[str, float]:
        """Support, confidence and lift of the rules from the cart's items to the item at `place`,
        by the item's id."""
        to = int(self._to_association[place])
        found: dict[str, float] = {}
        for held in cart.held:
            row = int(self._to_association[held])
            rule = self._association.find_evidence(row, to) if row >= 0 and to >= 0 else None
            if rule is not None:
                item_id = self._catalogue.items.item_ids[held]
                found |= {
                    f"support {item_id}": rule.support,
                    f"confidence {item_id}": rule.confidence,
                    f"lift {item_id}": rule.lift,
                }
        return found


def cart_columns(item_columns: tuple[str, ...], user_columns: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the columns of `CartSource.columns`, in order."""
    same = [f"cart_share_category_{depth}" for depth in (1, 2, 3)]
    return (*column_names(item_columns, user_columns), *_CART, *same)
