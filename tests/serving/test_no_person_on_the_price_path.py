"""No way leads from a person's data to a price: not by column, not by parameter, not by import."""

import ast
import re
from dataclasses import fields
from pathlib import Path

from fastapi import FastAPI

from features.contracts import pricing
from features.store.database import price_ledger
from features.store.ledger import NewPrice
from serving.api import prices, suggestions
from serving.store.suggestions import NewSuggestion
from serving.store.tables import price_suggestions

ROOT = Path(prices.__file__).parents[2]
PERSON = re.compile(r"user|visitor|session|customer|household|shopper|email|loyalty|segment|consent", re.I)

# From the route down to the ledger: everything that a price in an answer goes through.
PRICE_MODULES = (
    "features/store/ledger.py",
    "serving/services/prices.py",
    "serving/services/decide.py",
    "serving/services/undo.py",
    "serving/store/suggestions.py",
    "serving/api/prices.py",
    "serving/api/suggestions.py",
)
PERSONAL_MODULES = (
    "features.contracts.histories",
    "features.contracts.recommendations",
    "features.pipelines.user",
    "features.pipelines.user_item",
    "features.store.events",
    "features.store.exposures",
    "features.store.histories",
    "features.store.online",
    "features.store.facts",
    "models.ranking",
    "models.retrieval",
    "experiments",
    "serving.services.recommend",
    "serving.services.ingest",
)


def test_no_column_of_a_price_table_is_about_a_person():
    for table in (price_ledger, price_suggestions):
        assert [column.name for column in table.columns if PERSON.search(column.name)] == []


def test_no_parameter_of_a_price_route_is_about_a_person():
    app = FastAPI()
    app.include_router(prices.router)
    app.include_router(suggestions.router)
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
    """The modules of ours that a file imports, as dotted names; of `from a import b` both a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if file_of(name)}


def file_of(module):
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.exists()), None)


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
        assert "features.store.database" in reached
        bad = {each for each in reached for person in PERSONAL_MODULES if f"{each}.".startswith(f"{person}.")}
        assert bad == set(), module


def test_the_walk_over_imports_finds_what_is_there():
    assert "features.store.events" in reachable("features.store.facts")


# What suggests a price reads sales, but only what was paid for which item, where and when.
SUGGESTING_MODULES = (
    "features/contracts/pricing.py",
    "features/pipelines/pricing.py",
    "models/pricing/controls.py",
    "models/pricing/elasticity.py",
    "models/pricing/groups.py",
    "models/pricing/instruments.py",
    "models/pricing/panel.py",
    "models/pricing/placebo.py",
    "models/pricing/residuals.py",
    "training/pricing.py",
    "training/pricing_panel.py",
    "models/pricing/optimiser.py",
    "models/pricing/rules.py",
    "serving/services/suggest.py",
    "serving/store/pricing_inputs.py",
)


def test_nothing_that_suggests_a_price_names_a_persons_data():
    for path in (*PRICE_MODULES, *SUGGESTING_MODULES):
        named = set()
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            named |= {
                getattr(node, name) for name in ("id", "attr", "arg") if isinstance(getattr(node, name, None), str)
            }
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                named.add(node.value)
        assert [name for name in named if PERSON.search(name)] == [], path


def test_no_record_of_pricing_has_a_field_about_a_person():
    for record in (pricing.PricingItem, pricing.PriceSuggestion, NewPrice, NewSuggestion):
        assert [field.name for field in fields(record) if PERSON.search(field.name)] == []
