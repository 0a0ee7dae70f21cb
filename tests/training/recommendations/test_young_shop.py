"""Shops that teach no ranker: views only, guests only, ten users, one week."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.settings import Settings
from features.contracts.errors import TooLittleData
from features.contracts.histories import UserHistory
from features.contracts.recommendations import Reason, RecommendationQuery
from features.facts.facts import Facts
from features.online.histories import compute_offline_histories, compute_offline_items
from models.ranking.model import RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from models.registry import Registry
from tests.shops.event_tables import make_table
from tests.shops.forty_shoppers import CONFIG, END, make_purchase, make_purchases
from tests.shops.one_sided_shops import ITEMS, make_ten_users, make_visits
from training.recommendations.task import RecommendationsTask, train
from training.results import Trained
from training.run import TrainingReport, TrainingRun


def fit(home: Path, events: list[dict[str, Any]]) -> tuple[Facts, Trained[RecommendationModel]]:
    settings = Settings(home=home)
    facts = Facts(settings)
    facts.write({"events": make_table("events", events), "items": make_table("items", ITEMS)})
    return facts, train(facts, settings, CONFIG, until=None, progress=lambda _: None)


@pytest.mark.parametrize("kind", ["view_item", "purchase"])
def test_views_alone_or_guests_alone_give_similar_items_that_are_evaluated(
    tmp_path: Path, kind: str
) -> None:
    facts, trained = fit(tmp_path, make_visits(kind))
    evaluation = trained.evaluation
    assert evaluation.passed
    assert "no ranker is fitted" in evaluation.notes[0]
    comparison = evaluation.comparison(evaluation.primary)
    assert comparison.ours > comparison.baselines["popularity"]

    trained.served.save(tmp_path / "model")
    model = RecommendationModel.load(tmp_path / "model")
    items = compute_offline_items(facts, END)
    placements = {"home": Placement("all"), "product": Placement("similar")}
    recommender = Recommender(model, items, placements)
    recommender.warm_up()
    now = int(END.timestamp())
    unknown = UserHistory.unknown(END)
    history = UserHistory(
        **{**vars(unknown), "viewed_item_ids": ("i00", "i03"), "viewed_at": (now, now)}
    )
    home, product, stranger = recommender.recommend(
        [
            RecommendationQuery(history, "home", 5),
            RecommendationQuery(unknown, "product", 5, ("i00",)),
            RecommendationQuery(unknown, "home", 5),
        ]
    )
    tastes = [int(item.item_id[1:]) % 3 for item in (*home.items, *product.items)]
    assert tastes.count(0) > 0.6 * len(tastes)
    assert {item.reason for item in product.items} == {Reason.SIMILAR}
    assert {item.reason for item in stranger.items} == {Reason.POPULAR}
    assert len(stranger.items) == 5


def test_a_week_of_ten_users_is_enough(tmp_path: Path) -> None:
    _, trained = fit(tmp_path, make_ten_users())
    assert "no ranker is fitted" in trained.evaluation.notes[0]
    assert trained.served.rankers == {}
    (comparison,) = trained.evaluation.comparisons
    assert 0 < comparison.ours < 1


def test_visitors_of_one_hour_give_a_model_that_nothing_was_held_out_for(tmp_path: Path) -> None:
    _, trained = fit(tmp_path, make_visits("purchase", days=0.01))
    assert trained.evaluation.comparisons == ()
    assert trained.evaluation.data["visitors evaluated"] == 0


@pytest.mark.slow
def test_rankers_replace_the_model_without_them_and_not_the_other_way_round(
    tmp_path: Path,
) -> None:
    settings = Settings(home=tmp_path)
    registry = Registry(settings.mlflow_url, settings.home)

    def retrain(events: list[dict[str, Any]], weeks_later: int = 0) -> TrainingReport:
        shift = timedelta(weeks=weeks_later)
        moved = [
            row | {"occurred_at": row["occurred_at"] + shift, "event_id": f"{shift} {number}"}
            for number, row in enumerate(events)
        ]
        facts = Facts(settings)
        facts.write({"events": make_table("events", moved), "items": make_table("items", ITEMS)})
        run = TrainingRun(facts, settings, registry, None, lambda _: None, accept_data=True)
        return run.train(RecommendationsTask(), CONFIG)

    assert retrain(make_visits("view_item"), weeks_later=-6).verdict.promote
    ranked = retrain(make_purchases())
    assert ranked.verdict.promote
    assert "the champion served only until there was such a model" in ranked.verdict.reason
    assert "of version 1" in ranked.verdict.reason
    assert "anchor" not in ranked.version.tags
    # Purchases stop, and weeks later people only look.
    stopped = retrain(make_visits("view_item", days=10), weeks_later=7)
    assert not stopped.verdict.promote
    assert "which was evaluated by NDCG@10 all items" in stopped.verdict.reason
    champion = registry.find_champion("recommendations")
    assert champion is not None
    assert champion.version == ranked.version.version


def test_without_any_visitor_it_says_what_is_missing(tmp_path: Path) -> None:
    events = [row | {"visitor_id": None, "order_id": None} for row in make_visits("view_item")]
    with pytest.raises(TooLittleData, match="no visitor"):
        fit(tmp_path, events)


def test_where_nobody_buys_anything_new_the_ranker_of_all_items_ranks_new_ones(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(8)
    own = [rng.choice(30, 4, replace=False) for _ in range(20)]
    events = [
        make_purchase(f"u{user:02}", f"i{item:02}", END - timedelta(weeks=week, hours=user))
        for week in range(1, 21)
        for user in range(20)
        for item in (own[user] if week > 15 else rng.permutation(own[user])[:2])
    ]
    facts, trained = fit(tmp_path, events)
    evaluation = trained.evaluation
    assert evaluation.comparison("NDCG@10 all items").ours > 0.9
    assert "NDCG@10 new items" not in [comparison.metric for comparison in evaluation.comparisons]

    placements = {"new_arrivals": Placement("new", exclude_purchased=True)}
    recommender = Recommender(trained.served, compute_offline_items(facts, END), placements)
    history = compute_offline_histories(facts, END)["u00"]
    (slate,) = recommender.recommend([RecommendationQuery(history, "new_arrivals", 5)])
    assert {item.item_id for item in slate.items}.isdisjoint(f"i{item:02}" for item in own[0])
