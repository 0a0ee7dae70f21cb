"""Approval: which suggestions can be approved, and what is written when they are.

What would be approved is planned by reading alone, so that a preview refuses exactly what the
approval refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

import sqlalchemy as sa

from features.contracts.errors import BadInput, Conflict, Forbidden, ShopwrightError
from features.contracts.money import to_major
from features.prices.guards import MAX_JUMP, find_jump
from features.prices.law import explain_objections
from features.prices.ledger import Ledger, NewPrice, Price, PriceSource
from serving.access import find_objection
from serving.database.activation_stops import find_stop
from serving.database.audit_log import Decider
from serving.database.decided_prices import append_decided
from serving.database.price_locks import PriceLocks
from serving.price_desk.broken_rules import find_broken_rules
from serving.price_desk.ended_tests import explain_ended_tests
from serving.price_desk.lifecycle import log_changes, supersede_live, supersede_open
from serving.price_desk.repository import IMPORT, Suggestion, Suggestions
from serving.price_desk.states import find_sources

# When a price begins in a zone: the same hour of the clock is another instant in each.
Beginnings = Callable[[str], datetime]


@dataclass(frozen=True)
class Refusal:
    """A suggestion that was left unchanged, and the error a single decision would have raised."""

    suggestion_id: str
    error: ShopwrightError


@dataclass(frozen=True)
class ApprovalPlan:
    """The suggestions that can be approved, with the ledger rows they become, and the refused.

    prices   by suggestion id
    retimed  the prices begin when the approval says
    broken   of the refused, the hard rules of today that they break, by suggestion id
    """

    approved: tuple[Suggestion, ...]
    prices: Mapping[str, NewPrice]
    refused: tuple[Refusal, ...]
    broken: Mapping[str, Mapping[str, str]]
    retimed: bool


def plan_approvals(
    connection: sa.Connection,
    decider: Decider,
    suggestions: Sequence[Suggestion],
    *,
    begins: Beginnings | None = None,
    many: bool = False,
) -> ApprovalPlan:
    """Return what an approval would do; nothing is written.

    One suggestion per item and zone is approved. With `begins` regular prices begin then, not when
    their suggestion says. Of `many` those whose price jumps are refused: nobody looks at each of
    thousands.
    """
    errors: dict[str, ShopwrightError] = {}
    timed: list[Suggestion] = []
    for suggestion in suggestions:
        jump = find_suggestion_jump(suggestion, suggestion.suggested_price_minor)
        if many and abs(jump) > MAX_JUMP:
            errors[suggestion.id] = Conflict(
                f"it moves the price by {jump:+.0%}", hint="If that is meant, approve it by itself"
            )
        elif begins is not None and suggestion.kind == "promotion":
            errors[suggestion.id] = Conflict(
                "a promotion begins at its own start", hint="Approve it without effective_from"
            )
        elif begins is not None:
            timed.append(replace(suggestion, effective_from=begins(suggestion.zone)))
        else:
            timed.append(suggestion)
    current = _find_current_prices(connection, timed, decider.now)
    find_locks = cache(PriceLocks(connection).at)
    ended = explain_ended_tests(connection, timed, decider.now)
    lapsed = {key: Conflict(reason, hint="Reject it") for key, reason in ended.items()}
    chosen: dict[tuple[str, str], Suggestion] = {}
    for suggestion in timed:
        key = suggestion.item_id, suggestion.zone
        error = _find_objection(suggestion, decider, current.get(suggestion.id))
        locks = find_locks(begins_at(suggestion, decider.now))
        error = error or locks.find_objection(*key) or lapsed.get(suggestion.id)
        if error is None and key in chosen:
            error = Conflict("another suggestion of this item is approved in the same call")
        if error is not None:
            errors[suggestion.id] = error
        else:
            chosen[key] = suggestion
    broken = find_broken_rules(connection, decider, list(chosen.values()))
    errors |= {key: refuse_broken(rules) for key, rules in broken.items()}
    prices = {
        s.id: make_price(s, current[s.id], decider.now)
        for s in chosen.values()
        if s.id not in errors
    }
    imported = {s.id for s in chosen.values() if s.proposed_by == IMPORT}
    for suggestion_id, why in explain_objections(
        Ledger(connection), prices, decider.find_rules
    ).items():
        errors[suggestion_id] = Conflict(why, hint=_advise(suggestion_id in imported))
        del prices[suggestion_id]
    return ApprovalPlan(
        approved=tuple(s for s in chosen.values() if s.id in prices),
        prices=prices,
        refused=tuple(Refusal(key, error) for key, error in errors.items()),
        broken=broken,
        retimed=begins is not None,
    )


def _advise(is_imported: bool) -> str:
    """Return what to try with a price that the law forbids."""
    if is_imported:
        return (
            "Edit the price or reject it; if prices that the ledger does not know allow it, run: "
            "shopwright import DIR --accept-unlawful-reductions"
        )
    return "Edit the price, or the promotion"


def enact_approvals(connection: sa.Connection, decider: Decider, plan: ApprovalPlan) -> None:
    """Append the approved prices to the ledger, and change the statuses.

    While activations are stopped nothing is appended: what is approved waits.
    """
    if not plan.approved:
        return
    decision = {
        "decided_by": decider.actor,
        "decided_at": decider.now,
        "reason": decider.reason,
        "returned_reason": None,
    }
    is_stopped = find_stop(connection) is not None
    prices: dict[str, NewPrice] = {}
    for zone, members in _group_by_zone(plan.approved).items():
        values: dict[str, object] = {**decision}
        if plan.retimed:  # to the same time in all of a zone
            values["effective_from"] = members[0].effective_from
        if decider.freeze_forecasts is not None:  # the effect is measured by what was forecast
            values["forecast_set_id"] = decider.freeze_forecasts(connection, zone)
        if is_stopped:
            ids = [suggestion.id for suggestion in members]
            Suggestions(connection).change(ids, decider.now, status="approved", **values)
        else:
            prices |= append_prices(connection, decider, members, plan.prices, values)
    supersede_open(connection, decider, plan.approved)
    log_changes(
        connection,
        decider,
        "approve",
        plan.approved,
        {s.id: _describe_change(s, prices.get(s.id), decider.now) for s in plan.approved},
    )


def append_prices(
    connection: sa.Connection,
    decider: Decider,
    suggestions: Sequence[Suggestion],
    prices: Mapping[str, NewPrice],
    values: Mapping[str, object],
) -> Mapping[str, NewPrice]:
    """Append the prices of suggestions to the ledger: live at once, or scheduled.

    Returns the rows by suggestion id; `values` are set on all suggestions. A price that was
    withdrawn before, and is the same again, undoes its withdrawal.
    """
    repository, ledger = Suggestions(connection), Ledger(connection)
    withdrawn = ledger.find_last_of_suggestions([s.id for s in suggestions])
    rows = {
        s.id: replace(prices[s.id], reverts_price_id=withdrawn[s.id].price_id)
        if s.id in withdrawn
        else prices[s.id]
        for s in suggestions
    }
    append_decided(connection, decider, list(rows.values()))
    live = [s for s in suggestions if rows[s.id].valid_from <= decider.now]
    later = [row for row in rows.values() if row.valid_from > decider.now]
    supersede_live(connection, decider, live)
    begun = [rows[s.id].content_id() for s in live]
    repository.enact(begun, decider.now, status="live", **values)
    planned = [row.content_id() for row in later]
    repository.enact(planned, decider.now, status="scheduled", **values)
    return rows


def check_decidable(
    suggestion: Suggestion, decider: Decider, action: str
) -> ShopwrightError | None:
    """Return why this decider cannot do this to the suggestion: where it is, or its status."""
    if error := find_objection(decider.areas, suggestion.category, suggestion.zone):
        return error
    if suggestion.item_id in decider.off_sale and action != "reject":
        return Conflict("the item is off sale", hint="Put it on sale again, or reject this")
    if suggestion.status in find_sources(action):
        return None
    return Conflict(f"cannot {action} a suggestion that is {suggestion.status}")


def refuse_broken(rules: Mapping[str, str]) -> Conflict:
    """Return the error of a suggestion that breaks rules of today."""
    hint = "Edit the price, or run: shopwright prices suggest"
    return Conflict(f"it breaks {'; '.join(rules.values())}", hint=hint)


def find_suggestion_jump(suggestion: Suggestion, price_minor: int) -> float:
    """Return the share by which a price moves that of a suggestion's item."""
    known = suggestion.current_price_minor, suggestion.list_price_minor
    return find_jump(price_minor, known)


def make_price(suggestion: Suggestion, current: Price, now: datetime) -> NewPrice:
    """Return the ledger row of an approved suggestion; a promotion keeps the list price."""
    is_promotion = suggestion.kind == "promotion"
    price = suggestion.suggested_price_minor
    return NewPrice(
        item_id=suggestion.item_id,
        zone=suggestion.zone,
        valid_from=begins_at(suggestion, now),
        valid_to=suggestion.ends_at if is_promotion else None,
        list_price_minor=current.list_price_minor if is_promotion else price,
        offer_price_minor=price,
        currency=suggestion.currency,
        source=PriceSource.DESK,
        recorded_at=now,
        suggestion_id=suggestion.id,
    )


def begins_at(suggestion: Suggestion, now: datetime) -> datetime:
    """Return when the price of a suggestion begins, if it is approved now."""
    return max(suggestion.starts_at or suggestion.effective_from, suggestion.effective_from, now)


def refuse_past(begins: datetime, now: datetime) -> None:
    """Raise BadInput for a beginning that has passed."""
    if begins < now:
        raise BadInput(
            f"{begins.isoformat()} has passed",
            where="effective_from",
            hint="Leave it out for a price that begins at once",
        )


def _group_by_zone(suggestions: Iterable[Suggestion]) -> dict[str, list[Suggestion]]:
    groups: dict[str, list[Suggestion]] = {}
    for suggestion in suggestions:
        groups.setdefault(suggestion.zone, []).append(suggestion)
    return groups


def _describe_change(
    suggestion: Suggestion, price: NewPrice | None, now: datetime
) -> dict[str, str]:
    """Return what the audit log says of an approval; a price that waits is not in the ledger."""
    known = {
        "from": to_major(suggestion.current_price_minor, suggestion.currency),
        "to": to_major(suggestion.suggested_price_minor, suggestion.currency),
        "currency": suggestion.currency,
        "effective_from": begins_at(suggestion, now).isoformat(),
    }
    return known if price is None else {"price_id": price.content_id(), **known}


def _find_current_prices(
    connection: sa.Connection, suggestions: Iterable[Suggestion], now: datetime
) -> dict[str, Price]:
    """Return by suggestion id the price that is valid when the suggestion would begin."""
    groups: dict[tuple[str, datetime], list[Suggestion]] = {}
    for suggestion in suggestions:
        groups.setdefault((suggestion.zone, begins_at(suggestion, now)), []).append(suggestion)
    prices: dict[str, Price] = {}
    for (zone, time), members in groups.items():
        current = Ledger(connection).find_current([s.item_id for s in members], zone, time)
        prices.update((s.id, current[s.item_id]) for s in members if s.item_id in current)
    return prices


def is_base(current: Price, suggestion: Suggestion) -> bool:
    """Return whether a price is the one that a suggestion was computed against: itself, the row
    that restored it when the suggestion was withdrawn, or another row that repeats it."""
    if current.price_id == suggestion.base_price_id:
        return True
    known = suggestion.current_price_minor, suggestion.list_price_minor
    is_same = (current.offer_price_minor, current.list_price_minor) == known
    return current.source is PriceSource.ROLLBACK and (
        current.suggestion_id == suggestion.id or (is_same and current.valid_to is None)
    )


def _find_objection(
    suggestion: Suggestion, decider: Decider, current: Price | None
) -> ShopwrightError | None:
    """Return why this decider may not approve the suggestion now; None where nothing objects."""
    if error := check_decidable(suggestion, decider, "approve"):
        return error
    if decider.actor in (suggestion.proposed_by, suggestion.edited_by):
        return Forbidden(
            "whoever proposed or edited a price may not approve it", hint="Ask a colleague"
        )
    if current is None or not is_base(current, suggestion):
        return Conflict(
            "another price is valid than the one this suggestion was computed against",
            hint="Run: shopwright prices suggest",
        )
    return None
