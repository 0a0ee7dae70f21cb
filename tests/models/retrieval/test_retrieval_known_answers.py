"""Retrieval models against answers worked out by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from features.contracts.errors import BadInput
from features.contracts.histories import UserHistory
from models.compiled.top_items import top_positions
from models.retrieval.als import Als
from models.retrieval.bpr import Bpr
from models.retrieval.ease import Ease, EaseConfig, fit_ease
from models.retrieval.interactions import WEIGHTINGS, Interactions, Weighting
from models.retrieval.item_knn import ItemKnnConfig, fit_item_knn
from models.retrieval.local_ease import LocalEaseConfig, fit_local_ease

ONE = np.ones((1, 1), np.float32)


def make_interactions(*rows: tuple[float, ...]) -> Interactions:
    users = np.array([f"u{n}" for n in range(len(rows))], object)
    items = np.array([f"i{n}" for n in range(len(rows[0]))], object)
    return Interactions(users, items, sparse.csr_matrix(np.array(rows, np.float32)))


def test_ease_is_the_ridge_regression_of_each_item_on_the_others() -> None:
    # Gram plus 1 on the diagonal: [[3 + 1, 2], [2, 2 + 1]]; a regression on one item is 2 over its
    # diagonal.
    model = fit_ease(make_interactions((1, 1), (1, 1), (1, 0)), EaseConfig(l2=1.0))
    assert model.score(np.array([0]), ONE)[0].tolist() == pytest.approx([0, 2 / 4])
    assert model.score(np.array([1]), ONE)[0].tolist() == pytest.approx([2 / 3, 0])


def test_local_ease_with_all_neighbours_is_ease_and_with_one_the_regression_on_the_nearest() -> (
    None
):
    rng = np.random.default_rng(3)
    shop = make_interactions(*(rng.random((40, 9)) < 0.4).astype(float).tolist())
    whole = fit_ease(shop, EaseConfig(l2=2.0))
    local = fit_local_ease(
        shop, LocalEaseConfig(n_neighbors=8, n_co_occurring=8, min_buyers=1, l2=2.0)
    )
    assert local.item_ids.tolist() == whole.item_ids.tolist()
    np.testing.assert_allclose(local.weights.toarray(), whole.weights.toarray(), atol=1e-5)

    # i0 and i2 were bought by the same three, i1 by two of them.
    near = make_interactions((1, 1, 1), (1, 1, 1), (1, 0, 1), (0, 0, 0))
    config = LocalEaseConfig(n_neighbors=1, min_buyers=1, l2=1.0)
    weights = fit_local_ease(near, config).weights.toarray()
    # i0 and i2 are as near to i1: the first is chosen.
    assert weights[:, 1].tolist() == pytest.approx([2 / (3 + 1), 0, 0])
    assert weights[:, 2].tolist() == pytest.approx([3 / (3 + 1), 0, 0])


@pytest.mark.parametrize("n_users", [12, 60])  # fewer and more than half of the items
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_ease_of_many_orders_is_exact_with_few_users_and_with_many(
    weighting: Weighting, n_users: int
) -> None:
    rng = np.random.default_rng(7)
    orders = (rng.random((n_users, 40)) < 0.3) * rng.integers(1, 60, (n_users, 40))
    shop = make_interactions(*orders.astype(float).tolist())
    values = shop.weigh(weighting).toarray().astype(np.float64)
    inverse = np.linalg.inv(values.T @ values + 2.0 * np.eye(40))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    model = fit_ease(shop, EaseConfig(l2=2.0, weighting=weighting))
    np.testing.assert_allclose(model.weights.toarray(), expected, atol=1e-4)


def test_ease_on_values_weighs_orders() -> None:
    # Gram plus 1: [[9 + 1 + 1, 3], [3, 1 + 1]].
    model = fit_ease(make_interactions((3, 1), (1, 0)), EaseConfig(l2=1.0, weighting="orders"))
    assert model.score(np.array([0]), ONE)[0].tolist() == pytest.approx([0, 3 / 11])


def test_ease_on_logarithms_weighs_orders_by_them_and_loads_as_it_was_saved(tmp_path: Path) -> None:
    # Gram plus 1, in units of ln 2, as ln 4 is 2 ln 2: the diagonal of i0 is 4 + 1, beside it 2.
    square = math.log(2) ** 2
    model = fit_ease(make_interactions((3, 1), (1, 0)), EaseConfig(l2=1.0, weighting="log"))
    expected = [0, 2 * square / (5 * square + 1)]
    assert model.score(np.array([0]), ONE)[0].tolist() == pytest.approx(expected)
    model.save(tmp_path)
    loaded = Ease.load(tmp_path)
    orders = np.array([1, 3], np.float32)
    assert loaded.weigh(orders).tolist() == pytest.approx([math.log(2), math.log(4)])


def test_ease_of_an_older_release_weighs_one_order_like_many(tmp_path: Path) -> None:
    fit_ease(make_interactions((3, 1), (1, 0)), EaseConfig()).save(tmp_path)
    path = tmp_path / "model.json"
    meta = json.loads(path.read_text())
    del meta["weighting"]
    path.write_text(json.dumps(meta))
    assert Ease.load(tmp_path).weigh(np.array([1, 3], np.float32)).tolist() == [1, 1]


def test_ease_keeps_the_items_with_most_buyers_however_often_they_bought() -> None:
    config = EaseConfig(n_items=2, l2=1.0, weighting="orders")
    model = fit_ease(make_interactions((1, 9, 1), (1, 0, 1)), config)
    assert model.item_ids.tolist() == ["i0", "i2"]


def test_item_knn_is_the_cosine_between_items() -> None:
    shop = make_interactions((1, 1), (1, 1), (1, 0))
    model = fit_item_knn(shop.item_ids, shop.binarise(), ItemKnnConfig(min_baskets=1))
    assert model.score(np.array([0])).tolist() == pytest.approx([0, 2 / math.sqrt(3 * 2)])


def test_an_item_in_too_few_baskets_has_no_neighbours() -> None:
    shop = make_interactions((1, 1), (1, 0), (1, 0))
    assert fit_item_knn(
        shop.item_ids, shop.binarise(), ItemKnnConfig(min_baskets=2)
    ).item_ids.tolist() == ["i0"]


def test_als_folds_a_user_in_by_weighted_least_squares() -> None:
    # One factor of 1 for both items: x = alpha / (2 + l2 + alpha - 1) with alpha 3 and l2 1.
    model = Als(np.array(["a", "b"], object), np.ones((2, 1), np.float32), l2=1.0, alpha=3.0)
    assert model.score(np.array([0])).tolist() == pytest.approx([3 / 5, 3 / 5])


@pytest.mark.parametrize("n_bought", [1, 7, 300])
def test_the_fold_in_of_als_solves_its_equations(n_bought: int) -> None:
    rng = np.random.default_rng(n_bought)
    factors = rng.normal(size=(400, 32)).astype(np.float32)
    model = Als(np.array([f"i{n:03}" for n in range(400)], object), factors, l2=0.05, alpha=5.0)
    rows = rng.choice(400, n_bought, replace=False)
    exact, bought = factors.astype(np.float64), factors[rows].astype(np.float64)
    system = exact.T @ exact + 0.05 * np.eye(32) + (5 - 1) * bought.T @ bought
    user = np.linalg.solve(system, 5 * bought.sum(0))
    assert np.linalg.norm(model.fold_in(rows) - user) <= 1e-4 * np.linalg.norm(user)
    assert not model.fold_in(rows[:0]).any()


def test_bpr_folds_a_user_in_by_ridge_regression_and_adds_the_bias() -> None:
    # One factor of 2 and 1: the user is 2 / (2 * 2 + l2) with l2 1; the biases are 0.5 and 0.25.
    factors = np.array([[2, 0.5], [1, 0.25]], np.float32)
    model = Bpr(np.array(["a", "b"], object), factors, fold_in_l2=1.0)
    assert model.score(np.array([0])).tolist() == pytest.approx([2 * 2 / 5 + 0.5, 2 / 5 + 0.25])


def test_top_takes_the_highest_above_zero_and_equals_by_position() -> None:
    scores = np.array([0.5, 0.0, 0.9, 0.5, -1.0, 0.5], np.float32)
    assert top_positions(scores, 3).tolist() == [2, 0, 3]
    assert top_positions(scores, 99).tolist() == [2, 0, 3, 5]


def test_interactions_count_orders_and_need_a_purchase() -> None:
    nobody = UserHistory.unknown(datetime(2024, 1, 1, tzinfo=UTC))
    buyer = replace(
        nobody, item_ids=np.array(["x", "y"], object), n_orders=np.array([2, 1], np.float32)
    )
    interactions = Interactions.from_histories({"b": buyer, "a": nobody})
    assert interactions.user_ids.tolist() == ["b"]
    assert interactions.item_ids.tolist() == ["x", "y"]
    assert interactions.matrix.toarray().tolist() == [[2, 1]]
    assert interactions.binarise().toarray().tolist() == [[1, 1]]
    with pytest.raises(BadInput, match="names a user"):
        Interactions.from_histories({"a": nobody})


@given(
    scores=st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0]), max_size=1000),
    k=st.sampled_from([0, 1, 7, 200, 201, 500]),
)
def test_the_best_are_the_same_however_many_are_asked_for(scores: list[float], k: int) -> None:
    positive = [position for position, score in enumerate(scores) if score > 0]
    expected = sorted(positive, key=lambda position: (-scores[position], position))[:k]
    assert top_positions(np.array(scores, np.float32), k).tolist() == expected
