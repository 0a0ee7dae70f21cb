"""What completes a cart: candidates and columns for one cart and its visitor, known or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array
from models.compiled.top_items import top_positions
from models.ranking.catalogue import CATEGORY_DEPTHS, Catalogue
from models.ranking.columns import column_names, make_columns
from models.ranking.model import CartCandidates, Retrieval
from models.ranking.visitor import Visitor
from models.retrieval.interactions import invert_positions, scatter_scores

CART_COLUMNS = (
    "together_sum",
    "together_mean",
    "together_max",
    "together_rank",
    "near_sum",
    "cart_items",
    "price_to_cart",
    *(f"cart_share_category_{depth}" for depth in CATEGORY_DEPTHS),
)


@dataclass(frozen=True)
class Cart:
    """A cart in positions of the catalogue, and the scores that its items give to others.

    held                  positions of the cart's items, distinct
    together, strongest   sum and maximum (n_items,) of the rules from the cart's items
    near                  summed similarity (n_items,) to them, by who bought both
    """

    held: Int64Array
    together: Float32Array
    strongest: Float32Array
    near: Float32Array


class CartSource:
    """The association rules and neighbours of one model bound to a catalogue."""

    def __init__(self, catalogue: Catalogue, retrieval: Retrieval, config: CartCandidates) -> None:
        self._catalogue = catalogue
        self._association = retrieval.bought_together
        self._similar = retrieval.similar
        self._config = config
        self._association_positions = catalogue.positions(self._association.item_ids)
        self._similar_positions = catalogue.positions(self._similar.item_ids)
        self._association_rows = invert_positions(self._association_positions, catalogue.n_items)
        self._similar_rows = invert_positions(self._similar_positions, catalogue.n_items)
        self._popular = top_positions(catalogue.popularity, config.popular)
        price = catalogue.items.columns.get("price_minor")
        self._price = np.full(catalogue.n_items, np.nan, np.float32) if price is None else price

    def make_cart(self, item_ids: tuple[str, ...]) -> Cart:
        """Return the cart of these items; those that the catalogue does not know are left out."""
        held = np.unique(self._catalogue.positions(np.array(item_ids, object)))
        held = held[held >= 0]
        association_rows = self._association_rows[held]
        total, strongest = self._association.sum_and_strongest(
            association_rows[association_rows >= 0]
        )
        similar_rows = self._similar_rows[held]
        near = self._similar.score(similar_rows[similar_rows >= 0])
        n_items = self._catalogue.n_items
        return Cart(
            held,
            together=scatter_scores(total, self._association_positions, n_items),
            strongest=scatter_scores(strongest, self._association_positions, n_items),
            near=scatter_scores(near, self._similar_positions, n_items),
        )

    def find_candidates(self, cart: Cart, visitor: Visitor) -> Int64Array:
        """Return distinct positions outside the cart, ascending.

        Popular items are candidates only where there are others.
        """
        config = self._config
        chosen = np.zeros(self._catalogue.n_items, bool)
        chosen[top_positions(cart.together, config.together)] = True
        chosen[top_positions(cart.near, config.near)] = True
        frequency = visitor.history.decayed_frequency[visitor.history_rows]
        chosen[visitor.bought[top_positions(frequency, config.own)]] = True
        if chosen.any():
            chosen[self._popular] = True
        chosen[cart.held] = False
        return np.flatnonzero(chosen)

    def make_columns(
        self, cart: Cart, visitor: Visitor, candidates: Int64Array, user_columns: tuple[str, ...]
    ) -> Float32Array:
        """Return the ranker's input (n_candidates, columns): the visitor's columns, the cart's."""
        together = cart.together[candidates]
        n_held = np.float32(len(cart.held))
        rank = np.empty(len(candidates), np.float32)
        rank[np.argsort(-together, kind="stable")] = np.arange(len(candidates), dtype=np.float32)
        prices = self._price[cart.held]
        known = prices[np.isfinite(prices) & (prices > 0)]
        mean_price = known.mean() if len(known) else np.float32(np.nan)
        by_name = {
            "together_sum": together,
            "together_mean": together / max(n_held, np.float32(1)),
            "together_max": cart.strongest[candidates],
            "together_rank": rank,
            "near_sum": cart.near[candidates],
            "cart_items": np.full(len(candidates), n_held),
            "price_to_cart": self._price[candidates] / mean_price,
        }
        for depth, codes in zip(CATEGORY_DEPTHS, self._catalogue.categories, strict=True):
            n_held_by_code = np.bincount(codes[cart.held], minlength=int(codes.max(initial=0)) + 1)
            share = n_held_by_code[codes[candidates]] / max(n_held, np.float32(1))
            by_name[f"cart_share_category_{depth}"] = share
        cart_table = np.stack([by_name[name] for name in CART_COLUMNS], axis=1)
        visitor_table = make_columns(self._catalogue, visitor, candidates, user_columns)
        return np.concatenate([visitor_table, cart_table.astype(np.float32)], axis=1)

    def find_evidence(self, cart: Cart, position: int) -> dict[str, float]:
        """Return support, confidence and lift of the rules from the cart to an item.

        The keys name the cart's item by its id.
        """
        to = int(self._association_rows[position])
        evidence: dict[str, float] = {}
        for held in cart.held:
            row = int(self._association_rows[held])
            rule = self._association.find_evidence(row, to) if row >= 0 and to >= 0 else None
            if rule is not None:
                item_id = self._catalogue.items.item_ids[held]
                evidence |= {
                    f"support {item_id}": rule.support,
                    f"confidence {item_id}": rule.confidence,
                    f"lift {item_id}": rule.lift,
                }
        return evidence


def cart_columns(item_columns: tuple[str, ...], user_columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the columns of `CartSource.make_columns`, in order."""
    return (*column_names(item_columns, user_columns), *CART_COLUMNS)
