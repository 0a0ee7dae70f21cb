import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from features.contracts.errors import BadInput, NotFound, UnknownName
from features.database import Instant, metadata, reading, transaction
from serving.audit.repository import AuditFilter, AuditRecords
from serving.database.audit_log import ORIGIN, AuditEntry, AuditLog, Head
from serving.database.migrate import upgrade
from serving.database.tables import api_keys, audit_log
from serving.http.idempotency_repository import RETENTION, StoredResponse, StoredResponses
from serving.keys import service as keys
from serving.keys.service import KeyService
from tests.shops.clocks import FixedClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def service(engine):
    return KeyService(engine, FixedClock(NOW))


def test_a_key_is_recognised_and_never_stored(engine):
    made = service(engine).create(" shop ", ["events", "storefront", "events"])
    assert made.record.scopes == ("storefront", "events")
    assert made.key.startswith(made.record.prefix)
    caller = service(engine).find_caller(made.key)
    assert (caller.key_id, caller.name, caller.scopes) == (
        made.record.id,
        "shop",
        {"storefront", "events"},
    )
    with reading(engine) as connection:
        assert made.key not in str(connection.execute(sa.select(api_keys)).all())
    assert service(engine).find_caller(made.key[:-1]) is None
    assert service(engine).list_keys() == [made.record]


def test_making_and_ending_a_key_are_deeds(engine):
    made = service(engine).create("anna", ["pricing.approve"])
    service(engine).revoke(made.record.id)
    with reading(engine) as connection:
        deeds = AuditRecords(connection).page(AuditFilter(subject_id=made.record.id))
        assert AuditRecords(connection).verify().intact
    assert [(deed.actor, deed.action, deed.subject_type) for deed in deeds] == [
        ("operator", "create", "key"),
        ("operator", "revoke", "key"),
    ]
    assert deeds[0].details == {"name": "anna", "scopes": ["pricing.approve"]}
    assert made.key not in str(deeds)


def test_whoever_may_change_prices_may_see_them(engine):
    made = service(engine).create("anna", ["pricing.approve"])
    assert service(engine).find_caller(made.key).scopes == {"pricing.approve", "pricing.read"}
    assert made.record.scopes == ("pricing.approve",)


@pytest.mark.parametrize(
    ("name", "scopes", "error"),
    [("", ["events"], BadInput), ("x", [], BadInput), ("x", ["event"], UnknownName)],
)
def test_a_key_needs_a_name_and_known_scopes(engine, name, scopes, error):
    with pytest.raises(error):
        service(engine).create(name, scopes)


def test_a_busy_key_costs_no_sql_and_a_revoked_one_dies_soon(engine, monkeypatch):
    here, elsewhere = service(engine), service(engine)
    made = here.create("shop", ["storefront"])
    assert here.find_cached_caller(made.key) is None
    here.find_caller(made.key)
    statements = []
    sa.event.listen(
        engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
    )
    assert here.find_caller(made.key) is here.find_cached_caller(made.key) is not None
    assert statements == []
    elsewhere.revoke(made.record.id)
    assert elsewhere.find_caller(made.key) is None
    assert (
        here.find_caller(made.key) is not None
    )  # another process, within the time a key is believed
    later = keys.time.monotonic() + keys.CACHE_SECONDS
    monkeypatch.setattr(keys.time, "monotonic", lambda: later)
    assert here.find_caller(made.key) is None
    assert here.list_keys()[0].revoked_at == NOW
    with pytest.raises(NotFound):
        here.revoke("key_none")


def entries(*names):
    return [
        AuditEntry(
            "key_anna", "approve", "price_suggestion", name, {"to": "1.10", "reason": "Käse"}
        )
        for name in names
    ]


def test_the_audit_log_is_a_chain(engine):
    with transaction(engine) as connection:
        log = AuditLog(connection)
        assert log.head() == Head(0, ORIGIN)
        assert AuditRecords(connection).verify().intact
        log.append(entries("a", "b"), NOW)
        log.append(entries("c"), NOW + timedelta(microseconds=1))
        log.append([], NOW)
    with reading(engine) as connection:
        log = AuditRecords(connection)
        verified = log.verify(anchor=log.head())
        assert (verified.intact, verified.rows, verified.head) == (True, 3, log.head())
        assert [each.subject_id for each in log.page(after=1)] == ["b", "c"]
        assert log.page(AuditFilter(subject_id="a"))[0].details == {"to": "1.10", "reason": "Käse"}
        assert log.page(AuditFilter(actor="key_ben")) == []
        assert log.page(AuditFilter(action="reject")) == []


@pytest.mark.parametrize(
    ("harm", "broken_at"),
    [
        ("UPDATE audit_log SET actor = 'key_ben' WHERE seq = 2", 2),
        ("UPDATE audit_log SET details = '{}' WHERE seq = 1", 1),
        ("DELETE FROM audit_log WHERE seq = 2", 2),
        ("DELETE FROM audit_log WHERE seq = 3", 3),  # the end cut off: only the anchor shows it
    ],
)
def test_harm_to_the_audit_log_is_found(engine, harm, broken_at):
    with transaction(engine) as connection:
        AuditLog(connection).append(entries("a", "b", "c"), NOW)
        anchor = AuditLog(connection).head()
    without_triggers(engine, harm)
    with reading(engine) as connection:
        assert AuditRecords(connection).verify(anchor).broken_at == broken_at
        assert AuditRecords(connection).verify().intact == (broken_at == 3)


def without_triggers(engine, statement):
    """What someone with the database's own keys could do."""
    connection = engine.connect()
    transaction = connection.begin()
    if engine.dialect.name == "postgresql":
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
    else:
        connection.execute(sa.text("DROP TRIGGER audit_log_no_update"))
        connection.execute(sa.text("DROP TRIGGER audit_log_no_delete"))
    connection.execute(sa.text(statement))
    transaction.commit()
    connection.close()


def test_concurrent_deeds_make_one_chain(engine):
    def work(name):
        for n in range(10):
            with transaction(engine) as connection:
                AuditLog(connection).append(entries(f"{name}{n}"), NOW)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as connection:
        assert AuditRecords(connection).verify().rows == 40


def test_answers_are_kept_for_two_days(engine):
    answer = StoredResponse("print", 200, "{}")
    with transaction(engine) as connection:
        answers = StoredResponses(connection)
        answers.add("key_a", "k", answer, NOW)
        assert answers.find("key_a", "k", NOW + RETENTION) == answer
        assert answers.find("key_b", "k", NOW) is None
        assert answers.find("key_a", "k", NOW + RETENTION + timedelta(seconds=1)) is None


def test_the_migrations_make_the_tables_that_the_code_knows(engine):
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    upgrade(engine)  # again: nothing to do


def test_a_database_from_a_newer_version_is_refused(engine):
    with transaction(engine) as connection:
        ours = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BadInput, match="9999"):
        upgrade(engine)
    with transaction(engine) as connection:
        connection.execute(
            sa.text("UPDATE alembic_version SET version_num = :ours"), {"ours": ours}
        )


def test_times_are_stored_in_utc_and_never_without_a_zone(engine):
    with pytest.raises(sa.exc.StatementError, match="zone"), reading(engine) as connection:
        connection.execute(sa.select(sa.literal(datetime(2018, 1, 1), Instant)))  # noqa: DTZ001
    with transaction(engine) as connection:
        AuditLog(connection).append(entries("a"), NOW.astimezone(tz=None))
        at = connection.execute(sa.select(audit_log.c.at)).scalar_one()
    assert (at, at.utcoffset()) == (NOW, timedelta(0))
