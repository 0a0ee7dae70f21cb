"""A shop of three items, and what pricing gives and takes there: forecasts, responses, rules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.tables import TABLES, TIMESTAMP
from features.database import transaction
from features.facts.facts import Facts
from features.prices.ledger import Ledger
from models.demand.uncertainty.aggregates import AggregateDistributions
from models.pricing.rules import PricingRules
from serving.pricing_inputs.items import PricingInputs
from tests.shops.fitted_responses import make_fitted_response
from tests.shops.price_desk import NOW, make_opening_price

WEEKS = [NOW + timedelta(weeks=n) for n in range(4)]
RULES = PricingRules(
    endings=(), max_change=0.2, tried_margin=0.5, max_over_list=0.5, min_margin=0.0
)


@dataclass(frozen=True)
class Forecasts:
    forecasts: pa.Table
    aggregates: AggregateDistributions | None = None


def make_forecasts(*items, zone="default", units=10.0):
    rows = [
        (item, zone, week, units, units / 2, units, 2 * units) for item in items for week in WEEKS
    ]
    names = ["unique_id", "zone", "ds", "mean", "p10", "p50", "p90"]
    types = [pa.string(), pa.string(), TIMESTAMP, *[pa.float64()] * 4]
    table = [dict(zip(names, row, strict=True)) for row in rows]
    return Forecasts(pa.Table.from_pylist(table, pa.schema(list(zip(names, types, strict=True)))))


def make_responses(*items, elasticity=-4.0, zone="default"):
    return make_fitted_response(items, np.full(len(items), elasticity), zone=zone)


def write_three_items(engine: sa.Engine, settings: Settings) -> tuple[Facts, sa.Engine, Settings]:
    """Write three items at 1.00; milk costs .72, the others' costs are unknown."""
    facts = Facts(settings)
    items = [
        {"item_id": "milk", "title": "Milk", "category": "Food > Dairy", "unit_cost_minor": 72},
        {"item_id": "tea", "category": "Drinks"},
        {"item_id": "salt", "category": "Food"},
    ]
    facts.write({"items": pa.Table.from_pylist(items, TABLES["items"].arrow)})
    with transaction(engine) as connection:
        Ledger(connection).append([make_opening_price(item) for item in ("milk", "tea", "salt")])
    return facts, engine, settings


def make_inputs(shop, demand, pricing, rules=RULES, now=NOW, versions=None, presets=None):
    return PricingInputs(*shop, demand, pricing, rules, now, presets or {}, versions or {})
