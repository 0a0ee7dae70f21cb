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

from features.contracts.errors import Conflict
from features.database import reading, transaction
from features.facts import weekly_sales
from features.facts.facts import Facts
from features.prices.ledger import Ledger
from models.demand.frozen_forecasts import FrozenForecasts
from models.pricing.effects.common_shift import combine_with_forecast, estimate_common_shift
from models.pricing.effects.estimate import Verdict
from serving.cli.main import app as command_line
from serving.database.forecast_sets import ForecastSets
from serving.effects import api, service
from serving.effects.repository import ChangeFilter
from serving.http.dependencies import provide
from serving.http.errors import add_error_handlers
from serving.keys.service import KeyService
from serving.price_desk.actions import DeskActions
from serving.price_desk.repository import Suggestions
from tests.shops.changed_prices import BEN, CATEGORY, CHANGED, TEAS, TIMEZONE
from tests.shops.environment import point_verbs_at
from tests.shops.event_tables import make_table
from tests.shops.price_desk import NOW, make_suggestion

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
    shift = teas.effects.find_control(set_id, "default", [CHANGED[0]], *span)
    assert shift.control == f"unchanged items of {CATEGORY} (16)"
    assert shift.factor == pytest.approx(1.2, rel=0.01)
    # Sixteen items of 24 in two weeks each: a twentieth, more or less.
    assert 0.02 < shift.error < 0.1
    one_day = NOW, NOW + timedelta(days=1)
    assert teas.effects.find_control(set_id, "default", [CHANGED[0]], *one_day) is None


def test_families_of_one_category_err_with_the_same_control(teas):
    """What the unchanged teas miss by chance is not averaged away over families of changed ones."""
    items = [
        {"item_id": item, "category": CATEGORY, "unit_cost_minor": 60, "family_id": f"of {item}"}
        for item in TEAS
    ]
    Facts(teas.settings).write({"items": make_table("items", items)})
    teas.approve()
    teas.pass_weeks(2, sell_as_predicted)
    measured = teas.effects.measure(ALL)
    errors = [one.observed.control_error[0] for one in measured.changes]
    assert measured.batches[0].pooled.error > min(errors)
    assert measured.categories[0].pooled.error > min(errors)


def add_change(teas, item, price, **values):
    """File and approve another change, and return its suggestion."""
    with transaction(teas.engine) as connection:
        draft = make_suggestion(
            item, price, category=CATEGORY, effective_from=teas.clock.at, **values
        )
        (key,) = Suggestions(connection).add([draft])
    result = DeskActions(teas.desk).decide(BEN, "approve", ids=[key])
    assert result.changed, result.refused
    with reading(teas.engine) as connection:
        return Suggestions(connection).get(key)


def test_of_two_changes_of_an_item_in_a_week_the_later_one_sold_its_units(teas):
    teas.approve()
    first = read_change(teas, CHANGED[0])
    teas.move(NOW + timedelta(hours=1))
    second = add_change(
        teas, CHANGED[0], 111, base=first.price_id, current_price_minor=110, run_id="run_two"
    )
    teas.pass_weeks(3, lambda item: 9.0 if item in CHANGED else 10.0)
    measured = teas.effects.measure(ALL)
    by_price = {one.change.price_id: one for one in measured.changes}
    assert by_price[second.price_id].sold.units == 3 * 9
    overtaken = by_price[first.price_id]
    assert (overtaken.sold, overtaken.weeks.n_counted) == (None, 0)
    assert overtaken.weeks.left_out == {"another price was valid": 3}
    (first_batch,) = [one for one in measured.batches if one.name == "run_tea"]
    assert (first_batch.n_changes, first_batch.n_measured) == (8, 7)
    assert first_batch.sold.units == 7 * 3 * 9


def test_a_change_that_never_began_is_not_listed(teas):
    teas.approve()
    later = NOW + timedelta(weeks=1)
    add_change(teas, TEAS[10], 110)
    with transaction(teas.engine) as connection:
        drafts = [
            make_suggestion(item, 110, category=CATEGORY, effective_from=later)
            for item in (TEAS[11], TEAS[12])
        ]
        planned, kept = Suggestions(connection).add(drafts)
    actions = DeskActions(teas.desk)
    assert len(actions.decide(BEN, "approve", ids=[planned, kept]).changed) == 2
    with reading(teas.engine) as connection:
        price_id = Suggestions(connection).get(planned).price_id
    actions.roll_back(BEN, price_id, "no")
    listed = {one.change.item_id for one in teas.effects.measure(ALL).changes}
    assert listed == {*CHANGED, TEAS[10]}  # neither what was taken back nor what lies ahead
    teas.pass_weeks(3, sell_as_predicted)
    teas.desk.catch_up()
    listed = {one.change.item_id for one in teas.effects.measure(ALL).changes}
    assert listed == {*CHANGED, TEAS[10], TEAS[12]}
    with pytest.raises(Conflict, match="withdrawn"):
        teas.effects.measure_change(price_id)


def test_only_a_sale_of_the_zone_says_that_the_sales_before_it_are_known(teas):
    teas.approve()
    teas.sell(0, sell_as_predicted, {})
    teas.move(NOW + timedelta(weeks=4))
    late = {"occurred_at": NOW + timedelta(weeks=3), "item_id": TEAS[0]}
    others = [
        {**late, "event_id": "view", "event_type": "view_item", "zone": "default"},
        {
            **late,
            "event_id": "elsewhere",
            "event_type": "purchase",
            "zone": "north",
            "quantity": 1.0,
            "line_amount_minor": 100,
        },
    ]
    Facts(teas.settings).write({"events": make_table("events", others)})
    measured = teas.effects.measure(ALL)
    assert measured.changes[0].weeks.n_over == 1
    assert measured.known_until == NOW + timedelta(weeks=1, hours=1)


def test_changes_of_one_set_of_forecasts_are_measured_from_one_reading_of_the_sales(
    teas, monkeypatch
):
    teas.approve()
    teas.pass_weeks(1, sell_as_predicted)
    other = add_change(teas, TEAS[10], 110)
    for week in (1, 2, 3):
        teas.sell(week, sell_as_predicted, dict.fromkeys(CHANGED, 110))
    teas.move(NOW + timedelta(weeks=4, hours=4))
    spans = []

    read = weekly_sales.read_weekly_sales

    def count(facts, item_ids, zone, week_starts, *rest):
        spans.append(len(week_starts))
        return read(facts, item_ids, zone, week_starts, *rest)

    with monkeypatch.context() as counted:
        counted.setattr(weekly_sales, "read_weekly_sales", count)
        together = teas.effects.measure(ALL)
    assert spans == [5]  # the week before, and four
    alone = [teas.effects.measure_change(one.change.price_id) for one in together.changes]
    units = [one.effect.units for one in together.changes]
    assert [one.changes[0].effect.units for one in alone] == units
    by_price = {one.change.price_id: one for one in together.changes}
    assert by_price[other.price_id].weeks.n_over == 3
    assert by_price[read_change(teas, CHANGED[0]).price_id].weeks.n_over == 4


def test_a_retraining_changes_no_frozen_forecast(teas):
    teas.approve()
    teas.pass_weeks(4, sell_as_predicted)
    before = teas.effects.measure(ALL).changes[0]
    teas.models.version, teas.models.weekly = "2", 3.0
    after = teas.effects.measure(ALL)
    assert after.changes[0].effect == before.effect
    assert [one.demand_version for one in after.sets.values()] == ["1"]
    assert len({read_change(teas, item).forecast_set_id for item in CHANGED}) == 1


def test_a_registry_that_counts_from_1_again_has_other_forecasts(teas):
    teas.approve()
    teas.models.run_id, teas.models.weekly = "run of the new registry", 3.0
    again = add_change(teas, TEAS[10], 110)
    assert again.forecast_set_id != read_change(teas, CHANGED[0]).forecast_set_id
    more = add_change(teas, TEAS[11], 110)
    assert more.forecast_set_id == again.forecast_set_id


def test_a_forecast_without_a_price_assumes_the_first_one_of_the_ledger(teas, monkeypatch):
    teas.models.unlearnt = (TEAS[3],)
    read = []

    def record(ledger, item_ids, zone):
        histories = read_histories(ledger, item_ids, zone)
        read.append(set(histories))
        return histories

    read_histories = Ledger.read_histories
    with monkeypatch.context() as recording, transaction(teas.engine) as connection:
        recording.setattr(Ledger, "read_histories", record)
        set_id = teas.desk.freeze(connection, "default")
        content = ForecastSets(connection).read_content(set_id)
    assert read == [{TEAS[3]}]  # whatever many items have a price
    assert set(FrozenForecasts.from_bytes(content).price_minor.ravel()) == {100.0}


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
    one = teas.effects.measure(ALL).changes[0]
    assert (one.verdict, one.weeks.n_counted) == (Verdict.TOO_EARLY, 1)
    assert one.effect is not None
    teas.sell(1, lambda item: 1.0 if item in CHANGED else 10.0, {})
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
    unknown = client.get("/v1/effects", params={"since": "2018-01-01", "zone": "defualt"})
    assert (unknown.status_code, unknown.json()["hint"]) == (422, "Did you mean 'default'?")
    assert client.get("/v1/price-changes/price_none/effect").status_code == 404
    opening = next(p for p in read_ledger(teas) if p.item_id == TEAS[-1])
    refused = client.get(f"/v1/price-changes/{opening.price_id}/effect")
    assert (refused.status_code, "approved" in refused.json()["detail"]) == (409, True)


def test_an_answer_has_no_more_changes_than_can_be_measured_at_once(teas, monkeypatch):
    teas.approve()
    client, everything = connect(teas), {"since": "2018-01-01"}
    monkeypatch.setattr(service, "MOST_CHANGES", len(CHANGED) - 1)
    refused = client.get("/v1/effects", params=everything)
    assert refused.status_code == 422
    assert refused.json()["detail"] == "8 price changes match, at most 7 are measured at once"
    assert "a run" in refused.json()["hint"]
    assert client.get("/v1/effects", params={**everything, "run_id": "none"}).status_code == 200


def read_ledger(teas):
    with reading(teas.engine) as connection:
        return Ledger(connection).list_after(0, 100)


def test_the_command_line_reads_and_writes_days_of_the_zone(teas, monkeypatch):
    """In Los Angeles the changes began on the evening of the 31st."""
    teas.approve()
    teas.pass_weeks(4, sell_as_predicted)
    point_verbs_at(monkeypatch, teas.settings, teas.clock.at.isoformat())
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", "EUR")
    monkeypatch.setenv("SHOPWRIGHT_TIMEZONE", TIMEZONE)
    zones = {"default": {"currency": "EUR", "timezone": "America/Los_Angeles"}}
    monkeypatch.setenv("SHOPWRIGHT_ZONES", json.dumps(zones))
    runner = CliRunner()
    text = runner.invoke(command_line, ["effects", "--since", "2017-12-31"]).stdout
    assert "8 price changes" in text
    assert "2017-12-31" in text
    assert "2018-01-01" not in text
    later = runner.invoke(command_line, ["effects", "--since", "2018-01-01"]).stdout
    assert "0 price changes" in later


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
