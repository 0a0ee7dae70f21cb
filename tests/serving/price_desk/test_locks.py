"""A locked price is changed by no run, no proposal and no approval until its lock ends."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from features.contracts.errors import BadInput, Conflict, Forbidden, NotFound
from features.database import reading, transaction
from features.prices.reduction_rule import PLAIN_RULES
from serving.access import Area, Caller
from serving.database.tables import audit_log
from serving.http.dependencies import provide
from serving.http.errors import add_error_handlers
from serving.http.idempotency import IdempotencyService
from serving.keys.service import KeyService
from serving.price_desk import decisions, locks_api
from serving.price_desk.locks import LockOrder, PriceLockService
from serving.price_desk.repository import Suggestions
from serving.price_desk.service import PriceDeskService
from serving.price_desk.suggest import suggest_prices
from tests.shops.clocks import SYSTEM_CLOCK, FixedClock
from tests.shops.price_desk import NOW, make_decider, make_suggestion
from tests.shops.three_items import make_forecasts, make_inputs, make_responses

BEN = Caller("ben", "Ben", frozenset({"pricing.approve"}))
THURSDAY = NOW + timedelta(days=3)


@pytest.fixture
def locks(three_items):
    _, engine, settings = three_items
    desk = PriceDeskService(settings, engine, FixedClock(NOW), SYSTEM_CLOCK, PLAIN_RULES)
    return PriceLockService(desk)


def set_lock(locks, item_id="milk", zone=None, ends_at=THURSDAY, caller=BEN, reason="contract"):
    with transaction(locks.desk.engine) as connection:
        return locks.set(connection, caller, LockOrder(item_id, reason, ends_at, zone))


def suggest(three_items, now=NOW):
    inputs = make_inputs(three_items, make_forecasts("milk"), make_responses("milk"))
    return suggest_prices(replace(inputs, now=now), SYSTEM_CLOCK)


@pytest.mark.parametrize("zone", [None, "default"])
def test_no_run_suggests_a_locked_price_until_the_lock_ends(three_items, locks, zone):
    set_lock(locks, zone=zone)
    assert suggest(three_items).kept == {"its price is locked": 1}
    assert suggest(three_items, now=THURSDAY).n_suggested == 1


def test_no_approval_passes_a_lock_unless_the_price_begins_after_it(three_items, locks):
    _, engine, _ = three_items
    with transaction(engine) as connection:
        rows = [
            make_suggestion("milk", 96),
            make_suggestion("milk", 97, effective_from=THURSDAY),
            make_suggestion("tea", 96),
        ]
        now, later, tea = Suggestions(connection).add(rows)
    set_lock(locks)
    with transaction(engine) as connection:
        with pytest.raises(Conflict, match="locked until 2018-01-04 05:00 UTC: contract"):
            decisions.approve(connection, make_decider(), now)
        decisions.approve(connection, make_decider(), tea)
        assert decisions.approve(connection, make_decider(), later).status == "scheduled"


def test_a_lock_is_ended_by_hand_and_both_stand_in_the_audit_log(three_items, locks):
    _, engine, _ = three_items
    lock = set_lock(locks)
    assert [each.id for each in locks.list_locks(limit=9)] == [lock.id]
    with transaction(engine) as connection:
        ended = locks.end(connection, BEN, lock.id, "withdrawn")
    assert (ended.ends_at, ended.unlocked_by) == (NOW, "ben")
    assert locks.list_locks(limit=9) == []
    assert [each.id for each in locks.list_locks(with_ended=True, limit=9)] == [lock.id]
    assert suggest(three_items).n_suggested == 1
    with transaction(engine) as connection, pytest.raises(Conflict, match="has ended"):
        locks.end(connection, BEN, lock.id)
    with reading(engine) as connection:
        query = sa.select(audit_log.c.action).where(audit_log.c.subject_id == lock.id)
        assert list(connection.execute(query).scalars()) == ["lock", "unlock"]


def test_what_cannot_be_locked_is_refused(locks):
    with pytest.raises(BadInput, match="is over"):
        set_lock(locks, ends_at=NOW)
    with pytest.raises(NotFound, match="'unheard-of' has no price"):
        set_lock(locks, "unheard-of")
    with pytest.raises(Forbidden, match=r"pricing\.approve"):
        set_lock(locks, caller=Caller("anna", "Anna", frozenset({"pricing.propose"})))
    areas = {"pricing.approve": (Area(category="Drinks"),)}
    with pytest.raises(Forbidden, match="Food > Dairy"):
        set_lock(locks, caller=replace(BEN, areas=areas))


def test_locks_over_http(locks):
    app = FastAPI()
    app.include_router(locks_api.router)
    add_error_handlers(app)
    engine = locks.desk.engine
    keys = KeyService(engine, SYSTEM_CLOCK)
    provide(app, keys, locks, IdempotencyService(engine, SYSTEM_CLOCK))
    key = keys.create("ben", ["pricing.approve"]).key
    client = TestClient(app, headers={"Authorization": f"Bearer {key}"})
    body = {"item_id": "milk", "reason": "contract", "ends_at": THURSDAY.isoformat()}
    lock = client.post("/v1/price-locks", json=body).json()
    assert (lock["zone"], lock["reason"], lock["unlocked_by"]) == (None, "contract", None)
    assert client.get("/v1/price-locks").json()["items"] == [lock]
    assert client.post(f"/v1/price-locks/{lock['id']}/unlock").json()["unlocked_by"]
    assert client.get("/v1/price-locks").json()["items"] == []
    assert client.post("/v1/price-locks/unknown/unlock").status_code == 404
