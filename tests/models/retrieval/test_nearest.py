"""Items of the highest inner product: exactly where all are looked at, nearly where clusters
are."""

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


def visitors(n: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=(n, N_FACTORS)).astype(np.float32)


def test_few_items_are_all_looked_at() -> None:
    search = Nearest.build(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0], [-1.0, 0.0]], np.float32))
    who = np.array([1.0, 0.5], np.float32)  # products 1, .5, 3 and -1
    assert search.search(who, 3, NONE).tolist() == [2, 0, 1]
    assert search.search(who, 9, np.array([2])).tolist() == [0, 1]
    assert search.search(who, 0, NONE).tolist() == []


def test_clusters_find_nearly_all_of_the_best_and_none_that_is_left_out(
    factors: np.ndarray,
) -> None:
    exact, near = Nearest.build(factors), Nearest.build(factors, exact_up_to=100)
    found, left_out = [], np.arange(0, N, 3)
    for who in visitors(50):
        best, some = exact.search(who, 40, left_out), near.search(who, 40, left_out)
        assert not np.isin(some, left_out).any()
        products = factors[some] @ who
        assert (products > 0).all() and (np.diff(products) <= 0).all()
        found.append(len(np.intersect1d(best, some)) / len(best))
    assert np.mean(found) > 0.95


def test_the_same_factors_give_the_same_answers_also_through_disk(
    factors: np.ndarray, tmp_path: Path
) -> None:
    first, second = (Nearest.build(factors, exact_up_to=100) for _ in range(2))
    first.save(tmp_path / "nearest.faiss")
    loaded = Nearest.load(factors, tmp_path / "nearest.faiss")
    Nearest.build(factors).save(tmp_path / "none.faiss")
    assert not (tmp_path / "none.faiss").exists()
    for who in visitors(20):
        assert first.search(who, 20, NONE).tolist() == second.search(who, 20, NONE).tolist()
        assert first.search(who, 20, NONE).tolist() == loaded.search(who, 20, NONE).tolist()
