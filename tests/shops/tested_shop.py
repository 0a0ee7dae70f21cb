"""A shop in which price tests are worth their cost, and the sales of the weeks of a test."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs.settings import Settings
from experiments.designs.price_test import PriceTest
from features.contracts.tables import TABLES
from features.database import engine as open_engine
from features.facts.facts import Facts
from features.prices.stored_tests import StoredTest
from models.digests import write_digests
from models.registry import Registry
from tests.shops.fitted_responses import make_fitted_response
from tests.shops.served_shop import ITEMS, register_model
from tests.shops.wide_rules import save_wide_rules

GRADE_C = 2


def sell_in_test(
    facts: Facts,
    stored: StoredTest,
    item_ids: Sequence[str],
    slope: float,
    units: float,
    later: float = 0.0,
) -> None:
    """Import the sales of four weeks before a test and of its weeks in all its zones, without
    noise: so many units a week at 1.00. Of the slope the part `later` comes a week later."""
    assert stored.begins_at is not None
    test = PriceTest.from_document(stored.document["test"])
    opening = {(item_id, zone): 100 for item_id in item_ids for zone in test.zones}
    weeks = [opening] * 4 + [
        opening | test.find_prices(int(period)) for period in test.periods.period_of_week
    ]
    rows = [
        {
            "event_id": f"{week}-{day}-{item_id}-{zone}",
            "event_type": "purchase",
            "occurred_at": stored.begins_at + timedelta(weeks=week - 4, days=day, hours=9),
            "user_id": "someone",
            "item_id": item_id,
            "zone": zone,
            "quantity": (
                quantity := units
                / 7
                * (price / 100) ** (slope - later)
                * (weeks[max(week - 1, 0)][item_id, zone] / 100) ** later
            ),
            "line_amount_minor": quantity * price,
        }
        for week, charged in enumerate(weeks)
        for (item_id, zone), price in charged.items()
        for day in range(7)
    ]
    facts.write({"events": pa.Table.from_pylist(rows, TABLES["events"].arrow)})


def make_tests_worth_it(settings: Settings) -> None:
    """Let the items of the tiny shop sell hundreds of times more, with responses of grade C, under
    rules that leave prices room."""
    registry = Registry(settings.mlflow_url, settings.home)
    demand = settings.home / "artifacts" / "demand-large"
    shutil.copytree(settings.home / "artifacts" / "demand", demand)
    forecasts = pq.read_table(demand / "forecasts.parquet")
    for name in ("mean", "p10", "p50", "p90"):
        place = forecasts.schema.get_field_index(name)
        forecasts = forecasts.set_column(place, name, [np.array(forecasts[name]) * 500.0])
    pq.write_table(forecasts, demand / "forecasts.parquet")
    write_digests(demand)
    registry.promote("demand", register_model(registry, "demand", demand))
    responses = make_fitted_response(
        list(ITEMS),
        np.linspace(-1.7, -1.4, len(ITEMS)),
        error=np.full(len(ITEMS), 0.7),
        grade=np.full(len(ITEMS), GRADE_C),
    )
    pricing = settings.home / "artifacts" / "pricing-unsure"
    responses.save(pricing)
    registry.promote("pricing", register_model(registry, "pricing", pricing))
    engine = open_engine(settings)
    save_wide_rules(settings, engine)
    engine.dispose()
