"""What waits is held against the rules and the catalogue of today, and a run begins anew."""

import json
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pyarrow as pa
import pytest
import sqlalchemy as sa

from features.contracts.errors import BadInput, Conflict
from features.contracts.tables import TABLES
from features.database import reading, transaction
from features.prices.ledger import Ledger
from models.pricing.response.elasticity import ElasticityModel
from models.pricing.rules import CompetitorRule
from serving.database.tables import audit_log
from serving.price_desk import decisions
from serving.price_desk.activation import settle_due
from serving.price_desk.decisions import PriceEdit, decide_many
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.present_items import read_present_items
from serving.price_desk.repository import Suggestions
from serving.price_desk.rollback import roll_back
from serving.price_desk.suggest import TRIAL, suggest_prices
from tests.shops.clocks import SYSTEM_CLOCK
from tests.shops.price_desk import NOW, make_decider
from tests.shops.three_items import RULES, make_forecasts, make_inputs, make_responses


def read_all(engine):
    with reading(engine) as connection:
        return Suggestions(connection).matching(SuggestionFilter())


def suggest(three_items, *items, **changes):
    inputs = make_inputs(three_items, make_forecasts(*items), make_responses(*items))
    return suggest_prices(replace(inputs, **changes), SYSTEM_CLOCK)


def under(rules, **fields):
    """A decider under these rules of today."""
    return replace(make_decider(**fields), find_pricing_rules=lambda *_: rules)


STRICT = replace(RULES, max_change=0.01)  # milk goes from 1.00 to 0.96, which is more than 1 %


@pytest.mark.parametrize("door", ["approve", "bulk", "edit"])
def test_what_breaks_a_stricter_rule_of_today_goes_no_further(three_items, door):
    _, engine, _ = three_items
    suggest(three_items, "milk")
    (milk,) = read_all(engine)
    with transaction(engine) as connection:
        if door == "bulk":
            result = decide_many(connection, under(STRICT), "approve", ids=[milk.id])
            assert result.changed == ()
            (refusal,) = result.refused
            assert "the nearest price is 0.99" in str(refusal.error)
        elif door == "approve":
            with pytest.raises(Conflict, match=r"the nearest price is 0\.99"):
                decisions.approve(connection, under(STRICT), milk.id)
        else:
            with pytest.raises(BadInput, match=r"the nearest price is 0\.99"):
                decisions.edit(connection, under(STRICT), milk.id, PriceEdit("0.97"))
    assert [each.status for each in read_all(engine)] == ["submitted"]
    with transaction(engine) as connection:
        decisions.approve(connection, under(RULES), milk.id)
    assert [each.status for each in read_all(engine)] == ["live"]


BEGINS = NOW + timedelta(days=7)


def knowing_items(settings, rules, now):
    """A decider under these rules who knows of the items what is known at that time."""
    find_items = partial(read_present_items, settings, now)
    return replace(under(rules), now=now, find_present_items=find_items)


def approve_from(engine, decider, suggestion, begins=None):
    with transaction(engine) as connection:
        at = None if begins is None else lambda _zone: begins
        decisions.approve(connection, decider, suggestion.id, begins=at)


def expect_refusal(engine, door, decider, suggestion, rule, nearest):
    """The suggestion stays in the queue at an approval, or comes back to it at its activation."""
    if door == "activate":
        with transaction(engine) as connection:
            settle_due(connection, decider)
    else:
        with pytest.raises(Conflict, match=rf"{rule}.*; the nearest price is {nearest}"):
            approve_from(engine, decider, suggestion)
    (waiting,) = read_all(engine)
    assert waiting.status == "submitted"
    assert (door == "activate") == (rule in (waiting.returned_reason or ""))


@pytest.mark.parametrize("door", ["approve", "activate"])
def test_a_price_above_competitors_of_today_goes_no_further(three_items, door):
    facts, engine, settings = three_items
    rules = replace(RULES, competitor=CompetitorRule(highest=1.0, max_age_days=2))
    observe_competitor(facts, 97, NOW)
    suggest(three_items, "milk", rules=rules)
    (milk,) = read_all(engine)
    assert milk.suggested_price_minor == 96
    if door == "activate":
        approve_from(engine, knowing_items(settings, rules, NOW), milk, BEGINS)
    observe_competitor(facts, 90, BEGINS - timedelta(hours=1))
    decider = knowing_items(settings, rules, BEGINS)
    expect_refusal(engine, door, decider, milk, "competitor position", r"0\.90")
    # What competitors charged too long ago limits nothing, as in a run.
    approve_from(engine, knowing_items(settings, rules, BEGINS + timedelta(days=3)), milk)
    assert [each.status for each in read_all(engine)] == ["live"]


@pytest.mark.parametrize("door", ["approve", "activate"])
def test_a_price_below_the_minimum_advertised_price_of_today_goes_no_further(three_items, door):
    facts, engine, settings = three_items
    suggest(three_items, "milk")
    (milk,) = read_all(engine)
    assert milk.suggested_price_minor == 96
    if door == "activate":
        approve_from(engine, knowing_items(settings, RULES, NOW), milk, BEGINS)
    set_map_price(facts, "0.98")
    decider = knowing_items(settings, RULES, BEGINS)
    expect_refusal(engine, door, decider, milk, "minimum advertised price", r"0\.98")
    set_map_price(facts, "0.95")  # the supplier allows it again
    approve_from(engine, decider, milk)
    assert [each.status for each in read_all(engine)] == ["live"]


def set_map_price(facts, price):
    rows = facts.read("items").to_pyarrow().to_pylist()
    for row in rows:
        if row["item_id"] == "milk":
            row["attributes"] = json.dumps({"map_price": price})
    facts.write({"items": pa.Table.from_pylist(rows, TABLES["items"].arrow)})


def observe_competitor(facts, price_minor, at):
    row = {"item_id": "milk", "competitor": "a", "observed_at": at, "price_minor": price_minor}
    facts.write(
        {"competitor_prices": pa.Table.from_pylist([row], TABLES["competitor_prices"].arrow)}
    )


def test_a_rule_that_an_editor_broke_on_purpose_does_not_stop_the_approval(three_items):
    _, engine, _ = three_items
    suggest(three_items, "milk")
    (milk,) = read_all(engine)
    with transaction(engine) as connection:
        edit = PriceEdit("0.97", confirmed=True)
        decisions.edit(connection, under(STRICT, reason="sale"), milk.id, edit)
    with transaction(engine) as connection:
        decisions.approve(connection, under(STRICT, actor="a colleague"), milk.id)
    assert [each.status for each in read_all(engine)] == ["live"]


def test_each_edit_beyond_a_rule_is_confirmed_anew(three_items):
    _, engine, _ = three_items
    suggest(three_items, "milk")
    (milk,) = read_all(engine)
    editor = under(STRICT, reason="sale")
    with transaction(engine) as connection:
        decisions.edit(connection, editor, milk.id, PriceEdit("0.97", confirmed=True))
    with pytest.raises(BadInput, match=r"0\.96 breaks"), transaction(engine) as connection:
        decisions.edit(connection, editor, milk.id, PriceEdit("0.96"))
    with transaction(engine) as connection:
        decisions.edit(connection, editor, milk.id, PriceEdit("0.96", confirmed=True))
    with transaction(engine) as connection:
        decisions.approve(connection, under(STRICT, actor="a colleague"), milk.id)
    (milk,) = read_all(engine)
    assert (milk.status, milk.suggested_price_minor) == ("live", 96)


def test_a_run_supersedes_everything_undecided_of_its_zone(three_items):
    _, engine, _ = three_items
    suggest(three_items, "milk")
    report = suggest(three_items, "tea", now=NOW + timedelta(hours=1))
    assert (report.n_suggested, report.n_superseded) == (0, 1)
    assert [each.status for each in read_all(engine)] == ["superseded"]


def test_a_dry_run_changes_nothing(three_items):
    _, engine, _ = three_items
    suggest(three_items, "milk")
    before = read_all(engine)
    with reading(engine) as connection:
        n_audited = connection.execute(sa.select(sa.func.count()).select_from(audit_log)).scalar()
    inputs = make_inputs(three_items, make_forecasts("milk"), make_responses("milk"))
    report = suggest_prices(inputs, SYSTEM_CLOCK, dry_run=True)
    assert (report.status, report.n_suggested) == (TRIAL, 1)
    assert [each.item_id for each in report.largest] == ["milk"]
    assert read_all(engine) == before
    with reading(engine) as connection:
        count = sa.select(sa.func.count()).select_from(audit_log)
        assert connection.execute(count).scalar() == n_audited


def test_a_price_that_was_rolled_back_is_remembered(three_items):
    _, engine, _ = three_items
    suggest(three_items, "milk")
    (milk,) = read_all(engine)
    with transaction(engine) as connection:
        decisions.approve(connection, make_decider(), milk.id)
        price = Ledger(connection).find_current(["milk"], "default", NOW)["milk"]
    with transaction(engine) as connection:
        roll_back(connection, make_decider(days=1 / 24), price.price_id)
    report = suggest(three_items, "milk", now=NOW + timedelta(days=1))
    assert report.n_suggested == 0
    assert report.kept == {"another price was rolled back in the last 28 days": 1}
    forgetful = replace(RULES, rejected_days=1)
    report = suggest(three_items, "milk", now=NOW + timedelta(days=2), rules=forgetful)
    assert report.n_suggested == 1


def test_an_item_off_sale_gets_no_price_and_no_approval(three_items):
    facts, engine, _ = three_items
    suggest(three_items, "milk")
    (milk,) = read_all(engine)
    with transaction(engine) as connection, pytest.raises(Conflict, match="off sale"):
        decider = replace(make_decider(), off_sale=frozenset({"milk"}))
        decisions.approve(connection, decider, milk.id)
    items = facts.read("items").to_pyarrow()
    status = ["archived" if key == "milk" else None for key in items["item_id"].to_pylist()]
    position = items.column_names.index("status")
    facts.write({"items": items.set_column(position, items.schema.field("status"), [status])})
    report = suggest(three_items, "milk", "tea", now=NOW + timedelta(days=1))
    assert report.n_suggested == 0
    assert report.kept["it is off sale"] == 1


def test_without_a_price_model_costs_alone_make_prices(three_items):
    """Cost plus 25 % is .90 for milk; its price never moved, so that .95 is as far as it goes."""
    _, engine, _ = three_items
    rules = replace(RULES, without_evidence="cost_plus", markup=0.25)
    nothing = ElasticityModel.without_series()
    inputs = make_inputs(three_items, make_forecasts("milk", "tea"), nothing, rules)
    report = suggest_prices(inputs, SYSTEM_CLOCK)
    suggestions = {each.item_id: each for each in read_all(engine)}
    milk = suggestions["milk"]
    assert (milk.suggested_price_minor, milk.evidence_grade) == (95, "D")
    assert milk.expected is None
    assert any("no price model serves" in note for note in report.notes)
