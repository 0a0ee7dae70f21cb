"""The baseline "buy again" and the served policy of that name are one rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.contracts.recommendations import RecommendationQuery
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from tests.shops.forty_shoppers import CONFIG, CUT, make_purchases, write_shop
from training.recommendations.baselines import make_baseline_slates
from training.recommendations.evaluation_input import EvaluationInput
from training.recommendations.purchases import read_purchases
from training.recommendations.snapshots import TrainingContext
from training.recommendations.task import train


def _quiet(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> EvaluationInput:
    home: Path = tmp_path_factory.mktemp("shop")
    facts, settings = write_shop(home, make_purchases())
    trained = train(facts, settings, CONFIG, until=None, refit=False, progress=_quiet)
    snapshot = TrainingContext(facts, settings, CONFIG, _quiet).snapshot(CUT)
    return EvaluationInput(
        cut=CUT,
        histories=snapshot.histories,
        items=snapshot.items,
        interactions=snapshot.interactions,
        model=trained.evaluated,
        relevant={},
        purchases=read_purchases(facts, CUT, snapshot.interactions),
        baselines=CONFIG.baselines,
        seed=settings.seed,
    )


@pytest.mark.parametrize("length", [5, 20])
def test_the_served_policy_gives_the_slates_of_the_baseline(
    data: EvaluationInput, length: int
) -> None:
    baseline = make_baseline_slates(data, ["all"], length)["all"]["buy again, as served"]
    recommender = Recommender(data.model, data.items, {"all": Placement("all")})
    assert len(data.histories) == 40
    for user, history in data.histories.items():
        query = RecommendationQuery(history, "all", length)
        (slate,) = recommender.recommend([query], policy="buy_again")
        assert [item.item_id for item in slate.items] == baseline[user]
