"""What somebody who has bought looks at next: ranked by the visit where that says more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from configs.settings import Settings
from features.contracts.recommendations import RecommendationQuery
from features.facts.facts import Facts
from features.online.histories import compute_offline_histories, compute_offline_items
from models.ranking.model import RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from tests.shops.browsed_shop import (
    CONFIG,
    END,
    ITEM_IDS,
    N_CHAINS,
    N_ITEMS,
    make_catalogue,
    make_looks,
)
from tests.shops.event_tables import make_event, make_table
from tests.shops.forty_shoppers import CONFIG as SHOPPERS_CONFIG
from training.recommendations.task import train
from training.recommendations.visit_evaluation import make_history
from training.recommendations.visits_of_buyers import choose_for_buyers

N_USERS, N_VISITS, DAYS = 30, 700, 60
PLACEMENTS = {"home": Placement("all")}


def make_browsing_buyers() -> list[dict[str, Any]]:
    """Return looks along chains by thirty users, who buy the last item of every third visit, and
    something else every few days."""
    rng = np.random.default_rng(8)
    looks = make_looks(N_VISITS, days=DAYS)
    for row in looks:
        row["user_id"] = f"u{int(row['session_id'][1:]) % N_USERS:02}"
    last = {row["session_id"]: row for row in looks}
    bought = [
        make_event(row["user_id"], row["item_id"], row["occurred_at"] + timedelta(minutes=1))
        for number, row in enumerate(last.values())
        if number % 3 == 0
    ]
    purchases = [
        make_event(f"u{user:02}", ITEM_IDS[int(rng.integers(N_ITEMS))], END - timedelta(days=day))
        for user in range(N_USERS)
        for day in range(1, DAYS, 6)
    ]
    return [*looks, *bought, *purchases]


@dataclass
class FakeWindow:
    """Ranks of next looks by purchases and by visit; all are of buyers."""

    by_purchases: np.ndarray
    by_visit: np.ndarray
    bought: np.ndarray

    @property
    def is_buyer(self):
        return np.ones(len(self.by_visit), bool)

    def find_begun_within(self, span):
        assert span == timedelta(weeks=1)
        return np.ones(len(self.by_visit), bool)

    @property
    def positions(self):
        return [SimpleNamespace(visit=row, n=0) for row in range(len(self.by_visit))]

    @property
    def visits(self):
        outcomes = np.where(self.bought, 2, 0)
        return SimpleNamespace(starts=np.arange(len(outcomes)), outcomes=outcomes)

    def select(self, rows):
        assert rows.tolist() == list(range(len(self.by_visit)))
        return self

    def rank_served(self, model):
        return self.by_visit if model.visits_of_buyers else self.by_purchases


class FakeModel(SimpleNamespace):
    def with_visits_of_buyers(self, value):
        return FakeModel(**{**vars(self), "visits_of_buyers": value})


MODEL = FakeModel(ranks_purchases=True, visit_sources=object(), visits_of_buyers=False)


@pytest.mark.parametrize(
    ("visit_rank", "purchase_rank", "bought_rank", "n_bought", "expected"),
    [
        (2, 5, 2, 20, True),
        (5, 2, 5, 20, False),  # the purchases say more
        (2, 5, 21, 20, False),  # better for looks, but it loses the sales
        (2, 5, 2, 9, False),  # too few sales to tell
    ],
)
def test_the_visit_ranks_where_it_is_better_and_loses_no_sale(
    visit_rank, purchase_rank, bought_rank, n_bought, expected
):
    rng = np.random.default_rng(1)
    bought = np.arange(200) < n_bought
    by_visit = np.where(bought, bought_rank, visit_rank) + rng.integers(0, 2, 200)
    window = FakeWindow(purchase_rank + rng.integers(0, 2, 200), by_visit, bought)
    choice = choose_for_buyers(MODEL, window)
    assert choice.by_visit is expected
    ranked_by = "visit" if expected else "purchases"
    assert choice.choices["visits_of_buyers_ranked_by"] == ranked_by
    assert f"; {n_bought} ended in a purchase" in choice.choices["visits_of_buyers_why"]


def test_there_is_no_choice_without_a_ranker_of_purchases():
    window = FakeWindow(np.full(9, 5), np.full(9, 1), np.zeros(9, bool))
    choice = choose_for_buyers(FakeModel(**{**vars(MODEL), "ranks_purchases": False}), window)
    assert (choice.by_visit, dict(choice.choices)) == (False, {})


def test_a_buyer_who_browses_sees_what_the_visit_leads_to(tmp_path: Path) -> None:
    facts = Facts(Settings(home=tmp_path))
    events = make_table("events", make_browsing_buyers())
    facts.write({"events": events, "items": make_catalogue()})
    settings = Settings(home=tmp_path)
    config = replace(SHOPPERS_CONFIG, visits=replace(CONFIG.visits, max_learnt=800))
    trained = train(facts, settings, config, until=None, progress=lambda _: None)
    assert trained.evaluation.choices["visits_of_buyers_ranked_by"] == "visit"
    assert trained.served.visits_of_buyers
    trained.served.save(tmp_path / "model")
    model = RecommendationModel.load(tmp_path / "model")
    assert model.visits_of_buyers
    (table,) = [table for table in trained.evaluation.tables if "MRR@20 by part" in table.title]
    assert table.n_users[table.columns.index("buyers")] > 100

    items = compute_offline_items(facts, END)
    recommender = Recommender(model, items, PLACEMENTS)
    buyers = compute_offline_histories(facts, END)
    leads = 0
    for number, user in enumerate(sorted(buyers)):
        seen = ITEM_IDS[number % N_ITEMS]
        visit = buyers[user].visit._replace(
            item_ids=(seen,), kinds=(0,), at_ms=(int(END.timestamp() * 1000),), seconds=()
        )
        query = RecommendationQuery(make_history(visit, buyers[user]), "home", 10)
        (slate,) = recommender.recommend_ids([query])
        leads += ITEM_IDS[(number + N_CHAINS) % N_ITEMS] in slate[:5]
    assert leads >= 0.8 * len(buyers)  # half of the looks go on along the chain
    # The visit of yesterday is over: the purchases decide again.
    over = RecommendationQuery(replace(query.history, as_of=END + timedelta(days=1)), "home", 10)
    by_purchases = Recommender(model.with_visits_of_buyers(False), items, PLACEMENTS)
    assert recommender.recommend([over]) == by_purchases.recommend([over])
    assert recommender.recommend([query]) != by_purchases.recommend([query])
