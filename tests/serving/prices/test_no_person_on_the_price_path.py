"""No way leads from a person's data to a price: not by column, not by parameter, not by import."""

import ast
import math
import re
from dataclasses import fields, is_dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import get_args, get_type_hints

import ibis
import numpy as np
import pyarrow as pa
import pytest
from fastapi import FastAPI
from sqlalchemy import event

from configs.loading import load
from configs.settings import Settings
from features.contracts import pricing
from features.contracts.pricing import PriceSuggestion, PricingItem
from features.contracts.tables import TABLES
from features.database import engine as open_engine
from features.database import reading
from features.database_tables import price_ledger, promotion_items, promotions
from features.facts.facts import Facts
from features.pipelines.orders import spend_per_order
from features.prices.ledger import NewPrice
from models.pricing.optimise.optimiser import OptimisedPrices
from models.pricing.promotions.mechanics import Campaign
from models.pricing.promotions.what_if import WhatIf
from models.pricing.rules import PricingRules
from serving.database.desk_tables import price_suggestions
from serving.database.migrate import upgrade
from serving.price_desk import api as suggestions
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import NewSuggestion, Suggestions
from serving.price_desk.suggest import suggest_prices
from serving.prices import api as prices
from serving.prices.opening import open_ledger
from serving.pricing_inputs.items import PricedZone, PricingInputs
from serving.promotions import api as promotion_api
from serving.what_if import api as simulations
from serving.what_if.baskets import Basket, read_basket
from tests.shops.clocks import SYSTEM_CLOCK, FixedClock
from tests.shops.tea_and_milk import MONDAY, sell_tea_and_milk
from tests.shops.three_items import make_forecasts, make_inputs, make_responses
from training.demand.config import DemandConfig
from training.demand.task import train as train_demand
from training.pricing.task import PricingConfig
from training.pricing.task import train as train_pricing

ROOT = Path(prices.__file__).parents[2]
SMALL_DEMAND = load(
    "models/demand", DemandConfig, overrides={"fit.trees.n_trees": 20, "fit.max_rows": 20_000}
)
PERSON = re.compile(
    r"user|visitor|session|customer|household|shopper|email|loyalty|segment|consent", re.I
)

# From the route down to the ledger: everything that a price in an answer goes through.
PRICE_MODULES = (
    "features/contracts/pricing.py",
    "features/prices/ledger.py",
    "features/prices/law.py",
    "features/prices/reduction_rule.py",
    "features/prices/timeline.py",
    "serving/prices/service.py",
    "serving/price_desk/service.py",
    "serving/price_desk/decisions.py",
    "serving/price_desk/lifecycle.py",
    "serving/price_desk/rollback.py",
    "serving/prices/documents.py",
    "serving/price_desk/repository.py",
    "serving/prices/api.py",
    "serving/price_desk/api.py",
    "features/prices/promotions.py",
    "serving/promotions/checks.py",
    "serving/promotions/decisions.py",
    "serving/promotions/lifecycle.py",
    "serving/promotions/repository.py",
    "serving/promotions/terms.py",
)
# Of the experiments, these know items, families, zones and weeks: price tests.
PRICE_TEST_MODULES = (
    "experiments/price_panel.py",
    "experiments/analysis/period_slopes.py",
    "experiments/analysis/price_test_results.py",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "experiments/designs").glob("*.py"))),
)
PERSONAL_MODULES = (
    "features.contracts.histories",
    "features.contracts.recommendations",
    "features.pipelines.user",
    "features.pipelines.user_item",
    "features.facts.events",
    "features.facts.exposures",
    "features.facts.slates",
    "features.online.histories",
    "features.online.online_store",
    "features.facts.facts",
    "features.pipelines.promotion_outcomes",
    "models.ranking",
    "models.retrieval",
    *(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "experiments").rglob("*.py"))
        if str(path.relative_to(ROOT)) not in PRICE_TEST_MODULES and path.name != "__init__.py"
    ),
    "serving.recommendations.service",
    "serving.events.service",
)


def test_no_column_of_a_price_table_is_about_a_person():
    for table in (price_ledger, price_suggestions, promotions, promotion_items):
        assert [column.name for column in table.columns if PERSON.search(column.name)] == []


def test_no_parameter_of_a_price_route_is_about_a_person():
    app = FastAPI()
    app.include_router(prices.router)
    app.include_router(suggestions.router)
    app.include_router(suggestions.changes_router)
    app.include_router(simulations.router)
    app.include_router(promotion_api.router)
    document = app.openapi()
    names = {
        parameter["name"]
        for path in document["paths"].values()
        for operation in path.values()
        for parameter in operation.get("parameters", [])
    }
    for schema in document["components"]["schemas"].values():
        names |= set(schema.get("properties", {}))
    assert len(names) > 30
    assert [name for name in names if PERSON.search(name)] == []


def imported(path):
    """The modules of ours that a file imports, as dotted names; of `from a import b` both a and
    a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if file_of(name)}


def file_of(module):
    base = ROOT.joinpath(*module.split("."))
    return next(
        (path for path in (base.with_suffix(".py"), base / "__init__.py") if path.exists()), None
    )


def reachable(start):
    seen, waiting = set(), [start]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += imported(file_of(module))
    return seen


def test_no_price_module_reaches_a_module_about_persons():
    for path in PRICE_MODULES:
        module = path.removesuffix(".py").replace("/", ".")
        reached = reachable(module)
        bad = {
            each
            for each in reached
            for person in PERSONAL_MODULES
            if f"{each}.".startswith(f"{person}.")
        }
        assert bad == set(), module


def test_the_walk_over_imports_finds_what_is_there():
    assert "features.facts.events" in reachable("features.facts.facts")


# What suggests a price reads sales, but only what was paid for which item, where and when.
SUGGESTING_MODULES = (
    "features/contracts/pricing.py",
    "features/facts/item_rules.py",
    "features/pipelines/orders.py",
    "features/pipelines/pricing.py",
    "training/pricing/task.py",
    *PRICE_TEST_MODULES,
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "models/pricing").rglob("*.py"))),
    "models/served_prices.py",
    "features/contracts/sizes.py",
    "serving/what_if/api.py",
    "serving/what_if/effect_documents.py",
    "serving/what_if/plan_documents.py",
    "serving/what_if/price_documents.py",
    "serving/what_if/promotion_documents.py",
    "serving/what_if/served_demand.py",
    "serving/what_if/simulation.py",
    "serving/cli/price_test_programme.py",
    "serving/cli/price_tests.py",
    "serving/cli/prices.py",
    "serving/cli/pricing.py",
    "serving/cli/promotion_report.py",
    "serving/cli/promotion_filing.py",
    "serving/cli/promotions.py",
    "serving/what_if/service.py",
    "serving/promotions/documents.py",
    "serving/promotions/new_promotions.py",
    "serving/promotions/service.py",
    "serving/price_desk/suggest.py",
    "serving/price_desk/price_test_measures.py",
    "serving/price_desk/price_test_plans.py",
    "serving/what_if/baskets.py",
    "serving/what_if/campaign.py",
    "serving/what_if/promotion_plan.py",
    "serving/what_if/coupons.py",
    "serving/pricing_inputs/forecast_prices.py",
    "serving/pricing_inputs/horizon_forecast.py",
    "serving/pricing_inputs/item_facts.py",
    "serving/pricing_inputs/items.py",
    "serving/pricing_inputs/promotion_plans.py",
    "serving/pricing_inputs/repository.py",
)
# They read the catalogue's tables through this door; the SQL that goes through it is looked at
# below.
DOOR = ("features.facts.facts", "features.facts.events")


def test_nothing_that_suggests_a_price_names_a_persons_data():
    for path in (*PRICE_MODULES, *SUGGESTING_MODULES):
        named = set()
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            named |= {
                getattr(node, name)
                for name in ("id", "attr", "arg")
                if isinstance(getattr(node, name, None), str)
            }
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and node.value.isidentifier()
            ):
                named.add(node.value)
        assert [name for name in named if PERSON.search(name)] == [], path


def test_no_record_of_pricing_has_a_field_about_a_person():
    for record in (pricing.PricingItem, pricing.PriceSuggestion, NewPrice, NewSuggestion):
        assert [field.name for field in fields(record) if PERSON.search(field.name)] == []


def test_what_suggests_a_price_reaches_persons_by_no_import_but_the_door_to_the_tables():
    for path in SUGGESTING_MODULES:
        if path.startswith("serving/cli/") or path == "serving/what_if/api.py":
            # the composition root and the server's state know everything; they pass on
            # PricingInputs only
            continue
        reached = reachable(path.removesuffix(".py").replace("/", ".")) - set(DOOR)
        others = [person for person in PERSONAL_MODULES if person not in DOOR]
        bad = {each for each in reached for person in others if f"{each}.".startswith(f"{person}.")}
        assert bad == set(), path


def records(kind, seen):
    """The dataclasses that a type is made of, however deep."""
    for inner in get_args(kind):
        records(inner, seen)
    if is_dataclass(kind) and kind not in seen:
        seen.add(kind)
        for hint in get_type_hints(kind).values():
            records(hint, seen)
    return seen


def test_no_type_that_a_price_is_made_from_has_a_field_about_a_person():
    found = set()
    for kind in (
        PricedZone,
        PricingItem,
        PriceSuggestion,
        OptimisedPrices,
        Campaign,
        WhatIf,
        NewPrice,
        NewSuggestion,
    ):
        records(kind, found)
    for module in SUGGESTING_MODULES:
        if module.startswith("models/"):
            known = vars(import_module(module.removesuffix(".py").replace("/", ".")))
            found |= {
                each for each in known.values() if isinstance(each, type) and is_dataclass(each)
            }
    assert len(found) > 30
    assert [
        (kind, field.name) for kind in found for field in fields(kind) if PERSON.search(field.name)
    ] == []


def test_no_sql_of_a_run_names_a_person(three_items, monkeypatch):
    statements, tables = [], set()
    once = Facts.read
    monkeypatch.setattr(
        Facts, "read", lambda self, name, *more: tables.add(name) or once(self, name, *more)
    )
    event.listen(
        three_items[1], "before_cursor_execute", lambda *given: statements.append(given[2])
    )
    suggest_prices(
        make_inputs(three_items, make_forecasts("milk", "tea"), make_responses("milk", "tea")),
        SYSTEM_CLOCK,
    )
    assert len(statements) > 3
    assert [each for each in statements if PERSON.search(each)] == []
    assert tables == {
        "items",
        "costs",
        "stock",
        "promotions",
    }  # competitor_prices where a rule asks for them


def people_permuted(rows, seed):
    """The same purchases, made by others: every id about a person is dealt out anew."""
    rng = np.random.default_rng(seed)
    for name in ("user_id", "visitor_id", "session_id"):
        values = [row.get(name) or f"{name}-{number}" for number, row in enumerate(rows)]
        rows = [
            {**row, name: values[place]}
            for row, place in zip(rows, rng.permutation(len(rows)), strict=True)
        ]
    return rows


def test_permuting_who_bought_leaves_every_suggestion_equal_to_the_cent(tmp_path):
    few = sell_tea_and_milk(n_items=16, n_weeks=36, list_prices=(500, 560, 480))
    rows, items = (few.read(name).to_pyarrow() for name in ("events", "items"))
    now = MONDAY + timedelta(weeks=36)
    found = []
    for seed in (1, 2):
        settings = Settings(home=tmp_path / str(seed), clock_start=now)
        facts = Facts(settings)
        events = pa.Table.from_pylist(
            people_permuted(rows.to_pylist(), seed), TABLES["events"].arrow
        )
        facts.write({"events": events, "items": items})
        demand = train_demand(facts, settings, SMALL_DEMAND, until=None, progress=str).served
        pricing = train_pricing(
            facts, settings, load("models/pricing", PricingConfig), until=None, progress=str
        ).served
        engine = open_engine(settings)
        upgrade(engine)
        open_ledger(facts, engine, settings, FixedClock(now), SYSTEM_CLOCK)
        rules = PricingRules(
            min_gain=0.0, tried_margin=0.5, revenue_floor=0.98, max_changes_share=0.8
        )
        given = PricingInputs(facts, engine, settings, demand, pricing, rules, now, {}, {})
        report = suggest_prices(given, SYSTEM_CLOCK)
        with reading(engine) as connection:
            filed = Suggestions(connection).matching(SuggestionFilter(run_id=report.run_id))
        found.append(
            [
                (each.item_id, each.suggested_price_minor, each.expected, each.waterfall)
                for each in filed
            ]
        )
        engine.dispose()
    assert len(found[0]) >= 8, report
    assert found[0] == found[1]


def test_of_orders_one_row_without_an_id_is_read_and_no_column_of_a_person(settings):
    rows = [bought(None, "tea", 900)]
    for n in range(10):
        rows += [
            bought(f"a{n}", "tea", 100),
            bought(f"a{n}", "salt", 300),
            bought(f"b{n}", "tea", 200),
        ]
    rows = [
        *rows,
        bought("c1", "milk", 700),
        bought("b1", "milk", 50),
        bought("a1", "tea", 5, event_type="refund"),
    ]
    found = []
    for seed in (1, 2):
        facts = Facts(settings.model_copy(update={"home": settings.home / str(seed)}))
        dealt = people_permuted(rows, seed)
        facts.write({"events": pa.Table.from_pylist(dealt, TABLES["events"].arrow)})
        found.append(read_basket(facts, ["tea", "salt"], "default", MONDAY))
        spend = spend_per_order(
            facts.read("events"), ["tea"], "default", since=MONDAY, until=MONDAY
        )
        assert spend.columns == ("mean_minor", "log_mean", "log_sd", "n_orders")
    log_sd = math.log(400 / 200) / 2  # ten orders spend 400, ten spend 200
    log_mean = (math.log(400) + math.log(200)) / 2
    mean = round((100 + 300 + 200) / 2)
    expected = Basket(mean, pytest.approx(log_mean), pytest.approx(log_sd), 20)
    assert found == [expected, expected]
    assert [field.name for field in fields(Basket)] == [
        "mean_minor",
        "log_mean",
        "log_sd",
        "n_orders",
    ]
    columns = list(TABLES["events"].arrow.names)
    lean = ibis.table(
        {name: facts.read("events").schema()[name] for name in columns if not PERSON.search(name)}
    )
    assert len(lean.columns) < len(columns)
    spend_per_order(
        lean, ["tea"], "default", since=MONDAY, until=MONDAY
    )  # it asks for none of the columns left out


def bought(order_id, item_id, amount, event_type="purchase"):
    row = {
        "event_type": event_type,
        "order_id": order_id,
        "item_id": item_id,
        "line_amount_minor": amount,
    }
    row |= {"event_id": f"{order_id}-{item_id}-{event_type}", "zone": "default", "quantity": 1.0}
    return row | {"occurred_at": MONDAY - timedelta(days=1)}


def test_only_public_coupons_lower_a_price():
    # A coupon is a lever of a campaign with a share of takers; nothing says whose it is.
    assert [field.name for field in fields(Campaign) if PERSON.search(field.name)] == []
    assert "take_up" in {field.name for field in fields(Campaign)}
