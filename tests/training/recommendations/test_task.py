"""A recommendation training from facts to model, in a shop of forty shoppers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.settings import Settings
from features.contracts.errors import BadInput
from features.facts.facts import Facts
from models.ranking.lambdarank import Ranker
from models.ranking.model import RecommendationModel
from tests.shops.forty_shoppers import (
    BASELINES,
    CONFIG,
    CUT,
    END,
    list_items_bought_after_cut,
    make_purchase,
    make_purchases,
    write_shop,
)
from training.recommendations.metrics import ndcg
from training.recommendations.task import evaluate, train
from training.results import Trained


def run_training(facts: Facts, settings: Settings, **options: Any) -> Trained[RecommendationModel]:
    return train(
        facts,
        settings,
        CONFIG,
        until=options.pop("until", None),
        progress=lambda _: None,
        **options,
    )


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Facts, Settings]:
    return write_shop(tmp_path_factory.mktemp("shop"), make_purchases())


@pytest.fixture(scope="module")
def result(facts: tuple[Facts, Settings]) -> Trained[RecommendationModel]:
    return run_training(*facts)


def test_the_cut_and_every_baseline_stand_in_the_evaluation(
    result: Trained[RecommendationModel],
) -> None:
    assert result.evaluation.cut == CUT
    visitors, carts = result.evaluation.comparisons[:2], result.evaluation.comparisons[2:]
    assert [comparison.metric for comparison in visitors] == [
        "NDCG@10 all items",
        "NDCG@10 new items",
    ]
    assert [comparison.metric for comparison in carts] == [
        "recall@10 last of cart",
        "NDCG@10 last of cart",
    ]
    for comparison in carts:
        assert set(comparison.baselines) == {"recent popularity", "ItemKNN", "ItemKNN orders"}
    for comparison in visitors:
        assert set(comparison.baselines) == BASELINES
        strongest = comparison.baselines[comparison.strongest]
        assert strongest == max(comparison.baselines.values())


def list_items_bought_before_cut() -> dict[str, set[str]]:
    own: dict[str, set[str]] = {}
    for row in make_purchases():
        if row["occurred_at"] < CUT:
            own.setdefault(row["user_id"], set()).add(row["item_id"])
    return own


def test_the_figure_is_that_of_the_slates_by_the_written_protocol(
    result: Trained[RecommendationModel],
) -> None:
    own, slates = list_items_bought_before_cut(), result.evaluation.slates["new"]
    new = {user: items - own[user] for user, items in list_items_bought_after_cut().items()}
    relevant = {user: items for user, items in new.items() if items}
    assert set(slates) == set(relevant)
    mean = np.mean([ndcg(slates[user], relevant[user], 10) for user in relevant])
    assert result.evaluation.comparison("NDCG@10 new items").ours == pytest.approx(mean)


def test_slates_of_new_items_hold_nothing_bought_before(
    result: Trained[RecommendationModel],
) -> None:
    own = list_items_bought_before_cut()
    for user, slate in result.evaluation.slates["new"].items():
        assert not set(slate) & own[user]


def test_where_the_ranker_loses_the_simple_rule_serves_and_the_rankers_own_figure_is_told(
    facts: tuple[Facts, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    score = Ranker.score
    monkeypatch.setattr(Ranker, "score", lambda self, matrix, best=None: -score(self, matrix))
    result = run_training(*facts, refit=False)
    assert result.served.policies["all"] == "buy_again"
    assert any("the simple rule serves" in note for note in result.evaluation.notes)
    comparison = result.evaluation.comparison("NDCG@10 all items")
    assert comparison.ours < comparison.baselines["buy again"]
    relevant, slates = (
        list_items_bought_after_cut(),
        result.evaluation.slates["all"],
    )  # those that will be served
    served = np.mean([ndcg(slates[user], relevant[user], 10) for user in relevant])
    assert served == pytest.approx(comparison.baselines["buy again"])


def test_a_plot_stands_beside_the_figures(result: Trained[RecommendationModel]) -> None:
    axes = result.evaluation.figures["ndcg_by_depth"].axes
    assert [panel.get_title() for panel in axes] == ["all items", "new items"]
    drawn = {line.get_label(): line.get_ydata()[4] for line in axes[0].lines}  # at ten places
    comparison = result.evaluation.comparison("NDCG@10 all items")
    assert drawn == pytest.approx({"Shopwright": comparison.ours, **comparison.baselines})


def test_the_same_data_and_seed_give_the_same_slates_and_nothing_after_until_is_seen(
    facts: tuple[Facts, Settings], result: Trained[RecommendationModel], tmp_path: Path
) -> None:
    later = [make_purchase(f"u{n:02}", "i29", END + timedelta(days=1 + n)) for n in range(10)]
    again = run_training(*write_shop(tmp_path, make_purchases() + later), until=END, refit=False)
    assert again.evaluation.slates == result.evaluation.slates
    assert again.evaluation.comparisons == result.evaluation.comparisons


def test_what_is_bought_after_the_cut_does_not_move_the_model_that_is_judged(
    result: Trained[RecommendationModel], tmp_path: Path
) -> None:
    before = [row for row in make_purchases() if row["occurred_at"] < CUT]
    after = [
        make_purchase(user, "i00", END - timedelta(hours=30))
        for user in list_items_bought_after_cut()
    ]
    other = run_training(*write_shop(tmp_path, before + after), refit=False)
    assert other.evaluation.cut == CUT
    for task, ranker in other.evaluated.rankers.items():
        assert (
            ranker.booster.model_to_string()
            == result.evaluated.rankers[task].booster.model_to_string()
        )
    weights = [each.evaluated.retrieval.ease.weights.toarray().tolist() for each in (other, result)]
    assert weights[0] == weights[1]


def test_without_history_before_the_cut_the_message_says_so(tmp_path: Path) -> None:
    empty = write_shop(tmp_path / "empty", [])
    with pytest.raises(BadInput, match="no events"):
        evaluate(*empty, CONFIG, until=None, progress=lambda _: None)
    young = write_shop(tmp_path / "young", [make_purchase("u1", "i01", END - timedelta(days=2))])
    with pytest.raises(
        BadInput, match="the first event is of 2024-05-04, and rankers need events before"
    ):
        evaluate(*young, CONFIG, until=None, progress=lambda _: None)
