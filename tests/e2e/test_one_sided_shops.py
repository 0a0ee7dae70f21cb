"""Shops with views alone, with guests alone, with ten users, and with a bit of everything: from
import to a slate, and what each learnt from stands on the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from configs.settings import Settings
from features.facts.facts import Facts
from features.online.materialize import materialize
from serving.cli.main import app
from tests.shops.folders import write_csv
from tests.shops.forty_shoppers import END
from tests.shops.one_sided_shops import ITEMS, make_mix, make_ten_users, make_visits
from tests.shops.served_shop import run_shop

MIX = "targets={purchase: 1, add_to_cart: .3, view: .05}"
LIGHT = ("als.n_factors=4", "als.n_iterations=3", "ranker_all.n_trees=15", "ranker_new.n_trees=15")
COLUMNS = ("event_id", "event_type", "occurred_at", "user_id", "visitor_id", "item_id", "order_id")


@dataclass(frozen=True)
class Case:
    """A shop, the settings that it is trained with, and what it says that it learnt."""

    make_events: Callable[[], list[dict[str, Any]]]
    settings: tuple[str, ...]
    targets: str
    reason: str
    visit_targets: str = ""
    has_tastes: bool = True


CASES = {
    "views alone": Case(
        lambda: make_visits("view_item", 300),
        (),
        "view",
        "300 visitors had two items or more by view_item",
        "every next look alike",
    ),
    "guests alone": Case(
        lambda: make_visits("purchase"),
        (),
        "purchase",
        "240 purchases, of these by 0 known buyers, 0 additions to carts and 0 looks",
    ),
    "ten users": Case(
        make_ten_users,
        ("targets=purchase",),
        "purchase",
        "60 purchases, of these by 10 known buyers",
        has_tastes=False,
    ),
    "a mix": Case(
        make_mix,
        (MIX, "visits.min_visits=50"),
        "purchase 1, add_to_cart 0.3, view 0.05",
        "by 30 known buyers",
        "next looks by how they end: purchase 1, add_to_cart 0.3, view 0.05",
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def home(tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHOPWRIGHT_CLOCK_START", END.isoformat())
    rows = [
        {name: row[name] for name in COLUMNS} | {"occurred_at": row["occurred_at"].isoformat()}
        for row in case.make_events()
    ]
    (tmp_path / "tables").mkdir()
    write_csv(tmp_path / "tables" / "events.csv", rows)
    write_csv(tmp_path / "tables" / "items.csv", ITEMS)
    run("import", str(tmp_path / "tables"))
    yield tmp_path / "home"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_one_sided_shop_is_trained_and_served(home: Path, case: Case) -> None:
    changes = [word for value in (*LIGHT, *case.settings) for word in ("--set", value)]
    (item,) = json.loads(run("train", "recommendations", *changes, "--json"))["items"]
    assert item["promoted"], item["reason"]
    choices = item["evaluation"]["choices"]
    assert choices["targets"] == case.targets
    assert case.reason in choices["targets_why"]
    assert choices.get("visit_targets", "") == case.visit_targets

    settings = Settings(home=home, clock_start=END)
    client = MlflowClient(tracking_uri=settings.mlflow_url)
    experiment = client.get_experiment_by_name("recommendations")
    assert experiment is not None
    (tracked,) = client.search_runs([experiment.experiment_id])
    assert choices.items() <= tracked.data.tags.items()

    materialize(Facts(settings), settings, END)
    for shop in run_shop(settings):

        def ask(placement: str, shop: SimpleNamespace = shop, **who: object) -> list[str]:
            body = {"placement": placement, "count": 5, **who}
            answer = shop.client.post("/v1/recommendations", json=body).json()
            return [item["item_id"] for item in answer["items"]]

        assert len(ask("home", visitor_id="a stranger")) == 5
        assert len(ask("trending")) == 5
        for placement in ("home", "product"):
            tastes = [int(item_id[1:]) % 3 for item_id in ask(placement, item_ids=["i03"])]
            assert len(tastes) == 5
            assert not case.has_tastes or tastes.count(0) >= 3, (placement, tastes)
