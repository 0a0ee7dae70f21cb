"""Events over HTTP: each counts once, bad ones are named, and the next recommendation has seen
them."""

import json
from datetime import timedelta

import pyarrow as pa
import pytest
import sqlalchemy as sa

from features.contracts.tables import EXCLUSIONS
from features.database import reading
from features.database_tables import events as events_table
from features.facts.exclusions import RowFilter
from features.facts.facts import Facts
from features.online.histories import compute_offline_histories
from features.online.materialize import materialize
from tests.shops.event_tables import make_table
from tests.shops.served_shop import NOW, make_purchase
from tests.shops.time_texts import BAD_TIMES, GOOD_TIMES


def event(**values):
    fields = {
        "event_type": "view_item",
        "occurred_at": NOW.isoformat(),
        "item_id": "wine",
        "visitor_id": "v",
        **values,
    }
    return {name: value for name, value in fields.items() if value is not None}


def send(shop, *sent):
    answer = shop.client.post("/v1/events", json={"events": list(sent)})
    assert answer.status_code == 202, answer.text
    return answer.json()


def read_event(shop, event_id):
    with reading(shop.server.engine) as connection:
        return connection.execute(
            sa.select(events_table).where(events_table.c.event_id == event_id)
        ).one()


def test_an_event_counts_once_however_often_it_is_sent(shared):
    sent = event(event_id="once")
    assert send(shared, sent, sent) == {"accepted": 1, "duplicates": 1, "rejected": []}
    assert send(shared, sent) == {"accepted": 0, "duplicates": 1, "rejected": []}


def test_an_id_with_other_values_is_rejected_and_said(shared):
    sent = event(event_id="own", quantity=1, colour="red")
    reason = "event_id: is that of an event with another quantity and attributes"
    other = sent | {"quantity": 2, "colour": "blue"}
    rejected = [{"index": 1, "reason": reason}]
    assert send(shared, sent, other, sent) == {
        "accepted": 1,
        "duplicates": 1,
        "rejected": rejected,
    }
    assert send(shared, sent, other) == {"accepted": 0, "duplicates": 1, "rejected": rejected}
    assert read_event(shared, "own").quantity == 1


def test_an_id_of_an_import_with_other_values_is_rejected_too(served):
    imported = make_purchase(0, 3, "beer")
    at = imported["occurred_at"].isoformat()
    sent = event(event_id=imported["event_id"], visitor_id=None, item_id="wine", occurred_at=at)
    reason = "event_id: is that of an event with another event_type and item_id"
    assert send(served, sent) == {
        "accepted": 0,
        "duplicates": 0,
        "rejected": [{"index": 0, "reason": reason}],
    }


def test_events_without_an_id_count_once_too_and_equal_ones_in_a_call_stay_two(shared):
    twice = event(visitor_id="nameless")
    assert send(shared, twice, twice) == {"accepted": 2, "duplicates": 0, "rejected": []}
    assert send(shared, twice, twice) == {"accepted": 0, "duplicates": 2, "rejected": []}


def test_money_becomes_minor_units_and_amounts_follow_from_each_other(shared):
    bought = {"event_type": "purchase", "quantity": 3}
    send(
        shared,
        event(event_id="unit", unit_price="0.335", list_price=0.5, **bought),
        event(event_id="line", line_amount=1.0, colour="red", **bought),
    )
    unit, line = read_event(shared, "unit"), read_event(shared, "line")
    # 3 x 33.5 = 100.5, to the even cent: 100
    assert (unit.unit_price_minor, unit.line_amount_minor, unit.list_price_minor) == (
        33.5,
        100,
        50.0,
    )
    assert (line.line_amount_minor, line.unit_price_minor) == (100, pytest.approx(100 / 3))
    assert (line.zone, line.attributes) == ("default", '{"colour": "red"}')


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"event_type": "bought"}, "event_type: 'bought' is unknown"),
        ({"event_type": None}, "event_type: is missing"),
        ({"item_id": None}, "item_id: is missing"),
        ({"item_id": 9}, "item_id: is no text"),
        ({"item_id": "a\x00"}, "item_id: holds a character that cannot be kept"),
        ({"occurred_at": "yesterday"}, "occurred_at: 'yesterday' is no time"),
        (
            {"occurred_at": "2017-12-01 10:00:00 PST"},
            "occurred_at: '2017-12-01 10:00:00 PST' is no time",
        ),
        (
            {"occurred_at": "0001-01-01T00:00:00+14:00"},
            "occurred_at: '0001-01-01T00:00:00+14:00' is no time",
        ),
        ({"occurred_at": "1969-12-31T00:00:00Z"}, "occurred_at: lies before 1970"),
        ({"quantity": -1}, "quantity: is below 0"),
        ({"event_type": "purchase", "quantity": 0}, "quantity: is not above 0"),
        ({"quantity": True}, "quantity: is no number"),
        ({"line_amount": "free"}, "line_amount: is no amount of money"),
        ({"line_amount": -1}, "line_amount: is below 0"),
        ({"unit_price": "1e400"}, "unit_price: is no amount of money"),
        ({"rank": 1.5}, "rank: is no whole number"),
        ({"rank": 0}, "rank: is below 1"),
    ],
)
def test_a_bad_event_is_named_and_the_good_ones_are_read_event(shared, bad, reason):
    answer = send(shared, event(event_id=f"good {reason}"), event(**bad))
    assert answer == {"accepted": 1, "duplicates": 0, "rejected": [{"index": 1, "reason": reason}]}


@pytest.mark.parametrize("ahead", [timedelta(minutes=10), timedelta(days=400)])
def test_an_event_whose_time_has_not_come_is_kept_and_marked(served, ahead):
    sent = event(event_id="ahead", occurred_at=(NOW + ahead).isoformat(), visitor_id="v", a="b")
    answer = send(served, sent, event(event_id="right"))
    assert answer == {"accepted": 2, "duplicates": 0, "rejected": [], "from_the_future": 1}
    stored = read_event(served, "ahead")
    assert NOW <= stored.occurred_at < NOW + timedelta(minutes=5)
    assert json.loads(stored.attributes) == {
        "a": "b",
        "sent_occurred_at": (NOW + ahead).isoformat(),
    }
    # The next recommendation has seen it, and it counts once however often it is sent.
    history = served.server.recommendations.histories.read(
        None, "v", None, served.server.clock.now()
    )
    assert history.viewed_item_ids == ("wine",)
    assert send(served, sent)["duplicates"] == 1


def test_times_are_read_as_in_files(shared):
    bad, good = (
        [text.replace("2024", "2017") for text in texts] for texts in (BAD_TIMES, GOOD_TIMES)
    )
    answer = send(
        shared, *(event(event_id=f"time {text}", occurred_at=text) for text in (*bad, *good))
    )
    assert [event["index"] for event in answer["rejected"]] == list(range(len(bad)))
    assert all(event["reason"].endswith("is no time") for event in answer["rejected"])
    for text, instant in zip(good, GOOD_TIMES.values(), strict=True):
        stored = read_event(shared, f"time {text}".strip())
        assert stored.occurred_at == instant.replace(year=2017)


def test_a_clock_a_little_ahead_is_forgiven(shared):
    ahead = (NOW + timedelta(minutes=4)).isoformat()
    assert send(shared, event(event_id="ahead", occurred_at=ahead))["accepted"] == 1


def test_more_than_a_thousand_are_refused_whole(shared):
    answer = shared.client.post(
        "/v1/events", json={"events": [event(event_id=f"m{n}") for n in range(1_001)]}
    )
    assert answer.status_code == 422
    assert send(shared, event(event_id="m0"))["accepted"] == 1


def test_a_body_beyond_the_limit_is_refused(shared):
    answer = shared.client.post("/v1/events", content=b'{"events": [' + b" " * 5_000_000 + b"]}")
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_next_recommendation_has_seen_it(shared):
    def slate(**who):
        answer = shared.client.post(
            "/v1/recommendations", json={"placement": "buy_again", "strict": True, **who}
        )
        return [(item["item_id"], item["reason"]) for item in answer.json()["items"]]

    bought = {"event_type": "purchase", "quantity": 1, "line_amount": 1}
    send(shared, event(event_id="s1", visitor_id=None, user_id="new", item_id="butter", **bought))
    assert slate(user_id="new") == [("butter", "buy_again")]
    send(shared, event(event_id="s2", visitor_id=None, session_id="s", item_id="bread", **bought))
    assert slate(session_id="s") == [("bread", "buy_again")]


def test_events_need_their_scope(shared):
    key = shared.keys.create("storefront only", ["storefront"]).key
    answer = shared.client.post(
        "/v1/events", json={"events": []}, headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 403
    assert "events" in answer.json()["detail"]


def test_an_imported_event_that_is_sent_again_is_a_duplicate_and_counts_once(served):
    def bought():
        history = served.server.recommendations.histories.read("u00", None, None, NOW)
        return dict(zip(history.item_ids.tolist(), history.quantity.tolist(), strict=True))

    facts, before = Facts(served.settings), bought()
    imported = make_purchase(0, 3, "beer")
    again = {
        name: imported[name]
        for name in ("event_id", "event_type", "user_id", "item_id", "zone", "quantity", "order_id")
    } | {"occurred_at": imported["occurred_at"].isoformat(), "line_amount": 1}
    assert send(served, again) == {"accepted": 0, "duplicates": 1, "rejected": []}
    assert bought() == before
    # The other way round: sent first, imported and materialized later, and sent once more.
    fresh = make_purchase(0, 20, "wine")
    sent = again | {"event_id": fresh["event_id"], "item_id": "wine", "order_id": fresh["order_id"]}
    sent["occurred_at"] = fresh["occurred_at"].isoformat()
    assert send(served, sent)["accepted"] == 1
    assert bought() == before | {"wine": before["wine"] + 1}
    facts.write({"events": make_table("events", [fresh])})
    assert bought() == before | {"wine": before["wine"] + 1}
    materialize(facts, served.settings, NOW)
    assert send(served, sent) == {"accepted": 0, "duplicates": 1, "rejected": []}
    assert bought() == before | {"wine": before["wine"] + 1}
    # Imported but not materialized yet: known, and seen because it was sent.
    newer = make_purchase(0, 21, "wine")
    facts.write({"events": make_table("events", [newer])})
    sent |= {"event_id": newer["event_id"], "order_id": newer["order_id"]}
    sent["occurred_at"] = newer["occurred_at"].isoformat()
    assert send(served, sent)["duplicates"] == 1
    assert bought() == before | {"wine": before["wine"] + 2}
    materialize(facts, served.settings, NOW)
    assert bought() == before | {"wine": before["wine"] + 2}
    assert served.server.recommendations.histories.read(
        "u00", None, None, NOW
    ).n_orders.tolist() == [*compute_offline_histories(facts, NOW)["u00"].n_orders]


def test_an_excluded_event_is_stored_and_counts_for_nothing(served):
    rule = RowFilter((("order_id", "staff"),))
    row = {"rule": rule.to_text(), "excluded": True, "decided_at": NOW}
    rules = pa.Table.from_pylist([row], EXCLUSIONS.arrow)
    Facts(served.settings).write({EXCLUSIONS.name: rules})
    bought = {"event_type": "purchase", "user_id": "exc", "visitor_id": None, "quantity": 1}
    answer = send(
        served,
        event(event_id="x1", exclude=True, **bought),
        event(event_id="x2", order_id="staff", **bought),
        event(event_id="x3", order_id="staff", exclude="no", item_id="beer", **bought),
        event(event_id="x4", exclude="perhaps", **bought),
    )
    assert answer["accepted"] == 3
    assert answer["rejected"] == [{"index": 3, "reason": "exclude: is no true or false"}]
    assert [read_event(served, f"x{n}").exclude for n in (1, 2, 3)] == [True, True, False]
    history = served.server.histories.read("exc", None, None, NOW)
    assert history.item_ids.tolist() == ["beer"]
    events = Facts(served.settings).read("events")
    counted = events.filter(events.user_id == "exc").event_id.to_pyarrow().to_pylist()
    assert counted == ["x3"]
