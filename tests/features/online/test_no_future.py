from datetime import timedelta
from zoneinfo import ZoneInfo

import ibis
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.online.histories import compute_offline_histories, compute_offline_items
from tests.shops.event_tables import AS_OF, days_before, make_event, make_table

USERS = st.sampled_from(["u", "v", "new"])
KINDS = st.sampled_from(["purchase", "refund", "view_item", "add_to_cart", "view_item_list"])
ORDERS = st.sampled_from(["1", "2", "3", None])


def rows(first_minute: int, last_minute: int, items: list[str]) -> st.SearchStrategy[list[dict]]:
    """Events between two instants, minutes from AS_OF."""
    one = st.builds(
        lambda user, item, minute, kind, order, units, zone, cents: make_event(
            user,
            item,
            AS_OF + timedelta(minutes=minute),
            kind,
            order_id=order,
            quantity=float(units),
            zone=zone,
            line_amount_minor=cents,
            list_price_minor=float(cents) + 10.0,
        ),
        USERS,
        st.sampled_from(items),
        st.integers(first_minute, last_minute),
        KINDS,
        ORDERS,
        st.integers(1, 4),
        st.sampled_from(["default", "jp"]),
        st.integers(1, 500),
    )
    return st.lists(one, min_size=4, max_size=24)


class Tables:
    """Facts from rows."""

    def __init__(self, **tables: list[dict]) -> None:
        self.connection = ibis.duckdb.connect()
        self.connection.raw_sql("SET TimeZone = 'UTC'")
        self._tables = tables

    def read(self, name: str):
        return ibis.memtable(make_table(name, self._tables.get(name, [])))


def price(days: float, offer: int) -> dict:
    return {
        "item_id": "milk",
        "zone": "default",
        "valid_from": days_before(days),
        "offer_price_minor": offer,
        "list_price_minor": 100,
    }


ITEMS = [{"item_id": "milk", "category": "A > B"}, {"item_id": "tea", "category": "C"}]
PRICES = [price(5, 90), price(9, 70) | {"item_id": "tea", "zone": "jp"}]
# The calendar is known in advance: what is planned stands on both sides.
PROMOTIONS = [
    {
        "promotion_id": f"p{n}",
        "item_id": item,
        "zone": zone,
        "starts_at": AS_OF + timedelta(days=day),
        "ends_at": AS_OF + timedelta(days=day + 10),
        "kind": kind,
        "depth": 0.2,
        "reach": 0.5,
    }
    for n, (item, zone, day, kind) in enumerate(
        [("milk", "jp", -20, "mailer"), ("milk", "default", -3, None), ("tea", None, 5, "display")]
    )
]
STOCK = [{"item_id": "milk", "zone": "default", "at": days_before(1), "on_hand": 3.0}]
FUTURE_STOCK = [{"item_id": "milk", "zone": "default", "at": AS_OF, "on_hand": 99.0}]


def everything(tables: Tables) -> tuple[dict, dict]:
    histories = compute_offline_histories(tables, AS_OF)
    people = {
        user_id: {
            "items": history.item_ids.tolist(),
            "n_orders": history.n_orders.tolist(),
            "quantity": history.quantity.tolist(),
            "decayed": history.decayed_frequency.tolist(),
            "first": history.first_at.tolist(),
            "last": history.last_at.tolist(),
            "features": history.features,
            "viewed": (history.viewed_item_ids, history.viewed_at),
        }
        for user_id, history in histories.items()
    }
    zones = {}
    for zone in ("*", "default", "jp"):
        items = compute_offline_items(tables, AS_OF, zone)
        columns = {name: values.tolist() for name, values in items.columns.items()}
        zones[zone] = {
            "ids": items.item_ids.tolist(),
            "category": items.category.tolist(),
            **columns,
        }
    return people, zones


@settings(max_examples=3, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    past=rows(-60 * 24 * 60, -1, ["milk", "tea"]),
    future=rows(0, 60 * 24 * 60, ["milk", "tea", "unheard of"]),
)
def test_nothing_that_happens_at_or_after_the_instant_changes_a_feature(past, future):
    before = everything(
        Tables(events=past, items=ITEMS, price_history=PRICES, promotions=PROMOTIONS, stock=STOCK)
    )
    after = everything(
        Tables(
            events=[*past, *future],
            items=ITEMS,
            price_history=[
                *PRICES,
                price(-0.001, 10),
                price(-0.001, 10) | {"item_id": "tea", "zone": "jp"},
            ],
            promotions=PROMOTIONS,
            stock=STOCK + FUTURE_STOCK,
        )
    )
    np.testing.assert_equal(after, before)


def test_two_users_are_read_as_if_all_were():
    past = [
        make_event("u", "milk", days_before(3)),
        make_event("v", "tea", days_before(2)),
        make_event("w", "tea", days_before(1)),
    ]
    tables = Tables(events=past, items=ITEMS)
    everyone, two = (
        compute_offline_histories(tables, AS_OF),
        compute_offline_histories(tables, AS_OF, ["u", "w"]),
    )
    assert sorted(two) == ["u", "w"]
    np.testing.assert_equal(two["w"].features, everyone["w"].features)
    assert compute_offline_histories(tables, AS_OF, []) == {}


def test_who_refuses_personalization_has_no_history():
    past = [
        make_event("u", "milk", days_before(3)),
        make_event("v", "tea", days_before(2), "view_item"),
    ]
    users = [
        {"user_id": "u", "personalization_allowed": False},
        {"user_id": "v", "personalization_allowed": True},
    ]
    found = compute_offline_histories(Tables(events=past, items=ITEMS, users=users), AS_OF)
    assert list(found) == ["v"]
    assert (found["v"].viewed_item_ids, found["v"].item_ids.tolist()) == (("tea",), [])


def test_an_empty_shop_has_no_histories_and_no_items():
    assert compute_offline_histories(Tables(), AS_OF) == {}
    assert compute_offline_items(Tables(), AS_OF).item_ids.tolist() == []


def test_the_instant_may_carry_any_zone():
    tables, elsewhere = (
        Tables(events=[make_event("u", "milk", days_before(3))], items=ITEMS),
        ZoneInfo("Asia/Tokyo"),
    )
    np.testing.assert_equal(
        compute_offline_histories(tables, AS_OF.astimezone(elsewhere))["u"].features,
        compute_offline_histories(tables, AS_OF)["u"].features,
    )
