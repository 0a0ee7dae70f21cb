"""Many rows inserted by one statement, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from features.database import reading, transaction
from features.database_tables import price_ledger
from features.many_rows import insert_new_rows, insert_rows
from serving.database.audit_log import AuditEntry, AuditLog
from serving.database.tables import audit_log

AT = datetime(2024, 6, 3, 12, 30, 0, 123_456, tzinfo=UTC)


def make_row(number: int) -> dict[str, object]:
    return {
        "price_id": f"price {number}",
        "item_id": f'"{number}", ü\\ \n',
        "zone": "default",
        "valid_from": AT + timedelta(days=number),
        "valid_to": None,
        "list_price_minor": 10**14 + number,
        "offer_price_minor": number,
        "currency": "EUR",
        "source": "imported",
        "recorded_at": AT,
    }


def test_rows_keep_their_order_and_values_and_are_inserted_once(engine: sa.Engine) -> None:
    rows = [make_row(number) for number in (7, 3, 5, 1)]
    with transaction(engine) as connection:
        assert insert_new_rows(connection, price_ledger, "price_id", rows[:2]) == 2
        assert insert_new_rows(connection, price_ledger, "price_id", rows) == 2
        assert insert_new_rows(connection, price_ledger, "price_id", []) == 0
    with reading(engine) as connection:
        stored = connection.execute(sa.select(price_ledger).order_by(price_ledger.c.seq))
        known = [dict(row) for row in stored.mappings()]
    assert [{name: row[name] for name in rows[0]} for row in known] == rows


def test_a_time_without_a_zone_is_refused(engine: sa.Engine) -> None:
    row = {**make_row(1), "valid_from": AT.replace(tzinfo=None)}
    with pytest.raises((ValueError, sa.exc.StatementError)), transaction(engine) as connection:
        insert_new_rows(connection, price_ledger, "price_id", [row])


def test_many_entries_of_the_audit_log_are_one_chain(engine: sa.Engine) -> None:
    entries = [AuditEntry("ann", "approve", "item", f"i{n}", {"n": n}) for n in range(50)]
    with transaction(engine) as connection:
        AuditLog(connection).append(entries, AT)
        insert_rows(connection, audit_log, [])
    with reading(engine) as connection:
        rows = connection.execute(sa.select(audit_log).order_by(audit_log.c.seq)).all()
    assert [row.subject_id for row in rows] == [f"i{n}" for n in range(50)]
    assert [row.previous_hash for row in rows[1:]] == [row.hash for row in rows[:-1]]
    assert {row.at for row in rows} == {AT}
