"""A shop works in a folder of any name, and imports from one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.settings import Settings
from features.facts.facts import Facts
from features.online.parity_check import check_parity
from models.registry import Registry
from tests.shops.folders import EVENT, Shop
from tests.shops.served_shop import NOW, build_shop, make_settings, run_shop
from training.tracking import tracking_run

# Patterns of files, parts of addresses, and what looks like the value of a column.
ODD = Path("zone=1") / "50% [ab]?*#&;+ it's 商店 é"


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("odd")
    build_shop(root / ODD / "home")
    return make_settings(root / ODD / "home")


def test_every_file_of_a_shop_lies_in_its_folder(odd: Settings) -> None:
    beside = [path for path in odd.home.parents[2].rglob("*") if not path.is_relative_to(odd.home)]
    assert sorted(beside) == sorted([*odd.home.parents][:2])
    with closing(sqlite3.connect(odd.home / "mlflow.db")) as database:
        assert database.execute("SELECT count(*) FROM model_versions").fetchone()[0] == 3


def test_the_shop_serves_from_it(odd: Settings) -> None:
    assert check_parity(Facts(odd), odd, NOW).passed
    for shop in run_shop(odd):
        body = {"placement": "home", "user_id": "u01"}
        slate = shop.client.post("/v1/recommendations", json=body).json()
        assert slate["items"]
        assert slate["fallback"] is None
        assert shop.client.get("/readyz").json()["status"] == "ready"
    with closing(sqlite3.connect(odd.home / "shopwright.db")) as database:
        assert database.execute("SELECT count(*) FROM api_keys").fetchone()[0] == 1


def test_a_training_finds_its_files_again(odd: Settings, tmp_path: Path) -> None:
    registry = Registry(odd.mlflow_url, odd.home)
    (tmp_path / "model.json").write_text("{}")
    with tracking_run(odd, registry, name="pricing", parameters={}, tags={}) as run:
        run.client.log_artifacts(run.run_id, str(tmp_path), "model")
        source = f"{run.client.get_run(run.run_id).info.artifact_uri}/model"
        version = registry.register("pricing", run_id=run.run_id, source=source, tags={})
    folder = registry.fetch_files(version)
    assert (folder / "model.json").exists()
    assert folder.is_relative_to(odd.home)


def test_a_change_of_the_registry_is_seen(odd: Settings) -> None:
    assert Registry(odd.mlflow_url, odd.home).read_stamp()


def test_an_import_reads_the_named_file_alone(tmp_path: Path) -> None:
    neighbour = Shop(tmp_path / "shop-x")
    neighbour.load([EVENT | {"item_id": "b"}])
    shop = Shop(tmp_path / "zone=1" / "shop-*")
    shop.load([EVENT])
    parts = tmp_path / "zone=1" / "shop-*" / "tables to import" / "stock"
    parts.mkdir()
    counted = datetime(2024, 5, 1, tzinfo=UTC)
    rows = [{"item_id": "a", "at": counted, "on_hand": 3.0}]
    pq.write_table(pa.Table.from_pylist(rows), parts / "[1].parquet")
    shop.load()
    assert [(row["item_id"], row["zone"]) for row in shop.rows()] == [("a", "default")]
    assert [(row["item_id"], row["zone"]) for row in shop.rows("stock")] == [("a", "default")]
