"""Rollback of price changes: the ledger is never rewritten, the price before is appended again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from features.contracts.errors import BadInput, Conflict, NotFound, ShopwrightError
from features.contracts.money import to_major
from features.database import lock
from features.prices.guards import explain_jump
from features.prices.law import explain_objection
from features.prices.ledger import Ledger, NewPrice, Price, PriceSource
from features.prices.promotions import find_promoted_category
from features.prices.reduction_rule import ReductionRule
from features.prices.restoring import build_restoring_rows, find_prices_before
from features.prices.timeline import find_repeated_price, is_effective, number_rows
from serving.access import find_objection
from serving.database.audit_log import BUSINESS_TIME, AuditEntry, AuditLog, Decider
from serving.database.decided_prices import append_decided
from serving.price_desk.activation import settle_due
from serving.price_desk.approvals import Refusal
from serving.price_desk.lifecycle import log_changes, supersede_live
from serving.price_desk.repository import Suggestion, Suggestions
from serving.price_desk.states import find_sources


@dataclass(frozen=True)
class RollbackSelection:
    """The price changes to undo: some by their ids, or all of a run, or of a span of time.

    since, until   changes of the desk that began from `since` on and before `until`, business time
    """

    price_ids: tuple[str, ...] = ()
    run_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    zone: str | None = None


@dataclass(frozen=True)
class RollbackResult:
    """The rows that restore the prices before, and the changes that were left as they are, by
    price id."""

    restored: tuple[Price, ...]
    refused: tuple[Refusal, ...]


def roll_back_many(
    connection: sa.Connection,
    decider: Decider,
    selection: RollbackSelection,
    *,
    expected_matched: int | None = None,
    confirmed: bool = False,
) -> RollbackResult:
    """Undo many changes in one transaction, the latest first; what cannot be undone is refused.

    Raises BadInput for a selection of everything, and Conflict when `expected_matched` differs from
    the number of changes.
    """
    lock(connection, "price_desk")
    settle_due(connection, decider)
    price_ids = list_changes(connection, selection)
    if expected_matched is not None and len(price_ids) != expected_matched:
        raise Conflict(
            f"{len(price_ids)} price changes match, not {expected_matched}",
            hint="Look again, then decide",
        )
    restored, refused = [], []
    for price_id in dict.fromkeys(price_ids):
        try:
            restored.append(_undo(connection, decider, price_id, confirmed=confirmed))
        except ShopwrightError as error:
            refused.append(Refusal(price_id, error))
    return RollbackResult(tuple(restored), tuple(refused))


def list_changes(connection: sa.Connection, selection: RollbackSelection) -> tuple[str, ...]:
    """Return the price changes of a selection by their ids, of a run or a day the latest first.

    Raises BadInput for a selection of everything.
    """
    given = [bool(selection.price_ids), selection.run_id is not None, selection.since is not None]
    if sum(given) != 1:
        raise BadInput("give price changes, a run or a day", hint="Give one of the three")
    return selection.price_ids or tuple(
        Suggestions(connection).list_undoable(
            find_sources("roll_back"),
            selection.run_id,
            selection.since,
            selection.until,
            selection.zone,
        )
    )


def roll_back(
    connection: sa.Connection, decider: Decider, price_id: str, *, confirmed: bool = False
) -> Price:
    """Restore the price before a change by a new row of the ledger, and return that row.

    A change that has not begun yet is undone from its beginning, a promotion until its end. The
    suggestion that the change came from is rolled back with it; one whose price is valid again is
    live again. Raises NotFound, Forbidden outside the decider's areas, and Conflict when the change
    was undone before, nothing came before it, a later price is valid, or the price law forbids the
    price before: a reduction that ended is announced anew.
    """
    lock(connection, "price_desk")
    settle_due(connection, decider)
    return _undo(connection, decider, price_id, confirmed=confirmed)


def _undo(connection: sa.Connection, decider: Decider, price_id: str, *, confirmed: bool) -> Price:
    """Check everything, then write: a refused change leaves no trace in the transaction."""
    ledger = Ledger(connection)
    change = ledger.find_by_id(price_id)
    if change is None:
        raise NotFound(f"no price change {price_id!r}", hint="See: GET /v1/price-changes")
    category = _read_category(connection, change)
    if objection := find_objection(decider.areas, category, change.zone):
        raise objection
    history = ledger.read_history(change.item_id, change.zone)
    rows, before = _plan_rollback(history, change, decider)
    restored = rows[-1]
    served = list(_list_served(rows))
    jumps = [why for _, row in served if (why := explain_jump(row, change)) is not None]
    if jumps and not confirmed:
        raise Conflict(jumps[0], hint="If that is meant, send confirm_large_change: true")
    rule = decider.find_rules(change.zone, [change.item_id])[change.item_id]
    if why := _find_objection(history, served, rule):
        raise Conflict(why, hint="File a suggestion of another price instead")
    append_decided(connection, decider, rows)
    details = {
        "restored": restored.content_id(),
        "offer_price": to_major(restored.offer_price_minor, restored.currency),
        "reason": decider.reason,
        BUSINESS_TIME: decider.now.isoformat(),
    }
    entry = AuditEntry(decider.actor, "rollback", "price_change", price_id, details)
    AuditLog(connection).append([entry], decider.at)
    _change_statuses(connection, decider, change, restored, before)
    return ledger.find_by_ids([restored.content_id()])[restored.content_id()]


def _plan_rollback(
    history: Sequence[Price], change: Price, decider: Decider
) -> tuple[list[NewPrice], list[Price]]:
    """Return the rows that restore the prices before a change, and those prices, the next one
    first. Raises Conflict."""
    begins_at = max(change.valid_from, decider.now)
    if any(row.reverts_price_id == change.price_id for row in history):
        raise Conflict("this change was rolled back before")
    if change.valid_to is not None and change.valid_to <= decider.now:
        raise Conflict("this change has ended by itself")
    if not is_effective(history, change, begins_at):
        raise Conflict("a later price is valid", hint="Roll that one back first")
    repeated = find_repeated_price(history, change, begins_at)
    if repeated is not None:
        raise Conflict(
            f"this row only repeats the price of {repeated.price_id}", hint="Roll that one back"
        )
    before = find_prices_before(history, begins_at, change.valid_to, change)
    if not before:
        raise Conflict("no price came before this one", hint="File a new suggestion instead")
    return build_restoring_rows(history, change, before, begins_at, decider.now), before


def _list_served(rows: Sequence[NewPrice]) -> Iterator[tuple[datetime, NewPrice]]:
    """Yield the rows that restore prices and from when on each is served, the first one first."""
    served_at: datetime | None = rows[-1].valid_from
    for row in reversed(rows):
        if served_at is not None and (row.valid_to is None or row.valid_to > served_at):
            yield served_at, row
            served_at = row.valid_to


def _find_objection(
    history: Sequence[Price], served: Iterable[tuple[datetime, NewPrice]], rule: ReductionRule
) -> str | None:
    """Return why the price law forbids one of the restored prices; None where it forbids none."""
    known = list(history)
    for served_at, restored in served:
        row = replace(restored, valid_from=served_at)
        if why := explain_objection(known, row, rule):
            return why
        known = number_rows(known, [row])
    return None


def _change_statuses(
    connection: sa.Connection,
    decider: Decider,
    change: Price,
    restored: NewPrice,
    before: Sequence[Price],
) -> None:
    """Let the suggestions say whose price is valid now, each in the audit log."""
    repository = Suggestions(connection)
    undone = _find_suggestion(repository, change, "roll_back")
    if undone is not None:
        repository.change([undone.id], decider.now, status="rolled_back")
        details = {undone.id: {"price_id": change.price_id, "restored": restored.content_id()}}
        log_changes(connection, decider, "roll_back", [undone], details)
    if change.valid_to is not None:
        return
    for price in before:
        valid_again = _find_suggestion(repository, price, "restore")
        if valid_again is None:
            continue
        supersede_live(connection, decider, [valid_again])
        begins = max(price.valid_from, decider.now)
        status = "live" if begins <= decider.now else "scheduled"
        repository.change([valid_again.id], decider.now, status=status)
        log_changes(connection, decider, "restore", [valid_again])


def _find_suggestion(repository: Suggestions, price: Price, action: str) -> Suggestion | None:
    """Return the suggestion that a row of the desk came from, where the action applies to it."""
    if price.suggestion_id is None or price.source is not PriceSource.DESK:
        return None
    suggestion = repository.get(price.suggestion_id)
    if suggestion is None or suggestion.price_id is None:
        return None
    return suggestion if suggestion.status in find_sources(action) else None


def _read_category(connection: sa.Connection, change: Price) -> str | None:
    """Return the category of the suggestion or promotion that a change came from, None for other
    changes."""
    if change.suggestion_id is None:
        return find_promoted_category(connection, change.price_id)
    suggestion = Suggestions(connection).get(change.suggestion_id)
    return None if suggestion is None else suggestion.category
