"""API keys: how they are created, found, cached and revoked."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from features.contracts.errors import BadInput, NotFound, UnknownName
from features.database import reading
from serving.audit.repository import AuditFilter, AuditRecords
from serving.database.tables import api_keys
from serving.keys import service as keys
from serving.keys.service import KeyService
from tests.shops.clocks import FixedClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def key_service(engine):
    return KeyService(engine, FixedClock(NOW))


def test_a_key_finds_its_caller_and_is_never_stored(engine):
    created = key_service(engine).create(" shop ", ["events", "storefront", "events"])
    assert created.record.scopes == ("storefront", "events")
    assert created.key.startswith(created.record.prefix)
    caller = key_service(engine).find_caller(created.key)
    assert (caller.id, caller.name, caller.scopes) == (
        created.record.id,
        "shop",
        {"storefront", "events"},
    )
    with reading(engine) as connection:
        assert created.key not in str(connection.execute(sa.select(api_keys)).all())
    assert key_service(engine).find_caller(created.key[:-1]) is None
    assert key_service(engine).list_keys() == [created.record]


def test_creating_and_revoking_a_key_are_audited(engine):
    created = key_service(engine).create("anna", ["pricing.approve"])
    key_service(engine).revoke(created.record.id)
    with reading(engine) as connection:
        records = AuditRecords(connection).page(AuditFilter(subject_id=created.record.id))
        assert AuditRecords(connection).verify().intact
    assert [(record.actor, record.action, record.subject_type) for record in records] == [
        ("operator", "create", "key"),
        ("operator", "revoke", "key"),
    ]
    assert records[0].details == {"name": "anna", "scopes": ["pricing.approve"]}
    assert created.key not in str(records)


def test_whoever_may_change_prices_may_read_them(engine):
    created = key_service(engine).create("anna", ["pricing.approve"])
    assert key_service(engine).find_caller(created.key).scopes == {
        "pricing.approve",
        "pricing.read",
        "pricing.rollback",
    }
    assert created.record.scopes == ("pricing.approve",)


@pytest.mark.parametrize(
    ("name", "scopes", "error"),
    [("", ["events"], BadInput), ("x", [], BadInput), ("x", ["event"], UnknownName)],
)
def test_a_key_needs_a_name_and_known_scopes(engine, name, scopes, error):
    with pytest.raises(error):
        key_service(engine).create(name, scopes)


def test_a_cached_key_costs_no_sql_and_a_revoked_one_ends_soon(engine, monkeypatch):
    first, second = key_service(engine), key_service(engine)
    created = first.create("shop", ["storefront"])
    assert first.find_cached_caller(created.key) is None
    first.find_caller(created.key)
    statements = []
    sa.event.listen(
        engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
    )
    assert first.find_caller(created.key) is first.find_cached_caller(created.key) is not None
    assert statements == []
    second.revoke(created.record.id)
    assert second.find_caller(created.key) is None
    # Another process, within the time that a caller is cached.
    assert first.find_caller(created.key) is not None
    later = keys.time.monotonic() + keys.CACHE_SECONDS
    monkeypatch.setattr(keys.time, "monotonic", lambda: later)
    assert first.find_caller(created.key) is None
    assert first.list_keys()[0].revoked_at == NOW
    with pytest.raises(NotFound):
        first.revoke("key_none")
