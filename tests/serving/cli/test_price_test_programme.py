"""`prices tests --plan`, `--save`, `--file` and `--list`."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from features.contracts.errors import BadInput, Conflict, NotFound
from serving.cli import price_test_programme
from serving.cli.main import app
from tests.shops.clocks import SYSTEM_CLOCK, FixedClock
from tests.shops.fitted_responses import make_fitted_response
from tests.shops.price_desk import NOW
from tests.shops.three_items import RULES, make_forecasts, make_inputs

ITEMS = ("milk", "tea", "salt")


@pytest.fixture
def run(three_items, monkeypatch):
    """Runs a verb on three items that sell 5,000 a week, with grade C responses."""
    facts, engine, settings = three_items
    clock = FixedClock(NOW)
    shop = SimpleNamespace(
        facts=facts,
        engine=engine,
        settings=settings,
        clock=clock,
        system_clock=SYSTEM_CLOCK,
        now=clock.now,
    )
    monkeypatch.setattr(price_test_programme, "Shop", lambda: shop)
    responses = make_fitted_response(
        ITEMS,
        np.array([-1.6, -1.5, -1.7]),
        error=np.full(3, 0.7),
        grade=np.full(3, 2),
    )
    given = make_inputs(three_items, make_forecasts(*ITEMS, units=5000.0), responses, RULES)
    for name in ("load_pricing_inputs", "load_proposal_inputs"):
        monkeypatch.setattr(price_test_programme, name, lambda *_, **__: given)
    monkeypatch.setattr(price_test_programme, "check_zone", lambda *_: None)

    def verb(*words):
        found = CliRunner().invoke(
            app, ("prices", "tests", *words), catch_exceptions=False, standalone_mode=False
        )
        return found.stdout

    return verb


def test_a_plan_is_printed_kept_listed_and_its_first_prices_are_filed(run):
    document = json.loads(run("--plan", "--weeks", "104", "--save", "--json"))
    assert document["n_items"] >= 2
    assert document["net"] == pytest.approx(document["value"] - document["cost"])
    test_id = document["test_id"]
    shown = run("--plan", "--weeks", "104")
    assert f"{document['n_items']} items for {document['weeks']} weeks" in shown
    assert "Expected: " in shown
    (listed,) = json.loads(run("--list", "--json"))["tests"]
    assert (listed["test_id"], listed["state"]) == (test_id, "planned")
    assert test_id in run("--list")
    filed = json.loads(run("--file", test_id, "--json"))
    assert (filed["state"], filed["period"]) == ("filed", 0)
    assert filed["refused"] == {}
    with pytest.raises(Conflict, match="not over"):
        run("--finish", test_id)
    # Its items are held now: no second plan has them.
    again = json.loads(run("--plan", "--weeks", "104", "--json"))
    assert again["n_items"] == 0
    assert f"in the price test {test_id}" in again["reasons"]


def test_a_shop_in_which_no_test_is_worth_its_cost_reads_so(run):
    shown = run("--plan", "--weeks", "12")
    assert "No price test is worth its cost in zone default" in shown
    assert "Not tested, " in shown


def test_one_thing_at_a_time_and_unknown_tests_are_refused(run):
    with pytest.raises(BadInput, match="one of"):
        run("--plan", "--list")
    with pytest.raises(NotFound, match="test_9"):
        run("--file", "test_9")
