"""What time does to suggestions: scheduled prices go live, others expire; the stop of activations.

A scheduled price stands in the ledger from its approval on, so that shop systems, forecasts and the
price law know it. Before it is served it is checked again; what no longer holds is withdrawn from
its very beginning by a later row of the ledger, and returns to the queue with the reason
(docs/adr/0020-activation.md). All of it happens under the lock of the desk, so that however many
processes look, each price is activated once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

import sqlalchemy as sa

from features.contracts.errors import Conflict, ShopwrightError
from features.contracts.money import to_major
from features.database import lock
from features.prices.law import explain_objection
from features.prices.ledger import Ledger, NewPrice, Price
from features.prices.restoring import build_restoring_rows, find_prices_before
from features.prices.timeline import find_last_price, find_price_at
from serving.access import EVERYWHERE
from serving.database.activation_stops import ActivationStop, find_stop
from serving.database.audit_log import SYSTEM, AuditEntry, AuditLog, Decider
from serving.database.decided_prices import append_decided
from serving.database.price_locks import PriceLocks
from serving.price_desk.approvals import append_prices, begins_at, is_base, make_price
from serving.price_desk.broken_rules import find_broken_rules
from serving.price_desk.controls_repository import Controls
from serving.price_desk.ended_tests import explain_ended_tests
from serving.price_desk.lifecycle import log_changes, supersede_live, supersede_waiting
from serving.price_desk.repository import Suggestion, Suggestions

# What came back to the queue waits at least so long before it expires.
RETURNED_WAITS = timedelta(days=7)
_SUBJECT = "price_desk", "activations"
Histories = Mapping[tuple[str, str], Sequence[Price]]  # by zone and item


def settle_due(connection: sa.Connection, decider: Decider) -> int:
    """Let due suggestions go live, expire or return to the queue, and return how many changed.

    What expired while a clock was ahead is open again. The decider says the time and what prices
    are checked against; the actor is the system.
    """
    repository = Suggestions(connection)
    if not repository.is_due(decider.now):
        return 0
    lock(connection, "price_desk")
    system, now = _act_as_system(decider), decider.now
    reopened = repository.list_expired_too_early(now)
    if reopened:
        repository.reopen(reopened, now)
        log_changes(connection, system, "reopen", reopened)
    due = repository.due(now)
    begun = [s for s in due if s.status == "scheduled" and not (s.ends_at and s.ends_at <= now)]
    over = [s for s in due if s not in begun]
    if over:
        repository.expire(over, now)
        log_changes(connection, system, "expire", over)
    if begun:
        lapsed = _return_lapsed(connection, system, begun)
        valid = [s for s in begun if s.id not in lapsed]
        supersede_live(connection, system, valid)
        repository.change([s.id for s in valid], now, status="live")
        log_changes(connection, system, "go_live", valid)
    return len(reopened) + len(due)


def stop_activations(connection: sa.Connection, decider: Decider) -> int:
    """Halt every activation at once, and return how many scheduled prices are held.

    Their rows of the ledger are withdrawn; from now on an approved price waits. Raises Conflict
    without a reason.
    """
    if not decider.reason:
        raise Conflict("a stop needs a reason", hint="Say why, for the people who wait")
    lock(connection, "price_desk")
    settle_due(connection, decider)
    controls = Controls(connection)
    controls.set_stop(ActivationStop(decider.reason, decider.actor, decider.at))
    scheduled = Suggestions(connection).of_status("scheduled")
    _withdraw(connection, decider, scheduled)
    Suggestions(connection).change(
        [s.id for s in scheduled], decider.now, status="approved", price_id=None
    )
    log_changes(connection, decider, "hold", scheduled)
    _log_switch(connection, decider, "stop_activations", len(scheduled))
    return len(scheduled)


def resume_activations(connection: sa.Connection, decider: Decider) -> int:
    """Let activations go on, and return how many approved prices are in the ledger again.

    Each is checked again; one whose time has passed begins now. Nothing happens where no stop
    stands.
    """
    lock(connection, "price_desk")
    controls = Controls(connection)
    if find_stop(connection) is None:
        return 0
    controls.clear_stop()
    repository = Suggestions(connection)
    held = repository.of_status("approved")
    over = [s for s in held if s.ends_at is not None and s.ends_at <= decider.now]
    if over:
        repository.expire(over, decider.now)
        log_changes(connection, _act_as_system(decider), "expire", over)
    waiting = [s for s in held if s not in over]
    lapsed = _return_lapsed(connection, _act_as_system(decider), waiting)
    valid = [s for s in waiting if s.id not in lapsed]
    histories = _read_histories(connection, valid)
    prices = {s.id: _plan_price(s, histories, decider) for s in valid}
    append_prices(connection, decider, valid, prices, {})
    log_changes(connection, decider, "release", valid)
    _log_switch(connection, decider, "resume_activations", len(valid))
    return len(valid)


def _return_lapsed(
    connection: sa.Connection, system: Decider, suggestions: Sequence[Suggestion]
) -> dict[str, str]:
    """Return to the queue what no longer holds; returns the reasons by suggestion id.

    Prices of a test that has ended are superseded: nobody may approve them again.
    """
    if not suggestions:
        return {}
    histories = _read_histories(connection, suggestions)
    ended = explain_ended_tests(connection, suggestions, system.now)
    lapsed = _find_lapsed(connection, system, suggestions, histories) | ended
    returned = [s for s in suggestions if s.id in lapsed]
    _withdraw(connection, system, [s for s in returned if s.price_id is not None])
    repository = Suggestions(connection)
    for suggestion in returned:
        waits_until = system.now + RETURNED_WAITS
        repository.change(
            [suggestion.id],
            system.now,
            status="submitted",
            price_id=None,
            decided_by=None,
            decided_at=None,
            returned_reason=lapsed[suggestion.id],
            expires_at=max(suggestion.expires_at or waits_until, waits_until),
        )
    reasons = {key: {"reason": reason} for key, reason in lapsed.items()}
    log_changes(connection, system, "return", returned, reasons)
    supersede_waiting(connection, system, repository.by_ids(ended, reasons=False))
    return lapsed


def _find_lapsed(
    connection: sa.Connection,
    system: Decider,
    suggestions: Sequence[Suggestion],
    histories: Histories,
) -> dict[str, str]:
    """Return why approved prices no longer hold, by suggestion id."""
    broken = find_broken_rules(connection, system, suggestions)
    stock = _read_stock(system, suggestions)
    find_locks = cache(PriceLocks(connection).at)
    lapsed = {}
    for zone in sorted({s.zone for s in suggestions}):
        members = [s for s in suggestions if s.zone == zone]
        rules = system.find_rules(zone, [s.item_id for s in members])
        for suggestion in members:
            history = histories.get((zone, suggestion.item_id), ())
            before = _find_before(suggestion, history, system)
            reason = _explain_base(suggestion, before, system)
            if reason is None:
                locks = find_locks(_find_beginning(suggestion, history, system))
                reason = locks.explain(suggestion.item_id, suggestion.zone)
            if reason is None and suggestion.id in broken:
                reason = f"it breaks {'; '.join(broken[suggestion.id].values())}"
            if reason is None and suggestion.kind == "promotion" and stock.get(suggestion.id) == 0:
                reason = "nothing of it is in stock"
            if reason is None and before is not None:
                others = _drop_own(history, suggestion)
                price = make_price(suggestion, before, system.now)
                reason = explain_objection(others, price, rules[suggestion.item_id])
            if reason is not None:
                lapsed[suggestion.id] = reason
    return lapsed


def _explain_base(suggestion: Suggestion, before: Price | None, system: Decider) -> str | None:
    """Return why the price that the suggestion would change is not that of its approval."""
    if suggestion.item_id in system.off_sale:
        return "the item is off sale"
    if before is not None and is_base(before, suggestion):
        return None
    if before is not None and before.valid_to is not None:
        return f"another promotion runs until {before.valid_to.isoformat()}"
    now = None if before is None else to_major(before.offer_price_minor, before.currency)
    was = to_major(suggestion.current_price_minor, suggestion.currency)
    return f"the price before it is {now}, not {was} as when it was computed"


def _find_before(
    suggestion: Suggestion, history: Sequence[Price], decider: Decider
) -> Price | None:
    """Return the price that would be valid when the suggestion begins, without it."""
    time = _find_beginning(suggestion, history, decider)
    return _find_price(_drop_own(history, suggestion), time)


def _find_beginning(suggestion: Suggestion, history: Sequence[Price], decider: Decider) -> datetime:
    """Return when the suggestion begins: as the ledger says, or if it were approved now."""
    change = _find_own(history, suggestion)
    return begins_at(suggestion, decider.now) if change is None else change.valid_from


def _find_price(history: Sequence[Price], time: datetime) -> Price | None:
    """Return the price valid at a time; where all have ended, the last list price, as it goes
    on."""
    price = find_price_at(history, time)
    if price is None and (last := find_last_price(history, time)) is not None:
        return last.continue_expired()
    return price


def _plan_price(suggestion: Suggestion, histories: Histories, decider: Decider) -> NewPrice:
    """Return the ledger row of a held suggestion that holds."""
    before = _find_before(suggestion, histories[suggestion.zone, suggestion.item_id], decider)
    if before is None:
        raise ShopwrightError(f"no price comes before that of {suggestion.id}")
    return make_price(suggestion, before, decider.now)


def _withdraw(
    connection: sa.Connection, decider: Decider, suggestions: Sequence[Suggestion]
) -> None:
    """Append rows that undo those of scheduled suggestions from their beginning: never served."""
    histories = _read_histories(connection, suggestions)
    rows = [
        row
        for suggestion in suggestions
        for row in _build_withdrawal(
            suggestion, histories[suggestion.zone, suggestion.item_id], decider
        )
    ]
    append_decided(connection, decider, rows)


def _build_withdrawal(
    suggestion: Suggestion, history: Sequence[Price], decider: Decider
) -> list[NewPrice]:
    """Return the rows that restore the prices before a change from the change's beginning on."""
    change = _find_own(history, suggestion)
    if change is None:
        raise ShopwrightError(f"{suggestion.id} is scheduled without a row of the ledger")
    others, begins = _drop_own(history, suggestion), change.valid_from
    before = find_prices_before(others, begins, change.valid_to)
    if not before:
        raise ShopwrightError(f"no price comes before that of {suggestion.id}")
    return build_restoring_rows(history, change, before, begins, decider.now)


def _find_own(history: Sequence[Price], suggestion: Suggestion) -> Price | None:
    """Return the row of the ledger that a suggestion is, None while it has none."""
    return next((row for row in history if row.price_id == suggestion.price_id), None)


def _drop_own(history: Sequence[Price], suggestion: Suggestion) -> list[Price]:
    """Return the history without the rows of a suggestion, and without their withdrawals."""
    return [row for row in history if row.suggestion_id != suggestion.id]


def _read_histories(connection: sa.Connection, suggestions: Sequence[Suggestion]) -> Histories:
    histories: dict[tuple[str, str], Sequence[Price]] = {}
    for zone in sorted({s.zone for s in suggestions}):
        item_ids = [s.item_id for s in suggestions if s.zone == zone]
        rows = Ledger(connection).read_histories(item_ids, zone)
        histories |= {(zone, item_id): history for item_id, history in rows.items()}
    return histories


def _read_stock(system: Decider, suggestions: Sequence[Suggestion]) -> dict[str, float | None]:
    """Return the stock of the items of promotions, by suggestion id, as far as it is known."""
    promoted = [s for s in suggestions if s.kind == "promotion"]
    if system.find_present_items is None or not promoted:
        return {}
    stock: dict[str, float | None] = {}
    for zone in sorted({s.zone for s in promoted}):
        members = [s for s in promoted if s.zone == zone]
        items = system.find_present_items(zone, [s.item_id for s in members], None)
        stock |= {s.id: items[s.item_id].stock_on_hand for s in members if s.item_id in items}
    return stock


def _act_as_system(decider: Decider) -> Decider:
    """Return who acts where time does: everywhere, without a reason of their own."""
    return replace(decider, actor=SYSTEM, reason=None, areas=EVERYWHERE)


def _log_switch(connection: sa.Connection, decider: Decider, action: str, count: int) -> None:
    details = {"reason": decider.reason, "prices": count}
    AuditLog(connection).append([AuditEntry(decider.actor, action, *_SUBJECT, details)], decider.at)
