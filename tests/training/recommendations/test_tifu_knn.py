"""TIFU-kNN: its scores by hand, and its place among the baselines."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from models.retrieval.tifu_knn import TifuKnnConfig
from training.recommendations.purchases import Purchases
from training.recommendations.tifu_baseline import TifuKnn

# Three users, three items. Users 0 and 1 point nearly the same way, user 2 another.
VECTORS = sparse.csr_matrix(
    np.array([[1.0, 0.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 4.0]], np.float32)
)


def test_own_and_neighbours_vectors_are_mixed() -> None:
    model = TifuKnn(VECTORS, TifuKnnConfig(n_neighbors=1, own_weight=0.75))
    # The nearest of user 0 is user 1 (cosine 1 / sqrt 2), of user 1 user 0.
    expected = [
        [0.75 * 1 + 0.25 * 2, 0.25 * 2, 0],
        [0.75 * 2 + 0.25 * 1, 0.75 * 2, 0],
    ]
    assert model.score(np.array([0, 1])) == pytest.approx(np.array(expected))


def test_all_other_users_are_neighbours_where_there_are_few() -> None:
    model = TifuKnn(VECTORS, TifuKnnConfig(n_neighbors=50, own_weight=0.5))
    expected = [[0.5 * 1 + 0.5 * 2 / 2, 0.5 * 2 / 2, 0.5 * 4 / 2]]
    assert model.score(np.array([0])) == pytest.approx(np.array(expected))


def test_a_single_user_is_ranked_by_the_own_vector() -> None:
    model = TifuKnn(VECTORS[1], TifuKnnConfig())
    assert model.score(np.array([0])).tolist() == [[2, 2, 0]]


def test_orders_weigh_less_by_the_week() -> None:
    users, items = np.array([0, 0, 0]), np.array([0, 0, 1])
    purchases = Purchases(users, items, np.array([0.0, 2.0, 1.0]), (1, 2))
    expected = [[1 + 0.9**2, 0.9]]
    assert purchases.decay(0.9).toarray() == pytest.approx(np.array(expected))
    assert purchases.decay(1.0).toarray().tolist() == [[2, 1]]  # without decay: orders
