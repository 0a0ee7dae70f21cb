"""The columns of a ranker: each value stands under its own name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
from models.ranking.candidates import CandidateSource
from models.ranking.cart import CartSource, cart_columns
from models.ranking.catalogue import Catalogue
from models.ranking.columns import column_names, make_columns
from models.ranking.model import RecommendationModel
from models.ranking.visitor import Visitor

VIEW_AGE_WEEKS = 1 / (7 * 24)  # views of a made history are an hour old


@pytest.fixture(scope="module")
def catalogue(model: RecommendationModel, items: ItemFeatures) -> Catalogue:
    return Catalogue(items, model.item_columns)


@pytest.fixture(scope="module")
def visitor(
    model: RecommendationModel, catalogue: Catalogue, history: Callable[..., UserHistory]
) -> Visitor:
    """Three orders of i02, the last a week ago, and one of i05; i09 viewed."""
    source = CandidateSource(catalogue, model.retrieval, model.candidates)
    return source.make_visitor(history("u", {"i02": (3, 1.0), "i05": (1, 4.0)}, ("i09",)))


def by_name(names: tuple[str, ...], row: np.ndarray) -> dict[str, float]:
    return dict(zip(names, row.tolist(), strict=True))


def test_every_value_stands_under_its_name(
    model: RecommendationModel, catalogue: Catalogue, visitor: Visitor
) -> None:
    candidates = catalogue.positions(np.array(["i02", "i03", "i09"], object))
    table = make_columns(catalogue, visitor, candidates, model.user_columns)
    names = column_names(model.item_columns, model.user_columns)
    bought, _, viewed = (by_name(names, row) for row in table)
    weekly = 0.9 + 0.9**2 + 0.9**3  # decayed orders of i02, one, two and three weeks old
    total = weekly + 0.9**4
    ease, als = visitor.ease.at(candidates), visitor.als
    expected = {
        "n_orders": 3,
        "quantity": 3,
        "decayed_frequency": weekly,
        "recency_weeks": 1,
        "span_weeks": 2,
        "gap_weeks": 2 / (3 - 1),
        "due_ratio": 1 / 1,
        "ease": ease[0],
        "ease_decayed": visitor.ease_decayed.at(candidates)[0],
        "ease_rank": (ease > ease[0]).sum(),
        "als": als.factors[als.rows[candidates[0]]] @ als.user,
        "viewed_weeks_ago": np.nan,
        # i02 is milk, i05 is tea; all of it is food.
        "category_1_affinity": total,
        "category_1_share": 1,
        "category_1_n_items": 2,
        "category_1_recency_weeks": 1,
        "category_2_affinity": weekly,
        "category_2_share": weekly / total,
        "category_2_n_items": 1,
        "category_2_recency_weeks": 1,
        "user_orders": 3 + 1,
    }
    for name in model.item_columns:
        expected[f"item_{name}"] = catalogue.items.columns[name][candidates[0]]
    for name, value in expected.items():
        assert bought[name] == pytest.approx(value, rel=1e-5, nan_ok=True), name
    assert set(names) - set(expected) == {
        f"category_3_{name}" for name in ("affinity", "share", "n_items", "recency_weeks")
    }
    assert viewed["viewed_weeks_ago"] == pytest.approx(VIEW_AGE_WEEKS)
    assert np.isnan(viewed["n_orders"])


def test_every_value_of_a_cart_stands_under_its_name(
    model: RecommendationModel, catalogue: Catalogue, visitor: Visitor
) -> None:
    carts = CartSource(catalogue, model.retrieval, model.candidates.cart)
    cart = carts.make_cart(("i02", "i04", "i05"))
    candidates = catalogue.positions(np.array(["i06", "i08"], object))
    table = carts.make_columns(cart, visitor, candidates, model.user_columns)
    row = by_name(cart_columns(model.item_columns, model.user_columns), table[0])
    together = cart.together[candidates]
    expected = {
        "together_sum": together[0],
        "together_mean": together[0] / 3,
        "together_max": cart.strongest[candidates[0]],
        "together_rank": (together > together[0]).sum(),
        "near_sum": cart.near[candidates[0]],
        "cart_items": 3,
        "price_to_cart": np.nan,  # this shop has no prices
        "cart_share_category_1": 1,
        "cart_share_category_2": 2 / 3,  # i02 and i04 are milk, as i06 is
        "item_orders_4w": catalogue.items.columns["orders_4w"][candidates[0]],
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-5, nan_ok=True), name
