"""Rollback of a price change: the ledger is never rewritten, the price before is appended again."""

from __future__ import annotations

import sqlalchemy as sa

from features.contracts.errors import Conflict, NotFound
from features.contracts.money import to_major
from features.database import lock
from features.prices.law import explain_objections
from features.prices.ledger import Ledger, NewPrice, Price, PriceSource
from features.prices.timeline import find_price_without, is_effective
from serving.database.audit_log import AuditEntry, AuditLog, Decider
from serving.price_desk.repository import Suggestions


def roll_back(connection: sa.Connection, decider: Decider, price_id: str) -> Price:
    """Restore the price before a change by a new row of the ledger, and return that row.

    A change that has not begun yet is undone from its beginning, a promotion until its end. The
    suggestion that the change came from is rolled back with it. Raises NotFound, and Conflict when
    the change was undone before, nothing came before it, a later price is valid, or the price law
    forbids the price before: a reduction that ended is announced anew.
    """
    lock(connection, "price_desk")
    ledger = Ledger(connection)
    change = ledger.find_by_id(price_id)
    if change is None:
        raise NotFound(f"no price change {price_id!r}", hint="See: GET /v1/price-changes")
    begins_at = max(change.valid_from, decider.now)
    history = ledger.read_history(change.item_id, change.zone)
    if any(row.reverts_price_id == price_id for row in history):
        raise Conflict("this change was rolled back before")
    if change.valid_to is not None and change.valid_to <= decider.now:
        raise Conflict("this change has ended by itself")
    if not is_effective(history, change, begins_at):
        raise Conflict("a later price is valid", hint="Roll that one back first")
    before = find_price_without(history, change, begins_at)
    if before is None:
        raise Conflict("no price came before this one", hint="File a new suggestion instead")
    restored = NewPrice(
        item_id=change.item_id,
        zone=change.zone,
        valid_from=begins_at,
        valid_to=change.valid_to or before.valid_to,
        list_price_minor=before.list_price_minor,
        offer_price_minor=before.offer_price_minor,
        currency=before.currency,
        source=PriceSource.ROLLBACK,
        recorded_at=decider.now,
        promotion_id=before.promotion_id,
        suggestion_id=change.suggestion_id,
        reverts_price_id=price_id,
    )
    if why := explain_objections(ledger, {price_id: restored}, decider.find_rules).get(price_id):
        raise Conflict(why, hint="File a suggestion of another price instead")
    ledger.append([restored])
    if change.suggestion_id is not None and change.source is PriceSource.DESK:
        Suggestions(connection).change([change.suggestion_id], decider.now, status="rolled_back")
    details = {
        "restored": restored.content_id(),
        "offer_price": to_major(before.offer_price_minor, before.currency),
        "reason": decider.reason,
    }
    entry = AuditEntry(decider.actor, "rollback", "price_change", price_id, details)
    AuditLog(connection).append([entry], decider.at)
    return ledger.read_history(change.item_id, change.zone)[-1]
