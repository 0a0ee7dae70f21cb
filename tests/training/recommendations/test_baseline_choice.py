"""A baseline serves where it is measurably better than what was trained, as it was evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from configs.settings import Settings
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, Reason, RecommendationQuery
from features.facts.facts import Facts
from features.online.histories import compute_offline_histories, compute_offline_items
from models.digests import check_digests, write_digests
from models.ranking.model import RankingTask, RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from models.retrieval.bm25_knn import Bm25Knn
from models.retrieval.tifu_knn import TifuKnn
from tests.shops.dense_shops import DenseShop
from tests.shops.one_method_shops import END, OneMethodShop
from training.recommendations.task import RecommendationsTask, train
from training.results import Trained
from training.run import load_config

CUT = END - timedelta(weeks=4)
PLACEMENTS = {"all": Placement("all"), "new": Placement("new", exclude_purchased=True)}


class TrainedShop(NamedTuple):
    facts: Facts
    trained: Trained[RecommendationModel]
    folder: Path

    def read_histories(self) -> dict[str, UserHistory]:
        return compute_offline_histories(self.facts, CUT)

    def read_items(self) -> ItemFeatures:
        return compute_offline_items(self.facts, CUT)

    def load(self) -> RecommendationModel:
        check_digests(self.folder)
        return RecommendationModel.load(self.folder)


def train_shop(facts: Facts, settings: Settings, folder: Path, *, refit: bool) -> TrainedShop:
    config = load_config(RecommendationsTask(), settings)
    trained = train(facts, settings, config, until=None, refit=refit, progress=lambda _: None)
    trained.evaluated.save(folder)
    write_digests(folder)
    return TrainedShop(facts, trained, folder)


@pytest.fixture(scope="module")
def clubs(tmp_path_factory: pytest.TempPathFactory) -> TrainedShop:
    home = tmp_path_factory.mktemp("clubs")
    return train_shop(*OneMethodShop("clubs", 1, 26).open(home), home / "model", refit=True)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> TrainedShop:
    home = tmp_path_factory.mktemp("series")
    return train_shop(*OneMethodShop("series", 1, 13).open(home), home / "model", refit=False)


def recommend(
    model: RecommendationModel, items: ItemFeatures, history: UserHistory, task: RankingTask
) -> list[tuple[str, Reason]]:
    recommender = Recommender(model, items, PLACEMENTS)
    (slate,) = recommender.recommend([RecommendationQuery(history, task, 20)])
    return [(item.item_id, item.reason) for item in slate.items]


def assert_served_as_evaluated(shop: TrainedShop, tasks: tuple[RankingTask, ...]) -> None:
    model, items, histories = shop.load(), shop.read_items(), shop.read_histories()
    for task in tasks:
        slates: Mapping[str, list[str]] = shop.trained.evaluation.slates[task]  # type: ignore[assignment]
        for user in sorted(slates)[:40]:
            served = [item_id for item_id, _ in recommend(model, items, histories[user], task)]
            assert served == slates[user]


def test_where_readers_of_a_club_read_alike_the_nearest_users_rank_and_serve(
    clubs: TrainedShop,
) -> None:
    evaluation = clubs.trained.evaluation
    assert clubs.trained.evaluated.policies["new"] == "baseline"
    assert isinstance(clubs.trained.evaluated.baselines["new"], TifuKnn)
    assert evaluation.choices["baseline_new"] == "TIFU-kNN"
    assert "corrected for 5 baselines" in evaluation.choices["baseline_new_why"]
    assert any("TIFU-kNN ranks new items" in note for note in evaluation.notes)
    comparison = evaluation.comparison("NDCG@10 new items")
    others = {name: v for name, v in comparison.baselines.items() if name != "TIFU-kNN"}
    assert comparison.ours > 1.3 * max(others.values())
    assert comparison.ours == pytest.approx(comparison.baselines["TIFU-kNN"], abs=0.02)
    assert evaluation.passed
    assert_served_as_evaluated(clubs, ("all", "new"))


def test_where_series_are_read_on_item_knn_ranks_and_serves(series: TrainedShop) -> None:
    assert series.trained.evaluated.policies["new"] == "baseline"
    assert isinstance(series.trained.evaluated.baselines["new"], Bm25Knn)
    assert series.trained.evaluation.choices["baseline_new"] == "ItemKNN"
    assert series.trained.evaluation.passed
    assert_served_as_evaluated(series, ("all", "new"))


def test_the_refit_serves_the_same_baseline_fitted_on_all_data(clubs: TrainedShop) -> None:
    evaluated, served = clubs.trained.evaluated, clubs.trained.served
    assert served.policies == evaluated.policies
    before, after = evaluated.baselines["new"], served.baselines["new"]
    assert isinstance(before, TifuKnn) and isinstance(after, TifuKnn)
    assert after.vectors.nnz > before.vectors.nnz


def test_who_came_after_the_training_is_ranked_by_own_purchases(clubs: TrainedShop) -> None:
    model, items = clubs.load(), clubs.read_items()
    histories = clubs.read_histories()
    user = max(histories, key=lambda user: len(histories[user].item_ids))
    stranger = replace(histories[user], user_id="came later")
    assert recommend(model, items, stranger, "new") == recommend(
        model, items, histories[user], "new"
    )
    # The titles of the reader's club stand before all others.
    purchases = OneMethodShop("clubs", 1, 26).make_purchases()
    readers = {row["user_id"] for row in purchases}
    club = int(user[1:]) % 31
    mates = {reader for reader in readers if int(reader[1:]) % 31 == club}
    titles = {row["item_id"] for row in purchases if row["user_id"] in mates}
    new_titles = titles - set(stranger.item_ids)
    best = [item_id for item_id, _ in recommend(model, items, stranger, "new")]
    assert len(new_titles & set(best[: len(new_titles)])) >= 0.6 * len(new_titles)


def test_reasons_say_whether_an_item_was_bought_before(clubs: TrainedShop) -> None:
    model, items = clubs.load(), clubs.read_items()
    history = clubs.read_histories()["p001"]
    bought = set(history.item_ids)
    slate = dict(recommend(model, items, history, "all"))
    assert {slate[item_id] for item_id in slate.keys() & bought} == {Reason.BUY_AGAIN}
    assert {slate[item_id] for item_id in slate.keys() - bought} == {Reason.SIMILAR}


def test_purchases_of_retired_items_still_say_what_somebody_likes(clubs: TrainedShop) -> None:
    model, items = clubs.load(), clubs.read_items()
    history = clubs.read_histories()["p001"]
    kept = ~np.isin(items.item_ids, history.item_ids)
    rest = replace(
        items,
        item_ids=items.item_ids[kept],
        columns={name: values[kept] for name, values in items.columns.items()},
        category=items.category[kept],
        brand=items.brand[kept],
        family=None if items.family is None else items.family[kept],
        title=None if items.title is None else items.title[kept],
    )
    before = [item_id for item_id, _ in recommend(model, items, history, "new")]
    after = recommend(model, rest, history, "new")
    assert [item_id for item_id, _ in after] == before
    assert {reason for _, reason in after} == {Reason.SIMILAR}


def test_who_bought_nothing_that_the_baseline_knows_gets_what_is_popular(
    clubs: TrainedShop,
) -> None:
    model, items = clubs.load(), clubs.read_items()
    slate = recommend(model, items, UserHistory.unknown(CUT), "all")
    assert {reason for _, reason in slate} <= {Reason.POPULAR, Reason.NEW}


def test_where_the_ranker_is_as_good_nothing_changes(tmp_path: Path) -> None:
    shop = DenseShop("tastes", seed=1, n_people=150, n_items=100)
    trained = train_shop(*shop.open(tmp_path), tmp_path / "model", refit=False).trained
    assert "baseline" not in trained.evaluated.policies.values()
    assert not trained.evaluated.baselines
    assert not any(name.startswith("baseline") for name in trained.evaluation.choices)
