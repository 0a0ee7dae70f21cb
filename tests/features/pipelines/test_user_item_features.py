from datetime import timedelta

import numpy as np
import pytest

from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
from features.pipelines.user_item import (
    order_lines,
    select_kept_lines,
    select_viewed_items,
    user_item_history,
)
from models.ranking.catalogue import Catalogue
from models.ranking.columns import column_names, make_columns
from models.ranking.visitor import FactorScores, SourceScores, Visitor
from models.retrieval.nearest import Nearest
from tests.shops.event_tables import AS_OF, days_before, make_event, make_relation, read_by_key


def keep(rows):
    return select_kept_lines(order_lines(make_relation("events", rows), AS_OF))


def history(*rows):
    return read_by_key(user_item_history(keep(rows), AS_OF), "user_id", "item_id")


def test_orders_units_and_decay_are_counted_per_user_and_item():
    found = history(
        make_event("u", "milk", days_before(14), order_id="1", quantity=2.0),
        make_event("u", "milk", days_before(7), order_id="2", quantity=3.0),
        make_event("u", "milk", days_before(7) + timedelta(minutes=1), order_id="2"),
        make_event("v", "milk", days_before(7), order_id="3"),
        make_event("u", "milk", days_before(1), "view_item"),
    )
    assert found.keys() == {("u", "milk"), ("v", "milk")}
    milk = found["u", "milk"]
    assert milk["n_orders"] == 2
    assert milk["quantity"] == 2 + 3 + 1
    assert milk["decayed_frequency"] == pytest.approx(0.9**2 + 0.9**1)
    assert milk["first_at"] == int(days_before(14).timestamp())
    assert milk["last_at"] == int(days_before(7).timestamp())


def test_a_purchase_without_an_order_is_an_order_of_its_own():
    found = history(
        make_event("u", "milk", days_before(2)), make_event("u", "milk", days_before(2))
    )
    assert found["u", "milk"]["n_orders"] == 2


def test_a_refund_takes_its_quantity_back_and_a_whole_one_the_order():
    found = history(
        make_event("u", "milk", days_before(21), order_id="1", quantity=3.0),
        make_event("u", "milk", days_before(20), "refund", order_id="1", quantity=1.0),
        make_event("u", "milk", days_before(7), order_id="2", quantity=2.0),
        make_event("u", "milk", days_before(6), "refund", order_id="2", quantity=2.0),
        make_event("u", "tea", days_before(5), order_id="2"),
        make_event("u", "tea", days_before(4), "refund", order_id="2"),
    )
    assert found.keys() == {("u", "milk")}
    assert found["u", "milk"]["n_orders"] == 1
    assert found["u", "milk"]["quantity"] == 3 - 1
    assert found["u", "milk"]["decayed_frequency"] == pytest.approx(0.9**3)
    assert found["u", "milk"]["last_at"] == int(days_before(21).timestamp())


def test_a_refund_of_nothing_known_changes_nothing():
    bought = make_event("u", "milk", days_before(7), order_id="1", quantity=2.0)
    alone = history(bought)
    assert alone == history(
        bought,
        make_event("u", "milk", days_before(6), "refund"),
        make_event("u", "milk", days_before(6), "refund", order_id="9"),
        make_event("u", "tea", days_before(6), "refund", order_id="1"),
    )


def test_a_partly_refunded_line_keeps_its_share_of_the_money():
    lines = order_lines(
        make_relation(
            "events",
            [
                make_event(
                    "u",
                    "milk",
                    days_before(7),
                    order_id="1",
                    quantity=4.0,
                    line_amount_minor=400,
                    list_price_minor=120.0,
                ),
                make_event("u", "milk", days_before(6), "refund", order_id="1"),
            ],
        ),
        AS_OF,
    )
    line = read_by_key(select_kept_lines(lines), "item_id")["milk"]
    assert (line["quantity"], line["paid_minor"], line["list_minor"]) == (
        3.0,
        400 * 3 / 4,
        4 * 120 * 3 / 4,
    )


def test_price_per_unit_stands_in_for_the_amount_of_a_line_and_lists_may_be_unknown():
    rows = [
        make_event(
            "u",
            "milk",
            days_before(7),
            order_id="1",
            quantity=2.0,
            line_amount_minor=None,
            unit_price_minor=49.5,
        ),
        make_event("u", "milk", days_before(7), order_id="1", list_price_minor=120.0),
    ]
    line = read_by_key(order_lines(make_relation("events", rows), AS_OF), "item_id")["milk"]
    assert line["paid_minor"] == 2 * 49.5 + 100
    assert line["list_minor"] is None


def test_what_happens_at_the_instant_itself_is_the_future():
    assert history(make_event("u", "milk", AS_OF)) == {}
    assert history(make_event("u", "milk", AS_OF - timedelta(microseconds=1))).keys() == {
        ("u", "milk")
    }


def test_the_due_ratio_of_the_ranker_is_the_wait_over_the_usual_interval():
    rng = np.random.default_rng(3)
    names = [f"i{n:02d}" for n in range(40)]
    rows = [
        make_event(
            "u", str(rng.choice(names)), days_before(float(rng.uniform(0.01, 300))), order_id=str(n)
        )
        for n in range(150)
    ]
    offline = user_item_history(keep(rows), AS_OF).order_by("item_id").to_pyarrow()
    known = {
        name: offline[name].to_numpy() for name in ("n_orders", "quantity", "decayed_frequency")
    }
    times = {name: offline[name].to_numpy() for name in ("first_at", "last_at")}
    item_ids = np.array(offline["item_id"].to_pylist(), object)
    person = UserHistory("u", AS_OF, item_ids, **known, **times)
    catalogue = Catalogue(
        ItemFeatures(AS_OF, np.array(names, object), {}, *np.full((2, 40), "", object)), ()
    )
    own, nothing, zeros = (
        catalogue.positions(item_ids),
        np.zeros(0, np.int64),
        np.zeros(40, np.float32),
    )
    silent = SourceScores(zeros, np.arange(40))
    nowhere = np.zeros((41, 1), np.float32)
    factors = FactorScores(zeros[:1], nowhere, Nearest(nowhere[:40]), np.arange(40))
    visitor = Visitor(person, own, np.arange(len(own)), nothing, silent, silent, silent, factors)
    ranked = make_columns(catalogue, visitor, own, ())[:, column_names((), ()).index("due_ratio")]
    with np.errstate(invalid="ignore", divide="ignore"):
        interval = (times["last_at"] - times["first_at"]) / (known["n_orders"] - 1)
        ratio = (int(AS_OF.timestamp()) - times["last_at"]) / interval
    again = known["n_orders"] > 1
    assert 10 < again.sum() < len(again)
    np.testing.assert_allclose(ranked[again], ratio[again], rtol=1e-5)
    assert np.isnan(ranked[~again]).all()


def test_the_latest_views_of_four_weeks_come_latest_first():
    rows = [
        make_event("u", "milk", days_before(3), "view_item"),
        make_event("u", "milk", days_before(1), "add_to_cart"),
        make_event("u", "tea", days_before(2), "select_item"),
        make_event("u", "rice", days_before(2), "view_item"),
        make_event("u", "wish", days_before(3), "add_to_wishlist"),
        make_event("u", "old", days_before(28) - timedelta(seconds=1), "view_item"),
        make_event("u", "list", days_before(1), "view_item_list"),
        make_event(None, "anonymous", days_before(1), "view_item"),
    ]
    found = read_by_key(select_viewed_items(make_relation("events", rows), AS_OF), "order")
    assert [found[order]["item_id"] for order in sorted(found)] == ["milk", "rice", "tea", "wish"]
    assert found[0]["viewed_at"] == int(days_before(1).timestamp())


def test_no_more_than_fifty_views_are_kept():
    rows = [
        make_event("u", f"i{minute}", AS_OF - timedelta(minutes=minute), "view_item")
        for minute in range(1, 61)
    ]
    found = read_by_key(select_viewed_items(make_relation("events", rows), AS_OF), "item_id")
    assert found.keys() == {f"i{minute}" for minute in range(1, 51)}
