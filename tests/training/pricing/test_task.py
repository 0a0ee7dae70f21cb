import ast
import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pytest

from configs.loading import load
from configs.settings import Settings
from features.contracts import pricing as records
from features.contracts.calendar import week_starts
from features.contracts.errors import BadInput
from features.contracts.tables import TABLES
from features.pipelines.demand import weekly_demand
from models.pricing.rules import PricingRules
from training.pricing.panel import price_panel
from training.pricing.task import PRIMARY, PricingConfig, evaluate, share_at_a_bound, train

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
N_WEEKS = 40
CONFIGURED = load("models/pricing", PricingConfig)
PERSON = re.compile(r"user|visitor|session|customer|household|shopper|email|loyalty|consent", re.I)


class FewFacts:
    """Tables in memory, read like those of a shop."""

    def __init__(self, tables: dict[str, pa.Table]) -> None:
        backend = ibis.duckdb.connect()
        backend.raw_sql("SET TimeZone = 'UTC'")
        for name, schema in TABLES.items():
            backend.con.register(name, tables.get(name, schema.arrow.empty_table()))
        self._backend = backend

    def read(self, name: str, known_at: datetime | None = None) -> Any:
        return self._backend.table(name)

    def latest_event_at(self) -> datetime | None:
        latest: datetime | None = self.read("events").occurred_at.max().to_pyarrow().as_py()
        return latest


def stored(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    schema = TABLES[name].arrow
    return pa.Table.from_pylist(
        [{field.name: row.get(field.name) for field in schema} for row in rows], schema=schema
    )


def shop(
    *, n_items: int = 30, n_weeks: int = N_WEEKS, promoted: float = 0.3, users: int = 7
) -> FewFacts:
    """Items of elasticity -1 (tea) and -3 (milk), sold to `users` people who are the same to every
    price."""
    rng = np.random.default_rng(21)
    events = []
    for item in range(n_items):
        slope = -1.0 if item < n_items / 2 else -3.0
        for week in range(n_weeks):
            price = 500 * (1 - (0.3 if rng.random() < promoted else 0.0))
            units = rng.poisson(60 * (price / 500) ** slope)
            events.append(
                {
                    "event_id": f"{item}-{week}",
                    "event_type": "purchase",
                    "occurred_at": MONDAY + timedelta(weeks=week, days=5.5),
                    "item_id": f"i{item:02}",
                    "user_id": f"u{(item * 31 + week) % users}",
                    "zone": "default",
                    "quantity": float(units),
                    "line_amount_minor": round(price * units),
                    "unit_price_minor": price,
                }
            )
    items = [
        {"item_id": f"i{item:02}", "category": f"Food > {'Tea' if item < n_items / 2 else 'Milk'}"}
        for item in range(n_items)
    ]
    return FewFacts({"events": stored("events", events), "items": stored("items", items)})


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    return Settings(home=tmp_path)


def quiet(_: str) -> None:
    pass


def test_known_responses_are_found_from_events_to_slopes(settings: Settings) -> None:
    trained = train(shop(), settings, CONFIGURED, until=None, progress=quiet)
    response = trained.served.find_response([f"i{k:02}" for k in range(30)], "default")
    assert response.elasticity[:15].mean() == pytest.approx(-1.0, abs=0.1)
    assert response.elasticity[15:].mean() == pytest.approx(-3.0, abs=0.1)
    assert (response.lowest_minor[0], response.highest_minor[0]) == pytest.approx((350, 500))


def test_the_evaluation_stands_beside_its_baselines(settings: Settings) -> None:
    evaluation = evaluate(shop(), settings, CONFIGURED, until=None, progress=quiet)
    assert evaluation.task == "pricing"
    assert evaluation.cut == MONDAY + timedelta(weeks=30)  # three quarters of forty weeks
    comparison = evaluation.comparison(PRIMARY)
    assert set(comparison.baselines) == {
        "pooled",
        "category",
        "own OLS",
        "own OLS of changes",
        "empirical Bayes",
    }
    assert comparison.ours > comparison.baselines["pooled"] + 0.1
    assert evaluation.passed
    assert evaluation.metrics["items judged"] == 30
    gains = [
        evaluation.metrics[f"gain over empirical Bayes{end}"] for end in (", 2.5 %", "", ", 97.5 %")
    ]
    assert gains == sorted(gains)
    assert gains[1] == comparison.ours / comparison.baselines["empirical Bayes"] - 1
    assert evaluation.metrics["share positive elasticities"] == 0
    assert any("promotions" in note for note in evaluation.notes)


def test_the_judged_weeks_are_not_fitted_on(settings: Settings) -> None:
    facts = shop()
    events = facts.read("events").to_pyarrow().to_pylist()
    for event in events:
        if event["occurred_at"] >= MONDAY + timedelta(weeks=30):
            event["quantity"] = 1.0  # nobody responds any more, and all prices are other ones
    changed = FewFacts(
        {"events": stored("events", events), "items": facts.read("items").to_pyarrow()}
    )
    before, after = (
        train(each, settings, CONFIGURED, until=None, refit=False, progress=quiet)
        for each in (facts, changed)
    )
    np.testing.assert_array_equal(
        before.evaluated.columns["elasticity"], after.evaluated.columns["elasticity"]
    )
    assert after.evaluation.comparison(PRIMARY).ours < before.evaluation.comparison(PRIMARY).ours


def test_a_newest_week_that_may_still_fill_up_is_left_out(settings: Settings) -> None:
    facts = shop()
    events = facts.read("events").to_pyarrow().to_pylist()
    begun = [
        {
            **event,
            "event_id": f"new {event['event_id']}",
            "occurred_at": MONDAY + timedelta(weeks=N_WEEKS, days=1),
        }
        for event in events
        if event["occurred_at"] < MONDAY + timedelta(weeks=1)
    ]
    longer = FewFacts(
        {"events": stored("events", events + begun), "items": facts.read("items").to_pyarrow()}
    )
    whole, cut = (
        train(each, settings, CONFIGURED, until=None, progress=quiet) for each in (facts, longer)
    )
    np.testing.assert_array_equal(
        whole.served.columns["elasticity"], cut.served.columns["elasticity"]
    )
    assert cut.evaluation.cut == whole.evaluation.cut


def test_the_same_data_give_the_same_model_and_until_hides_what_comes_later(
    settings: Settings,
) -> None:
    first, second = (
        train(shop(), settings, CONFIGURED, until=None, progress=quiet) for _ in range(2)
    )
    np.testing.assert_array_equal(
        first.served.columns["elasticity"], second.served.columns["elasticity"]
    )
    facts, until = shop(), MONDAY + timedelta(weeks=32)
    early = train(facts, settings, CONFIGURED, until=until, progress=quiet)
    events = facts.read("events").to_pyarrow().to_pylist()
    seen = stored("events", [event for event in events if event["occurred_at"] < until])
    short = FewFacts({"events": seen, "items": facts.read("items").to_pyarrow()})
    alone = train(short, settings, CONFIGURED, until=None, progress=quiet)
    np.testing.assert_array_equal(
        early.served.columns["elasticity"], alone.served.columns["elasticity"]
    )
    assert early.evaluation.cut == MONDAY + timedelta(weeks=24)


def test_who_bought_changes_nothing(settings: Settings) -> None:
    few, many = (
        train(shop(users=users), settings, CONFIGURED, until=None, progress=quiet)
        for users in (1, 97)
    )
    for name, values in few.served.columns.items():
        np.testing.assert_array_equal(values, many.served.columns[name])


def test_no_column_about_a_person_reaches_a_price(settings: Settings) -> None:
    for record in (
        records.PriceSuggestion,
        records.PricingItem,
        records.WaterfallStep,
        records.Effect,
        PricingRules,
    ):
        assert [each.name for each in fields(record) if PERSON.search(each.name)] == []
    facts = shop(n_items=2)
    starts = week_starts(MONDAY, MONDAY + timedelta(weeks=5), "UTC")
    tables = [facts.read(name) for name in ("events", "promotions", "price_history")]
    weekly = weekly_demand(*tables, as_of=starts[-1], week_starts=starts, kinds=())
    assert not PERSON.search(" ".join(weekly.columns))
    read_columns = re.findall(r'"(\w+)"', str(ibis.to_sql(weekly, dialect="duckdb")))
    assert "item_id" in read_columns
    assert [name for name in read_columns if PERSON.search(name)] == []
    panel, _ = price_panel(facts, settings, starts[-1])  # type: ignore[arg-type]
    assert [each.name for each in fields(panel) if PERSON.search(each.name)] == []


def test_no_pricing_module_imports_a_persons_features() -> None:
    root = Path(__file__).parents[3]
    modules = [
        *(root / "models/pricing").rglob("*.py"),
        *(root / "training/pricing").rglob("*.py"),
        root / "features/pipelines/pricing.py",
        root / "features/pipelines/demand.py",
    ]
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not re.search(
                    r"histories|online|exposures|pipelines\.user|recommend", node.module or ""
                ), module


def test_an_empty_shop_and_one_whose_prices_never_move_are_bad_input(settings: Settings) -> None:
    with pytest.raises(BadInput, match="no purchases"):
        train(FewFacts({}), settings, CONFIGURED, until=None, progress=quiet)
    with pytest.raises(BadInput, match="price response cannot be judged"):
        train(shop(promoted=0.0), settings, CONFIGURED, until=None, progress=quiet)
    with pytest.raises(BadInput):
        train(shop(n_weeks=3), settings, CONFIGURED, until=None, progress=quiet)


def test_slopes_that_were_cut_off_are_seen_and_others_are_not() -> None:
    slopes = np.array([-3.0, -1.5, -0.2, 0.4, 0.9])
    assert share_at_a_bound(slopes) == 0
    assert share_at_a_bound(np.minimum(slopes, 0.0)) == 2 / 5  # .4 and .9
    assert share_at_a_bound(np.maximum(slopes, -1.5)) == 2 / 5  # -3 and -1.5 itself


def test_shares_out_of_range_are_refused() -> None:
    with pytest.raises(BadInput, match="shares"):
        PricingConfig(fit_share=1.0)


def test_shipped_rules_load() -> None:
    rules = load("pricing/default", PricingRules)
    assert rules.min_grade is records.EvidenceGrade.B
    assert rules.soft == {}
