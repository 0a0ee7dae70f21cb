"""The states of a promotion, the changes that time makes, and the audit of all changes.

submitted ──approve──> scheduled ──> live ──> expired      its end has come
    │                     │           │
    │                     └───end─────┴──> rolled_back     before it began, or early
    ├─reject, cancel──> rejected
    └──> expired    nobody decided before its end

What no longer holds when it is to begin (the law, a price, another promotion) is taken out of the
ledger and goes back to submitted, with the reason. So does what is scheduled when somebody stops
all activations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import sqlalchemy as sa

from features.contracts.errors import Conflict
from features.database import lock
from features.prices.ledger import Ledger, Price, PriceSource
from features.prices.timeline import is_effective
from serving.database.audit_log import AuditEntry, AuditLog, Decider
from serving.price_desk.rollback import roll_back
from serving.promotions.checks import describe_problems, find_problems
from serving.promotions.repository import Promotion, Promotions

# The statuses from which each step is possible.
STEPS: Mapping[str, tuple[str, ...]] = {
    "approve": ("submitted",),
    "reject": ("submitted",),
    "cancel": ("submitted",),
    "end": ("scheduled", "live"),
}


def check_step(promotion: Promotion, step: str) -> None:
    """Raise Conflict where the status of a promotion does not allow a step."""
    if promotion.status not in STEPS[step]:
        raise Conflict(f"cannot {step} a promotion that is {promotion.status}")


def settle_promotions(connection: sa.Connection, system: Decider) -> int:
    """Let due promotions begin, end or expire, and return how many changed."""
    repository = Promotions(connection)
    if not repository.list_due(system.now):
        return 0
    lock(connection, "price_desk")
    due = repository.list_due(system.now)  # another process may have done it meanwhile
    for promotion_id in due:
        promotion = repository.get(promotion_id)
        if promotion is None:
            continue
        if promotion.ends_at <= system.now:
            repository.change(promotion.id, system.now, status="expired")
            log_step(connection, system, "expire", promotion)
        else:
            _begin(connection, system, promotion)
    return len(due)


def _begin(connection: sa.Connection, system: Decider, promotion: Promotion) -> None:
    """Let a promotion go live, or send it back where it no longer holds."""
    problems = find_problems(connection, system, promotion, promotion_id=promotion.id)
    if not problems:
        Promotions(connection).change(promotion.id, system.now, status="live")
        log_step(connection, system, "go_live", promotion)
        return
    decider = replace(system, reason=f"it no longer holds: {describe_problems(problems)}")
    try:
        _send_back(connection, decider, promotion)
    except Conflict as error:  # the law forbids to announce the price before anew
        reason = f"{decider.reason}; its prices stay: {error}"
        Promotions(connection).change(promotion.id, system.now, status="live", reason=reason)
        log_step(connection, replace(system, reason=reason), "go_live", promotion)


def hold_scheduled(connection: sa.Connection, decider: Decider) -> int:
    """Send all promotions that have not begun back to submitted, and return how many: whoever
    approves promotions decides again once activations go on.

    The decider is whoever stops activations. One stays, and says why, where the law forbids the
    price that would be valid in its place: nothing may keep a stop from standing.
    """
    repository = Promotions(connection)
    stopped = replace(decider, reason=f"activations were stopped: {decider.reason}")
    n_held = 0
    for promotion_id in repository.list_scheduled():
        promotion = repository.get(promotion_id)
        if promotion is None:
            continue
        try:
            _send_back(connection, stopped, promotion)
            n_held += 1
        except Conflict as error:
            kept = replace(stopped, reason=f"{stopped.reason}; its prices stay: {error}")
            repository.change(promotion_id, decider.now, reason=kept.reason)
            log_step(connection, kept, "hold", promotion)
    return n_held


def _send_back(connection: sa.Connection, decider: Decider, promotion: Promotion) -> None:
    """Take the prices of a promotion out, and let it wait for another decision."""
    with connection.begin_nested():
        take_out_prices(connection, decider, promotion)
    Promotions(connection).change(
        promotion.id,
        decider.now,
        status="submitted",
        decided_by=None,
        decided_at=None,
        reason=decider.reason,
    )
    log_step(connection, decider, "return", promotion)


def take_out_prices(connection: sa.Connection, decider: Decider, promotion: Promotion) -> None:
    """Roll back what is left of the prices of a promotion, by the code of every rollback.

    Prices that ended, were rolled back before, or gave way to a later price stay as they are.
    """
    for item in promotion.items:
        if item.price_id is None:
            continue
        history = Ledger(connection).read_history(item.item_id, promotion.zone)
        own = [row for row in history if _is_of(row, promotion)]
        # The last one first: it would be announced anew after a price without the promotion.
        ordered = sorted(own, key=lambda row: row.valid_from, reverse=True)
        for row in ordered:
            history = Ledger(connection).read_history(item.item_id, promotion.zone)
            begins_at = max(row.valid_from, decider.now)
            undone = any(other.reverts_price_id == row.price_id for other in history)
            over = row.valid_to is not None and row.valid_to <= decider.now
            if not undone and not over and is_effective(history, row, begins_at):
                roll_back(connection, decider, row.price_id, confirmed=True)


def _is_of(row: Price, promotion: Promotion) -> bool:
    return row.promotion_id == promotion.id and row.source is not PriceSource.ROLLBACK


def log_step(
    connection: sa.Connection,
    decider: Decider,
    action: str,
    promotion: Promotion,
    details: Mapping[str, object] | None = None,
) -> None:
    """Write the audit entry of a step."""
    values = {
        "name": promotion.name,
        "zone": promotion.zone,
        "mechanic": promotion.mechanic,
        "starts_at": promotion.starts_at.isoformat(),
        "ends_at": promotion.ends_at.isoformat(),
        "items": promotion.n_items,
        "reason": decider.reason,
        **(details or {}),
    }
    entry = AuditEntry(decider.actor, action, "promotion", promotion.id, values)
    AuditLog(connection).append([entry], decider.at)
