"""Several seeds on one window: the first is the usual evaluation, the others differ by chance only;
filled last ranks keep the first ones; hidden users and items are unknown to the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.contracts.seeds import generator
from models.ranking.slate.long_tail import LongTail
from tests.shops.forty_shoppers import CONFIG, CUT, END, make_purchases, write_shop
from training.recommendations.baselines import BUY_AGAIN
from training.recommendations.cold_start import (
    FILTERED,
    GIVEN_LIST,
    NO_HISTORY,
    ONE_VIEW,
    VisibleFacts,
    draw_hidden,
    evaluate_cold_start,
)
from training.recommendations.long_tail_metrics import (
    ASSIGNED,
    BY_HASH,
    USUAL,
    format_long_tail,
    make_long_tail_slates,
    measure_long_tail,
)
from training.recommendations.metrics import ndcg
from training.recommendations.seed_evaluation import (
    SeedEvaluation,
    evaluate_seeds,
    make_ranker_slates,
)
from training.recommendations.snapshots import TrainingContext
from training.results import OURS
from training.splits import Window

WINDOW = Window(CUT, END)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> TrainingContext:
    home: Path = tmp_path_factory.mktemp("shop")
    facts, settings = write_shop(home, make_purchases())
    return TrainingContext(facts, settings, CONFIG, lambda _: None)


@pytest.fixture(scope="module")
def evaluation(context: TrainingContext) -> SeedEvaluation:
    return evaluate_seeds(context, WINDOW, [context.settings.seed, 8])


def test_the_first_seed_is_the_usual_evaluation(evaluation: SeedEvaluation) -> None:
    ranked = make_ranker_slates(evaluation.data, evaluation.model)
    for task in ("all", "new"):
        comparison = evaluation.first.comparison(f"NDCG@10 {task} items")
        seeds = evaluation.tasks[task]  # type: ignore[index]
        relevant, slates = evaluation.data.relevant[task], ranked[task]  # type: ignore[index]
        by_ranker = np.mean([ndcg(slates[user], items, 10) for user, items in relevant.items()])
        assert seeds.ours[0].mean() == pytest.approx(by_ranker)
        assert comparison.ours >= by_ranker - 1e-9  # the better of the ranker and of EASE alone
        assert {name: values.mean() for name, values in seeds.baselines.items()} == pytest.approx(
            dict(comparison.baselines)
        )
    assert len(evaluation.carts) == 2


def test_another_seed_gives_other_rankers(evaluation: SeedEvaluation) -> None:
    assert (evaluation.tasks["all"].ours[0] != evaluation.tasks["all"].ours[1]).any()
    assert evaluation.tasks["all"].spread() > 0


def test_filled_last_ranks_show_more_items_behind_the_same_first_ones(
    evaluation: SeedEvaluation,
) -> None:
    data, model = evaluation.data, evaluation.model
    long_tail = LongTail(places=10, pool=30, min_relevance=0)
    slates = make_long_tail_slates(data, model, long_tail)
    for name in (ASSIGNED, BY_HASH):
        for user, usual in slates[USUAL].items():
            assert slates[name][user][:10] == usual[:10]
            assert len(set(slates[name][user])) == len(usual)
    baselines = {BUY_AGAIN: evaluation.baselines["all"][BUY_AGAIN]}
    measured = measure_long_tail(data, model, long_tail, baselines)
    assert measured[ASSIGNED].ndcg_10.tolist() == measured[USUAL].ndcg_10.tolist()
    assert measured[ASSIGNED].coverage >= measured[USUAL].coverage
    assert len(format_long_tail(measured)) == 1 + 4


def test_nothing_is_known_of_hidden_users_and_items(context: TrainingContext) -> None:
    visible = VisibleFacts(context.facts, ("u03", "u17"), ("i05",))
    events = visible.read("events").to_pyarrow()
    everything = context.facts.read("events").to_pyarrow().to_pylist()
    left = [
        row["event_id"]
        for row in everything
        if row["user_id"] not in ("u03", "u17") and row["item_id"] != "i05"
    ]
    assert sorted(events["event_id"].to_pylist()) == sorted(left)
    assert visible.read("items").count().to_pyarrow().as_py() == 30


def test_a_twentieth_is_hidden_by_the_seed() -> None:
    ids = [f"u{n}" for n in range(100)]
    hidden = draw_hidden(ids, generator(1, "hidden users"))
    assert len(hidden) == 5
    assert hidden == draw_hidden(ids[::-1], generator(1, "hidden users"))
    assert hidden != draw_hidden(ids, generator(2, "hidden users"))


def test_hidden_users_and_items_are_measured_beside_simple_rules(
    context: TrainingContext,
) -> None:
    metrics = evaluate_cold_start(context, WINDOW)
    assert set(metrics.ndcg) == {NO_HISTORY, ONE_VIEW, GIVEN_LIST, FILTERED}
    assert set(metrics.ndcg[ONE_VIEW]) == {OURS, "popular in its category", "popular"}
    # Nothing is known of these visitors: what is served is what is popular.
    assert metrics.ndcg[NO_HISTORY][OURS] == metrics.ndcg[NO_HISTORY]["popular"]
    for by_method in metrics.ndcg.values():
        for values in by_method.values():
            assert len(values) == len(by_method[OURS]) > 0
            assert np.all((np.array(values) >= 0) & (np.array(values) <= 1))
    assert len(metrics.format_table()) == 1 + 4 + sum(map(len, metrics.ndcg.values()))
