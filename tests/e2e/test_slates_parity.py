"""The benchmark and the server are one system: the slates of the evaluation are those that HTTP
answers at the cut."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from configs.settings import Settings
from features.online.materialize import materialize
from features.sources.complete_journey import DEMO_CUT
from models.digests import write_digests
from models.registry import Registry
from tests.shops.forty_shoppers import CONFIG, CUT, make_purchases, write_shop
from tests.shops.served_shop import register_model, run_shop
from tests.shops.shop_process import ShopProcess
from training.recommendations.task import train

N_USERS = 200
PLACEMENTS = {"all": "home", "new": "discover"}


def ask_for_slate(http: httpx.Client, placement: str, user: str) -> Sequence[str]:
    answer = http.post(
        "/v1/recommendations", json={"placement": placement, "user_id": user, "count": 20}
    )
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def test_evaluation_and_server_give_the_same_slates_to_forty_shoppers(tmp_path: Path) -> None:
    facts, _ = write_shop(tmp_path, make_purchases())
    settings = Settings(home=tmp_path, clock_start=CUT)
    trained = train(facts, settings, CONFIG, until=None, progress=lambda _: None, refit=False)
    folder = tmp_path / "artifacts" / "recommendations"
    trained.evaluated.save(folder)
    write_digests(folder)
    registry = Registry(settings.mlflow_url, tmp_path)
    registry.promote("recommendations", register_model(registry, "recommendations", folder))
    materialize(facts, settings, CUT)
    for served in run_shop(settings):
        for task, placement in PLACEMENTS.items():
            slates = trained.evaluation.slates[task]
            assert len(slates) > 5
            for user, slate in slates.items():
                assert ask_for_slate(served.client, placement, user) == slate, (task, user)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_evaluation_and_server_give_the_same_slates_for_200_users(tmp_path: Path) -> None:
    shop = ShopProcess(tmp_path, {})
    shop.run("import", "--demo-data")
    slates = tmp_path / "slates.json"
    # A light configuration: parity is what is tested here, and quality has its own bench.
    light = [
        "ease.n_items=1500",
        "als.n_factors=16",
        "n_windows=1",
        "ranker_all.n_trees=40",
        "ranker_new.n_trees=20",
    ]
    light += [
        "candidates.all.ease=90",
        "candidates.new.popular=40",
    ]  # what the model was trained with is what serves
    settings = [word for each in light for word in ("--set", each)]
    (trained,) = shop.run_json(
        "train", "recommendations", "--no-refit", "--slates", str(slates), *settings
    )["items"]
    assert trained["evaluation"]["cut"] == DEMO_CUT.isoformat()
    assert trained["promoted"], trained["reason"]
    shop.run("features", "materialize", "--as-of", DEMO_CUT.isoformat())
    shop.env["SHOPWRIGHT_CLOCK_START"] = DEMO_CUT.isoformat()
    shop.create_key("storefront", "experiments.manage")
    expected = json.loads(slates.read_text())
    shop.start(
        until="/healthz"
    )  # not ready for all traffic: this shop has no forecasts and no prices
    with shop.client() as http:
        # While the experiment runs, half of the users get the treatment's slate.
        assert http.post("/v1/experiments/home_ranker/stop", json={}).status_code == 200
        for task, placement in PLACEMENTS.items():
            users = sorted(expected[task])
            users = users[:: len(users) // N_USERS][:N_USERS]
            assert len(users) == N_USERS
            for user in users:
                assert ask_for_slate(http, placement, user) == expected[task][user], (task, user)
    shop.stop()
