"""What price changes brought: known answers, frozen forecasts, controls, weeks left out."""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import timedelta

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from features.database import reading
from features.facts.facts import Facts
from models.pricing.effects.common_shift import combine_with_forecast, estimate_common_shift
from models.pricing.effects.estimate import Verdict
from serving.cli.main import app as command_line
from serving.effects import api
from serving.effects.repository import ChangeFilter
from serving.http.dependencies import provide
from serving.http.errors import add_error_handlers
from serving.keys.service import KeyService
from serving.price_desk.actions import DeskActions
from serving.price_desk.repository import Suggestions
from tests.shops.changed_prices import BEN, CATEGORY, CHANGED, TEAS, TIMEZONE
from tests.shops.environment import point_verbs_at
from tests.shops.event_tables import make_table
from tests.shops.price_desk import NOW

ALL = ChangeFilter()
# At -1 a change from 1.00 to 1.10 keeps 1 / 1.1 of the units.
PREDICTED = 10 / 1.1


def sell_as_predicted(item):
    return PREDICTED if item in CHANGED else 10.0


def read_change(teas, item):
    with reading(teas.engine) as connection:
        return Suggestions(connection).get(teas.ids[item])


def connect(teas):
    app = FastAPI()
    app.include_router(api.router)
    add_error_handlers(app)
    keys = KeyService(teas.engine, teas.system_clock)
    provide(app, keys, teas.effects)
    key = keys.create("reader", ["pricing.read"]).key
    return TestClient(app, headers={"Authorization": f"Bearer {key}"})


def test_a_change_is_measured_against_keeping_by_arithmetic(teas):
    teas.approve()
    teas.pass_weeks(4, lambda item: 9.0 if item in CHANGED else 10.0)
    measured = teas.effects.measure(ALL)
    assert len(measured.changes) == len(CHANGED)
    change = measured.changes[0]
    assert (change.weeks.n_over, change.weeks.n_counted, change.weeks.left_out) == (4, 4, {})
    # Four weeks: 36 sold at 1.10, and 40 would have been at 1.00; a unit costs 0.60.
    assert change.sold == pytest.approx(change.sold)
    assert (change.sold.units, change.sold.revenue, change.sold.profit) == pytest.approx(
        (36, 36 * 110, 36 * 50)
    )
    assert (change.keeping.units, change.keeping.revenue, change.keeping.profit) == pytest.approx(
        (40, 40 * 100, 40 * 40)
    )
    middle = [getattr(change.effect, name).p50 for name in ("units", "revenue", "profit")]
    assert middle == pytest.approx([-4, 36 * 110 - 4000, 36 * 50 - 1600])
    expected = 40 / 1.1
    assert change.predicted.units == pytest.approx(expected - 40)
    assert change.predicted.profit == pytest.approx(expected * 50 - 1600)
    assert change.verdict is Verdict.AS_EXPECTED
    # Sixteen teas kept their price.
    assert change.control.describe() == f"unchanged items of {CATEGORY} (16)"
    band = change.effect.profit
    assert band.p10 < band.p50 < band.p90


def test_unchanged_items_carry_what_moved_demand_as_a_whole(teas):
    """All teas sell a fifth more: that is no effect of the price."""
    teas.approve()
    teas.pass_weeks(4, lambda item: 1.2 * sell_as_predicted(item))
    (batch,) = teas.effects.measure(ALL).batches
    # 16 controls of 48 sold and 40 forecast each, beside a forecast that misses 0.32 together.
    spread = np.full(16, 48.0), np.full(16, 40.0)
    excess = ((48 - 48.0) ** 2 * 16 + 10) / (15 + 10)
    variance = excess * (40 + 0.1 * 40**2)
    dispersion = np.full(16, max((variance - 40) / 40**2, 1e-3))
    shift = combine_with_forecast(estimate_common_shift(*spread, dispersion), math.sqrt(0.1))
    assert batch.keeping.units == pytest.approx(8 * 40 * math.exp(shift.log), rel=1e-3)
    assert math.exp(shift.log) == pytest.approx(1.2, rel=0.01)
    assert batch.sold.units == pytest.approx(8 * 4 * 1.2 * PREDICTED)
    assert (batch.verdict, batch.n_measured) == (Verdict.AS_EXPECTED, 8)
    assert batch.name == "run_tea"


def test_unchanged_items_are_the_control_of_a_promotion_too(teas):
    teas.approve()
    teas.pass_weeks(2, lambda item: 12.0 if item not in CHANGED else 30.0)
    set_id = read_change(teas, CHANGED[0]).forecast_set_id
    span = NOW, NOW + timedelta(weeks=2)
    name, factor = teas.effects.find_control(set_id, "default", [CHANGED[0]], *span)
    assert name == f"unchanged items of {CATEGORY} (16)"
    assert factor == pytest.approx(1.2, rel=0.01)
    one_day = NOW, NOW + timedelta(days=1)
    assert teas.effects.find_control(set_id, "default", [CHANGED[0]], *one_day) is None


def test_a_retraining_changes_no_frozen_forecast(teas):
    teas.approve()
    teas.pass_weeks(4, sell_as_predicted)
    before = teas.effects.measure(ALL).changes[0]
    teas.models.version, teas.models.weekly = "2", 3.0
    after = teas.effects.measure(ALL)
    assert after.changes[0].effect == before.effect
    assert [one.demand_version for one in after.sets.values()] == ["1"]
    assert len({read_change(teas, item).forecast_set_id for item in CHANGED}) == 1


def test_without_a_served_forecast_nothing_is_invented(teas):
    teas.models.is_trained = False
    teas.approve()
    teas.pass_weeks(4, sell_as_predicted)
    change = teas.effects.measure(ALL).changes[0]
    assert (change.verdict, change.effect, change.keeping) == (Verdict.UNKNOWN, None, None)
    assert change.unknown == "no forecast was served when it was approved"


def test_verdicts_wait_for_two_weeks_and_for_sales_that_are_known(teas):
    teas.approve()
    teas.move(NOW + timedelta(weeks=3))
    early = teas.effects.measure(ALL).changes[0]
    assert (early.verdict, early.weeks.n_over) == (Verdict.TOO_EARLY, 0)
    teas.sell(0, sell_as_predicted, {})
    teas.effects.forget_readings()
    one = teas.effects.measure(ALL).changes[0]
    assert (one.verdict, one.weeks.n_counted) == (Verdict.TOO_EARLY, 1)
    assert one.effect is not None
    teas.sell(1, lambda item: 1.0 if item in CHANGED else 10.0, {})
    teas.effects.forget_readings()
    two = teas.effects.measure(ALL).changes[0]
    assert (two.verdict, two.weeks.n_counted) == (Verdict.WORSE, 2)


def test_weeks_of_a_promotion_without_stock_or_at_another_price_do_not_count(teas):
    teas.approve()
    tea = CHANGED[0]
    facts = Facts(teas.settings)
    promotion = {
        "promotion_id": "sale",
        "item_id": tea,
        "zone": "default",
        "starts_at": NOW + timedelta(weeks=1),
        "ends_at": NOW + timedelta(weeks=2),
        "kind": "price",
        "depth": 0.2,
        "reach": 1.0,
    }
    empty = {
        "item_id": tea,
        "zone": "default",
        "at": NOW + timedelta(weeks=2, days=1),
        "on_hand": 0,
    }
    again = {**empty, "at": NOW + timedelta(weeks=3), "on_hand": 90}
    facts.write(
        {
            "promotions": make_table("promotions", [promotion]),
            "stock": make_table("stock", [empty, again]),
        }
    )
    teas.pass_weeks(3, sell_as_predicted)
    by_item = {one.change.item_id: one for one in teas.effects.measure(ALL).changes}
    assert by_item[tea].weeks.left_out == {"another promotion ran": 1, "it was sold out": 1}
    assert by_item[tea].weeks.n_counted == 1
    assert by_item[CHANGED[1]].weeks.n_counted == 3
    # Rolled back after three weeks: the fourth is of another price.
    actions = DeskActions(teas.desk)
    other = read_change(teas, CHANGED[1])
    actions.roll_back(BEN, other.price_id, "no")
    teas.sell(3, sell_as_predicted, {})
    teas.move(NOW + timedelta(weeks=4, hours=4))
    (rolled_back,) = teas.effects.measure(ChangeFilter(suggestion_ids=(other.id,))).changes
    assert rolled_back.weeks.left_out == {"another price was valid": 1}
    assert (rolled_back.change.status, rolled_back.weeks.n_counted) == ("rolled_back", 3)


def test_http_answers_one_change_and_all_of_them(teas):
    teas.approve()
    teas.pass_weeks(4, lambda item: 9.0 if item in CHANGED else 10.0)
    client = connect(teas)
    price_id = read_change(teas, CHANGED[0]).price_id
    answer = client.get(f"/v1/price-changes/{price_id}/effect")
    assert answer.status_code == 200, answer.text
    one = answer.json()
    assert one["effect"]["profit"]["p50"] == "2.00"  # 36 × 0.50 less 40 × 0.40
    assert one["keeping"] == {"units": 40.0, "revenue": "40.00", "profit": "16.00"}
    assert one["weeks"] == {"over": 4, "counted": 4, "left_out": {}}
    assert one["forecast"]["demand_version"] == "1"
    assert (one["verdict"], one["price_after"]) == ("as_expected", "1.10")
    everything = client.get("/v1/effects", params={"since": "2018-01-01"}).json()
    assert one in everything["items"]  # the same interval, however it is asked for
    assert [batch["name"] for batch in everything["batches"]] == ["run_tea"]
    assert [group["name"] for group in everything["categories"]] == [CATEGORY]
    assert everything["warnings"] == []
    later = client.get("/v1/effects", params={"since": "2018-02-05"}).json()
    assert later["items"] == []
    sheet = client.get("/v1/effects", params={"since": "2018-01-01", "format": "csv"})
    rows = list(csv.DictReader(io.StringIO(sheet.content.decode("utf-8-sig"))))
    assert {row["profit_effect"] for row in rows} == {"2.00"}
    assert {row["verdict"] for row in rows} == {"as_expected"}
    assert client.get("/v1/price-changes/price_none/effect").status_code == 404
    opening = next(p for p in read_ledger(teas) if p.item_id == TEAS[-1])
    refused = client.get(f"/v1/price-changes/{opening.price_id}/effect")
    assert (refused.status_code, "approved" in refused.json()["detail"]) == (409, True)


def read_ledger(teas):
    from features.prices.ledger import Ledger

    with reading(teas.engine) as connection:
        return Ledger(connection).list_after(0, 100)


def test_the_command_line_says_in_text_what_its_json_says(teas, monkeypatch, tmp_path):
    teas.approve()
    teas.pass_weeks(4, lambda item: 9.0 if item in CHANGED else 10.0)
    point_verbs_at(monkeypatch, teas.settings, teas.clock.at.isoformat())
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", "EUR")
    monkeypatch.setenv("SHOPWRIGHT_TIMEZONE", TIMEZONE)
    out = tmp_path / "effects.xlsx"
    runner = CliRunner()
    asked = ["effects", "--since", "2018-01-01"]
    result = runner.invoke(command_line, [*asked, "--json", "--out", str(out)])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["promotions"] == []
    assert out.stat().st_size > 0
    (batch,) = document["batches"]
    text = runner.invoke(command_line, asked).stdout
    for item in document["items"]:
        assert item["item_id"] in text
        assert item["control"] in text
    for value in (*batch["effect"]["profit"].values(), batch["verdict"], batch["name"]):
        assert value in text
