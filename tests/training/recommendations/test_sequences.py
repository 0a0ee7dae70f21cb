"""A shop of goods that are bought once: what comes next follows from the order of purchases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.settings import Settings
from features.contracts.recommendations import Reason, RecommendationQuery
from features.contracts.visits import find_purchases
from features.facts.facts import Facts
from features.online.histories import compute_offline_histories, compute_offline_items
from models.ranking.model import RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from tests.shops.browsed_shop import ITEM_IDS, N_ITEMS
from tests.shops.event_tables import make_table
from tests.shops.forty_shoppers import CONFIG as FORTY
from tests.shops.forty_shoppers import END, make_purchase
from training.recommendations.config import RecommendationsConfig, SequencesConfig
from training.recommendations.sequence_training import read_sequences
from training.recommendations.task import train
from training.results import Trained

CONFIG = replace(FORTY, sequences=SequencesConfig(min_buyers=100, max_learnt=300))


def draw_purchases(n_buyers: int) -> list[dict[str, Any]]:
    """Return a purchase a week by each buyer: mostly the item after the last one, else any."""
    rng = np.random.default_rng(12)
    rows = []
    for buyer in range(n_buyers):
        item, bought = int(rng.integers(N_ITEMS)), set()
        for week in range(int(rng.integers(8, 12)), 0, -1):
            if item in bought or rng.random() < 0.35:
                item = int(rng.integers(N_ITEMS))
            if item not in bought:
                at = END - timedelta(weeks=week, hours=20 + buyer % 90)
                rows.append(make_purchase(f"u{buyer:03}", ITEM_IDS[item], at))
                bought.add(item)
            item = (item + 1) % N_ITEMS
    return rows


def fit(home: Path, config: RecommendationsConfig) -> tuple[Facts, Trained[RecommendationModel]]:
    settings = Settings(home=home)
    facts = Facts(settings)
    events = make_table("events", draw_purchases(300))
    catalogue = [
        {"item_id": item_id, "category": f"Games > Part {number // 12}"}
        for number, item_id in enumerate(ITEM_IDS)
    ]
    facts.write({"events": events, "items": make_table("items", catalogue)})
    return facts, train(facts, settings, config, until=None, progress=lambda _: None)


@pytest.fixture(scope="module")
def shop(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Facts, Trained[RecommendationModel]]:
    return fit(tmp_path_factory.mktemp("once"), CONFIG)


def test_the_order_of_purchases_serves_where_it_beats_the_ranker_and_every_baseline(
    shop: tuple[Facts, Trained[RecommendationModel]],
) -> None:
    _, trained = shop
    assert trained.served.policies["new"] == "sequence"
    comparison = trained.evaluation.comparison("NDCG@10 new items")
    assert comparison.ours > max(comparison.baselines.values())
    assert comparison.p_values["EASE"] < 0.01
    assert any("order of purchases" in note for note in trained.evaluation.notes)


def test_a_buyer_sees_what_follows_the_last_purchase(
    shop: tuple[Facts, Trained[RecommendationModel]], tmp_path: Path
) -> None:
    facts, trained = shop
    histories, items = compute_offline_histories(facts, END), compute_offline_items(facts, END)
    placements = {"discover": Placement("new", exclude_purchased=True)}
    trained.served.save(tmp_path)
    models = [trained.served, RecommendationModel.load(tmp_path)]
    recommenders = [Recommender(model, items, placements) for model in models]
    n_next = 0
    for user in sorted(histories)[:60]:
        query = RecommendationQuery(histories[user], "discover", 5)
        (slate,), (again,) = (recommender.recommend([query]) for recommender in recommenders)
        assert slate == again
        bought = set(histories[user].item_ids)
        assert not bought & {item.item_id for item in slate.items}
        last = ITEM_IDS.index(find_purchases(histories[user]).item_ids[0])
        following = ITEM_IDS[(last + 1) % N_ITEMS]
        n_next += following in bought or following in [item.item_id for item in slate.items]
        assert slate.items[0].reason == Reason.SIMILAR
    assert n_next > 50


def test_a_buyer_who_looks_at_items_of_a_category_is_told_so(
    shop: tuple[Facts, Trained[RecommendationModel]],
) -> None:
    facts, trained = shop
    items = compute_offline_items(facts, END)
    recommender = Recommender(trained.served, items, {"discover": Placement("new")})
    looks = tuple(ITEM_IDS[48:51])  # of one category: the topic of the visit
    n_named = 0
    for _, history in sorted(compute_offline_histories(facts, END).items())[:20]:
        now = int(END.timestamp() * 1000)
        at = tuple(now - 60_000 * minute for minute in range(1, 4))
        looking = replace(history, viewed_item_ids=looks, viewed_at=at)
        (slate,) = recommender.recommend([RecommendationQuery(looking, "discover", 8)])
        for item in slate.items:
            if item.reason == Reason.BECAUSE_YOU_VIEWED:
                assert item.because_item_id in looks
                n_named += 1
    assert n_named > 20


def test_sequences_are_the_items_of_each_buyer_in_the_order_of_time(
    shop: tuple[Facts, Trained[RecommendationModel]],
) -> None:
    histories = compute_offline_histories(shop[0], END)
    sequences = read_sequences(histories)
    assert len(sequences) == len(histories)
    # A device and a return are of visits alone.
    expected = {find_purchases(history)[:3] for history in histories.values()}
    for number in range(0, len(sequences), 37):
        length = int(sequences.lengths[number])
        assert sequences.take_first(number, length)[:3] in expected


def test_where_people_buy_the_same_again_no_order_is_learnt(tmp_path: Path) -> None:
    config = replace(CONFIG, sequences=replace(CONFIG.sequences, max_repeats=-1.0))
    _, trained = fit(tmp_path, config)
    assert trained.served.sequence_sources is None
    assert trained.served.policies["new"] == "ranker"
