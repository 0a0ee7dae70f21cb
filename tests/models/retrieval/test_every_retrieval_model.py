"""What holds for every retrieval model, through one suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from features.contracts.errors import BadInput
from features.contracts.histories import UserHistory
from models.compiled.top_items import top_positions
from models.retrieval.als import Als, AlsConfig, fit_als
from models.retrieval.association import Association, AssociationConfig, fit_association
from models.retrieval.bm25_knn import Bm25Knn, Bm25KnnConfig, fit_bm25_knn
from models.retrieval.bpr import Bpr, BprConfig, fit_bpr
from models.retrieval.ease import Ease, EaseConfig, fit_ease
from models.retrieval.interactions import Interactions
from models.retrieval.item_knn import ItemKnn, ItemKnnConfig, fit_item_knn
from models.retrieval.local_ease import LocalEaseConfig, fit_local_ease
from models.retrieval.purchase_method import KnownPurchases
from models.retrieval.purchase_methods import load_purchase_method
from models.retrieval.tifu_knn import TifuKnn, TifuKnnConfig, fit_tifu_knn


@dataclass(frozen=True)
class Case:
    """How one model is fitted and how it scores.

    Its numbers of items and neighbours are far above those of the tiny shop.
    """

    kind: type[Any]
    fit: Callable[[Interactions], Any]
    score: Callable[[Any, np.ndarray], np.ndarray]


def buy_once(rows: np.ndarray) -> KnownPurchases:
    """Return one order of each of the items at `rows`, made just now."""
    ones, ages = np.ones(len(rows), np.float32), np.zeros(len(rows))
    return KnownPurchases(rows.astype(np.int64), ones, ones, ages, ages)


def make_histories(interactions: Interactions) -> dict[str, UserHistory]:
    """Return the histories of users who made every order just now."""
    now = datetime(2024, 5, 6, tzinfo=UTC)
    histories = {}
    for user_id, row in zip(interactions.user_ids, interactions.matrix.toarray(), strict=True):
        bought, n_orders = interactions.item_ids[row > 0], row[row > 0]
        at = np.full(len(bought), int(now.timestamp()))
        unknown = UserHistory.unknown(now)
        histories[user_id] = replace(
            unknown,
            user_id=user_id,
            item_ids=bought,
            n_orders=n_orders,
            decayed_frequency=n_orders,
            first_at=at,
            last_at=at,
        )
    return histories


CASES = {
    "ease": Case(
        Ease,
        lambda i: fit_ease(i, EaseConfig(l2=1.0)),
        lambda m, rows: m.score(rows, np.ones((1, len(rows)), np.float32))[0],
    ),
    "local_ease": Case(
        Ease,
        lambda i: fit_local_ease(i, LocalEaseConfig(n_neighbors=5, min_buyers=1, l2=1.0)),
        lambda m, rows: m.score(rows, np.ones((1, len(rows)), np.float32))[0],
    ),
    "als": Case(
        Als,
        lambda i: fit_als(i, AlsConfig(n_factors=2, min_buyers=1), seed=3),
        lambda m, rows: m.score(rows),
    ),
    "bpr": Case(
        Bpr,
        lambda i: fit_bpr(i, BprConfig(n_factors=4, min_buyers=1), seed=3).model,
        lambda m, rows: m.score(rows),
    ),
    "item_knn": Case(
        ItemKnn,
        lambda i: fit_item_knn(i.item_ids, i.binarise(), ItemKnnConfig(min_baskets=1)),
        lambda m, rows: m.score(rows),
    ),
    "bm25_knn": Case(
        Bm25Knn,
        lambda i: fit_bm25_knn(i, Bm25KnnConfig()),
        lambda m, rows: m.score_purchases(buy_once(rows)),
    ),
    "tifu_knn": Case(
        TifuKnn,
        lambda i: fit_tifu_knn(i, make_histories(i), TifuKnnConfig(n_neighbors=10)),
        lambda m, rows: m.score_purchases(buy_once(rows)),
    ),
    "association": Case(
        Association,
        lambda i: fit_association(i.item_ids, i.binarise(), AssociationConfig(min_pairs=1)),
        lambda m, rows: m.score(rows),
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def shop() -> Interactions:
    """20 users and 12 items in two circles: even users buy even items, odd users odd ones."""
    rng = np.random.default_rng(5)
    matrix = (rng.random((20, 12)) < 0.7) & (np.arange(20)[:, None] % 2 == np.arange(12) % 2)
    ids = [
        np.array([f"{letter}{n:02}" for n in range(size)], object)
        for letter, size in (("u", 20), ("i", 12))
    ]
    return Interactions(*ids, sparse.csr_matrix(matrix.astype(np.float32)))


def test_what_the_same_circle_buys_scores_above_what_the_other_buys(
    case: Case, shop: Interactions
) -> None:
    scores = case.score(case.fit(shop), np.array([0, 2]))
    assert scores[[4, 6, 8, 10]].mean() > scores[1::2].mean() + 0.1


def test_a_refit_equals_the_fit(case: Case, shop: Interactions) -> None:
    rows = np.array([1, 3])
    assert case.score(case.fit(shop), rows).tolist() == case.score(case.fit(shop), rows).tolist()


def test_a_loaded_model_equals_the_saved_one_and_holds_no_pickle(
    case: Case, shop: Interactions, tmp_path: Path
) -> None:
    model = case.fit(shop)
    model.save(tmp_path)
    loaded = case.kind.load(tmp_path)
    for rows in (np.array([0]), np.array([1, 4, 7])):
        assert case.score(loaded, rows).tolist() == case.score(model, rows).tolist()
    assert loaded.item_ids.tolist() == model.item_ids.tolist()
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".npz"}


def test_another_kind_of_model_is_refused(case: Case, shop: Interactions, tmp_path: Path) -> None:
    other = next(other for other in CASES.values() if other.kind is not case.kind)
    other.fit(shop).save(tmp_path)
    with pytest.raises(BadInput, match="was expected"):
        case.kind.load(tmp_path)


def test_who_bought_nothing_scores_nothing(case: Case, shop: Interactions) -> None:
    assert not case.score(case.fit(shop), np.zeros(0, np.int64)).any()


def test_more_than_the_catalogue_is_not_there_to_give(case: Case, shop: Interactions) -> None:
    best = top_positions(case.score(case.fit(shop), np.array([0, 1])), 1000)
    assert len(best) == len(set(best.tolist())) <= 12


def test_two_users_and_two_items_are_enough(case: Case) -> None:
    ids = np.array(["a", "b"], object)
    tiny = Interactions(ids, ids, sparse.csr_matrix(np.array([[1, 1], [1, 0]], np.float32)))
    assert np.isfinite(case.score(case.fit(tiny), np.array([0]))).all()


@pytest.mark.parametrize("name", ["als", "bm25_knn", "bpr", "ease", "tifu_knn"])
def test_what_ranks_by_purchases_is_loaded_by_its_kind(
    name: str, shop: Interactions, tmp_path: Path
) -> None:
    method = CASES[name].fit(shop)
    method.save(tmp_path)
    loaded = load_purchase_method(tmp_path)
    assert type(loaded) is CASES[name].kind
    purchases = buy_once(np.array([0, 2]))
    scores = loaded.score_purchases(purchases)
    assert scores.tolist() == method.score_purchases(purchases).tolist()
    assert scores[[4, 6, 8, 10]].mean() > scores[1::2].mean()


def test_what_does_not_rank_by_purchases_is_no_such_method(
    shop: Interactions, tmp_path: Path
) -> None:
    CASES["association"].fit(shop).save(tmp_path)
    with pytest.raises(BadInput, match="'als' or 'bm25_knn' or 'bpr' or 'ease' or 'tifu_knn' was"):
        load_purchase_method(tmp_path)
