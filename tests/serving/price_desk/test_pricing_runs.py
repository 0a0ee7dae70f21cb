"""Runs are kept with the outcome of each item: why a price was kept, and what was assumed."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from features.contracts.errors import BadInput, NotFound
from features.contracts.tables import TABLES
from features.database import reading, transaction
from features.facts.facts import Facts
from serving.http.dependencies import provide
from serving.http.errors import add_error_handlers
from serving.keys.service import KeyService
from serving.price_desk import run_outcomes, runs_api
from serving.price_desk.run_documents import describe_outcomes, describe_run
from serving.price_desk.run_outcomes import NewRun, PricingRuns, RunItem, RunItemFilter
from serving.price_desk.runs import PricingRunService
from serving.price_desk.suggest import suggest_prices
from tests.shops.clocks import SYSTEM_CLOCK
from tests.shops.fitted_responses import make_fitted_response
from tests.shops.price_desk import NOW, SYSTEM_NOW
from tests.shops.three_items import make_forecasts, make_inputs, make_responses


def suggest(three_items, *items, pricing=None, **changes):
    inputs = make_inputs(three_items, make_forecasts(*items), pricing or make_responses("milk"))
    return suggest_prices(replace(inputs, **changes), SYSTEM_CLOCK)


def open_runs(three_items):
    _, engine, settings = three_items
    return PricingRunService(settings, engine)


def test_every_item_of_a_run_has_an_outcome_and_the_counts_add_up(three_items):
    report = suggest(three_items, "milk", "tea", "nowhere")
    service = open_runs(three_items)
    run, items = service.list_items(report.run_id, RunItemFilter(), after="", limit=100)
    outcomes = {each.item_id: (each.outcome, each.reason) for each in items}
    assert outcomes == {
        "milk": ("suggested", None),
        "nowhere": ("kept", "no price in the ledger"),
        "tea": ("kept", "no price response is known"),
    }
    milk = next(each for each in items if each.item_id == "milk")
    assert (milk.current_price_minor, milk.suggested_price_minor) == (100, 96)
    assert (milk.title, milk.category) == ("Milk", "Food > Dairy")
    document = describe_run(run)
    assert document.totals.n_suggested + document.totals.n_kept == document.totals.n_forecast == 3
    assert document.kept == {"no price in the ledger": 1, "no price response is known": 1}
    with reading(three_items[1]) as connection:
        for reason, count in document.kept.items():
            criteria = RunItemFilter(reason=reason)
            assert len(PricingRuns(connection).items(report.run_id, criteria)) == count
            assert PricingRuns(connection).count_items(report.run_id, criteria) == count
    before, after = 40 * (100 - 72), 40 * 0.96**-4 * (96 - 72)
    assert document.profit_gain == f"{(after - before) / 100:.2f}"


def test_an_item_is_explained_by_each_kept_run_newest_first(three_items):
    first = suggest(three_items, "milk", "tea")
    second = suggest(three_items, "tea", now=NOW + timedelta(hours=1))
    service = open_runs(three_items)
    tea = describe_outcomes(service.explain_item("tea"))
    assert [each.run_id for each in tea.items] == [second.run_id, first.run_id]
    assert {each.reason for each in tea.items} == {"no price response is known"}
    assert tea.absent == {}
    # Milk was in the first run only, salt in none: both have a price and no forecast now.
    milk = service.explain_item("milk")
    assert [run.id for run, _ in milk.outcomes] == [first.run_id]
    assert "no forecast" in milk.absent["default"]
    assert "no forecast" in service.explain_item("salt").absent["default"]
    with pytest.raises(NotFound, match="no price is known of item 'unheard-of'"):
        service.explain_item("unheard-of")


def test_a_dry_run_leaves_no_run_behind(three_items):
    inputs = make_inputs(three_items, make_forecasts("milk"), make_responses("milk"))
    suggest_prices(inputs, SYSTEM_CLOCK, dry_run=True)
    assert open_runs(three_items).list_runs(None, before=None, limit=10) == []


def test_assumed_costs_are_counted_among_suggestions_and_among_rises(three_items):
    """Of tea and salt nobody knows the cost: 75 at a mean response of -4. The best prices are
    75 * 3 / 2 for tea, a rise, and 75 * 5 / 4 for salt; milk costs 72 and falls to 96."""
    _, _, settings = three_items
    items = [
        {"item_id": "milk", "category": "Food > Dairy", "unit_cost_minor": 72},
        {"item_id": "tea", "category": "Food > Dry"},
        {"item_id": "salt", "category": "Food > Dry"},
    ]
    Facts(settings).write({"items": pa.Table.from_pylist(items, TABLES["items"].arrow)})
    pricing = make_fitted_response(["milk", "tea", "salt"], np.array([-4.0, -3.0, -5.0]))
    report = suggest(three_items, "milk", "tea", "salt", pricing=pricing)
    assert (report.n_suggested, report.n_assumed_costs) == (3, 2)
    assert (report.n_rises, report.n_assumed_rises) == (1, 1)
    assert report.notes[0].startswith("2 of 3 suggestions (67%) and 1 of 1 rises (100%)")
    totals = describe_run(open_runs(three_items).read_run(report.run_id)).totals
    assert (totals.share_assumed_costs, totals.share_assumed_rises) == (0.6667, 1.0)


TOTALS = {
    "n_forecast": 4,
    "n_items": 4,
    "n_suggested": 1,
    "n_kept": 3,
    "n_superseded": 0,
    "n_flagged": 0,
    "n_rises": 0,
    "n_assumed_costs": 0,
    "n_assumed_rises": 0,
    "profit_gain_minor": 12.4,
    "value": 112.4,
    "keeping": 100.0,
    "bound": 113.0,
    "gap": 0.005,
}


def make_run(number, zone="default"):
    return NewRun(
        id=f"run_{zone}_{number}",
        zone=zone,
        currency="EUR",
        objective="profit",
        horizon_weeks=4,
        rules="default",
        status="submitted",
        created_at=NOW,
        recorded_at=SYSTEM_NOW,
        totals={"n_forecast": 1},
        kept={"it is off sale": 1},
    )


def test_old_runs_lose_their_items_and_then_go(engine, settings, monkeypatch):
    monkeypatch.setattr(run_outcomes, "KEPT_RUNS", 4)
    monkeypatch.setattr(run_outcomes, "KEPT_ITEM_RUNS", 2)
    with transaction(engine) as connection:
        runs = PricingRuns(connection)
        runs.add(make_run(0, "north"), [RunItem("tea", "kept", "it is off sale")])
        for number in range(6):
            runs.add(make_run(number), [RunItem("tea", "kept", "it is off sale")])
        assert [run.id for run in runs.page("default", before=None, limit=9)] == [
            f"run_default_{number}" for number in (5, 4, 3, 2)
        ]
        assert [run.id for run, _ in runs.of_item("tea", None)] == [
            "run_default_5",
            "run_default_4",
            "run_north_0",  # another zone keeps its own
        ]
    with pytest.raises(NotFound, match="are not kept any more"):
        PricingRunService(settings, engine).list_items(
            "run_default_3", RunItemFilter(), after="", limit=1
        )


def test_the_database_refuses_a_kept_price_without_a_reason(engine):
    with pytest.raises(sa.exc.IntegrityError), transaction(engine) as connection:
        PricingRuns(connection).add(make_run(1), [RunItem("tea", "kept")])


@pytest.fixture
def open_client(engine, settings):
    """Clients of an app with the routes of runs, by scope."""
    app = FastAPI()
    app.include_router(runs_api.router)
    add_error_handlers(app)
    keys = KeyService(engine, SYSTEM_CLOCK)
    provide(app, keys, PricingRunService(settings, engine))

    def open_client(scope):
        key = keys.create(scope, [scope]).key
        return TestClient(app, headers={"Authorization": f"Bearer {key}"})

    return open_client


def test_runs_and_reasons_are_read_over_http_and_as_files(engine, open_client):
    run = make_run(1)
    with transaction(engine) as connection:
        items = [RunItem(f"a{n:02}", "kept", "it is off sale", "Food") for n in range(3)]
        new = RunItem("milk", "suggested", None, "Food > Dairy", "Milk", 100, 96)
        PricingRuns(connection).add(replace(run, totals=TOTALS), [*items, new])
    client = open_client("pricing.read")
    (listed,) = client.get("/v1/pricing-runs").json()["items"]
    assert (listed["id"], listed["value"], listed["gap"]) == (run.id, "1.12", 0.005)
    assert client.get(f"/v1/pricing-runs/{run.id}").json() == listed
    kept = {"outcome": "kept", "reason": "it is off sale", "limit": 2}
    page = client.get(f"/v1/pricing-runs/{run.id}/items", params=kept).json()
    assert [each["item_id"] for each in page["items"]] == ["a00", "a01"]
    kept["cursor"] = page["next_cursor"]
    page = client.get(f"/v1/pricing-runs/{run.id}/items", params=kept).json()
    assert ([each["item_id"] for each in page["items"]], page["next_cursor"]) == (["a02"], None)
    answer = client.get("/v1/pricing-runs/items/a00").json()
    assert answer["items"][0]["reason"] == "it is off sale"
    sheet = client.get(f"/v1/pricing-runs/{run.id}/items", params={"format": "csv"}).text
    assert sheet.splitlines()[-1] == "milk,Milk,Food > Dairy,default,EUR,suggested,,1.00,0.96"
    assert client.get("/v1/pricing-runs/run_x/items").status_code == 404
    assert client.get("/v1/pricing-runs", params={"zone": "nowhere"}).status_code == 422
    assert open_client("storefront").get("/v1/pricing-runs").status_code == 403


def add_compared_runs(engine):
    """Add two runs of one zone: salt moves from 100 to 150, tea from 110 to 121, milk not; and
    one of another zone."""
    outcomes = (
        {"milk": 96, "tea": 110, "salt": None, "rye": None},
        {"milk": 96, "tea": 121, "salt": 150, "jam": 90},
    )
    with transaction(engine) as connection:
        for number, prices in enumerate(outcomes):
            items = [
                RunItem(
                    item_id=item_id,
                    outcome="kept" if price is None else "suggested",
                    reason="moved lately" if price is None else None,
                    current_price_minor=100,
                    suggested_price_minor=price,
                )
                for item_id, price in prices.items()
            ]
            kept = {"moved lately": sum(price is None for price in prices.values())}
            run = replace(make_run(number), totals=TOTALS, kept=kept)
            PricingRuns(connection).add(run, items)
        PricingRuns(connection).add(replace(make_run(2, zone="north"), totals=TOTALS), [])


def test_two_runs_are_compared_by_the_items_whose_prices_differ_most(three_items):
    service = open_runs(three_items)
    add_compared_runs(service.engine)
    compared = service.compare_runs("run_default_0", "run_default_1", limit=1)
    assert (compared.shared, compared.n_different) == (3, 2)
    (salt,) = compared.largest  # 100 to 150; tea moves from 110 to 121 only
    assert (salt.item_id, salt.prices_minor) == ("salt", (100, 150))
    assert (salt.first.reason, salt.second.suggested_price_minor) == ("moved lately", 150)
    both = service.compare_runs("run_default_0", "run_default_1", limit=10).largest
    assert [one.item_id for one in both] == ["salt", "tea"]
    with pytest.raises(BadInput, match="zone"):
        service.compare_runs("run_default_0", "run_north_2", limit=1)
    with pytest.raises(BadInput, match="another one"):
        service.compare_runs("run_default_0", "run_default_0", limit=1)
    with pytest.raises(NotFound):
        service.compare_runs("run_default_0", "run_unknown", limit=1)


def test_two_runs_are_compared_over_http_page_by_page(engine, open_client):
    add_compared_runs(engine)
    client = open_client("pricing.read")
    url = "/v1/pricing-runs/run_default_0/compare"
    page = client.get(url, params={"with": "run_default_1", "limit": 1}).json()
    assert (page["first"]["id"], page["second"]["id"]) == ("run_default_0", "run_default_1")
    assert (page["shared"], page["n_different"]) == (3, 2)
    assert page["kept_change"] == {"moved lately": -2}
    (salt,) = page["items"]
    assert (salt["item_id"], salt["change"]) == ("salt", 0.5)
    assert (salt["first"]["reason"], salt["second"]["suggested_price"]) == ("moved lately", "1.50")
    cursor = page["next_cursor"]
    page = client.get(url, params={"with": "run_default_1", "limit": 1, "cursor": cursor}).json()
    assert [(each["item_id"], each["change"]) for each in page["items"]] == [("tea", 0.1)]
    assert page["next_cursor"] is None
    refusals = {
        "run_default_0": 422,
        "run_north_2": 422,
        "run_x": 404,
    }
    for other, status in refusals.items():
        assert client.get(url, params={"with": other}).status_code == status
    assert client.get(url).status_code == 422
    assert client.get(url, params={"with": "run_default_1", "limit": 1_001}).status_code == 422
    assert open_client("storefront").get(url, params={"with": "x"}).status_code == 403


def test_the_comparison_of_runs_without_items_says_that_they_are_gone(engine, open_client):
    add_compared_runs(engine)
    with transaction(engine) as connection:
        PricingRuns(connection).add(replace(make_run(3), totals=TOTALS), [])
    url = "/v1/pricing-runs/run_default_0/compare"
    answer = open_client("pricing.read").get(url, params={"with": "run_default_3"}).json()
    assert (answer["shared"], answer["items"], answer["next_cursor"]) == (None, [], None)
