import math

import pytest

from features.pipelines.user import NAMES, category_affinity, user_features
from features.pipelines.user_item import order_lines, select_kept_lines
from tests.shops.event_tables import AS_OF, days_before, make_event, make_relation, read_by_key


def keep(rows):
    return select_kept_lines(order_lines(make_relation("events", rows), AS_OF))


def features(*rows):
    return read_by_key(user_features(keep(rows), AS_OF), "user_id")


def test_recency_frequency_and_monetary_value_by_hand():
    found = features(
        make_event("u", "milk", days_before(21), order_id="1", line_amount_minor=100),
        make_event("u", "tea", days_before(21), order_id="1", line_amount_minor=300),
        make_event("u", "milk", days_before(7), order_id="2", line_amount_minor=200),
        make_event("v", "tea", days_before(1)),
    )
    u = found["u"]
    assert tuple(u) == NAMES
    assert u["recency_days"] == 7
    assert u["tenure_days"] == 21
    assert u["frequency"] == 2
    assert u["frequency_decayed"] == pytest.approx(0.9**3 + 0.9)
    assert u["order_interval_days"] == 21 - 7
    assert u["lines_per_order"] == (2 + 1) / 2
    assert u["repeat_share"] == pytest.approx(1 - 2 / 3)
    assert u["monetary_minor"] == 100 + 300 + 200
    assert u["monetary_decayed_minor"] == pytest.approx((100 + 300) * 0.9**3 + 200 * 0.9)
    assert found["v"]["order_interval_days"] is None


def test_discounts_count_where_a_list_price_is_known():
    u = features(
        make_event("u", "milk", days_before(3), line_amount_minor=80, list_price_minor=100.0),
        make_event("u", "tea", days_before(3), line_amount_minor=300, list_price_minor=300.0),
        make_event("u", "rice", days_before(3), line_amount_minor=50),
    )["u"]
    assert u["discount_share"] == pytest.approx(20 / (100 + 300))
    assert u["price_sensitivity"] == 1 / 2
    unlisted = features(make_event("u", "milk", days_before(3)))["u"]
    assert unlisted["discount_share"] is None
    assert unlisted["price_sensitivity"] is None


def test_money_is_summed_in_the_zone_of_most_lines_only():
    rows = [
        make_event("u", "milk", days_before(3), zone="jp", line_amount_minor=50_000),
        make_event("u", "tea", days_before(3), zone="eu", line_amount_minor=100),
        make_event("u", "rice", days_before(3), zone="eu", line_amount_minor=200),
    ]
    assert features(*rows)["u"]["monetary_minor"] == 100 + 200
    tied = features(*rows, make_event("u", "soap", days_before(3), zone="jp", line_amount_minor=1))
    assert tied["u"]["monetary_minor"] == 100 + 200  # eu comes before jp
    assert tied["u"]["frequency"] == 4


def test_refunded_orders_leave_no_trace():
    bought = make_event("u", "milk", days_before(21), order_id="1")
    returned = make_event("u", "tea", days_before(7), order_id="2")
    refund = make_event("u", "tea", days_before(6), "refund", order_id="2")
    assert features(bought, returned, refund) == features(bought)


def test_category_affinity_is_the_decayed_share_of_lines():
    rows = [
        make_event("u", "milk", days_before(7)),
        make_event("u", "soap", days_before(0.0001)),
        make_event("u", "mystery", days_before(7)),
    ]
    items = [
        {"item_id": "milk", "category": "Grocery > Dairy > Milk"},
        {"item_id": "soap", "category": "Care"},
        {"item_id": "mystery", "category": None},
    ]
    lines = keep(rows)
    found = read_by_key(category_affinity(lines, make_relation("items", items), AS_OF), "category")
    fresh = 0.9 ** (round(0.0001 * 86_400) / (7 * 86_400))
    assert found.keys() == {"Grocery", "Care"}
    assert math.isclose(found["Grocery"]["affinity"], 0.9 / (0.9 + fresh + 0.9), rel_tol=1e-5)
    assert math.isclose(found["Care"]["affinity"], fresh / (0.9 + fresh + 0.9), rel_tol=1e-5)
