"""The evaluated of recommendations: every figure by hand or by its written protocol, both
protocols, every method."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.settings import Settings
from features.contracts.recommendations import RecommendationQuery
from features.facts.facts import Facts
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from tests.shops.forty_shoppers import (
    BASELINES,
    CONFIG,
    END,
    list_items_bought_after_cut,
    make_purchases,
    write_shop,
)
from training.recommendations import baseline_choice
from training.recommendations import evaluate as recommendation_evaluation
from training.recommendations import task as recommendations
from training.recommendations.evaluation_input import EvaluationInput, Slates
from training.recommendations.leave_one_out import hold_out_last_purchases
from training.recommendations.metrics import ndcg, recall
from training.recommendations.slate_metrics import SlateMetrics
from training.recommendations.task import evaluate
from training.results import OURS, Evaluation
from training.significance import compute_paired_p_value, correct_p_values


def record_inputs(monkeypatch: pytest.MonkeyPatch) -> list[EvaluationInput]:
    """The inputs of every evaluation from now on."""
    inputs: list[EvaluationInput] = []
    evaluate_unchanged = recommendations.evaluate_model

    def evaluate_model(data: EvaluationInput, *others: Any) -> Any:
        inputs.append(data)
        return evaluate_unchanged(data, *others)

    for module in (recommendations, baseline_choice):
        monkeypatch.setattr(module, "evaluate_model", evaluate_model)
    return inputs


def make_popularity_slates(data: EvaluationInput, users: list[str], k: int) -> Slates:
    """The items of most orders in the last four weeks, for everyone alike."""
    index = {item_id: position for position, item_id in enumerate(data.items.item_ids)}
    known = data.interactions.item_ids
    n = np.nan_to_num(data.items.columns["orders_4w"][[index[item_id] for item_id in known]])
    slate = [str(known[row]) for row in np.argsort(-n, kind="stable")[:k]]
    return dict.fromkeys(users, slate)


def make_our_slates(data: EvaluationInput) -> dict[str, list[str]]:
    """The served object's slates by the ranker, whether or not the simple rule won."""
    recommender = Recommender(data.model, data.items, {"all": Placement("all")})
    queries = [
        RecommendationQuery(data.histories[user], "all", 20) for user in data.relevant["all"]
    ]
    slates = recommender.recommend(queries, policy="ranker")
    return {
        user: [item.item_id for item in slate.items]
        for user, slate in zip(data.relevant["all"], slates, strict=True)
    }


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Facts, Settings]:
    return write_shop(tmp_path_factory.mktemp("shop"), make_purchases())


@pytest.fixture(scope="module")
def evaluated(facts: tuple[Facts, Settings]) -> tuple[Evaluation, EvaluationInput]:
    with pytest.MonkeyPatch.context() as patch:
        inputs = record_inputs(patch)
        evaluation = evaluate(*facts, CONFIG, until=None, progress=lambda _: None)
    return evaluation, inputs[0]


@pytest.fixture(scope="module")
def evaluation(evaluated: tuple[Evaluation, EvaluationInput]) -> Evaluation:
    return evaluated[0]


@pytest.fixture(scope="module")
def data(evaluated: tuple[Evaluation, EvaluationInput]) -> EvaluationInput:
    return evaluated[1]


def test_every_method_stands_in_every_table_ours_first(evaluation: Evaluation) -> None:
    assert len(evaluation.tables) == 10
    for table in evaluation.tables:
        assert next(iter(table.rows)) == OURS
        assert set(table.rows) == {OURS} | BASELINES
        assert all(
            len(cells) == len(table.columns) == len(table.n_users) for cells in table.rows.values()
        )
    assert set(evaluation.comparisons[0].baselines) == BASELINES


def test_the_tables_say_what_the_slates_say(evaluation: Evaluation, data: EvaluationInput) -> None:
    relevant, slates = list_items_bought_after_cut(), make_our_slates(data)
    table = evaluation.table("all items: accuracy at 20")
    values = dict(zip(table.columns, table.rows[OURS], strict=True))
    assert set(table.n_users) == {len(relevant)}
    mean_ndcg = np.mean([ndcg(slates[user], relevant[user], 20) for user in relevant])
    assert values["NDCG@20"].value == pytest.approx(mean_ndcg)
    assert values["recall@20"].value == pytest.approx(
        np.mean([recall(slates[u], relevant[u], 20) for u in relevant])
    )
    hit = np.mean([bool(set(slates[user]) & relevant[user]) for user in relevant])
    assert values["hit rate@20"].value == pytest.approx(hit)
    assert values["NDCG@20"].low < mean_ndcg < values["NDCG@20"].high


def test_every_baseline_is_tested_against_and_the_p_values_are_corrected_for_their_number(
    evaluation: Evaluation, data: EvaluationInput
) -> None:
    comparison = evaluation.comparisons[0]
    assert set(comparison.p_values) == BASELINES
    assert set(comparison.intervals) == BASELINES | {OURS}
    assert comparison.p_value == comparison.p_values[comparison.strongest]
    relevant, slates = data.relevant["all"], make_our_slates(data)
    users = sorted(relevant)
    ours = np.array([ndcg(slates[user], relevant[user], 10) for user in users])
    popular_slates = make_popularity_slates(data, users, 20)
    popular = np.array([ndcg(popular_slates[user], relevant[user], 10) for user in users])
    cell = evaluation.table("all items: accuracy at 10").rows["recent popularity"][0]
    raw = compute_paired_p_value(ours, popular)
    assert raw <= (cell.p_value or 0) <= min(1, raw * len(BASELINES)) * (1 + 1e-9)
    assert all(value >= 0 for value in correct_p_values(dict(comparison.p_values)).values())


def test_the_parts_of_the_users_together_are_all_users(evaluation: Evaluation) -> None:
    whole = evaluation.comparisons[0]
    table = evaluation.table("all items: NDCG@10 by activity of the user")
    assert sum(table.n_users) == len(list_items_bought_after_cut())
    for name in ("EASE", "buy again"):
        values = [cell.value for cell in table.rows[name]]
        assert np.average(values, weights=table.n_users) == pytest.approx(whole.baselines[name])


def test_the_parts_of_the_items_split_what_is_relevant(
    evaluation: Evaluation, data: EvaluationInput
) -> None:
    slate_metrics = SlateMetrics(data, data.relevant["all"])
    n_orders = dict(
        zip(
            data.interactions.item_ids,
            np.asarray(data.interactions.matrix.sum(0)).ravel(),
            strict=True,
        )
    )
    head = [
        item
        for item in data.interactions.item_ids
        if slate_metrics.item_class[slate_metrics.index[item]] == 0
    ]
    others = [item for item in data.interactions.item_ids if item not in head]
    assert min(n_orders[item] for item in head) >= max(n_orders[item] for item in others)
    third = sum(n_orders.values()) / 3
    assert third <= sum(n_orders[item] for item in head) < third + max(n_orders.values())
    counted = sum(
        part.sum()
        for name, part in slate_metrics.item_parts.items()
        if name in ("bought before", "new to the user")
    )
    assert counted == slate_metrics.item_parts["bought before"].size
    slates = evaluation.slates["all"]
    arrays = slate_metrics.to_arrays(slates, 20)
    own = {user: set(data.histories[user].item_ids) for user in slates}
    again = {user: data.relevant["all"][user] & own[user] for user in slates}
    expected = [recall(slates[user], again[user], 20) for user in sorted(slates) if again[user]]
    values = slate_metrics.measure_part(
        arrays, slate_metrics.item_parts["bought before"], "recall", 20
    )
    assert values[~np.isnan(values)].tolist() == pytest.approx(expected)


def test_the_policies_that_an_experiment_can_try_are_measured(evaluation: Evaluation) -> None:
    comparison, metrics = evaluation.comparison("NDCG@10 all items"), evaluation.metrics
    rule = comparison.baselines["buy again, as served"]
    assert metrics["policy_buy_again"] == rule
    assert metrics["policy_champion"] == max(comparison.ours, rule)
    assert 0 <= metrics["policy_buy_again_p"] <= 1


def test_coverage_is_that_of_everyone_and_stands_beside_the_simple_rule(
    evaluation: Evaluation, data: EvaluationInput
) -> None:
    table = evaluation.table("all items: beyond accuracy at 20")
    coverage = {
        name: cells[table.columns.index("coverage@20")] for name, cells in table.rows.items()
    }
    assert table.n_users[0] == len(data.histories) == 40
    assert evaluation.metrics["coverage@20 all"] == coverage[OURS].value
    assert evaluation.metrics["coverage@20 all buy again"] == coverage["buy again"].value
    assert coverage["recent popularity"].value == 20 / len(data.interactions.item_ids)
    assert any("coverage@20" in note and "times" in note for note in evaluation.notes)


def test_who_shows_everyone_the_most_bought_items_is_the_least_novel_and_the_most_popular(
    evaluation: Evaluation, data: EvaluationInput
) -> None:
    table = evaluation.table("all items: beyond accuracy at 20")
    values = {
        name: dict(zip(table.columns, cells, strict=True)) for name, cells in table.rows.items()
    }
    n = np.asarray(data.interactions.binarise().sum(0)).ravel()
    slate = [str(data.interactions.item_ids[at]) for at in np.argsort(-n, kind="stable")[:20]]
    slate_metrics = SlateMetrics(data, data.relevant["all"])
    arrays = slate_metrics.to_arrays(dict.fromkeys(data.histories, slate), 20)
    beyond, gini = (
        slate_metrics.measure_beyond_accuracy(arrays, 20),
        slate_metrics.measure_all_slates(arrays, 20)["Gini"],
    )
    for name in BASELINES | {OURS}:
        assert beyond["novelty"].mean() <= values[name]["novelty@20"].value + 1e-9
        assert gini >= values[name]["Gini@20"].value - 1e-9
    assert beyond["popularity lift"].mean() > 0


def test_what_only_the_catalogue_has_takes_a_place_and_covers_nothing(
    data: EvaluationInput, evaluation: Evaluation
) -> None:
    known = data.interactions.item_ids
    fewer = replace(data.interactions, item_ids=known[:-1], matrix=data.interactions.matrix[:, :-1])
    relevant = {"u00": frozenset([str(known[0])])}
    slate_metrics = SlateMetrics(replace(data, interactions=fewer), relevant)
    arrays = slate_metrics.to_arrays({"u00": [str(known[-1]), str(known[0])]}, 3)
    assert arrays.hits.tolist() == [[False, True, False]]
    assert slate_metrics.measure_accuracy(arrays, 3)["NDCG"].tolist() == pytest.approx(
        [1 / math.log2(3)]
    )
    assert slate_metrics.measure_all_slates(arrays, 3)["coverage"] == 1 / (len(known) - 1)


def test_leave_one_out_asks_the_served_object_for_the_last_purchase_of_each_user(
    facts: tuple[Facts, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = record_inputs(monkeypatch)
    make_recommender = recommendation_evaluation.Recommender

    def recommender(model, items, placements):  # type: ignore[no-untyped-def]
        assert items.as_of == END
        return make_recommender(model, items, placements)

    monkeypatch.setattr(recommendation_evaluation, "Recommender", recommender)
    evaluation = evaluate(
        *facts, CONFIG, until=None, split="leave-one-out", progress=lambda _: None
    )
    targets = dict(hold_out_last_purchases(facts[0], END).targets())
    assert len(targets) == 40
    assert inputs[0].relevant["all"] == {user: frozenset([item]) for user, item in targets.items()}
    slates = make_our_slates(inputs[0])
    hits = [item in slates[user][:10] for user, item in targets.items()]
    table = evaluation.table("all items: accuracy at 10")
    values = dict(zip(table.columns, table.rows[OURS], strict=True))
    assert values["recall@10"].value == values["hit rate@10"].value == pytest.approx(np.mean(hits))
    assert "leave-one-out" in str(evaluation.data["protocol"])
    assert evaluation.data["purchases held out"] == 40


def test_the_model_of_leave_one_out_does_not_depend_on_what_is_held_out(
    facts: tuple[Facts, Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another item in the place of each held-out one: every slate stays as it is."""
    targets = dict(hold_out_last_purchases(facts[0], END).targets())
    latest = {
        user: max(row["occurred_at"] for row in make_purchases() if row["user_id"] == user)
        for user in targets
    }

    def is_target(row: dict[str, Any]) -> bool:
        return bool(
            row["occurred_at"] == latest[row["user_id"]]
            and row["item_id"] == targets[row["user_id"]]
        )

    kept = [
        row
        for row in make_purchases()
        if row["occurred_at"] < latest[row["user_id"]] or is_target(row)
    ]
    changed = [{**row, "item_id": "i00"} if is_target(row) else row for row in kept]
    inputs = record_inputs(monkeypatch)
    for name, rows in (("kept", kept), ("changed", changed)):
        evaluate(
            *write_shop(tmp_path / name, rows),
            CONFIG,
            until=END,
            split="leave-one-out",
            progress=lambda _: None,
        )
    assert inputs[0].relevant["all"].keys() == inputs[1].relevant["all"].keys() == targets.keys()
    assert set(inputs[1].relevant["all"].values()) == {frozenset(["i00"])}
    assert make_our_slates(inputs[0]) == make_our_slates(inputs[1])
