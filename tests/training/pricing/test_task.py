import ast
import re
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pytest

from configs.loading import load
from configs.settings import Settings
from experiments.price_panel import read_price_panel
from features.contracts import pricing as records
from features.contracts.calendar import week_starts
from features.contracts.errors import BadInput
from features.pipelines.demand import Plans, weekly_demand
from models.pricing.rules import PricingRules
from tests.shops.event_tables import make_table
from tests.shops.tea_and_milk import MONDAY, N_WEEKS, FewFacts, sell_tea_and_milk
from training.pricing.evaluate import measure_clipped_share
from training.pricing.task import PRIMARY, PricingConfig, evaluate, train

CONFIGURED = load("models/pricing", PricingConfig)
PERSON = re.compile(r"user|visitor|session|customer|household|shopper|email|loyalty|consent", re.I)


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    return Settings(home=tmp_path)


def quiet(_: str) -> None:
    pass


def test_known_responses_are_found_from_events_to_slopes(settings: Settings) -> None:
    trained = train(sell_tea_and_milk(), settings, CONFIGURED, until=None, progress=quiet)
    response = trained.served.find_response([f"i{k:02}" for k in range(30)], "default")
    assert response.elasticity[:15].mean() == pytest.approx(-1.0, abs=0.1)
    assert response.elasticity[15:].mean() == pytest.approx(-3.0, abs=0.1)
    assert (response.lowest_minor[0], response.highest_minor[0]) == pytest.approx((350, 500))


def test_the_evaluation_stands_beside_its_baselines(settings: Settings) -> None:
    evaluation = evaluate(sell_tea_and_milk(), settings, CONFIGURED, until=None, progress=quiet)
    assert evaluation.task == "pricing"
    assert evaluation.cut == MONDAY + timedelta(weeks=30)  # three quarters of forty weeks
    comparison = evaluation.comparison(PRIMARY)
    assert set(comparison.baselines) == {
        "pooled",
        "category",
        "own OLS",
        "own OLS of changes",
        "empirical Bayes",
        "empirical Bayes with promotions",
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


@pytest.mark.parametrize("announced", [True, False])
def test_price_changes_are_called_promotions_where_they_are(
    settings: Settings, announced: bool
) -> None:
    facts = sell_tea_and_milk()
    events = facts.read("events").to_pyarrow().to_pylist()
    for event in events:
        event["list_price_minor"] = 500.0 if announced else event["unit_price_minor"]
    shop = FewFacts(
        {"events": make_table("events", events), "items": facts.read("items").to_pyarrow()}
    )
    evaluation = evaluate(shop, settings, CONFIGURED, until=None, progress=quiet)
    assert any("mostly promotions" in note for note in evaluation.notes) == announced


def test_the_judged_weeks_are_not_fitted_on(settings: Settings) -> None:
    facts = sell_tea_and_milk()
    events = facts.read("events").to_pyarrow().to_pylist()
    for event in events:
        if event["occurred_at"] >= MONDAY + timedelta(weeks=30):
            event["quantity"] **= 0.7  # people respond less to prices
            event["line_amount_minor"] = round(event["unit_price_minor"] * event["quantity"])
    changed = FewFacts(
        {"events": make_table("events", events), "items": facts.read("items").to_pyarrow()}
    )
    before, after = (
        train(given, settings, CONFIGURED, until=None, refit=False, progress=quiet)
        for given in (facts, changed)
    )
    np.testing.assert_array_equal(
        before.evaluated.columns["elasticity"], after.evaluated.columns["elasticity"]
    )
    assert after.evaluation.comparison(PRIMARY).ours < before.evaluation.comparison(PRIMARY).ours


def test_a_newest_week_that_may_still_fill_up_is_left_out(settings: Settings) -> None:
    facts = sell_tea_and_milk()
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
        {"events": make_table("events", events + begun), "items": facts.read("items").to_pyarrow()}
    )
    whole, cut = (
        train(given, settings, CONFIGURED, until=None, progress=quiet) for given in (facts, longer)
    )
    np.testing.assert_array_equal(
        whole.served.columns["elasticity"], cut.served.columns["elasticity"]
    )
    assert cut.evaluation.cut == whole.evaluation.cut


def test_the_same_data_give_the_same_model_and_until_hides_what_comes_later(
    settings: Settings,
) -> None:
    first, second = (
        train(sell_tea_and_milk(), settings, CONFIGURED, until=None, progress=quiet)
        for _ in range(2)
    )
    np.testing.assert_array_equal(
        first.served.columns["elasticity"], second.served.columns["elasticity"]
    )
    facts, until = sell_tea_and_milk(), MONDAY + timedelta(weeks=32)
    early = train(facts, settings, CONFIGURED, until=until, progress=quiet)
    events = facts.read("events").to_pyarrow().to_pylist()
    seen = make_table("events", [event for event in events if event["occurred_at"] < until])
    short = FewFacts({"events": seen, "items": facts.read("items").to_pyarrow()})
    alone = train(short, settings, CONFIGURED, until=None, progress=quiet)
    np.testing.assert_array_equal(
        early.served.columns["elasticity"], alone.served.columns["elasticity"]
    )
    assert early.evaluation.cut == MONDAY + timedelta(weeks=24)


def test_who_bought_changes_nothing(settings: Settings) -> None:
    few, many = (
        train(sell_tea_and_milk(users=users), settings, CONFIGURED, until=None, progress=quiet)
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
        assert [field.name for field in fields(record) if PERSON.search(field.name)] == []
    facts = sell_tea_and_milk(n_items=2)
    starts = week_starts(MONDAY, MONDAY + timedelta(weeks=5), "UTC")
    plans = Plans(facts.read("promotions"), facts.read("price_history"))
    weekly = weekly_demand(
        facts.read("events"), plans, as_of=starts[-1], week_starts=starts, kinds=()
    )
    assert not PERSON.search(" ".join(weekly.columns))
    read_columns = re.findall(r'"(\w+)"', str(ibis.to_sql(weekly, dialect="duckdb")))
    assert "item_id" in read_columns
    assert [name for name in read_columns if PERSON.search(name)] == []
    panel, _ = read_price_panel(facts, settings, starts[-1])  # type: ignore[arg-type]
    assert [field.name for field in fields(panel) if PERSON.search(field.name)] == []


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


def test_an_empty_shop_is_bad_input(settings: Settings) -> None:
    with pytest.raises(BadInput, match="no purchases"):
        train(FewFacts({}), settings, CONFIGURED, until=None, progress=quiet)


@pytest.mark.parametrize(
    ("shop", "reason"),
    [
        (sell_tea_and_milk(promoted=0.0), "price response cannot be evaluated"),
        (sell_tea_and_milk(n_weeks=3), "no response to prices is known"),
    ],
)
def test_a_shop_that_teaches_no_response_has_a_model_that_claims_none(
    settings: Settings, shop: FewFacts, reason: str
) -> None:
    trained = train(shop, settings, CONFIGURED, until=None, progress=quiet)
    assert reason in trained.evaluation.notes[0]
    assert trained.evaluation.comparisons == ()
    response = trained.served.find_response(["i00", "i29"], "default")
    known = [] if response is None else [grade for grade in response.grade if grade != "D"]
    assert known == []


def test_slopes_that_were_cut_off_are_seen_and_others_are_not() -> None:
    slopes = np.array([-3.0, -1.5, -0.2, 0.4, 0.9])
    assert measure_clipped_share(slopes) == 0
    assert measure_clipped_share(np.minimum(slopes, 0.0)) == 2 / 5  # .4 and .9
    assert measure_clipped_share(np.maximum(slopes, -1.5)) == 2 / 5  # -3 and -1.5 itself


def test_shares_out_of_range_are_refused() -> None:
    with pytest.raises(BadInput, match="shares"):
        PricingConfig(fit_share=1.0)


def test_shipped_rules_load() -> None:
    rules = load("pricing/default", PricingRules)
    assert rules.min_grade is records.EvidenceGrade.B
    assert rules.soft == {}
