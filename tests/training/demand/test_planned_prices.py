"""A backtest knows the prices that were planned at its origin, and no decision of the price desk
made later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from configs.loading import load
from configs.settings import Settings
from features.contracts.tables import TABLES
from features.database import transaction
from features.facts.facts import Facts
from features.prices.ledger import Ledger, NewPrice, PriceSource
from models.demand.features import build_features, summarize_history
from training.demand.config import DemandConfig
from training.demand.panel import add_planned_prices, build_panel
from training.demand.task import train

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
N_WEEKS = 18
CONFIGURED = load(
    "models/demand", DemandConfig, overrides={"fit.trees.n_trees": 5, "fit.max_rows": 2_000}
)


def week(n: float) -> datetime:
    return MONDAY + timedelta(weeks=n)


def stored(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    schema = TABLES[name].arrow
    return pa.Table.from_pylist(
        [{field.name: row.get(field.name) for field in schema} for row in rows], schema=schema
    )


@pytest.fixture
def facts(settings: Settings, engine: sa.Engine) -> Facts:
    """Ten items in one zone, listed at 2.00 all the time, with sales that differ from week to
    week; the ledger has the listed prices, as an import writes them."""
    rng = np.random.default_rng(5)
    sold = rng.poisson(6, (10, N_WEEKS)) + 1
    sale = {"event_type": "purchase", "zone": "north", "unit_price_minor": 200.0}
    events = [
        {
            **sale,
            "event_id": f"{i}-{w}",
            "item_id": f"i{i}",
            "occurred_at": week(w + 0.8),
            "quantity": float(sold[i, w]),
        }
        for i, w in np.ndindex(10, N_WEEKS)
    ]
    prices = [
        {
            "item_id": f"i{i}",
            "zone": "north",
            "valid_from": week(-1),
            "list_price_minor": 200,
            "offer_price_minor": 200,
        }
        for i in range(10)
    ]
    items = [{"item_id": f"i{i}", "category": "Food"} for i in range(10)]
    shop = Facts(settings)
    shop.write(
        {
            n: stored(n, r)
            for n, r in (("events", events), ("price_history", prices), ("items", items))
        }
    )
    listed = [
        NewPrice(**row, currency="USD", source=PriceSource.IMPORTED, recorded_at=week(-1))
        for row in prices
    ]
    with transaction(engine) as connection:
        Ledger(connection).append(listed)
    return shop


def decide(
    engine: sa.Engine, *, decided: float, begins: float, source: PriceSource = PriceSource.DESK
) -> None:
    with transaction(engine) as connection:
        Ledger(connection).append(
            [
                NewPrice(
                    item_id="i0",
                    zone="north",
                    valid_from=week(begins),
                    list_price_minor=160,
                    offer_price_minor=160,
                    currency="USD",
                    source=source,
                    recorded_at=week(decided),
                )
            ]
        )


def planned(facts: Facts, settings: Settings, origin: int) -> np.ndarray:
    """The feature columns of the second week after an origin."""
    whole = build_panel(facts, settings, until=None, ahead=13).panel
    panel = add_planned_prices(whole, facts, settings, known_at=week(origin)).truncate(origin)
    names, rows = build_features(panel, summarize_history(panel, origin), 2)
    return rows[0][[names.index("price_to_list"), names.index("price_to_usual")]]


@pytest.mark.parametrize("source", [PriceSource.DESK, PriceSource.ROLLBACK])
def test_a_price_decided_later_leaves_the_features_of_earlier_origins_as_they_were(
    facts: Facts,
    settings: Settings,
    engine: sa.Engine,
    source: PriceSource,
) -> None:
    assert np.array_equal(planned(facts, settings, 12), [0, 0])
    decide(engine, decided=12, begins=13, source=source)
    assert np.array_equal(
        planned(facts, settings, 12), [0, 0]
    )  # decided at the origin: not known yet
    assert planned(facts, settings, 13)[1] == pytest.approx(np.log(160 / 200))
    whole = build_panel(facts, settings, until=None, ahead=13).panel
    assert whole.offer_price is not None and whole.offer_price[0, 13] == 160
    cut = build_panel(facts, settings, until=week(12), ahead=13).panel
    assert cut.offer_price is not None and cut.offer_price[0, 13] == 200


def test_a_decision_after_the_last_origin_changes_served_forecasts_and_no_metric(
    facts: Facts,
    settings: Settings,
    engine: sa.Engine,
) -> None:
    before = train(facts, settings, CONFIGURED, until=None, progress=lambda _: None)
    decide(engine, decided=13.5, begins=14)  # the one origin lies after 13 weeks
    after = train(facts, settings, CONFIGURED, until=None, progress=lambda _: None)
    assert after.evaluation.comparisons == before.evaluation.comparisons
    prices = [trained.served.forecasts["price_minor"][0].as_py() for trained in (before, after)]
    assert prices == [200, 160]
