"""Strangers of a browsed shop: what they look at over HTTP makes the slates that were evaluated."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from configs.settings import Settings
from features.contracts.recommendations import RecommendationQuery
from features.facts.facts import Facts
from features.online.materialize import materialize
from features.online.past_visits import compute_offline_visits
from models.registry import Registry
from tests.shops.browsed_shop import (
    CONFIG,
    END,
    ITEM_IDS,
    N_CHAINS,
    draw_chain,
    make_catalogue,
    make_looks,
)
from tests.shops.event_tables import make_table
from tests.shops.served_shop import run_shop
from training.recommendations.task import RecommendationsTask
from training.recommendations.visit_evaluation import make_history
from training.run import TrainingRun

N_SESSIONS = 40
SLATE = {"placement": "home", "count": 20}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("browsed")
    settings = Settings(home=home, clock_start=END)
    facts = Facts(settings)
    facts.write({"events": make_table("events", make_looks(900)), "items": make_catalogue()})
    registry = Registry(settings.mlflow_url, settings.home)
    run = TrainingRun(facts, settings, registry, END, lambda _: None)
    assert run.train(RecommendationsTask(), CONFIG).verdict.promote
    materialize(facts, settings, END)
    yield from run_shop(settings)


def send(shop: SimpleNamespace, session: str, items: list[int]) -> None:
    looks = [
        {
            "event_type": "view_item",
            "occurred_at": (END - timedelta(seconds=20 * (len(items) - number))).isoformat(),
            "session_id": session,
            "item_id": ITEM_IDS[item],
        }
        for number, item in enumerate(items)
    ]
    assert shop.client.post("/v1/events", json={"events": looks}).status_code == 202


def test_events_over_http_give_the_slates_that_an_evaluation_makes(
    shop: SimpleNamespace, tmp_path: Path
) -> None:
    rng = np.random.default_rng(8)
    chains = [draw_chain(rng) for _ in range(N_SESSIONS)]
    answers = []
    for n, items in enumerate(chains):
        send(shop, f"live{n}", items)
        body = SLATE | {"session_id": f"live{n}"}
        answer = shop.client.post("/v1/recommendations", json=body).json()
        assert answer["fallback"] is None
        answers.append([item["item_id"] for item in answer["items"]])

    # The same looks as a file, evaluated: by what is computed from the facts. Milliseconds keep
    # the order of the visits.
    facts = Facts(Settings(home=tmp_path))
    rows = [
        {
            "event_id": f"{n} {number}",
            "event_type": "view_item",
            "occurred_at": END
            - timedelta(seconds=20 * (len(items) - number))
            + timedelta(milliseconds=n),
            "session_id": f"live{n}",
            "item_id": ITEM_IDS[item],
        }
        for n, items in enumerate(chains)
        for number, item in enumerate(items)
    ]
    facts.write({"events": make_table("events", rows), "items": make_catalogue()})
    visits = compute_offline_visits(facts, END + timedelta(days=9))
    recommender = shop.server.served_models.recommender().recommender
    for n, length in enumerate(visits.lengths.tolist()):
        history = make_history(visits.take_first(n, length))
        query = RecommendationQuery(history, "home", 20)
        (slate,) = recommender.recommend_columns([query])
        assert slate.item_ids.tolist() == answers[n]


def test_each_look_changes_the_next_answer_and_the_item_on_the_page_counts(
    shop: SimpleNamespace,
) -> None:
    send(shop, "first", [7])
    ask = SLATE | {"session_id": "first"}
    before = shop.client.post("/v1/recommendations", json=ask).json()["items"]
    assert ITEM_IDS[7 + N_CHAINS] in [item["item_id"] for item in before[:2]]
    send(shop, "first", [7, 20])
    after = shop.client.post("/v1/recommendations", json=ask).json()["items"]
    assert ITEM_IDS[20 + N_CHAINS] in [item["item_id"] for item in after[:3]]

    page = SLATE | {"session_id": "nobody", "item_ids": [ITEM_IDS[5]]}
    on_page = shop.client.post("/v1/recommendations", json=page).json()
    assert on_page["items"][0]["because_item_id"] == ITEM_IDS[5]
    assert ITEM_IDS[5 + N_CHAINS] in [item["item_id"] for item in on_page["items"][:2]]
