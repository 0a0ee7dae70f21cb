"""The audit log for people: names, filters, both clocks, rollbacks, and files for auditors."""

import csv
import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from features.contracts.errors import BadInput
from features.database import transaction
from features.prices.ledger import Ledger
from serving.access import Grant
from serving.audit.chain_file import verify_chain_file
from serving.audit.repository import AuditFilter
from serving.audit.service import AuditService
from serving.database.audit_log import SYSTEM, AuditEntry, AuditLog
from serving.keys.service import KeyService
from serving.people.service import NewPerson, PeopleService
from serving.price_desk import decisions
from serving.price_desk.rollback import roll_back
from tests.shops.people import PASSWORDS, QUICK, MovableClock
from tests.shops.price_desk import (
    NOW,
    SYSTEM_NOW,
    make_decider,
    make_suggestion,
    read_offer_prices,
    store_suggestions,
)


@pytest.fixture
def audit(engine):
    return AuditService(engine)


def approve_and_roll_back(engine):
    """Ben approves milk and tea, and rolls milk back a day later; return the suggestions' ids."""
    milk, tea = store_suggestions(
        engine, make_suggestion("milk", title="Milk, fresh"), make_suggestion("tea")
    )
    with transaction(engine) as connection:
        for suggestion_id in (milk, tea):
            decisions.approve(connection, make_decider("ben", reason="good"), suggestion_id)
        price = Ledger(connection).find_current(["milk"], "default", NOW)["milk"]
    with transaction(engine) as connection:
        roll_back(connection, make_decider("ben", days=1, reason="too dear"), price.price_id)
    assert read_offer_prices(engine, "milk", at=NOW + timedelta(days=1)) == [100]
    return milk, tea


def actions(records):
    return [record.action for record in records]


def search(audit, before=None, limit=100, **which):
    """The actions that match, the newest first, and how many match in all."""
    criteria = AuditFilter(**which)
    page = audit.read_newest(criteria, before=before, limit=limit)
    return SimpleNamespace(records=page.records, total=audit.count(criteria))


def test_people_keys_rules_and_the_system_have_names(engine, audit):
    clock = MovableClock()
    people = PeopleService(engine, clock, QUICK)
    people.create(NewPerson("ben", "Ben Weber", (Grant("approver"),), PASSWORDS["ben"]))
    key = KeyService(engine, clock).create("shop system", ["pricing.read"]).record
    with transaction(engine) as connection:
        entries = [
            AuditEntry(actor, "approve", "price_suggestion", "a")
            for actor in ("ben", key.id, "rule:small changes", SYSTEM, "gone")
        ]
        AuditLog(connection).append(entries, clock.now())
    records = search(audit, action="approve").records
    assert [(each.actor_name, each.actor_kind) for each in reversed(records)] == [
        ("Ben Weber", "person"),
        ("shop system", "key"),
        ("small changes", "rule"),
        ("system", "system"),
        ("gone", "person"),
    ]


def test_the_newest_come_first_with_the_number_of_all(engine, audit):
    approve_and_roll_back(engine)
    first = search(audit, limit=2)
    assert (actions(first.records), first.total) == (["roll_back", "rollback"], 4)
    older = search(audit, before=first.records[-1].seq)
    assert (actions(older.records), older.total) == (["approve", "approve"], 4)
    assert audit.list_choices().actions == ["approve", "roll_back", "rollback"]


def test_a_rollback_stands_under_its_suggestion_and_its_item(engine, audit):
    milk, tea = approve_and_roll_back(engine)
    found = search(audit, subject_id=milk)
    assert actions(found.records) == ["roll_back", "rollback", "approve"]
    assert {each.suggestion_id for each in found.records} == {milk}
    assert {(each.item_id, each.title) for each in found.records} == {("milk", "Milk, fresh")}
    assert actions(search(audit, subject_id=tea).records) == ["approve"]
    everything = search(audit, item_id="milk").records
    assert actions(everything) == ["roll_back", "rollback", "approve"]
    assert search(audit, item_id="MILK").total == 0


def test_both_clocks_are_told(engine, audit):
    approve_and_roll_back(engine)
    rollback, *_, approval = search(audit).records
    assert (approval.at, approval.business_at) == (SYSTEM_NOW, NOW)
    assert rollback.business_at == NOW + timedelta(days=1)
    found = search(audit, since=SYSTEM_NOW + timedelta(hours=1), until=rollback.at)
    assert found.total == 0
    assert search(audit, since=rollback.at).total == 2  # of the price, and of the suggestion


def test_an_item_that_was_taken_off_sale_is_found_by_its_id(engine, audit):
    with transaction(engine) as connection:
        AuditLog(connection).append([AuditEntry("ben", "retire", "item", "salt")], SYSTEM_NOW)
    (record,) = search(audit, item_id="salt").records
    assert (record.item_id, record.business_at) == ("salt", None)


def test_the_table_for_people_has_names_both_clocks_and_no_formula(engine, audit, tmp_path):
    approve_and_roll_back(engine)
    with transaction(engine) as connection:
        entry = AuditEntry("ben", "reject", "price_suggestion", "x", {"reason": "=1+1"})
        AuditLog(connection).append([entry], SYSTEM_NOW)
    path = tmp_path / "audit.csv"
    assert audit.write_sheet(AuditFilter(), path, "csv") == 5
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["business_time"] == "2018-01-01T05:00:00Z"
    assert rows[0]["system_time"] == "2026-01-01T00:00:00Z"
    assert (rows[0]["title"], rows[0]["from"], rows[0]["to"]) == ("Milk, fresh", "1.00", "1.10")
    assert rows[4]["reason"] == "'=1+1"
    with transaction(engine) as connection:
        assert rows[4]["hash"] == AuditLog(connection).head().hash


def test_an_exported_chain_proves_itself(engine, audit, tmp_path):
    approve_and_roll_back(engine)
    path = tmp_path / "audit.jsonl"
    assert audit.write_chain(path) == 4
    found = verify_chain_file(path)
    assert (found.intact, found.rows, found.head) == (True, 4, audit.verify().head)


@pytest.mark.parametrize(
    ("harm", "broken_at"),
    [
        (lambda rows: [rows[0], replace_actor(rows[1]), rows[2]], 2),
        (lambda rows: [rows[0], rows[2]], 2),
        (lambda rows: rows[1:], 1),
        (lambda rows: [rows[1], rows[0], rows[2]], 1),
    ],
)
def test_harm_to_an_exported_chain_is_found(engine, audit, tmp_path, harm, broken_at):
    approve_and_roll_back(engine)
    path = tmp_path / "audit.jsonl"
    audit.write_chain(path)
    path.write_text("\n".join(harm(path.read_text().splitlines())))
    assert verify_chain_file(path).broken_at == broken_at


def replace_actor(line):
    return json.dumps({**json.loads(line), "actor": "carla"})


@pytest.mark.parametrize("text", ["no json", "{}", "[1]", '{"at": 3}'])
def test_a_file_that_is_no_export_is_named(tmp_path, text):
    path = tmp_path / "audit.jsonl"
    path.write_text(text)
    with pytest.raises(BadInput, match="no exported audit log"):
        verify_chain_file(path)


def test_filters_agree_with_what_each_row_says(engine, audit):
    approve_and_roll_back(engine)
    everything = search(audit).records
    for record in everything:
        which = AuditFilter(
            actor=record.actor, action=record.action, subject_type=record.subject_type
        )
        assert record in audit.read_newest(which, limit=10).records
        assert audit.count(replace(which, actor="nobody")) == 0
