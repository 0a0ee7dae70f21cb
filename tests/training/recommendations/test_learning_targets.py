"""Targets: which events are learnt to be predicted, and how much each counts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from configs.settings import Settings
from features.contracts.errors import BadInput, TooLittleData, UnknownName
from features.contracts.histories import UserHistory
from features.contracts.recommendations import RecommendationQuery
from features.contracts.visits import OUTCOMES
from features.facts.facts import Facts
from features.online.histories import compute_offline_histories, compute_offline_items
from models.ranking.lambdarank import GroupedRows, RankerConfig, fit_ranker
from models.ranking.model import RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from tests.shops.browsed_shop import make_visits as make_chains
from tests.shops.event_tables import make_event, make_table
from tests.shops.forty_shoppers import END, write_shop
from tests.shops.one_sided_shops import make_mix, make_visits
from training.recommendations.model_fitting import fit_model
from training.recommendations.snapshots import TrainingContext, find_targets
from training.recommendations.task import RecommendationsTask, train
from training.recommendations.visit_training import NextItem, draw_next_items
from training.run import load_config
from training.splits import Window

MIX = {"purchase": 1.0, "add_to_cart": 0.3, "view": 0.05}


def load_targets(value: object) -> None:
    load_config(RecommendationsTask(), Settings(home=Path("unused")), overrides={"targets": value})


@pytest.mark.parametrize(
    ("value", "nearest"),
    [("views", "view"), ("purchases", "purchase"), ({"add_to_car": 1}, "add_to_cart")],
)
def test_an_unknown_target_is_refused_with_the_nearest_name(value: object, nearest: str) -> None:
    with pytest.raises(UnknownName, match=f"Did you mean '{nearest}'"):
        load_targets(value)


@pytest.mark.parametrize("value", [{"view": -1}, {"view": 0}, {}, {"view": "much"}, 3, ["view"]])
def test_targets_that_say_nothing_are_refused(value: object) -> None:
    with pytest.raises(BadInput, match="targets"):
        load_targets(value)


KNOWN = SimpleNamespace(
    histories={"u": UserHistory.unknown(END), "w": UserHistory.unknown(END)},
    interactions=SimpleNamespace(item_ids=("bought", "seen and bought")),
    items=SimpleNamespace(item_ids=("bought", "carted", "seen", "seen and bought")),
)


def test_an_item_counts_as_the_strongest_thing_that_was_done_with_it(tmp_path: Path) -> None:
    at = END - timedelta(days=1)
    rows = [
        make_event("u", "seen", at, "view_item"),
        make_event("u", "carted", at, "view_item"),
        make_event("u", "carted", at, "add_to_cart"),
        make_event("u", "seen and bought", at, "add_to_wishlist"),
        make_event("u", "seen and bought", at),
        make_event("w", "bought", at),
        make_event("w", "of no catalogue", at),
        make_event("nobody known", "bought", at),
        make_event("w", "seen", END + timedelta(days=1), "view_item"),
    ]
    facts, _ = write_shop(tmp_path, rows)
    window = Window(END - timedelta(days=7), END)
    targets = find_targets(facts, window, KNOWN, MIX)["all"]  # type: ignore[arg-type]
    assert targets == {
        "u": {"carted": 0.3, "seen": 0.05, "seen and bought": 1.0},
        "w": {"bought": 1.0},
    }
    purchases = find_targets(facts, window, KNOWN, {"purchase": 1.0})["all"]  # type: ignore[arg-type]
    assert purchases == {"u": {"seen and bought": 1.0}, "w": {"bought": 1.0}}
    carts = find_targets(facts, window, KNOWN, {"add_to_cart": 1.0})["all"]  # type: ignore[arg-type]
    assert carts == {"u": {"carted": 1.0}}


@pytest.mark.parametrize("favoured", [0, 1])
def test_a_ranker_puts_first_what_counts_more(favoured: int) -> None:
    # In each query one row has the first column, another the second: both are relevant.
    matrix = np.tile(np.array([[1, 0], [0, 1], [0, 0], [0, 0]], np.float32), (200, 1))
    gains = np.tile(np.array([0.05, 0.05, 0, 0], np.float32), 200)
    gains[favoured::4] = 1.0
    rows = GroupedRows(matrix, gains > 0, np.full(200, 4), ("first", "second"), gains)
    config = RankerConfig(n_trees=20, share_features=1.0, min_rows_in_leaf=5)
    scores = fit_ranker(rows, config, seed=1).score(matrix[:4])
    assert scores.argmax() == favoured
    assert min(scores[:2]) > scores[2]


def test_gains_that_are_all_alike_change_nothing() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.random((400, 3), np.float32)
    relevant = matrix[:, 0] > 0.8
    config = RankerConfig(n_trees=5)
    rows = GroupedRows(matrix, relevant, np.full(40, 10), ("a", "b", "c"))
    alike = rows._replace(gains=np.where(relevant, 0.3, 0).astype(np.float32))
    one, other = (fit_ranker(grouped, config, seed=1).score(matrix) for grouped in (rows, alike))
    assert one.tolist() == other.tolist()


def test_next_items_are_those_whose_outcome_counts() -> None:
    visits = make_chains([[0, 1, 2, 3]])
    visits.outcomes[:] = [
        OUTCOMES.index(name) for name in ("view", "view", "add_to_cart", "purchase")
    ]
    of_carts = draw_next_items(visits, 9, 0, "test", weights={"add_to_cart": 1.0})
    assert of_carts == [NextItem(0, 2)]
    assert len(draw_next_items(visits, 9, 0, "test")) == 3


def test_what_is_learnt_decides_what_is_ranked_first(tmp_path: Path) -> None:
    # Everybody looks at ten items of a taste, and buys of them those below i15 alone.
    facts, settings = write_shop(tmp_path, make_mix())
    items = compute_offline_items(facts, END)
    histories = compute_offline_histories(facts, END)
    queries = [RecommendationQuery(history, "home", 5) for history in histories.values()]

    def fit(targets: object) -> RecommendationModel:
        overrides = {"targets": targets, "als.n_factors": 4, "ranker_all.n_trees": 40}
        config = load_config(RecommendationsTask(), settings, overrides=overrides)
        return fit_model(TrainingContext(facts, settings, config, lambda _: None), END)

    def count_seen_only(model: RecommendationModel) -> int:
        recommender = Recommender(model, items, {"home": Placement("all")})
        slates = recommender.recommend(queries)
        return sum(item.item_id >= "i15" for slate in slates for item in slate.items)

    models = {str(targets): fit(targets) for targets in ("auto", "purchase", "view", MIX)}
    shown = {targets: count_seen_only(model) for targets, model in models.items()}
    assert shown["purchase"] < shown["view"]
    texts = {
        targets: model.rankers["all"].booster.model_to_string() for targets, model in models.items()
    }
    assert texts["auto"] == texts["purchase"]
    assert len(set(texts.values())) == 3


def test_a_kind_that_nobody_gave_is_named_with_what_there_is(tmp_path: Path) -> None:
    facts = Facts(Settings(home=tmp_path))
    facts.write({"events": make_table("events", make_visits("view_item"))})
    config = load_config(
        RecommendationsTask(), Settings(home=tmp_path), overrides={"targets": "add_to_cart"}
    )
    with pytest.raises(TooLittleData) as raised:
        train(facts, Settings(home=tmp_path), config, until=None, progress=lambda _: None)
    assert "no visitor has any add_to_cart" in str(raised.value)
    assert "240 looks" in str(raised.value)
    assert "targets: auto" in str(raised.value)
