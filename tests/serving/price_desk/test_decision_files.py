"""A file of decisions: read row by row, shown, and made in one transaction."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from configs.settings import Settings
from features.contracts.errors import BadInput
from features.prices.reduction_rule import PLAIN_RULES
from serving.access import Caller
from serving.http.dependencies import provide
from serving.http.errors import add_error_handlers
from serving.http.idempotency import IdempotencyService
from serving.keys.service import KeyService
from serving.price_desk import api, decisions_api
from serving.price_desk.decision_files import read_decisions
from serving.price_desk.filed_decisions import DecisionOptions, preview_file
from serving.price_desk.service import PriceDeskService
from tests.shops.clocks import FixedClock
from tests.shops.price_desk import (
    NOW,
    SYSTEM_NOW,
    make_suggestion,
    read_offer_prices,
    read_statuses,
    store_suggestions,
)

PATH = "/v1/price-suggestions/decisions"


@pytest.fixture
def desk(engine):
    """Four suggestions of 1.10, and clients of a manager and of an analyst."""
    app = FastAPI()
    app.include_router(decisions_api.router)
    app.include_router(api.router)
    add_error_handlers(app)
    clock = FixedClock(SYSTEM_NOW)
    keys = KeyService(engine, clock)
    service = PriceDeskService(Settings(), engine, FixedClock(NOW), clock, PLAIN_RULES)
    provide(app, keys, service, IdempotencyService(engine, clock))

    def client(name, *scopes):
        key = keys.create(name, scopes).key
        return TestClient(app, headers={"Authorization": f"Bearer {key}"})

    items = ("milk", "tea", "salt", "bread")
    ids = store_suggestions(engine, *(make_suggestion(item, 110) for item in items))
    return SimpleNamespace(
        engine=engine,
        ids=ids,
        mia=client("mia", "pricing.approve", "pricing.propose"),
        anna=client("anna", "pricing.propose"),
    )


def make_file(desk, *extra):
    milk, tea, salt, bread = desk.ids
    lines = [
        "id,item_id,suggested_price,decision,new_price,reason",
        f"{milk},milk,1.10,approve,,agreed",
        f"{tea},tea,1.10, Reject ,,too early",
        f"{salt},salt,1.10,,1.05,rounder",
        f"{bread},bread,1.10,,,",
        *extra,
    ]
    return "\n".join(lines).encode()


def send(client, content, status=200, **params):
    answer = client.post(PATH, content=content, params=params)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_file_is_shown_first_then_made_in_one_transaction(desk):
    shown = send(desk.mia, make_file(desk), dry_run=True)
    assert (shown["decided"], shown["decisions"]) == (3, {"approve": 1, "reject": 1, "edit": 1})
    assert [row["row"] for row in shown["items"]] == [2, 3, 4]
    assert [row["price"] for row in shown["items"]] == ["1.10", "1.10", "1.05"]
    assert read_statuses(desk.engine, desk.ids) == ["submitted"] * 4

    assert send(desk.mia, make_file(desk), expected_decided=3) == shown
    assert read_statuses(desk.engine, desk.ids) == ["live", "rejected", "submitted", "submitted"]
    assert read_offer_prices(desk.engine, "milk", "tea", "salt") == [110, 100, 100]
    again = send(desk.mia, make_file(desk), status=409, expected_decided=3)
    assert "1 rows can be decided, not 3" in again["detail"]
    assert read_statuses(desk.engine, desk.ids[:2]) == ["live", "rejected"]


def test_rows_that_cannot_be_decided_are_named_and_the_others_go_on(desk):
    milk, _, _, bread = desk.ids
    extra = (
        f"{milk},milk,1.10,reject,,twice",
        "sug_none,none,1.10,approve,,",
        f"{bread},bread,1.10,,9.99,",
        "sug_x,x,1.10,maybe,,",
        "sug_y,y,1.10,approve,1.00,",
    )
    rows = {row["row"]: row["refused"] for row in send(desk.mia, make_file(desk, *extra))["items"]}
    assert [rows[row] for row in (2, 3, 4)] == [None] * 3
    assert rows[6].startswith("row 2 decides about the same suggestion")
    assert rows[7].startswith("no suggestion 'sug_none'")
    assert "changes the current price of 1.00 by +899%" in rows[8]
    assert "decision" in rows[9]
    assert "has no other price" in rows[10]
    sure = f"id,new_price\n{bread},9.99".encode()
    (row,) = send(desk.mia, sure, confirm_large_change=True)["items"]
    assert (row["price"], row["refused"]) == ("9.99", None)


def test_reasons_of_their_own_hide_no_jump_of_a_price(desk):
    ids = store_suggestions(desk.engine, *(make_suggestion(item, 400) for item in ("rum", "gin")))
    lines = [f"{key},approve,reason {row}" for row, key in enumerate(ids)]
    content = "\n".join(["id,decision,reason", *lines]).encode()
    rows = send(desk.mia, content)["items"]
    assert ["it moves the price by +300%" in row["refused"] for row in rows] == [True, True]
    assert read_statuses(desk.engine, ids) == ["submitted", "submitted"]


def test_whoever_set_a_price_does_not_approve_it_after_somebody_else_set_the_same(desk):
    (salt,) = desk.ids[2:3]
    edit = f"id,new_price\n{salt},1.05".encode()
    send(desk.mia, edit)
    (again,) = send(desk.anna, edit)["items"]
    assert "is what somebody else has set already" in again["refused"]
    (row,) = send(desk.mia, f"id,decision\n{salt},approve".encode())["items"]
    assert "may not approve" in row["refused"]


def test_whoever_only_proposes_edits_and_decides_nothing(desk):
    decided = send(desk.anna, make_file(desk))
    assert decided["decisions"] == {"edit": 1}
    assert "pricing.approve" in decided["items"][0]["refused"]


def test_prices_of_another_country_are_read(desk):
    content = f"id;decision;price\n{desk.ids[0]};edit;1,05".encode()
    (row,) = send(desk.mia, content)["items"]
    assert row["price"] == "1.05"


def test_rules_and_stock_are_read_once_for_all_edits_of_a_file(engine):
    reads = []

    def read_items(_settings, _now, _zone, item_ids, _competitor):
        reads.append(tuple(item_ids))
        return {}

    clocks = FixedClock(NOW), FixedClock(SYSTEM_NOW)
    desk = PriceDeskService(Settings(), engine, *clocks, PLAIN_RULES, read_items=read_items)
    items = ("milk", "tea", "salt")
    ids = store_suggestions(engine, *(make_run_suggestion(item) for item in items))
    mia = Caller("mia", "Mia", frozenset({"pricing.propose"}))
    prices = {"milk": "1.05", "tea": "1.06", "salt": "1.40"}
    lines = [
        "id,new_price",
        *(f"{key},{prices[item]}" for key, item in zip(ids, items, strict=True)),
    ]
    decisions = read_decisions("\n".join(lines).encode())
    decided = preview_file(desk, mia, decisions, DecisionOptions())
    assert [row.after for row in decided.rows] == [105, 106, None]
    assert "maximum change" in decided.rows[2].error.what
    assert reads == [items]


def make_run_suggestion(item):
    """A suggestion that is held against the rules of today."""
    facts = {
        "item_id": item,
        "zone": "default",
        "currency": "EUR",
        "list_price_minor": 100,
        "current_price_minor": 100,
        "unit_cost_minor": 50.0,
        "cost_source": "known",
        "tax_divisor": 1.0,
        "lowest_tried_minor": None,
        "highest_tried_minor": None,
    }
    details = {"rules": "default", "stage": None, "facts": facts}
    return make_suggestion(item, 110, details=details)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("idd,decision\na,approve", "the column id is missing"),
        ("id,status\na,approve", "the column decision is missing"),
        ("id,decision\na,", "no row decides anything"),
    ],
)
def test_a_file_that_decides_nothing_is_refused(content, problem):
    with pytest.raises(BadInput, match=problem):
        read_decisions(content.encode())
