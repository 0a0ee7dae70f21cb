"""Items of the highest inner product: exact for few items, nearly exact by clusters."""

from pathlib import Path

import numpy as np
import pytest

from models.retrieval.nearest import Nearest

N, N_FACTORS = 4000, 16
NONE = np.zeros(0, np.int64)


@pytest.fixture(scope="module")
def factors() -> np.ndarray:
    """Items of fifty tastes; few are long, as popular items are."""
    rng = np.random.default_rng(6)
    tastes = rng.normal(size=(50, N_FACTORS))
    items = tastes[rng.integers(0, 50, N)] + 0.5 * rng.normal(size=(N, N_FACTORS))
    return np.asarray(items * rng.lognormal(0, 0.7, N)[:, None], np.float32)


def make_visitors(n: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=(n, N_FACTORS)).astype(np.float32)


def test_the_search_of_few_items_is_exact() -> None:
    nearest = Nearest.build(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0], [-1.0, 0.0]], np.float32))
    visitor = np.array([1.0, 0.5], np.float32)  # products 1, .5, 3 and -1
    assert nearest.search(visitor, 3, NONE).tolist() == [2, 0, 1]
    assert nearest.search(visitor, 9, np.array([2])).tolist() == [0, 1]
    assert nearest.search(visitor, 0, NONE).tolist() == []


def test_clusters_find_nearly_all_of_the_best_and_none_that_is_left_out(
    factors: np.ndarray,
) -> None:
    exact, near = Nearest.build(factors), Nearest.build(factors, exact_up_to=100)
    recalls, excluded = [], np.arange(0, N, 3)
    for visitor in make_visitors(50):
        best = exact.search(visitor, 40, excluded)
        rows = near.search(visitor, 40, excluded)
        assert not np.isin(rows, excluded).any()
        products = factors[rows] @ visitor
        assert (products > 0).all() and (np.diff(products) <= 0).all()
        recalls.append(len(np.intersect1d(best, rows)) / len(best))
    assert np.mean(recalls) > 0.95


def test_the_same_factors_give_the_same_answers_also_through_disk(
    factors: np.ndarray, tmp_path: Path
) -> None:
    first, second = (Nearest.build(factors, exact_up_to=100) for _ in range(2))
    first.save(tmp_path / "nearest.faiss")
    loaded = Nearest.load(factors, tmp_path / "nearest.faiss")
    Nearest.build(factors).save(tmp_path / "none.faiss")
    assert not (tmp_path / "none.faiss").exists()
    for visitor in make_visitors(20):
        assert first.search(visitor, 20, NONE).tolist() == second.search(visitor, 20, NONE).tolist()
        assert first.search(visitor, 20, NONE).tolist() == loaded.search(visitor, 20, NONE).tolist()
