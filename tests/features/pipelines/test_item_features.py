from datetime import timedelta

import pytest

from features.pipelines.demand import Plans, weekly_demand
from features.pipelines.item import ItemTables, columns, item_features, promotion_column
from tests.shops.event_tables import AS_OF, days_before, make_event, make_relation, read_by_key

ITEMS = [
    {
        "item_id": "milk",
        "category": "Grocery > Dairy",
        "brand": "Own",
        "available_from": days_before(100),
    },
    {"item_id": "cream", "category": "Grocery > Dairy", "stock_on_hand": 7.0},
    {"item_id": "soap", "category": "Care"},
]


def features(events=(), promotions=(), prices=(), stock=(), costs=(), items=ITEMS, **options):
    relation = item_features(
        ItemTables(
            make_relation("events", events),
            make_relation("items", items),
            make_relation("promotions", promotions),
            make_relation("price_history", prices),
            stock=make_relation("stock", stock),
            costs=make_relation("costs", costs),
        ),
        AS_OF,
        **options,
    )
    return read_by_key(relation, "item_id")


def promotion(item_id, start_days, end_days, **values):
    times = {
        "starts_at": AS_OF + timedelta(days=start_days),
        "ends_at": AS_OF + timedelta(days=end_days),
    }
    return {
        "promotion_id": f"p{start_days}{values}",
        "item_id": item_id,
        "zone": "default",
        "reach": 1.0,
        **times,
        **values,
    }


def price(item_id, from_days, offer, listed, zone="default", until_days=None):
    valid_to = None if until_days is None else days_before(until_days)
    return {
        "item_id": item_id,
        "zone": zone,
        "valid_from": days_before(from_days),
        "valid_to": valid_to,
        "offer_price_minor": offer,
        "list_price_minor": listed,
    }


def test_velocity_counts_units_and_orders_a_week():
    milk = features(
        [
            make_event("u", "milk", days_before(3), quantity=2.0),
            make_event("v", "milk", days_before(10), quantity=4.0),
            make_event("v", "milk", days_before(80), quantity=7.0),
        ]
    )["milk"]
    assert milk["units_1w"] == 2
    assert milk["units_4w"] == (2 + 4) / 4
    assert milk["units_13w"] == (2 + 4 + 7) / 13
    assert milk["orders_1w"] == 1
    assert milk["orders_4w"] == 2 / 4
    assert milk["buyers_4w"] == 2
    assert milk["orders_decayed"] == pytest.approx(
        0.9 ** (3 / 7) + 0.9 ** (10 / 7) + 0.9 ** (80 / 7)
    )
    assert milk["orders_decayed_fast"] == pytest.approx(
        0.5 ** (3 / 7) + 0.5 ** (10 / 7) + 0.5 ** (80 / 7)
    )
    assert milk["days_since_sale"] == 3


def test_repeat_rate_is_the_share_of_buyers_who_came_back():
    milk = features(
        [
            make_event("u", "milk", days_before(30)),
            make_event("u", "milk", days_before(20)),
            make_event("u", "milk", days_before(14)),
            make_event("v", "milk", days_before(9)),
        ]
    )["milk"]
    assert milk["buyers"] == 2
    assert milk["repeat_rate"] == 1 / 2
    assert milk["repeat_interval_days"] == (30 - 14) / (3 - 1)


def test_an_item_without_events_has_zero_sales_and_unknown_rates():
    soap = features()["soap"]
    assert soap["units_4w"] == soap["views_1w"] == soap["promotion_reach_next_1w"] == 0
    assert (
        soap["repeat_rate"]
        is soap["age_days"]
        is soap["price_minor"]
        is soap["stock_on_hand"]
        is None
    )


def test_age_counts_from_availability_else_from_the_first_event():
    found = features(
        [
            make_event("u", "soap", days_before(12), "view_item"),
            make_event("u", "found", days_before(5)),
        ]
    )
    assert found["milk"]["age_days"] == 100
    assert found["soap"]["age_days"] == 12
    assert found["soap"]["views_1w"] == 0
    assert (found["found"]["age_days"], found["found"]["category"]) == (5, "")


def test_an_item_that_is_not_available_yet_is_not_in_the_catalogue():
    planned = {
        "item_id": "planned",
        "category": "Care",
        "available_from": AS_OF + timedelta(days=1),
    }
    assert "planned" not in features(items=[*ITEMS, planned])


def test_the_ruling_price_goes_before_the_observed_one():
    found = features(
        [
            make_event("u", "milk", days_before(2), line_amount_minor=500),
            make_event(
                "u",
                "cream",
                days_before(2),
                quantity=2.0,
                line_amount_minor=300,
                list_price_minor=200.0,
            ),
        ],
        prices=[
            price("milk", 50, 100, 100, until_days=10),
            price("milk", 10, 80, 100),
            price("milk", -1, 10, 100),
        ],
    )
    assert (found["milk"]["price_minor"], found["milk"]["list_price_minor"]) == (80, 100)
    assert found["milk"]["discount_depth"] == pytest.approx(1 - 80 / 100)
    assert found["cream"]["price_minor"] == 300 / 2
    assert found["cream"]["discount_depth"] == 1 - 150 / 200
    assert found["milk"]["price_position"] == 0.0
    assert found["cream"]["price_position"] == 1.0


def test_a_price_list_that_ended_goes_on_at_its_list_price():
    sale = make_event("u", "milk", days_before(2), line_amount_minor=80)
    found = features(
        [sale],
        prices=[
            price("milk", 50, 100, 100, until_days=10),
            price("milk", 10, 80, 110, until_days=1),
        ],
    )
    assert (found["milk"]["price_minor"], found["milk"]["discount_depth"]) == (110, 0)


def test_price_position_is_unknown_in_a_category_of_one():
    assert features(prices=[price("soap", 5, 80, 100)])["soap"]["price_position"] is None


def test_planned_promotions_are_known_in_advance_by_kind_and_window():
    milk = features(
        promotions=[
            promotion("milk", 0, 7, kind="display", reach=0.5),
            promotion("milk", 7, 14, kind="mailer", reach=0.8, depth=0.3),
            promotion("milk", -7, 0, kind="mailer", reach=0.2, depth=0.1),
            promotion("milk", 60, 67, kind="mailer"),
        ]
    )["milk"]
    assert milk["promotion_reach_display_next_1w"] == 0.5
    assert milk["promotion_reach_mailer_next_1w"] == 0.0
    assert milk["promotion_reach_mailer_next_4w"] == pytest.approx(0.8 / 4)
    assert milk["promotion_reach_next_4w"] == pytest.approx((0.5 + 0.8) / 4)
    assert milk["promotion_reach_past_4w"] == pytest.approx(0.2 / 4)
    assert milk["promotion_depth_next_1w"] is None
    assert milk["promotion_depth_next_4w"] == 0.3
    assert milk["promotion_depth_past_4w"] == 0.1


def test_kinds_of_promotion_become_columns():
    names = columns(("end cap", "mailer"))
    assert "promotion_reach_mailer_next_1w" in names
    assert [name for name in names if name.startswith("promotion_reach_end_cap_")]
    assert len(names) == len(set(names))


def test_kinds_that_differ_in_any_sign_have_columns_of_their_own():
    kinds = (
        "满减",
        "秒杀",
        "BOGO 50%",
        "bogo-50",
        "bogo_50",
        "Bogo 50%",
        "%",
        "🎁",
        "🍵",
        "é",
        "e",
    )
    names = columns(kinds)
    assert len({name.lower() for name in names}) == len(columns(())) + 3 * len(kinds)
    assert "promotion_reach_满减_next_1w" in names
    plans = [promotion("milk", 0, 7, kind=kind, reach=n / 16) for n, kind in enumerate(kinds)]
    milk = features(promotions=plans)["milk"]
    reaches = {kind: milk[promotion_column(kind, "next_1w")] for kind in kinds}
    assert reaches == {kind: n / 16 for n, kind in enumerate(kinds)}


def cost(item_id, days, minor, zone="default"):
    return {
        "item_id": item_id,
        "zone": zone,
        "valid_from": days_before(days),
        "unit_cost_minor": minor,
    }


def test_margin_is_what_the_cost_that_holds_leaves_of_the_price():
    items = [
        {"item_id": "milk", "unit_cost_minor": 10},
        {"item_id": "cream", "unit_cost_minor": 120},
        {"item_id": "soap"},
    ]
    found = features(
        prices=[
            price("milk", 9, 200, 200),
            price("cream", 9, 160, 200),
            price("soap", 9, 100, 100),
        ],
        costs=[
            cost("milk", 30, 80),
            cost("milk", 3, 50),
            cost("milk", -1, 1),
            cost("milk", 2, 1, zone="abroad"),
        ],
        items=items,
    )
    assert (
        found["milk"]["margin"] == 1 - 50 / 200
    )  # the latest that holds, of the zone of the price
    assert found["cream"]["margin"] == 1 - 120 / 160  # the catalogue's where there is none
    assert found["soap"]["margin"] is None


def test_stock_is_the_latest_count_summed_over_zones_else_the_catalogue():
    found = features(
        stock=[
            {"item_id": "milk", "zone": "eu", "at": days_before(5), "on_hand": 50.0},
            {"item_id": "milk", "zone": "eu", "at": days_before(1), "on_hand": 3.0},
            {"item_id": "milk", "zone": "us", "at": days_before(2), "on_hand": 4.0},
            {"item_id": "milk", "zone": "us", "at": AS_OF, "on_hand": 99.0},
        ]
    )
    assert found["milk"]["stock_on_hand"] == 3 + 4
    assert found["cream"]["stock_on_hand"] == 7


def test_a_zone_sees_its_own_sales_prices_and_promotions():
    events = [
        make_event("u", "milk", days_before(2), zone="eu", line_amount_minor=100),
        make_event("v", "milk", days_before(2), zone="jp", line_amount_minor=15_000),
        make_event("w", "milk", days_before(2), zone="jp", line_amount_minor=15_000),
    ]
    promotions = [promotion("milk", 0, 7, zone="jp", kind="mailer")]
    eu = features(events, promotions, zone="eu", kinds=("mailer",))["milk"]
    jp = features(events, promotions, zone="jp", kinds=("mailer",))["milk"]
    both = features(events, promotions)["milk"]
    assert (eu["zone"], eu["units_1w"], eu["price_minor"], eu["promotion_reach_next_1w"]) == (
        "eu",
        1,
        100,
        0,
    )
    assert (jp["zone"], jp["units_1w"], jp["price_minor"], jp["promotion_reach_next_1w"]) == (
        "jp",
        2,
        15_000,
        1,
    )
    assert (both["units_1w"], both["price_minor"]) == (
        3,
        15_000,
    )  # described by the zone that sells it most


def test_a_plan_of_the_default_zone_holds_where_demand_says_so():
    sold = [make_event("u", "milk", days_before(2), zone=zone) for zone in ("eu", "jp")]
    plan = [promotion("milk", 0, 7, kind=None, zone="default")]
    listed = [price("milk", 10, 80, 100)]
    weeks = [AS_OF, AS_OF + timedelta(days=7)]
    for events, holds in ((sold, True), ([*sold, make_event("u", "milk", days_before(2))], False)):
        plans = Plans(make_relation("promotions", plan), make_relation("price_history", listed))
        panel = weekly_demand(
            make_relation("events", events), plans, as_of=AS_OF, week_starts=weeks
        )
        demand = read_by_key(panel, "item_id", "zone", "week_start")
        for zone in ("eu", "jp"):
            found = features(events, plan, listed, zone=zone)["milk"]
            planned = demand.get(("milk", zone, AS_OF), {"reach:other": 0.0})
            assert found["promotion_reach_other_next_1w"] == planned["reach:other"] == float(holds)
            assert (found["price_minor"] == 80) is holds
        assert features(events, plan, listed)["milk"]["promotion_reach_next_1w"] == 1.0
    halved = [promotion("milk", 0, 7, kind="mailer", reach=0.4, zone="default")]
    assert (
        features(sold, halved)["milk"]["promotion_reach_next_1w"] == 0.4
    )  # once, not once per zone


def test_one_buyer_counts_once_a_week_for_what_is_popular() -> None:
    hour = 1 / 24
    by_bot = [make_event("bot", "cream", days_before(n * hour)) for n in range(60)]
    guests = [
        make_event(None, "milk", days_before(1), visitor_id=f"v{n}", order_id=f"o{n}")
        for n in range(3)
    ]
    found = features([*by_bot, *guests, make_event("bot", "cream", days_before(8))])
    assert found["cream"]["orders_4w"] == 2 / 4
    assert found["milk"]["orders_4w"] == 3 / 4
    assert found["cream"]["orders_1w"] == 1


def test_one_visitor_counts_once_a_week_for_what_is_viewed() -> None:
    """Where nobody buys anything, views say what is popular."""
    views = [
        make_event(user, item, days_before(n / 24), event_type="view_item", visitor_id=visitor)
        for n, (user, visitor, item) in enumerate(
            [("bot", None, "cream")] * 60 + [(None, "v1", "milk"), (None, "v2", "milk")]
        )
    ]
    found = features(views)
    assert (found["cream"]["views_1w"], found["milk"]["views_1w"]) == (1, 2)
