import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from configs.zone_settings import ZoneSettings
from features.contracts.errors import Conflict, UnknownName
from features.contracts.sizes import Size
from features.contracts.tables import TABLES
from features.database import reading, transaction
from features.facts.facts import Facts
from features.prices.ledger import Ledger, PriceSource
from features.prices.timeline import find_opening_list_price
from models.demand.lookup import ForecastTable
from models.pricing.response.elasticity import ElasticityModel
from models.pricing.rules import CompetitorRule, RuleScope, set_objective
from serving.forecasts.service import ForecastService
from serving.price_desk import decisions, suggest
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import Suggestions
from serving.price_desk.suggest import suggest_everywhere, suggest_prices
from serving.pricing_inputs.items import read_priced_zone
from tests.shops.clocks import SYSTEM_CLOCK, FixedClock
from tests.shops.fitted_responses import make_fitted_response
from tests.shops.price_desk import NOW, FixedModels, make_decider, make_opening_price
from tests.shops.three_items import RULES, Forecasts, make_forecasts, make_inputs, make_responses


def filed(engine, run_id):
    with reading(engine) as connection:
        return {
            each.item_id: each
            for each in Suggestions(connection).matching(SuggestionFilter(run_id=run_id))
        }


def test_the_best_price_is_filed_with_its_reasons(three_items):
    _, engine, _ = three_items
    # Lerner: the best price is cost * e / (e + 1) = 72 * 4 / 3 = 96 for milk. Nobody knows what tea
    # costs, and it is alone in its category: its price counts as right.
    demand, pricing = make_forecasts("milk", "tea"), make_responses("milk", "tea")
    report = suggest_prices(
        make_inputs(three_items, demand, pricing, versions={"demand": "3"}), SYSTEM_CLOCK
    )
    assert (report.n_items, report.n_suggested, report.n_superseded, report.n_assumed_costs) == (
        2,
        1,
        0,
        0,
    )
    found = filed(engine, report.run_id)
    assert {item: each.suggested_price_minor for item, each in found.items()} == {"milk": 96}
    milk = found["milk"]
    assert (milk.status, milk.proposed_by, milk.title, milk.category) == (
        "submitted",
        "system",
        "Milk",
        "Food > Dairy",
    )
    assert milk.base_price_id == make_opening_price("milk").content_id()
    assert milk.expires_at == NOW + timedelta(days=14)
    before, after = 40 * (100 - 72), 40 * 0.96**-4 * (96 - 72)
    assert milk.expected["profit"]["p50"] == pytest.approx(after)
    assert (
        milk.expected["profit"]["against_keeping"]["p50"]
        == pytest.approx(after - before)
        == milk.gain_minor
    )
    assert milk.details["versions"] == {"demand": "3"}
    assert milk.details["cost_source"] == "known"
    assert [each.item_id for each in report.largest] == ["milk"]


def test_unknown_costs_are_implied_by_prices_that_are_right_on_average(three_items):
    _, engine, settings = three_items
    # Both are in one category: the mean response of tea and salt is -4, so the margin is
    # a quarter and the cost 75. The best prices are 75 * 3 / 2 = 112.5 and 75 * 5 / 4 = 93.75.
    facts = Facts(settings)
    items = [{"item_id": item, "category": "Food > Dry"} for item in ("tea", "salt")]
    facts.write({"items": pa.Table.from_pylist(items, TABLES["items"].arrow)})
    pricing = make_fitted_response(["tea", "salt"], np.array([-3.0, -5.0]))
    report = suggest_prices(
        make_inputs(three_items, make_forecasts("tea", "salt"), pricing), SYSTEM_CLOCK
    )
    found = filed(engine, report.run_id)
    assert found["tea"].suggested_price_minor in (112, 113)
    assert found["salt"].suggested_price_minor in (93, 94)
    assert found["tea"].details["cost_source"] == "assumed"
    assert report.n_assumed_costs == 2
    assert any("right on average" in note for note in report.notes)


def test_an_approved_suggestion_becomes_the_price_and_the_next_run_starts_from_it(three_items):
    _, engine, _ = three_items
    given = make_inputs(three_items, make_forecasts("milk"), make_responses("milk"))
    first = suggest_prices(given, SYSTEM_CLOCK)
    again = suggest_prices(given, SYSTEM_CLOCK)
    assert again.n_superseded == 1
    assert filed(engine, first.run_id)["milk"].status == "superseded"
    with transaction(engine) as connection:
        decisions.approve(connection, make_decider(), filed(engine, again.run_id)["milk"].id)
        price = Ledger(connection).find_current(["milk"], "default", NOW)["milk"]
    assert (price.offer_price_minor, price.source) == (96, PriceSource.DESK)
    last = suggest_prices(given, SYSTEM_CLOCK)
    assert last.n_suggested <= 1
    assert all(each.current_price_minor == 96 for each in filed(engine, last.run_id).values())


def test_units_are_those_at_the_price_in_force_by_the_factor_of_the_forecast_answer(three_items):
    _, engine, settings = three_items
    given = make_inputs(three_items, make_forecasts("milk"), make_responses("milk"))
    first = filed(engine, suggest_prices(given, SYSTEM_CLOCK).run_id)["milk"]
    with transaction(engine) as connection:
        decisions.approve(connection, make_decider(), first.id)
    again = suggest_prices(replace(given, rules=set_objective(RULES, "units")), SYSTEM_CLOCK)
    milk = filed(engine, again.run_id)["milk"]
    assert milk.current_price_minor == 96  # the forecast of 40 units was made at 100
    models = FixedModels(ForecastTable(make_forecasts("milk").forecasts), -4.0)
    answered = ForecastService(settings, engine, FixedClock(NOW), models).forecast_item(
        "milk", "default", 4
    )
    keeping = milk.expected["units"]["p50"] - milk.expected["units"]["against_keeping"]["p50"]
    assert keeping == pytest.approx(40 * 0.96**-4) == sum(week.mean for week in answered.periods)


def test_approving_run_after_run_ends_at_the_ceiling(three_items):
    _, engine, _ = three_items
    rules = replace(RULES, max_over_list=0.1, max_change=0.08)
    prices = []
    for day in range(4):
        now = NOW + timedelta(hours=day)
        inelastic = make_responses("milk", elasticity=-1.2)
        report = suggest_prices(
            make_inputs(three_items, make_forecasts("milk"), inelastic, rules, now), SYSTEM_CLOCK
        )
        for each in filed(engine, report.run_id).values():
            with transaction(engine) as connection:
                decisions.approve(connection, make_decider(days=day / 24), each.id)
            prices.append(each.suggested_price_minor)
    assert prices == [
        108,
        110,
    ]  # 10 % over the list price of 100 with which the ledger opened, however often
    with reading(engine) as connection:
        history = Ledger(connection).read_history("milk", "default")
    assert (history[-1].list_price_minor, find_opening_list_price(history, now)) == (110, 100)


def test_what_is_not_known_keeps_its_price_and_is_counted(three_items):
    report = suggest_prices(
        make_inputs(
            three_items, make_forecasts("milk", "salt", "rice"), make_responses("milk", "tea")
        ),
        SYSTEM_CLOCK,
    )
    assert (report.n_items, report.n_suggested) == (2, 1)
    assert report.kept == {"no price response is known": 1, "no price in the ledger": 1}
    assert report.n_forecast == 3


def test_an_item_that_is_free_is_counted_too(three_items):
    _, engine, _ = three_items
    with transaction(engine) as connection:
        Ledger(connection).append([make_opening_price("tea", 0)])
    given = make_inputs(three_items, make_forecasts("milk", "tea"), make_responses("milk", "tea"))
    report = suggest_prices(given, SYSTEM_CLOCK)
    assert report.kept == {"its price is 0": 1}
    assert report.n_suggested + sum(report.kept.values()) == report.n_forecast == 2


def test_the_objective_can_be_chosen(three_items):
    _, engine, _ = three_items
    given = make_inputs(three_items, make_forecasts("milk"), make_responses("milk"))
    units = suggest_prices(replace(given, rules=set_objective(RULES, "units")), SYSTEM_CLOCK)
    assert (
        filed(engine, units.run_id)["milk"].suggested_price_minor == 80
    )  # the largest change allowed
    with pytest.raises(UnknownName, match="profit"):
        set_objective(RULES, "profits")


def test_zones_come_from_the_ledger_and_are_filed_together_or_not_at_all(three_items, monkeypatch):
    facts, engine, settings = three_items
    # "south" stands in the settings without prices; "north" is in the data only.
    settings = settings.model_copy(
        update={"zones": {"default": ZoneSettings(), "south": ZoneSettings()}}
    )
    with transaction(engine) as connection:
        Ledger(connection).append(
            [make_opening_price("milk", zone=zone) for zone in ("north", "west")]
        )
    table = pa.concat_tables(
        make_forecasts("milk", zone=zone).forecasts for zone in ("default", "north", "south")
    )
    answers = ElasticityModel(
        np.array(["milk"] * 2, object),
        np.array(["default", "north"], object),
        **make_responses("milk", "tea").columns,
    )
    given = make_inputs((facts, engine, settings), Forecasts(table), answers)
    found = suggest_everywhere(given, SYSTEM_CLOCK)
    assert [(report.zone, report.n_suggested) for report in found.reports] == [
        ("default", 1),
        ("north", 1),
    ]
    assert found.skipped == {"south": "it has no prices", "west": "it has no forecasts"}
    ids = [filed(engine, report.run_id)["milk"].id for report in found.reports]

    def broken(*_, **__):
        raise Conflict("the second zone fails")

    once = suggest.read_priced_zone
    monkeypatch.setattr(
        suggest,
        "read_priced_zone",
        lambda given, zone: broken() if zone == "north" else once(given, zone),
    )
    with pytest.raises(Conflict, match="second"):
        suggest_everywhere(given, SYSTEM_CLOCK)
    with reading(engine) as connection:
        assert [each.status for each in Suggestions(connection).by_ids(ids)] == ["submitted"] * 2
    with pytest.raises(Conflict, match="no zone can be priced"):
        suggest_everywhere(
            make_inputs((facts, engine, settings), make_forecasts("milk", zone="south"), answers),
            SYSTEM_CLOCK,
        )


def test_a_zone_has_its_own_prices_currency_and_tax(three_items):
    facts, engine, settings = three_items
    zones = {"north": ZoneSettings(currency="EUR", prices_include_tax=True, tax_rate=0.25)}
    settings = settings.model_copy(update={"currency": "EUR", "zones": zones})
    demand, pricing = make_forecasts("milk", zone="north"), make_responses("milk", zone="north")
    given = make_inputs((facts, engine, settings), demand, pricing)
    with pytest.raises(Conflict, match="north"):
        suggest_prices(given, SYSTEM_CLOCK, zone="north")
    with transaction(engine) as connection:
        Ledger(connection).append([make_opening_price("milk", zone="north")])
    report = suggest_prices(given, SYSTEM_CLOCK, zone="north")
    assert report.currency == "EUR"
    # 72 * 4 / 3 = 96 net is 120 with tax, and the largest change allowed is 20 %
    assert filed(engine, report.run_id)["milk"].suggested_price_minor == 120


def test_a_rejected_suggestion_is_not_made_again_until_its_time_is_over_or_the_price_moved(
    three_items,
):
    _, engine, _ = three_items
    given = make_inputs(three_items, make_forecasts("milk"), make_responses("milk"))
    key = filed(engine, suggest_prices(given, SYSTEM_CLOCK).run_id)["milk"].id
    with transaction(engine) as connection:
        decisions.reject(connection, make_decider(reason="no"), key)
    tomorrow = replace(given, now=NOW + timedelta(days=1))
    report = suggest_prices(tomorrow, SYSTEM_CLOCK)
    assert report.n_suggested == 0
    assert report.kept == {"another price was rejected in the last 28 days": 1}
    short = replace(tomorrow, rules=replace(RULES, rejected_days=1))
    assert (
        suggest_prices(
            replace(short, now=NOW + timedelta(days=1, seconds=1)), SYSTEM_CLOCK
        ).n_suggested
        == 1
    )
    with transaction(engine) as connection:
        Ledger(connection).append([replace(make_opening_price("milk", 104), valid_from=NOW)])
    assert suggest_prices(tomorrow, SYSTEM_CLOCK).n_suggested == 1


def test_a_planned_promotion_bounds_cuts_and_flags_raises(three_items):
    _, engine, _ = three_items
    promotion = replace(
        make_opening_price("milk", 97),
        list_price_minor=100,
        valid_from=NOW + timedelta(days=9),
        valid_to=NOW + timedelta(days=16),
        promotion_id="easter",
    )
    with transaction(engine) as connection:
        Ledger(connection).append([promotion])
    given = make_inputs(three_items, make_forecasts("milk"), make_responses("milk"))
    milk = filed(engine, suggest_prices(given, SYSTEM_CLOCK).run_id)["milk"]
    assert (milk.suggested_price_minor, milk.binding_rule) == (
        98,
        "law",
    )  # not 96: the promotion asks for 97
    raised = suggest_prices(
        replace(given, pricing_model=make_responses("milk", elasticity=-1.5)), SYSTEM_CLOCK
    )
    assert raised.n_flagged == 1
    (flag,) = filed(engine, raised.run_id)["milk"].details["flags"]
    assert "easter begins on 2018-01-10" in flag
    running = replace(given, now=NOW + timedelta(days=10))
    assert suggest_prices(running, SYSTEM_CLOCK).kept == {"a promotion is running": 1}


def test_a_deal_of_this_week_keeps_its_price(three_items):
    """A list of weekly deals names no ends: the next row is one."""
    _, engine, _ = three_items
    deal = replace(
        make_opening_price("milk", 80), list_price_minor=100, valid_from=NOW - timedelta(days=1)
    )
    regular = replace(make_opening_price("milk", 100), valid_from=NOW + timedelta(days=6))
    with transaction(engine) as connection:
        Ledger(connection).append([deal])
    given = make_inputs(three_items, make_forecasts("milk"), make_responses("milk"))
    assert "a promotion is running" not in suggest_prices(given, SYSTEM_CLOCK).kept
    with transaction(engine) as connection:
        Ledger(connection).append([regular])
    assert suggest_prices(given, SYSTEM_CLOCK).kept == {"a promotion is running": 1}


def test_a_promotion_of_the_table_keeps_a_reduced_price(three_items):
    facts, engine, _ = three_items
    deal = replace(
        make_opening_price("milk", 80), list_price_minor=100, valid_from=NOW - timedelta(days=1)
    )
    with transaction(engine) as connection:
        Ledger(connection).append([deal])
    plan = {
        "promotion_id": "deal",
        "item_id": "milk",
        "zone": "default",
        "starts_at": NOW - timedelta(days=1),
        "ends_at": NOW + timedelta(days=6),
        "depth": 0.2,
    }
    facts.write({"promotions": pa.Table.from_pylist([plan], TABLES["promotions"].arrow)})
    given = make_inputs(three_items, make_forecasts("milk"), make_responses("milk"))
    assert suggest_prices(given, SYSTEM_CLOCK).kept == {"a promotion is running": 1}
    ended = replace(given, now=NOW + timedelta(days=6))
    assert "a promotion is running" not in suggest_prices(ended, SYSTEM_CLOCK).kept


def test_an_approval_that_would_make_a_planned_promotion_unlawful_is_refused(three_items):
    _, engine, _ = three_items
    given = make_inputs(three_items, make_forecasts("milk"), make_responses("milk"))
    key = filed(engine, suggest_prices(given, SYSTEM_CLOCK).run_id)["milk"].id
    promotion = replace(
        make_opening_price("milk", 97),
        list_price_minor=100,
        valid_from=NOW + timedelta(days=9),
        valid_to=NOW + timedelta(days=16),
    )
    with transaction(engine) as connection:
        Ledger(connection).append([promotion])
    with (
        pytest.raises(Conflict, match="2018-01-10 would be no reduction"),
        transaction(engine) as connection,
    ):
        decisions.approve(connection, make_decider(), key)


def table(name, *rows):
    return {name: pa.Table.from_pylist(list(rows), TABLES[name].arrow)}


def test_the_catalogue_the_stock_and_competitors_tell_what_rules_ask(three_items):
    facts, _, _ = three_items
    extra = {
        "map_price": "0.95",
        "lifecycle_stage": "decline",
        "price_image": "key",
        "sell_by": "2018-02-26",
    }
    milk = {
        "item_id": "milk",
        "category": "Food",
        "family_id": "m",
        "size": "1 L",
        "attributes": json.dumps(extra),
    }
    new = {"item_id": "tea", "available_from": NOW - timedelta(days=3), "stock_on_hand": 7.0}
    facts.write(table("items", milk, new))
    counted = [("milk", -9, 50.0), ("milk", -2, 30.0), ("milk", 2, 10.0)]
    rows = (
        {"item_id": item, "zone": "default", "at": NOW + timedelta(days=d), "on_hand": n}
        for item, d, n in counted
    )
    facts.write(table("stock", *rows))
    asked = [("a", -9, 90), ("a", -2, 99), ("b", -3, 105), ("c", -40, 10), ("d", 1, 10)]
    rows = (
        {
            "item_id": "milk",
            "competitor": who,
            "observed_at": NOW + timedelta(days=d),
            "price_minor": price,
        }
        for who, d, price in asked
    )
    facts.write(table("competitor_prices", *rows))
    rules = replace(RULES, competitor=CompetitorRule(reference="mean"), min_days_between_changes=1)
    found = read_priced_zone(
        make_inputs(three_items, make_forecasts("milk", "tea"), make_responses("milk"), rules),
        "default",
    )
    milk, tea = found.items
    assert (milk.map_minor, milk.stage, milk.price_image, milk.stock_units) == (
        95,
        "decline",
        "key",
        30.0,
    )
    assert milk.weeks_to_sell == pytest.approx((56 - 5 / 24) / 7)
    assert (
        milk.competitor_minor == (99 + 105) / 2
    )  # each one's latest, and neither old ones nor those of tomorrow
    assert (milk.family_id, milk.size, milk.days_since_change) == ("m", Size(1000.0, "ml"), None)
    assert (tea.stage, tea.stock_units, tea.map_minor, tea.competitor_minor) == (
        "introduction",
        7.0,
        None,
        None,
    )


def test_a_suggestion_keeps_the_competitors_price_that_it_was_computed_beside(three_items):
    facts, engine, _ = three_items
    price = {"item_id": "milk", "competitor": "a", "observed_at": NOW, "price_minor": 99}
    facts.write(table("competitor_prices", price))
    inputs = make_inputs(
        three_items,
        make_forecasts("milk"),
        make_responses("milk"),
        replace(RULES, competitor=CompetitorRule()),
    )
    (milk,) = filed(engine, suggest_prices(inputs, SYSTEM_CLOCK).run_id).values()
    assert milk.details["competitor_price_minor"] == 99


def test_each_part_of_the_assortment_counts_competitors_by_its_own_rule(three_items):
    facts, _, _ = three_items
    seen = [("milk", "a", 90), ("milk", "b", 98), ("tea", "a", 90), ("tea", "b", 98)]
    prices = [
        {"item_id": item, "competitor": name, "observed_at": NOW, "price_minor": price}
        for item, name, price in seen
    ]
    facts.write(
        {"competitor_prices": pa.Table.from_pylist(prices, TABLES["competitor_prices"].arrow)}
    )
    mean = RuleScope(category="Drinks", competitor=CompetitorRule(reference="mean"))
    rules = replace(RULES, competitor=CompetitorRule(reference="lowest"), scopes=(mean,))
    inputs = make_inputs(
        three_items, make_forecasts("milk", "tea"), make_responses("milk", "tea"), rules
    )
    items = {item.item_id: item for item in read_priced_zone(inputs, "default").items}
    assert items["milk"].competitor_minor == 90
    assert items["tea"].competitor_minor == 94


def test_whole_kronor_stay_whole_and_end_as_the_list_does(three_items):
    facts, engine, _ = three_items
    kronor = {"sofa": 1_079_00, "lamp": 549_00, "rug": 1_299_00, "desk": 899_00}
    with transaction(engine) as connection:
        Ledger(connection).append([make_opening_price(*price) for price in kronor.items()])
    items = [
        {"item_id": item, "unit_cost_minor": price * 7 // 10} for item, price in kronor.items()
    ]
    facts.write({"items": pa.Table.from_pylist(items, TABLES["items"].arrow)})
    rules = replace(RULES, endings=None, max_change=0.1)
    given = make_inputs(three_items, make_forecasts(*kronor), make_responses(*kronor), rules=rules)
    report = suggest_prices(given, SYSTEM_CLOCK)
    prices = {
        item: each.suggested_price_minor for item, each in filed(engine, report.run_id).items()
    }
    assert prices
    assert all(price % 1_000 == 900 for price in prices.values())
    assert any("end in 9.00, in steps of 1.00" in note for note in report.notes)
    settings = given.settings.model_copy(update={"price_endings": (".00",), "price_step": "5.00"})
    own = suggest_prices(replace(given, settings=settings), SYSTEM_CLOCK)
    again = filed(engine, own.run_id).values()
    assert again
    assert all(each.suggested_price_minor % 500 == 0 for each in again)
    assert any("as set" in note for note in own.notes)


def test_a_price_list_that_ended_is_priced_on_at_its_list_price_and_said(three_items):
    facts, engine, _ = three_items
    cups = [{"item_id": "cup", "unit_cost_minor": 85}]
    facts.write({"items": pa.Table.from_pylist(cups, TABLES["items"].arrow)})
    ended = NOW - timedelta(days=1)
    with transaction(engine) as connection:
        price = replace(make_opening_price("cup", 120), offer_price_minor=100, valid_to=ended)
        Ledger(connection).append([price])
    given = make_inputs(three_items, make_forecasts("cup"), make_responses("cup"))
    report = suggest_prices(given, SYSTEM_CLOCK)
    assert report.n_items == 1
    assert "no price in the ledger" not in report.kept
    assert any(
        f"of 1 items have ended, the last on {ended.date().isoformat()}" in note
        for note in report.notes
    )
    cup = filed(engine, report.run_id)["cup"]
    assert (cup.current_price_minor, cup.list_price_minor) == (120, 120)
    with transaction(engine) as connection:
        decisions.approve(connection, make_decider(), cup.id)
        now = Ledger(connection).find_current(["cup"], "default", NOW)["cup"]
    assert (now.offer_price_minor, now.expired_at) == (cup.suggested_price_minor, None)
