"""A shop of many scripts keeps its words apart, from the import to every answer and file.

It takes most of a minute: three trainings are the point, since each makes columns of these words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from configs.settings import Settings
from features.facts.facts import Facts
from features.online.materialize import load_items
from features.pipelines.demand import reach_column
from features.pipelines.item import promotion_column
from serving.cli.main import app
from tests.shops.many_scripts import (
    BRANDS,
    CATEGORIES,
    ITEMS,
    KINDS,
    SETTINGS,
    USERS,
    ZONES,
    write_shop,
)
from tests.shops.served_shop import run_shop

LIGHT = {
    "recommendations": (
        "ease.l2=5",
        "als.n_factors=4",
        "als.n_iterations=3",
        "ranker_all.n_trees=15",
        "ranker_new.n_trees=15",
    ),
    "demand": (),
    "pricing": (),
}


def run(*arguments: str) -> dict:
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("scripts")
    write_shop(root / "表")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOPWRIGHT_HOME", str(root / "店 é"))
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        report = run("import", str(root / "表"))
        assert report["share_bad"] == 0
        assert report["tables"]["items"]["new"] == len(ITEMS)
        run("features", "materialize")
        for name, settings in LIGHT.items():
            (trained,) = run(
                "train", name, *(word for text in settings for word in ("--set", text))
            )["items"]
            if not trained["promoted"]:
                run("models", "promote", name, trained["version"])
        yield root / "店 é"


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[SimpleNamespace]:
    yield from run_shop(Settings())


def test_each_kind_of_promotion_is_a_feature_of_its_own(home: Path) -> None:
    columns = load_items(Settings()).columns
    rows = load_items(Settings()).item_ids.tolist()
    plans = Facts(Settings()).read("promotions").to_pyarrow().to_pylist()
    planned = {
        (row["item_id"], row["kind"])
        for row in plans
        if "2024-06-03" <= row["starts_at"].isoformat() < "2024-07-01"
    }
    assert {kind for _, kind in planned} >= {"满减", "秒杀"}
    for kind in KINDS:
        reach = columns[promotion_column(kind, "next_4w")]
        assert {rows[n] for n in reach.nonzero()[0]} == {item for item, k in planned if k == kind}
    assert len({reach_column(kind).lower() for kind in KINDS}) == len(KINDS)


def test_every_item_has_its_own_forecast_at_its_address(served: SimpleNamespace) -> None:
    means = {}
    for item in ITEMS:
        answer = served.client.get(
            f"/v1/forecasts/{quote(item, safe='').replace('.', '%2E')}", params={"zone": ZONES[0]}
        )
        if answer.status_code == 404:  # nobody of this zone ever bought it
            assert repr(item) in answer.json()["detail"]
            continue
        assert answer.json()["item_id"] == item
        means[item] = answer.json()["weeks"][0]["mean"]
    assert len(means) > 20
    assert len(set(means.values())) > 20


def test_slates_prices_filters_and_suggestions_use_the_words_of_the_shop(
    served: SimpleNamespace,
) -> None:
    client = served.client
    for user in USERS[:4]:
        slate = client.post(
            "/v1/recommendations", json={"placement": "home", "user_id": user, "count": 5}
        ).json()
        assert slate["fallback"] is None
        assert {row["item_id"] for row in slate["items"]} < set(ITEMS)
    for n, category in enumerate(CATEGORIES):
        body = {
            "placement": "trending",
            "count": 20,
            "filter": {"category": [category]},
        }
        found = {
            row["item_id"] for row in client.post("/v1/recommendations", json=body).json()["items"]
        }
        assert found == set(ITEMS[n :: len(CATEGORIES)])
    for n, brand in enumerate(BRANDS):
        body = {"placement": "trending", "count": 20, "filter": {"brand": [brand]}}
        found = {
            row["item_id"] for row in client.post("/v1/recommendations", json=body).json()["items"]
        }
        assert found == set(ITEMS[n :: len(BRANDS)])
    answer = client.get("/v1/prices", params={"item_id": list(ITEMS), "zone": ZONES[1]}).json()
    assert {row["item_id"] for row in answer["items"]} == set(ITEMS)
    rows = client.get("/v1/inventory", params={"zone": ZONES[1], "limit": 100}).json()["items"]
    assert {row["item_id"] for row in rows} <= set(ITEMS)


def test_files_name_items_users_and_zones_exactly(home: Path, tmp_path: Path) -> None:
    run("forecasts", "export", "--out", str(tmp_path / "预测.parquet"))
    forecasts = pq.read_table(tmp_path / "预测.parquet")
    assert set(forecasts["zone"].to_pylist()) == set(ZONES)
    assert set(forecasts["unique_id"].to_pylist()) <= set(ITEMS)
    run("forecasts", "export", "--level", "category", "--out", str(tmp_path / "c.parquet"))
    assert set(pq.read_table(tmp_path / "c.parquet")["unique_id"].to_pylist()) == set(CATEGORIES)
    run("recommend", "--out", str(tmp_path / "邮件"), "--count", "3", "--processes", "1")
    slates = pq.read_table(tmp_path / "邮件")
    assert set(slates["user_id"].to_pylist()) == set(USERS)
    report = run("prices", "suggest")
    assert {zone["zone"] for zone in report["items"]} == set(ZONES)
    exported = tmp_path / "again"
    exported.mkdir()
    n_prices = run("prices", "export", "--out", str(exported / "price_history.csv"))["rows"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOPWRIGHT_HOME", str(tmp_path / "home"))
        write_shop(tmp_path / "tables")
        (exported / "price_history.csv").rename(tmp_path / "tables" / "price_history.csv")
        read = run("import", str(tmp_path / "tables"))["tables"]["price_history"]
    assert (read["new"], read["n_bad"]) == (n_prices, 0)
