"""Submission, approval, rejection and edit of suggestions, one by one or in bulk.

Each decision works on the connection of one transaction: the status, the ledger row and the audit
row are committed together or not at all. Decisions wait for each other (a lock), so of two at once
exactly one succeeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa

from features.contracts.errors import (
    BadInput,
    Conflict,
    Forbidden,
    NotFound,
    PreconditionFailed,
    ShopwrightError,
)
from features.contracts.money import minor_digits, to_major, to_minor
from features.database import lock
from features.prices.law import explain_objections
from features.prices.ledger import Ledger, NewPrice, Price, PriceSource
from serving.database.audit_log import Decider
from serving.price_desk.lifecycle import log_changes, settle_due, supersede_live, supersede_open
from serving.price_desk.repository import (
    OPEN,
    Suggestion,
    SuggestionFilter,
    Suggestions,
    share_change,
)

DECIDABLE = {
    "submit": ("suggested",),
    "approve": ("submitted",),
    "reject": OPEN,
    "edit": OPEN,
}
_ACTED_ON = {"submit": ("suggested",)}  # by an action on a filter without status; else submitted
MAX_PRICE_MINOR = 10**12
# An edit that moves the current price by a larger share must be confirmed.
MAX_EDIT = 0.5


@dataclass(frozen=True)
class PriceEdit:
    """Another price for a suggestion, in major units.

    effective_from   None keeps the time of the suggestion
    confirmed        a change of the current price by more than MAX_EDIT is meant
    """

    price: str
    effective_from: datetime | None = None
    confirmed: bool = False


@dataclass(frozen=True)
class Refusal:
    """A suggestion that was left unchanged, and the error a single decision would have raised."""

    suggestion_id: str
    error: ShopwrightError


@dataclass(frozen=True)
class BulkResult:
    """The number of suggestions that matched, the ids of those that changed, and the refused."""

    matched: int
    changed: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = field(default=())


Decide = Callable[[sa.Connection, Decider, Sequence[Suggestion]], list[Refusal]]


def approve(
    connection: sa.Connection, decider: Decider, suggestion_id: str, version: int | None = None
) -> Suggestion:
    """Append a submitted suggestion's price to the ledger.

    Raises NotFound, PreconditionFailed (another version), Forbidden (one's own proposal or edit)
    and Conflict (not submitted any more, another price is valid than the one it was computed
    against, or the law forbids it).
    """
    return _decide_one(connection, decider, suggestion_id, version, _approve_all)


def submit(
    connection: sa.Connection, decider: Decider, suggestion_id: str, version: int | None = None
) -> Suggestion:
    """Submit a suggestion that a run held back. Raises NotFound, PreconditionFailed, Conflict."""
    return _decide_one(connection, decider, suggestion_id, version, _submit_all)


def reject(
    connection: sa.Connection, decider: Decider, suggestion_id: str, version: int | None = None
) -> Suggestion:
    """Reject a suggestion. Raises NotFound, PreconditionFailed and Conflict."""
    return _decide_one(connection, decider, suggestion_id, version, _reject_all)


def edit(
    connection: sa.Connection,
    decider: Decider,
    suggestion_id: str,
    change: PriceEdit,
    version: int | None = None,
) -> Suggestion:
    """Replace the suggested price; someone else must approve it.

    The expected effect of the old price is dropped with it. Raises as `approve`, and BadInput for
    an impossible price, or for one that moves the current price by more than MAX_EDIT without
    confirmation: a slipped decimal point.
    """
    suggestion = _prepare(connection, decider, suggestion_id, version)
    if error := _check_status(suggestion, "edit"):
        raise error
    price_minor = _parse_price(change.price, suggestion.currency)
    share = _check_edit(suggestion, change, price_minor)
    step = {
        "rule": "edit",
        "before_minor": suggestion.suggested_price_minor,
        "after_minor": price_minor,
        "hard": False,
        "note": decider.reason or "set by hand",
    }
    repository = Suggestions(connection)
    repository.change(
        [suggestion.id],
        decider.now,
        status="submitted",
        suggested_price_minor=price_minor,
        share_change=share,
        expected=sa.null(),
        gain_minor=None,
        binding_rule="edit",
        waterfall=[*suggestion.waterfall, step],
        edited_by=decider.actor,
        reason=decider.reason,
        effective_from=change.effective_from or suggestion.effective_from,
    )
    details = {
        "from": to_major(suggestion.suggested_price_minor, suggestion.currency),
        "to": to_major(price_minor, suggestion.currency),
    }
    log_changes(connection, decider, "edit", [suggestion], {suggestion.id: details})
    return repository.by_ids([suggestion.id])[0]


def decide_many(
    connection: sa.Connection,
    decider: Decider,
    action: str,
    *,
    ids: Sequence[str] | None = None,
    criteria: SuggestionFilter | None = None,
    expected_matched: int | None = None,
) -> BulkResult:
    """Submit, approve or reject suggestions by `ids` or by filter; those that cannot be decided
    are refused, one by one.

    A filter without status means the submitted ones, or for `submit` the suggested ones. Raises
    Conflict when `expected_matched` differs from the number that match.
    """
    actions: dict[str, Decide] = {
        "submit": _submit_all,
        "approve": _approve_all,
        "reject": _reject_all,
    }
    if action not in actions:
        raise BadInput(
            f"{action!r} is no bulk action", where="action", hint="Use submit, approve or reject"
        )
    if (ids is None) == (criteria is None):
        raise BadInput("give either filter or ids")
    lock(connection, "price_desk")
    settle_due(connection, decider.now, decider.at)
    repository = Suggestions(connection)
    suggestions: list[Suggestion] = []
    if ids is not None:
        suggestions = repository.by_ids(ids, reasons=False)
    elif criteria is not None:
        acted_on = _ACTED_ON.get(action, ("submitted",))
        chosen = criteria if criteria.status else replace(criteria, status=acted_on)
        suggestions = repository.matching(chosen, reasons=False)
    if expected_matched is not None and len(suggestions) != expected_matched:
        raise Conflict(
            f"{len(suggestions)} suggestions match, not {expected_matched}",
            hint="Look again, then decide",
        )
    known_ids = {suggestion.id for suggestion in suggestions}
    unknown_ids = [key for key in dict.fromkeys(ids or ()) if key not in known_ids]
    refused = [Refusal(key, NotFound(f"no suggestion {key!r}")) for key in unknown_ids]
    refused += actions[action](connection, decider, suggestions)
    refused_ids = {refusal.suggestion_id for refusal in refused}
    changed = tuple(s.id for s in suggestions if s.id not in refused_ids)
    return BulkResult(len(suggestions), changed, tuple(refused))


def require_version(
    suggestion: Suggestion | None, suggestion_id: str, version: int | None
) -> Suggestion:
    """Return the suggestion. Raises NotFound, and PreconditionFailed for another version."""
    if suggestion is None:
        raise NotFound(f"no suggestion {suggestion_id!r}", hint="See: GET /v1/price-suggestions")
    if version is not None and version != suggestion.version:
        raise PreconditionFailed(
            f"the suggestion is at version {suggestion.version}, not {version}",
            hint="Read it again, then decide",
        )
    return suggestion


def _prepare(
    connection: sa.Connection, decider: Decider, suggestion_id: str, version: int | None
) -> Suggestion:
    """Lock the desk, let what is due take effect, and return the suggestion to decide on."""
    lock(connection, "price_desk")
    settle_due(connection, decider.now, decider.at)
    return require_version(Suggestions(connection).get(suggestion_id), suggestion_id, version)


def _decide_one(
    connection: sa.Connection,
    decider: Decider,
    suggestion_id: str,
    version: int | None,
    decide: Decide,
) -> Suggestion:
    suggestion = _prepare(connection, decider, suggestion_id, version)
    for refusal in decide(connection, decider, [suggestion]):
        raise refusal.error
    return Suggestions(connection).by_ids([suggestion_id])[0]


def _approve_all(
    connection: sa.Connection, decider: Decider, suggestions: Sequence[Suggestion]
) -> list[Refusal]:
    """Approve those that can be approved, one per item and zone, and return the others."""
    current = _find_current_prices(connection, suggestions, decider.now)
    refused: list[Refusal] = []
    chosen: dict[tuple[str, str], Suggestion] = {}
    for suggestion in suggestions:
        key = suggestion.item_id, suggestion.zone
        error = _find_objection(suggestion, decider, current.get(suggestion.id))
        if error is None and key in chosen:
            error = Conflict("another suggestion of this item is approved in the same call")
        if error is not None:
            refused.append(Refusal(suggestion.id, error))
        else:
            chosen[key] = suggestion
    prices = {s.id: _new_price(s, current[s.id], decider.now) for s in chosen.values()}
    unlawful = explain_objections(Ledger(connection), prices, decider.find_rules)
    refused += [
        Refusal(suggestion_id, Conflict(why, hint="Edit the price, or the promotion"))
        for suggestion_id, why in unlawful.items()
    ]
    approved = [s for s in chosen.values() if s.id not in unlawful]
    if approved:
        _enact(connection, decider, approved, {s.id: prices[s.id] for s in approved})
    return refused


def _enact(
    connection: sa.Connection,
    decider: Decider,
    approved: Sequence[Suggestion],
    prices: dict[str, NewPrice],
) -> None:
    """Append the approved prices (by suggestion id) to the ledger and change the statuses."""
    repository = Suggestions(connection)
    Ledger(connection).append(list(prices.values()))
    live = [s for s in approved if prices[s.id].valid_from <= decider.now]
    later = [s for s in approved if prices[s.id].valid_from > decider.now]
    supersede_live(connection, decider, live)
    decision = {"decided_by": decider.actor, "decided_at": decider.now, "reason": decider.reason}
    repository.enact([s.id for s in live], decider.now, status="live", **decision)
    repository.enact([s.id for s in later], decider.now, status="scheduled", **decision)
    supersede_open(connection, decider, approved)
    details = {
        s.id: {
            "price_id": prices[s.id].content_id(),
            "from": to_major(s.current_price_minor, s.currency),
            "to": to_major(s.suggested_price_minor, s.currency),
            "currency": s.currency,
        }
        for s in approved
    }
    log_changes(connection, decider, "approve", approved, details)


def _submit_all(
    connection: sa.Connection, decider: Decider, suggestions: Sequence[Suggestion]
) -> list[Refusal]:
    """Submit those that were held back, and return the others.

    The system stays their proposer, so that whoever submits them may approve them too.
    """
    errors = {s.id: _check_status(s, "submit") for s in suggestions}
    submitted = [s for s in suggestions if errors[s.id] is None]
    ids = [s.id for s in submitted]
    Suggestions(connection).change(ids, decider.now, status="submitted", reason=decider.reason)
    log_changes(connection, decider, "submit", submitted)
    return _list_refusals(errors)


def _reject_all(
    connection: sa.Connection, decider: Decider, suggestions: Sequence[Suggestion]
) -> list[Refusal]:
    """Reject those that can be rejected, and return the others."""
    errors = {s.id: _check_status(s, "reject") for s in suggestions}
    rejected = [s for s in suggestions if errors[s.id] is None]
    Suggestions(connection).change(
        [s.id for s in rejected],
        decider.now,
        status="rejected",
        decided_by=decider.actor,
        decided_at=decider.now,
        reason=decider.reason,
    )
    log_changes(connection, decider, "reject", rejected)
    return _list_refusals(errors)


def _list_refusals(errors: Mapping[str, ShopwrightError | None]) -> list[Refusal]:
    """Return the refusals among errors by suggestion id."""
    return [
        Refusal(suggestion_id, error)
        for suggestion_id, error in errors.items()
        if error is not None
    ]


def _find_current_prices(
    connection: sa.Connection, suggestions: Iterable[Suggestion], now: datetime
) -> dict[str, Price]:
    """Return by suggestion id the price that is valid when the suggestion would begin."""
    groups: dict[tuple[str, datetime], list[Suggestion]] = {}
    for suggestion in suggestions:
        groups.setdefault((suggestion.zone, _begins_at(suggestion, now)), []).append(suggestion)
    prices: dict[str, Price] = {}
    for (zone, begins_at), members in groups.items():
        current = Ledger(connection).find_current([s.item_id for s in members], zone, begins_at)
        prices.update((s.id, current[s.item_id]) for s in members if s.item_id in current)
    return prices


def _find_objection(
    suggestion: Suggestion, decider: Decider, current: Price | None
) -> ShopwrightError | None:
    """Return why this decider may not approve the suggestion now; None where nothing objects."""
    if error := _check_status(suggestion, "approve"):
        return error
    if decider.actor in (suggestion.proposed_by, suggestion.edited_by):
        return Forbidden(
            "whoever proposed or edited a price may not approve it", hint="Ask a colleague"
        )
    if current is None or current.price_id != suggestion.base_price_id:
        return Conflict(
            "another price is valid than the one this suggestion was computed against",
            hint="Run: shopwright prices suggest",
        )
    return None


def _check_status(suggestion: Suggestion, action: str) -> Conflict | None:
    if suggestion.status in DECIDABLE[action]:
        return None
    return Conflict(f"cannot {action} a suggestion that is {suggestion.status}")


def _check_edit(suggestion: Suggestion, change: PriceEdit, price_minor: int) -> float:
    """Return the share by which an edit moves the current price. Raises BadInput."""
    if suggestion.kind == "promotion" and price_minor > suggestion.list_price_minor:
        raise BadInput("a promotion cannot cost more than the list price", where="suggested_price")
    share = share_change(price_minor, suggestion.current_price_minor)
    if abs(share) > MAX_EDIT and not change.confirmed:
        current = to_major(suggestion.current_price_minor, suggestion.currency)
        raise BadInput(
            f"{change.price} changes the current price of {current} by {share:+.0%}",
            where="suggested_price",
            hint="If that is meant, send confirm_large_change: true",
        )
    return share


def _parse_price(price: str, currency: str) -> int:
    """Return a price in whole minor units, above zero and below a trillion of them."""
    minor = to_minor(price, currency)
    if not 0 < minor < MAX_PRICE_MINOR:
        raise BadInput(
            f"a price of {price} cannot be charged",
            where="suggested_price",
            hint="Give one above zero",
        )
    if Decimal(price) != Decimal(to_major(minor, currency)):
        raise BadInput(
            f"{price} {currency} is no whole amount",
            where="suggested_price",
            hint=f"{currency} has {minor_digits(currency)} digits after the point",
        )
    return minor


def _begins_at(suggestion: Suggestion, now: datetime) -> datetime:
    return max(suggestion.starts_at or suggestion.effective_from, suggestion.effective_from, now)


def _new_price(suggestion: Suggestion, current: Price, now: datetime) -> NewPrice:
    """Return the ledger row of an approved suggestion; a promotion keeps the list price."""
    is_promotion = suggestion.kind == "promotion"
    price = suggestion.suggested_price_minor
    return NewPrice(
        item_id=suggestion.item_id,
        zone=suggestion.zone,
        valid_from=_begins_at(suggestion, now),
        valid_to=suggestion.ends_at if is_promotion else None,
        list_price_minor=current.list_price_minor if is_promotion else price,
        offer_price_minor=price,
        currency=suggestion.currency,
        source=PriceSource.DESK,
        recorded_at=now,
        suggestion_id=suggestion.id,
    )
