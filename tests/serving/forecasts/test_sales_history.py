"""Sales by week: the numbers of a small shop, computed by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from configs.settings import Settings
from features.database import engine as open_engine
from features.database import transaction
from features.facts.facts import Facts
from features.prices.ledger import Ledger
from serving.database.migrate import upgrade
from serving.forecasts.history import SalesHistoryService
from serving.forecasts.price_index import PriceIndex, PriceIndexService
from tests.shops.clocks import FixedClock
from tests.shops.event_tables import make_event, make_table
from tests.shops.price_desk import make_opening_price

WEDNESDAY = datetime(2024, 3, 6, 12, tzinfo=UTC)
LAST_WEEK = WEDNESDAY - timedelta(days=7)


@pytest.fixture
def history(tmp_path):
    settings = Settings(home=tmp_path)
    two_weeks_ago = LAST_WEEK - timedelta(days=7)
    events = [
        make_event("anna", "tea", LAST_WEEK, order_id="o1", quantity=2.0, line_amount_minor=800),
        make_event("anna", "milk", LAST_WEEK, order_id="o1", line_amount_minor=150),
        make_event("ben", "tea", LAST_WEEK, order_id="o2", line_amount_minor=400),
        make_event("ben", "tea", LAST_WEEK, kind="refund", quantity=1.0, line_amount_minor=400),
        make_event("anna", "tea", two_weeks_ago, order_id="o0", line_amount_minor=500),
        make_event("anna", "tea", LAST_WEEK, zone="north", line_amount_minor=999),
        make_event("anna", "tea", WEDNESDAY - timedelta(hours=1), line_amount_minor=400),
        make_event("anna", "tea", LAST_WEEK, kind="view_item"),
    ]
    Facts(settings).write({"events": make_table("events", events)})
    return SalesHistoryService(settings, FixedClock(WEDNESDAY))


def test_the_weeks_of_an_item_end_with_the_last_whole_one(history):
    weeks = history.read_item("tea", "default", n_weeks=3)
    assert [week.week_start.day for week in weeks] == [12, 19, 26]
    assert [week.units for week in weeks] == [0, 1, 2 + 1 - 1]
    assert [week.revenue_minor for week in weeks] == [0, 500, 800 + 400 - 400]
    assert weeks[-1].offer_price_minor == (800 + 400) / 3
    assert weeks[0].offer_price_minor is None
    assert [week.units for week in history.read_item("nothing", "default", 2)] == [0, 0]


def test_units_of_many_items_come_week_by_week(history):
    assert history.read_units(["tea", "milk", "nothing"], "default", 2) == {
        "tea": [1, 2],
        "milk": [0, 1],
        "nothing": [0, 0],
    }


def test_a_zone_counts_its_orders_and_no_other_zone(history):
    before, last = history.read_zone("default", n_weeks=2)
    assert (before.units, before.revenue_minor, before.orders) == (1, 500, 1)
    assert (last.units, last.revenue_minor, last.orders) == (3, 950, 2)
    (north,) = history.read_zone("north", n_weeks=1)
    assert (north.revenue_minor, north.orders) == (999, 1)


def test_the_days_of_an_item_have_zeros_where_nothing_sold(history):
    days = history.read_item_days("tea", "default", n_weeks=1)
    assert [day.day_start.day for day in days] == [26, 27, 28, 29, 1, 2, 3]
    assert [day.units for day in days] == [0, 0, 2 + 1 - 1, 0, 0, 0, 0]


def test_a_category_has_the_items_below_it_and_no_other(history):
    items = [
        {"item_id": "tea", "category": "Drinks > Hot"},
        {"item_id": "milk", "category": "Drinks and more"},
    ]
    Facts(history.settings).write({"items": make_table("items", items)})
    assert [units for _, units in history.read_category("Drinks", "default", 3)] == [0, 1, 2]


def test_promotions_of_an_item_are_those_that_overlap_in_its_zone_or_everywhere(history):
    def plan(name: str, item: str, zone: str, start: int, end: int) -> dict:
        return {
            "promotion_id": name,
            "item_id": item,
            "zone": zone,
            "starts_at": WEDNESDAY + timedelta(days=start),
            "ends_at": WEDNESDAY + timedelta(days=end),
            "kind": "display",
            "depth": None,
        }

    rows = [
        plan("later", "tea", "north", 5, 9),
        plan("now", "tea", "default", -1, 1),
        plan("over", "tea", "default", -9, -5),
        plan("elsewhere", "tea", "south", 0, 1),
        plan("other", "milk", "default", 0, 1),
    ]
    Facts(history.settings).write({"promotions": make_table("promotions", rows)})
    until = WEDNESDAY + timedelta(days=7)
    found = history.list_promotions("tea", "north", WEDNESDAY - timedelta(days=2), until)
    assert [promotion.promotion_id for promotion in found] == ["now", "later"]


def test_the_margin_of_a_zone_is_of_what_has_a_known_cost(history):
    two_weeks_ago = LAST_WEEK - timedelta(days=7)
    costs = [
        {"item_id": "tea", "zone": "default", "valid_from": two_weeks_ago, "unit_cost_minor": 300},
        {"item_id": "tea", "zone": "default", "valid_from": LAST_WEEK, "unit_cost_minor": 200},
        {"item_id": "tea", "zone": "north", "valid_from": two_weeks_ago, "unit_cost_minor": 500},
    ]
    Facts(history.settings).write({"costs": make_table("costs", costs)})
    first, before, last = history.read_zone("default", n_weeks=3)
    assert first.margin is None
    assert (before.costed_revenue_minor, before.profit_minor) == (500, 500 - 300)
    assert before.margin == 200 / 500
    # 2 of tea are left after the refund, for 800; milk's 150 have no known cost.
    assert (last.costed_revenue_minor, last.profit_minor) == (800, 800 - 2 * 200)
    (north,) = history.read_zone("north", n_weeks=1)
    assert north.margin == (999 - 500) / 999
    Facts(history.settings).write(
        {"items": make_table("items", [{"item_id": "milk", "unit_cost_minor": 100}])}
    )
    (last,) = history.read_zone("default", n_weeks=1)
    assert last.profit_minor == 800 - 2 * 200 + 150 - 100


def test_without_a_cost_the_margin_is_unknown_and_not_zero(history):
    assert [week.margin for week in history.read_zone("default", n_weeks=2)] == [None, None]


def test_the_price_index_weighs_the_prices_of_now_by_what_was_sold(history):
    settings = history.settings
    engine = open_engine(settings)
    upgrade(engine)
    index = PriceIndexService(settings, engine, history.clock, history)
    assert index.read_index("default") == PriceIndex()
    opening = replace(make_opening_price("tea", 90), currency="USD", valid_from=LAST_WEEK)
    earlier = replace(
        opening,
        list_price_minor=100,
        offer_price_minor=100,
        valid_from=LAST_WEEK - timedelta(days=9),
    )
    milk = replace(make_opening_price("milk", 220), currency="USD", valid_from=LAST_WEEK)
    with transaction(engine) as connection:
        Ledger(connection).append([earlier, opening, milk])
    seen = [
        {"item_id": item, "competitor": shop, "observed_at": at, "price_minor": price}
        for item, shop, at, price in (
            ("tea", "a", LAST_WEEK - timedelta(days=1), 100),
            ("tea", "b", WEDNESDAY - timedelta(days=1), 140),
            ("tea", "a", WEDNESDAY - timedelta(days=1), 100),
            ("milk", "a", WEDNESDAY - timedelta(days=30), 1),  # too old
        )
    ]
    Facts(settings).write({"competitor_prices": make_table("competitor_prices", seen)})
    # Tea costs 90; its competitors' median is (100 + 140) / 2. A week ago it was 90 to 100.
    assert index.read_index("default") == PriceIndex(90 / 120, 90 / 100, 1)
    engine.dispose()
