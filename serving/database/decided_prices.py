"""Appends prices that people decided, and corrects the copies of the prices beneath."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from features.contracts.money import to_major
from features.prices.corrections import find_corrections
from features.prices.ledger import Ledger, NewPrice
from serving.database.audit_log import BUSINESS_TIME, SYSTEM, AuditEntry, AuditLog, Decider


def append_decided(connection: sa.Connection, decider: Decider, rows: Sequence[NewPrice]) -> None:
    """Append prices, and the corrections that follow from them, each in the audit log."""
    ledger = Ledger(connection)
    ledger.append(rows)
    for zone in sorted({row.zone for row in rows}):
        items = {row.item_id for row in rows if row.zone == zone}
        histories = ledger.read_copied_histories(items, zone)
        corrections = [
            row for history in histories.values() for row in find_corrections(history, decider.now)
        ]
        ledger.append(corrections)
        AuditLog(connection).append([_describe(row, decider) for row in corrections], decider.at)


def _describe(row: NewPrice, decider: Decider) -> AuditEntry:
    details = {
        "item_id": row.item_id,
        "zone": row.zone,
        "offer_price": to_major(row.offer_price_minor, row.currency),
        "valid_from": row.valid_from.isoformat(),
        "valid_to": None if row.valid_to is None else row.valid_to.isoformat(),
        BUSINESS_TIME: decider.now.isoformat(),
    }
    return AuditEntry(SYSTEM, "correct", "price_change", row.content_id(), details)
