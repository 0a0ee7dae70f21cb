"""Methods that rank by purchases against answers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from models.retrieval.bm25_knn import Bm25Knn
from models.retrieval.purchase_method import KnownPurchases
from models.retrieval.tifu_knn import TifuKnn, TifuKnnConfig

ITEMS = np.array(["a", "b", "c"], object)


def make_purchases(
    rows: list[int], ages: list[list[float]], *, per_week: float = 0.9
) -> KnownPurchases:
    """Return the purchases of items at `rows`, each ordered `ages` weeks ago."""
    return KnownPurchases(
        np.array(rows, np.int64),
        np.array([len(of_item) for of_item in ages], np.float32),
        np.array([sum(per_week**age for age in of_item) for of_item in ages], np.float32),
        np.array([max(of_item) for of_item in ages]),
        np.array([min(of_item) for of_item in ages]),
    )


def test_one_and_two_orders_decay_exactly_and_more_nearly() -> None:
    purchases = make_purchases([0, 1, 2], [[3], [8, 1], [20, 12, 6, 2]])
    one, two, four = purchases.decay(0.96).tolist()
    assert one == pytest.approx(0.96**3)
    assert two == pytest.approx(0.96**8 + 0.96)
    assert four == pytest.approx(0.96**20 + 0.96**12 + 0.96**6 + 0.96**2, rel=0.01)
    assert purchases.decay(0.9).tolist() == pytest.approx(purchases.decayed_frequency.tolist())


def test_tifu_mixes_own_orders_with_those_of_the_nearest() -> None:
    vectors = sparse.csr_matrix(np.array([[2, 2, 0], [0, 0, 4], [1, 0, 0]], np.float32))
    model = TifuKnn(ITEMS, vectors, TifuKnnConfig(n_neighbors=2, own_weight=0.75))
    # Of somebody who has "a" the nearest two are users 2 and 0; their mean is (1.5, 1, 0).
    scores = model.score_purchases(make_purchases([0], [[0]]))
    assert scores.tolist() == pytest.approx([0.75 * 1 + 0.25 * 1.5, 0.25 * 1, 0])


def test_item_knn_counts_orders_by_its_weighting() -> None:
    similarity = sparse.csr_matrix(np.array([[5, 2, 0], [2, 5, 1], [0, 1, 5]], np.float32))
    purchases = make_purchases([0, 1], [[0, 1, 2], [4]])
    by_orders = Bm25Knn(ITEMS, similarity, "orders").score_purchases(purchases)
    assert by_orders.tolist() == [3 * 5 + 2, 3 * 2 + 5, 1]
    binary = Bm25Knn(ITEMS, similarity, "binary").score_purchases(purchases)
    assert binary.tolist() == [5 + 2, 2 + 5, 1]
