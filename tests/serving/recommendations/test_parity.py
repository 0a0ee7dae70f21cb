"""What comes over HTTP, in whatever shape and order, gives the histories that the facts give."""

from datetime import timedelta

import numpy as np

from features.contracts.tables import EventType
from features.contracts.visits import NO_VISIT
from features.facts.facts import Facts
from features.online.histories import compute_offline_histories
from features.online.online_store import OnlineHistories
from tests.shops.event_tables import make_table
from tests.shops.served_shop import (
    ITEMS,
    N_USERS,
    NOW,
    REFUSER,
    make_settings,
    make_user_id,
    run_shop,
)

LATER = NOW + timedelta(days=9)
N_EVENTS = 700


def random_event(rng: np.random.Generator, n: int) -> dict:
    """Any type; a third of them late, a third without an id, money given in either way, some to a
    tenth of a cent."""
    kinds = [
        *EventType,
        EventType.PURCHASE,
        EventType.PURCHASE,
        EventType.PURCHASE,
        EventType.REFUND,
    ]
    kind = str(rng.choice([event_type.value for event_type in kinds]))
    days = rng.uniform(-40, 0) if rng.random() < 0.33 else rng.uniform(0, 8.9)
    at = NOW + timedelta(seconds=round(days * 86_400, int(rng.integers(0, 7))))
    money = {}
    if kind in ("purchase", "refund"):
        amount = round(float(rng.uniform(0.1, 30)), int(rng.integers(0, 4)))
        money = [
            {"line_amount": f"{amount:.2f}"},
            {"unit_price": amount},
            {"unit_price": str(amount)},
            {},
        ][int(rng.integers(4))]
        if rng.random() < 0.7:
            money["list_price"] = str(amount + 0.5)
    fields = {
        "event_id": f"http-{n}" if rng.random() < 0.67 else None,
        "event_type": kind,
        "occurred_at": at.isoformat(),
        "user_id": make_user_id(int(rng.integers(N_USERS))) if rng.random() < 0.9 else None,
        "visitor_id": "v",
        "session_id": f"s{rng.integers(9)}",
        "item_id": str(rng.choice([*ITEMS, "unheard of"])),
        "zone": [None, "default", "north", "yen"][int(rng.integers(4))],
        "quantity": [None, 1, "2.5", 3][int(rng.integers(4))],
        "order_id": None if rng.random() < 0.2 else f"o{rng.integers(40)}",
        "colour": "red" if rng.random() < 0.1 else None,
        "device": [None, "Phone", "tv"][int(rng.integers(3))],
        "duration_seconds": [None, 3.5, "7", "a while"][int(rng.integers(4))],
        **money,
    }
    return {name: value for name, value in fields.items() if value is not None}


def test_events_sent_over_http_read_as_the_facts_say(tiny):
    rng = np.random.default_rng(11)
    sent = [random_event(rng, n) for n in range(N_EVENTS)]
    settings = make_settings(
        tiny.home, clock_start=LATER, zones={"yen": {"currency": "JPY"}, "north": {}}
    )
    facts = Facts(settings)
    imported = facts.read_imported("events").limit(20).to_pyarrow().to_pylist()
    repeated = [
        {
            name: row[name]
            for name in ("event_id", "event_type", "user_id", "item_id", "zone", "order_id")
        }
        | {"occurred_at": row["occurred_at"].isoformat()}
        for row in imported
    ]
    for shop in run_shop(settings):

        def post(events, shop=shop):
            answer = shop.client.post("/v1/events", json={"events": events}).json()
            assert answer["rejected"] == []
            return answer["accepted"], answer["duplicates"]

        assert post(sent) == (N_EVENTS, 0)
        assert post([*sent[::-1], *repeated]) == (0, N_EVENTS + len(repeated))
        # Some of them also come by import, after they were sent.
        received = (
            facts.read("events")
            .filter(lambda rows: rows.event_id.like("http-%"))
            .limit(60)
            .to_pyarrow()
        )
        facts.write({"events": received.cast(make_table("events", []).schema)})
        online, offline = (
            OnlineHistories(settings, shop.server.engine),
            compute_offline_histories(facts, LATER),
        )
        for n in range(N_USERS):
            same(online.read(make_user_id(n), None, None, LATER), offline.get(make_user_id(n)))
        assert REFUSER not in offline
        assert len(offline) == N_USERS - 1


def same(online, offline):
    assert online.visit == (NO_VISIT if offline is None else offline.visit)
    if offline is None:
        assert (online.user_id, online.item_ids.tolist(), online.viewed_item_ids) == (None, [], ())
        return
    assert (online.user_id, online.as_of) == (offline.user_id, offline.as_of)
    assert online.item_ids.tolist() == offline.item_ids.tolist()
    for name in ("n_orders", "first_at", "last_at"):
        np.testing.assert_array_equal(getattr(online, name), getattr(offline, name), err_msg=name)
    for name in ("quantity", "decayed_frequency"):
        np.testing.assert_allclose(
            getattr(online, name), getattr(offline, name), rtol=1e-6, err_msg=name
        )
    assert list(online.features) == list(offline.features)
    for name, value in online.features.items():
        np.testing.assert_allclose(
            value, offline.features[name], rtol=1e-9, atol=1e-12, err_msg=name
        )
    assert (online.viewed_item_ids, online.viewed_at) == (
        offline.viewed_item_ids,
        offline.viewed_at,
    )
