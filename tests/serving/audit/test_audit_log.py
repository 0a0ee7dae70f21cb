"""The audit log: a chain of hashes that shows every change."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from features.database import reading, transaction
from serving.audit.repository import AuditFilter, AuditRecords
from serving.database.audit_log import ORIGIN, AuditEntry, AuditLog, Head

NOW = datetime(2026, 1, 1, tzinfo=UTC)


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
        verification = log.verify(anchor=log.head())
        assert (verification.intact, verification.rows) == (True, 3)
        assert verification.head == log.head()
        assert [record.subject_id for record in log.page(after=1)] == ["b", "c"]
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


def test_concurrent_appends_make_one_chain(engine):
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
