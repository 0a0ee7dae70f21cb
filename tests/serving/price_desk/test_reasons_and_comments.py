"""The shop's own reasons for rejections, and comments on suggestions, over HTTP."""

from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from configs.settings import Settings
from features.contracts.errors import Forbidden
from features.database import reading
from features.prices.reduction_rule import PLAIN_RULES
from serving.access import Area, Caller
from serving.database.tables import audit_log
from serving.http.dependencies import provide
from serving.http.errors import add_error_handlers
from serving.http.idempotency import IdempotencyService
from serving.keys.service import KeyService
from serving.price_desk import api, comments_api, controls_api
from serving.price_desk.actions import CommentActions
from serving.price_desk.comments import CommentService
from serving.price_desk.controls import DeskControls
from serving.price_desk.service import PriceDeskService
from serving.promotions.lifecycle import hold_scheduled
from tests.shops.clocks import FixedClock
from tests.shops.price_desk import (
    NOW,
    SYSTEM_NOW,
    make_suggestion,
    read_statuses,
    store_suggestions,
)

REASONS = "/v1/price-desk/reject-reasons"


@pytest.fixture
def desk(engine):
    """The price desk, and clients with keys: a manager, an approver, a reader."""
    app = FastAPI()
    for router in (api.router, comments_api.router, controls_api.router):
        app.include_router(router)
    add_error_handlers(app)
    system_clock = FixedClock(SYSTEM_NOW)
    keys = KeyService(engine, system_clock)
    service = PriceDeskService(Settings(), engine, FixedClock(NOW), system_clock, PLAIN_RULES)
    comments = CommentService(service)
    provide(
        app,
        keys,
        service,
        comments,
        DeskControls(service, hold_scheduled),
        IdempotencyService(engine, system_clock),
    )

    def client(name, *scopes):
        key = keys.create(name, scopes).key
        return TestClient(app, headers={"Authorization": f"Bearer {key}"})

    return SimpleNamespace(
        engine=engine,
        comments=comments,
        mia=client("mia", "pricing.manage"),
        ben=client("ben", "pricing.approve"),
        reader=client("reader", "pricing.read"),
    )


def read_details(engine, action):
    with reading(engine) as connection:
        query = sa.select(audit_log.c.details).where(audit_log.c.action == action)
        return connection.execute(query).scalars().all()


def test_the_shipped_reasons_are_those_of_a_language_until_the_shop_has_its_own(desk):
    shipped = desk.reader.get(REASONS).json()
    assert shipped["reasons"][0] == "The change is too large"
    assert (shipped["required"], shipped["changed_by"]) == (False, None)
    chinese = desk.reader.get(REASONS, params={"language": "zh"}).json()
    assert len(chinese["reasons"]) == len(shipped["reasons"])
    assert desk.reader.get(REASONS, params={"language": "fr"}).json() == shipped

    own = {"reasons": [" Not before Easter ", "竞品更低"], "reason": "agreed with buying"}
    assert desk.reader.put(REASONS, json=own).status_code == 403
    saved = desk.mia.put(REASONS, json=own).json()
    assert saved["reasons"] == ["Not before Easter", "竞品更低"]
    assert desk.reader.get(REASONS, params={"language": "zh"}).json() == saved
    (details,) = read_details(desk.engine, "save_reject_reasons")
    assert "Not before Easter" in details
    assert "agreed with buying" in details


@pytest.mark.parametrize("reasons", [["twice", "twice "], [" "], ["x" * 201]])
def test_a_list_of_reasons_that_nobody_can_use_is_refused(desk, reasons):
    answer = desk.mia.put(REASONS, json={"reasons": reasons})
    assert (answer.status_code, answer.json()["where"]) == (422, "reasons")
    assert desk.reader.get(REASONS).json()["changed_by"] is None


def test_where_a_reason_is_required_nothing_is_rejected_without_one(desk):
    first, second, third = store_suggestions(
        desk.engine, *(make_suggestion(item, 90) for item in ("milk", "tea", "bread"))
    )
    desk.mia.put(REASONS, json={"reasons": ["Too large"], "required": True})
    path = f"/v1/price-suggestions/{first}/reject"
    refused = desk.ben.post(path, json={"reason": "  "})
    assert refused.status_code == 422
    assert "nothing without a reason" in refused.json()["detail"]
    bulk = {"action": "reject", "ids": [second, third]}
    assert desk.ben.post("/v1/price-suggestions/bulk", json=bulk).status_code == 422
    assert read_statuses(desk.engine, [first, second, third]) == ["submitted"] * 3

    assert desk.ben.post(path, json={"reason": "Too large"}).json()["reason"] == "Too large"
    answer = desk.ben.post("/v1/price-suggestions/bulk", json={**bulk, "reason": "in my own words"})
    assert answer.json()["changed"] == 2
    assert desk.ben.post(f"/v1/price-suggestions/{second}/reject", json={}).status_code == 422


def test_comments_are_listed_with_name_and_time_and_stand_in_the_audit_log(desk):
    (key,) = store_suggestions(desk.engine, make_suggestion("milk", 90))
    path = f"/v1/price-suggestions/{key}/comments"
    assert desk.reader.get(path).json() == {"items": [], "next_cursor": None}
    headers = {"Idempotency-Key": "once"}
    for _ in range(2):
        said = desk.ben.post(path, json={"text": " Wait for the leaflet.\n"}, headers=headers)
        assert said.status_code == 200
    assert desk.reader.post(path, json={"text": "它太贵了"}).status_code == 200
    first, second = desk.reader.get(path).json()["items"]
    assert (first["author_name"], first["text"]) == ("ben", "Wait for the leaflet.")
    assert first["written_at"].startswith("2026-01-01")
    assert second["text"] == "它太贵了"
    page = desk.reader.get(path, params={"limit": 1}).json()
    rest = desk.reader.get(path, params={"cursor": page["next_cursor"]}).json()
    assert rest["items"] == [second]
    assert len(read_details(desk.engine, "comment")) == 2


def test_the_newest_comments_are_shown_with_how_many_are_older(desk):
    (key,) = store_suggestions(desk.engine, make_suggestion("milk", 90))
    ben = Caller("ben", "Ben", frozenset({"pricing.read"}))
    for number in range(5):
        CommentActions(desk.comments).add(ben, key, f"comment {number}")
    newest = desk.comments.list_newest(key, 2)
    assert [one.text for one in newest.comments] == ["comment 3", "comment 4"]
    assert newest.n_older == 3
    assert desk.comments.list_newest(key, 50).n_older == 0


def test_a_comment_says_something_about_a_suggestion_that_its_author_may_see(desk):
    (key,) = store_suggestions(desk.engine, make_suggestion("milk", 90))
    path = f"/v1/price-suggestions/{key}/comments"
    assert desk.ben.post(path, json={"text": " \n"}).status_code == 422
    assert desk.ben.post(path, json={"text": "x" * 4001}).status_code == 422
    assert desk.ben.get("/v1/price-suggestions/none/comments").status_code == 404
    assert (
        desk.ben.post("/v1/price-suggestions/none/comments", json={"text": "a"}).status_code == 404
    )
    baker = Caller(
        "bea", "Bea", frozenset({"pricing.read"}), areas={"pricing.read": (Area("Food > Bread"),)}
    )
    with pytest.raises(Forbidden, match="your role covers Food > Bread"):
        CommentActions(desk.comments).add(baker, key, "let me in")
    assert desk.reader.get(path).json()["items"] == []
