"""Forty shoppers with tastes over thirty items, and a small recommendation config for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from configs.settings import Settings
from features.contracts.tables import TABLES
from features.facts.facts import Facts
from models.ranking.lambdarank import RankerConfig
from models.retrieval.als import AlsConfig
from models.retrieval.ease import EaseConfig
from tests.shops.event_tables import make_table
from training.recommendations.task import RecommendationsConfig

END = datetime(2024, 5, 6, tzinfo=UTC)
CUT = END - timedelta(weeks=4)
N_WEEKS = 20
# What a training compares its slates with.
BASELINES = {
    "recent popularity",
    "ALS",
    "BPR",
    "ItemKNN",
    "EASE",
    "buy again",
    "buy again, as served",
    "TIFU-kNN",
}
TREES = RankerConfig(n_trees=15, n_leaves=7, share_negatives=1.0)
CONFIG = RecommendationsConfig(
    ease=EaseConfig(l2=5.0),
    als=AlsConfig(n_factors=4, n_iterations=3),
    ranker_all=TREES,
    ranker_new=TREES,
)


def make_purchases() -> list[dict[str, Any]]:
    """Return purchases of forty shoppers with tastes over thirty items, up to eight a week."""
    rng = np.random.default_rng(11)
    rows = []
    for n in range(40):
        taste = rng.dirichlet(np.where(np.arange(30) % 3 == n % 3, 0.8, 0.05))
        for week in range(N_WEEKS):
            at = END - timedelta(weeks=week, hours=30 + n)
            rows.extend(
                make_purchase(f"u{n:02}", f"i{item:02}", at)
                for item in sorted(set(rng.choice(30, 8, p=taste)))
            )
    return rows


def make_purchase(user_id: str, item_id: str, at: datetime) -> dict[str, Any]:
    values = {
        "event_id": f"{user_id} {item_id} {at.isoformat()}",
        "event_type": "purchase",
        "occurred_at": at,
        "user_id": user_id,
        "item_id": item_id,
        "zone": "default",
        "quantity": 1.0,
        "line_amount_minor": 100,
        "order_id": f"{user_id} {at.isoformat()}",
    }
    return {name: values.get(name) for name in TABLES["events"].arrow.names}


def write_shop(home: Path, rows: list[dict[str, Any]]) -> tuple[Facts, Settings]:
    settings = Settings(home=home)
    facts = Facts(settings)
    items = [{"item_id": f"i{n:02}", "category": f"Food > {n % 3}"} for n in range(30)]
    facts.write({"events": make_table("events", rows), "items": make_table("items", items)})
    return facts, settings


def list_items_bought_after_cut() -> dict[str, set[str]]:
    rows = make_purchases()
    known = {row["item_id"] for row in rows if row["occurred_at"] < CUT}
    by_user: dict[str, set[str]] = {}
    for row in rows:
        if row["occurred_at"] >= CUT and row["item_id"] in known:
            by_user.setdefault(row["user_id"], set()).add(row["item_id"])
    return by_user
