"""A tiny shop with what a server needs: facts, features and two champions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fastapi.testclient import TestClient

from configs.settings import Settings
from features.contracts.tables import TIMESTAMP
from features.facts.facts import Facts
from features.online.histories import compute_offline_histories, compute_offline_items
from features.online.materialize import materialize
from models.demand.reconcile import LEVELS
from models.demand.uncertainty.aggregates import (
    AggregateDistributions,
    AggregateSpread,
    ItemSpread,
    LevelSpreads,
)
from models.demand.uncertainty.counts import CountDistribution
from models.digests import read_digest, write_digests
from models.ranking.calibration import fit_calibration
from models.ranking.columns import column_names
from models.ranking.lambdarank import GroupedRows, RankerConfig, fit_ranker
from models.ranking.model import TASKS, Candidates, RecommendationModel, Retrieval
from models.registry import Registry, Version
from models.retrieval.als import AlsConfig, fit_als
from models.retrieval.association import AssociationConfig, fit_association
from models.retrieval.ease import EaseConfig, fit_ease
from models.retrieval.interactions import Interactions
from models.retrieval.item_knn import ItemKnnConfig, fit_item_knn
from serving.access import SCOPES
from serving.app import create_app
from serving.keys.service import KeyService
from serving.models.served_versions import ServedVersion, ServedVersions
from tests.shops.event_tables import make_table
from tests.shops.fitted_responses import make_fitted_response
from tests.shops.price_desk import make_opening_price

NOW = datetime(2018, 1, 1, 5, tzinfo=UTC)
ITEMS = {
    "beer": ("Drinks > Beer", "Alba", 5),
    "bread": ("Food > Bakery", "Korn", 5),
    "butter": ("Food > Dairy", "Alba", 5),
    "cheese": ("Food > Dairy", "Korn", 0),
    "milk": ("Food > Dairy", "Alba", None),
    "wine": ("Drinks > Wine", "Korn", 5),
}
BASKETS = {
    "drinker": ("beer", "wine"),
    "baker": ("bread", "butter", "milk"),
    "mixed": ("beer", "bread", "cheese"),
}
KINDS = tuple(BASKETS)
N_USERS = 24
REFUSER = "u23"


def make_user_id(n: int) -> str:
    return f"u{n:02d}"


def make_purchase(n: int, week: int, item: str) -> dict:
    return {
        "event_id": f"{make_user_id(n)}-{week}-{item}",
        "event_type": "purchase",
        "occurred_at": NOW - timedelta(weeks=week, hours=30 + n),
        "user_id": make_user_id(n),
        "item_id": item,
        "zone": "default",
        "quantity": 1.0,
        "line_amount_minor": 100,
        "unit_price_minor": 100.0,
        "list_price_minor": 100.0,
        "order_id": f"{make_user_id(n)}-{week}",
    }


def make_purchases() -> list[dict]:
    """Return the basket of every user in each of eight weeks, its third item every other week."""
    return [
        make_purchase(n, week, item)
        for n in range(N_USERS)
        for week in range(8)
        for item in BASKETS[KINDS[n % 3]][: 3 if week % 2 else 2]
    ]


def fit_model(facts: Facts) -> RecommendationModel:
    """Return real sources, and rankers that learnt from a random first column."""
    histories, items = compute_offline_histories(facts, NOW), compute_offline_items(facts, NOW)
    interactions = Interactions.from_histories(histories)
    binary = interactions.binarise()
    knn = fit_item_knn(interactions.item_ids, binary, ItemKnnConfig())
    als = fit_als(interactions, AlsConfig(n_factors=3), seed=1)
    together = fit_association(interactions.item_ids, binary, AssociationConfig())
    retrieval = Retrieval(fit_ease(interactions, EaseConfig(l2=1.0)), als, knn, together)
    item_columns = tuple(sorted(items.columns))
    names = {name for history in histories.values() for name in history.features}
    user_columns = tuple(sorted(name for name in names if ":" not in name))
    columns = column_names(item_columns, user_columns)
    matrix = np.random.default_rng(1).random((400, len(columns))).astype(np.float32)
    config = RankerConfig(n_trees=5, n_leaves=4, share_features=1.0)
    ranker = fit_ranker(
        GroupedRows(matrix, matrix[:, 0] > 0.7, np.full(20, 20), columns), config, seed=1
    )
    policies = dict.fromkeys(TASKS, "ranker")
    rankers = dict.fromkeys(TASKS, ranker)
    calibrations = dict.fromkeys(
        TASKS, fit_calibration(matrix, matrix[:, 0] > 0.7, np.ones(len(matrix)), columns)
    )
    return RecommendationModel(
        retrieval=retrieval,
        candidates=Candidates(),
        rankers=rankers,
        item_columns=item_columns,
        user_columns=user_columns,
        policies=policies,
        calibrations=calibrations,
    )


def make_weekly_forecasts() -> pa.Table:
    rows = [
        {
            "unique_id": item,
            "zone": "default",
            "ds": NOW + timedelta(weeks=week - 1),
            "mean": 10.0 + week,
        }
        for item in ITEMS
        for week in range(14)
    ]
    schema = pa.schema(
        [
            ("unique_id", pa.string()),
            ("zone", pa.string()),
            ("ds", TIMESTAMP),
            ("mean", pa.float64()),
        ]
    )
    table = pa.Table.from_pylist(rows, schema)
    for name, factor in (("p10", 0.5), ("p50", 0.9), ("p90", 2.0)):
        table = table.append_column(name, pa.array(np.array(table["mean"]) * factor))
    table = table.append_column("alpha", pa.array(np.full(len(table), 0.2)))
    return table.append_column("dense", pa.array(np.full(len(table), True)))


def make_aggregate_distributions() -> AggregateDistributions:
    """Negative binomials over 1, 2, 4 and 8 weeks, of items and of levels alike: dispersion .2,
    .15, .1, .05."""
    alphas = (0.2, 0.15, 0.1, 0.05)
    counts = [CountDistribution((1.0,), (alpha, alpha), ((), ())) for alpha in alphas]
    level = LevelSpreads(
        tuple(AggregateSpread(1e-9, alpha) for alpha in alphas), AggregateSpread(1e-9, 0.4)
    )
    items = tuple(ItemSpread(count, count) for count in counts)
    return AggregateDistributions(items, dict.fromkeys(LEVELS, level))


def make_daily_forecasts() -> pa.Table:
    """Return forecasts of milk by day: a seventh of its week, through all 13 weeks."""
    weekly = make_weekly_forecasts()
    milk = weekly.filter(pc.equal(weekly["unique_id"], "milk")).select(weekly.column_names[:7])
    days = [
        row | {"ds": row["ds"] + timedelta(days=n)} for row in milk.to_pylist() for n in range(7)
    ]
    shares = ("mean", "p10", "p50", "p90")
    return pa.Table.from_pylist(
        [row | {name: row[name] / 7 for name in shares} for row in days], milk.schema
    )


def register_model(registry: Registry, name: str, folder: Path) -> str:
    return registry.register(name, run_id="", source=folder.as_uri(), tags={}).version


def add_price_response(
    settings: Settings, lifts: Mapping[str, float] | None = None, **elasticities: float
) -> None:
    """Promote a price response of these items in the default zone, with the same lifts for all."""
    model = make_fitted_response(
        list(elasticities), np.array(list(elasticities.values())), lifts=lifts
    )
    folder = settings.home / "artifacts" / "pricing"
    model.save(folder)
    write_digests(folder)
    registry = Registry(settings.mlflow_url, settings.home)
    number = register_model(registry, "pricing", folder)
    registry.promote("pricing", number)
    note_as_tried(settings, registry.find_version("pricing", number), folder)


def build_shop(home: Path) -> Settings:
    settings = Settings(home=home, clock_start=NOW, currency="EUR")
    facts = Facts(settings)
    items = [
        {"item_id": key, "title": key, "category": category, "brand": brand, "stock_on_hand": stock}
        for key, (category, brand, stock) in ITEMS.items()
    ]
    refuser = [{"user_id": REFUSER, "personalization_allowed": False}]
    facts.write(
        {
            "events": make_table("events", make_purchases()),
            "items": make_table("items", items),
            "users": make_table("users", refuser),
        }
    )
    materialize(facts, settings, NOW)
    registry = Registry(settings.mlflow_url, home)
    model = fit_model(facts)
    for name in ("first", "second"):
        model.save(home / "artifacts" / name)
        write_digests(home / "artifacts" / name)
        register_model(registry, "recommendations", home / "artifacts" / name)
    (home / "artifacts" / "demand").mkdir(parents=True)
    pq.write_table(make_weekly_forecasts(), home / "artifacts" / "demand" / "forecasts.parquet")
    make_aggregate_distributions().save(home / "artifacts" / "demand")
    pq.write_table(
        make_daily_forecasts(), home / "artifacts" / "demand" / "forecasts_daily.parquet"
    )
    write_digests(home / "artifacts" / "demand")
    register_model(registry, "demand", home / "artifacts" / "demand")
    registry.promote("recommendations", "1")
    registry.promote("demand", "1")
    for name in ("recommendations", "demand"):
        for version in registry.list_versions(name):
            note_as_tried(settings, version, registry.fetch_files(version))
    return settings


def note_as_tried(settings: Settings, version: Version, folder: Path) -> None:
    """Record that a version served here: a server tries all others in a process of their own."""
    served = ServedVersion.of(version, folder, read_digest(folder))
    ServedVersions(settings.home).add(served)


def copy_shop(home: Path, target: Path) -> None:
    """Copy a shop whose clock has not begun yet: it begins with whoever opens the copy."""
    shutil.copytree(home, target, ignore=shutil.ignore_patterns("clock.json"))


def make_settings(home: Path, **values: object) -> Settings:
    return Settings(home=home, **{"clock_start": NOW, "currency": "EUR", **values})


def run_shop(settings: Settings) -> Iterator[SimpleNamespace]:
    app = create_app(settings)
    with TestClient(app) as client:
        server = app.state.server
        keys = KeyService(server.engine, server.system_clock)
        client.headers["Authorization"] = f"Bearer {keys.create('tests', SCOPES).key}"
        yield SimpleNamespace(app=app, client=client, server=server, keys=keys, settings=settings)


def make_price(item: str, offer: int, days: float = -1.0):
    return replace(make_opening_price(item, offer), valid_from=NOW + timedelta(days=days))
