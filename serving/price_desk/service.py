"""The queue of the price desk: what waits there, and how it is approved, rejected and edited, one
by one or in bulk.

    suggested ──edit──> submitted ──approve──> approved ──> live        in force now
        │                 │   │                    └──────> scheduled   from effective_from on, then
                          live
        │                 │   └─reject─> rejected
        └────────┬────────┘
                 ├─> superseded   a newer suggestion, or a newer price, took its place (a live one
                                  too)
                 └─> expired      its time ran out (a live promotion's too)
    live, scheduled ──rollback──> rolled_back   (undo.py)

Each decision works on the connection of one transaction: the status, the ledger row and the audit
row are committed together or not at all. Decisions wait for each other (a lock), so of two at once
exactly one wins.
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
from features.database import lock, reading, transaction
from features.prices.law import explain_objections
from features.prices.ledger import Ledger, NewPrice, Price, PriceSource
from serving.database.audit_log import SYSTEM, AuditEntry, AuditLog, Decider
from serving.price_desk.repository import (
    OPEN,
    Place,
    Suggestion,
    SuggestionFilter,
    Suggestions,
    share_change,
)

DECIDABLE = {"approve": ("submitted",), "reject": OPEN, "edit": OPEN}
MAX_PRICE_MINOR = 10**12
# An edit that moves the current price by a larger share must be confirmed.
MAX_EDIT = 0.5
_ACTIONS = ("approve", "reject")


@dataclass(frozen=True)
class Refusal:
    """A suggestion that was left as it was, and the error a single decision would have raised."""

    suggestion_id: str
    error: ShopwrightError


@dataclass(frozen=True)
class BulkResult:
    """What a decision on many suggestions did."""

    matched: int
    changed: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = field(default=())


def queue(
    engine: sa.Engine,
    which: SuggestionFilter,
    *,
    after: int,
    limit: int,
    now: datetime,
    at: datetime,
) -> list[Suggestion]:
    """The suggestions of a filter after number `after`, oldest first, as time has left them."""
    _catch_up(engine, now, at)
    with reading(engine) as connection:
        return Suggestions(connection).matching(which, after=after, limit=limit)


def read(engine: sa.Engine, suggestion_id: str, *, now: datetime, at: datetime) -> Suggestion:
    """One suggestion, as time has left it. Raises NotFound."""
    _catch_up(engine, now, at)
    with reading(engine) as connection:
        return _expected_version(Suggestions(connection).get(suggestion_id), suggestion_id, None)


def approve(
    connection: sa.Connection, decider: Decider, suggestion_id: str, version: int | None = None
) -> Suggestion:
    """Puts a submitted suggestion's price into the ledger.

    Raises NotFound, PreconditionFailed (another version), Forbidden (one's own proposal or edit)
    and Conflict (not submitted any more, another price is in force than the one it was computed
    against, or the law forbids it).
    """
    return _single(connection, decider, suggestion_id, version, _approve_many)


def reject(
    connection: sa.Connection, decider: Decider, suggestion_id: str, version: int | None = None
) -> Suggestion:
    """Turns a suggestion down. Raises NotFound, PreconditionFailed and Conflict."""
    return _single(connection, decider, suggestion_id, version, _reject_many)


def edit(
    connection: sa.Connection,
    decider: Decider,
    suggestion_id: str,
    price: str,
    *,
    version: int | None = None,
    effective_from: datetime | None = None,
    confirmed: bool = False,
) -> Suggestion:
    """Overrides the suggested price (major units); someone else must approve it.

    The expected effect of the old price is dropped with it. Raises as `approve`, and BadInput for
    an impossible price, or for one that moves the current price by more than MAX_EDIT unless that
    is `confirmed`: a slipped decimal point.
    """
    lock(connection, "price_desk")
    settle(connection, decider.now, decider.at)
    repository = Suggestions(connection)
    found = _expected_version(repository.get(suggestion_id), suggestion_id, version)
    if error := _wrong_status(found, "edit"):
        raise error
    minor = _chargeable(price, found.currency)
    if found.kind == "promotion" and minor > found.list_price_minor:
        raise BadInput("a promotion cannot cost more than the list price", where="suggested_price")
    change = share_change(minor, found.current_price_minor)
    if abs(change) > MAX_EDIT and not confirmed:
        current = to_major(found.current_price_minor, found.currency)
        raise BadInput(
            f"{price} changes the current price of {current} by {change:+.0%}",
            where="suggested_price",
            hint="If that is meant, send confirm_large_change: true",
        )
    step = {
        "rule": "edit",
        "before_minor": found.suggested_price_minor,
        "after_minor": minor,
        "hard": False,
        "note": decider.reason or "set by hand",
    }
    repository.change(
        [found.id],
        decider.now,
        status="submitted",
        suggested_price_minor=minor,
        share_change=change,
        expected=sa.null(),
        gain_minor=None,
        binding_rule="edit",
        waterfall=[*found.waterfall, step],
        edited_by=decider.actor,
        reason=decider.reason,
        effective_from=effective_from or found.effective_from,
    )
    details = {
        "from": to_major(found.suggested_price_minor, found.currency),
        "to": to_major(minor, found.currency),
    }
    _audit(connection, decider, "edit", [found], {found.id: details})
    return repository.by_ids([found.id])[0]


def decide_many(
    connection: sa.Connection,
    decider: Decider,
    action: str,
    *,
    ids: Sequence[str] | None = None,
    which: SuggestionFilter | None = None,
    expected_matched: int | None = None,
) -> BulkResult:
    """Approves or rejects suggestions by `ids` or by filter; those that cannot be decided are
    refused, one by one.

    A filter without status means the submitted ones. Raises Conflict when `expected_matched`
    differs from what matches.
    """
    if action not in _ACTIONS:
        raise BadInput(
            f"{action!r} is no bulk action", where="action", hint="Use approve or reject"
        )
    if (ids is None) == (which is None):
        raise BadInput("give either filter or ids")
    lock(connection, "price_desk")
    settle(connection, decider.now, decider.at)
    repository = Suggestions(connection)
    found: list[Suggestion] = []
    if ids is not None:
        found = repository.by_ids(ids, reasons=False)
    elif which is not None:
        chosen = which if which.status else replace(which, status=("submitted",))
        found = repository.matching(chosen, reasons=False)
    if expected_matched is not None and len(found) != expected_matched:
        raise Conflict(
            f"{len(found)} suggestions match, not {expected_matched}",
            hint="Look again, then decide",
        )
    known = {suggestion.id for suggestion in found}
    unknown = [key for key in dict.fromkeys(ids or ()) if key not in known]
    refused = [Refusal(key, NotFound(f"no suggestion {key!r}")) for key in unknown]
    decided = (_approve_many if action == "approve" else _reject_many)(connection, decider, found)
    refused += decided
    kept = {each.suggestion_id for each in refused}
    return BulkResult(len(found), tuple(s.id for s in found if s.id not in kept), tuple(refused))


def settle(connection: sa.Connection, now: datetime, at: datetime) -> int:
    """Lets time take effect: what is due expires, goes live or ends. Returns how many suggestions
    changed."""
    repository = Suggestions(connection)
    due = repository.due(now)
    if not due:
        return 0
    lock(connection, "price_desk")
    due = repository.due(now)
    system = Decider(SYSTEM, now, at)
    begun = [s for s in due if s.status == "scheduled" and not (s.ends_at and s.ends_at <= now)]
    over = [s for s in due if s not in begun]
    if begun:
        _supersede_live(connection, system, begun)
        repository.change([s.id for s in begun], now, status="live")
        _audit(connection, system, "go_live", begun)
    if over:
        repository.change([s.id for s in over], now, status="expired")
        _audit(connection, system, "expire", over)
    return len(due)


def _catch_up(engine: sa.Engine, now: datetime, at: datetime) -> None:
    with reading(engine) as connection:
        due = Suggestions(connection).due(now)
    if due:
        with transaction(engine) as connection:
            settle(connection, now, at)


def _chargeable(price: str, currency: str) -> int:
    """A price in whole minor units, above zero and below a trillion of them."""
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


def _single(
    connection: sa.Connection,
    decider: Decider,
    suggestion_id: str,
    version: int | None,
    decide: Callable[[sa.Connection, Decider, Sequence[Suggestion]], list[Refusal]],
) -> Suggestion:
    lock(connection, "price_desk")
    settle(connection, decider.now, decider.at)
    repository = Suggestions(connection)
    found = _expected_version(repository.get(suggestion_id), suggestion_id, version)
    for refusal in decide(connection, decider, [found]):
        raise refusal.error
    return repository.by_ids([suggestion_id])[0]


def _approve_many(
    connection: sa.Connection, decider: Decider, found: Sequence[Suggestion]
) -> list[Refusal]:
    standing = _standing(connection, found, decider.now)
    refused: list[Refusal] = []
    chosen: dict[tuple[str, str], Suggestion] = {}
    for suggestion in found:
        key = suggestion.item_id, suggestion.zone
        error = _not_approvable(suggestion, decider, standing.get(suggestion.id))
        if error is None and key in chosen:
            error = Conflict("another suggestion of this item is approved in the same call")
        if error is not None:
            refused.append(Refusal(suggestion.id, error))
        else:
            chosen[key] = suggestion
    prices = {s.id: _new_price(s, standing[s.id], decider.now) for s in chosen.values()}
    unlawful = explain_objections(Ledger(connection), prices, decider.law_of)
    refused += [
        Refusal(key, Conflict(why, hint="Edit the price, or the promotion"))
        for key, why in unlawful.items()
    ]
    approved = [s for s in chosen.values() if s.id not in unlawful]
    if not approved:
        return refused
    repository = Suggestions(connection)
    prices = {s.id: prices[s.id] for s in approved}
    price_ids = {key: price.content_id() for key, price in prices.items()}
    Ledger(connection).append(list(prices.values()))
    live = [s for s in approved if prices[s.id].valid_from <= decider.now]
    later = [s for s in approved if prices[s.id].valid_from > decider.now]
    _supersede_live(connection, decider, live)
    decided = {"decided_by": decider.actor, "decided_at": decider.now, "reason": decider.reason}
    repository.enact([s.id for s in live], decider.now, status="live", **decided)
    repository.enact([s.id for s in later], decider.now, status="scheduled", **decided)
    _supersede_open(connection, decider, approved)
    details = {
        s.id: {
            "price_id": price_ids[s.id],
            "from": to_major(s.current_price_minor, s.currency),
            "to": to_major(s.suggested_price_minor, s.currency),
            "currency": s.currency,
        }
        for s in approved
    }
    _audit(connection, decider, "approve", approved, details)
    return refused


def _reject_many(
    connection: sa.Connection, decider: Decider, found: Sequence[Suggestion]
) -> list[Refusal]:
    errors = {s.id: _wrong_status(s, "reject") for s in found}
    rejected = [s for s in found if errors[s.id] is None]
    Suggestions(connection).change(
        [s.id for s in rejected],
        decider.now,
        status="rejected",
        decided_by=decider.actor,
        decided_at=decider.now,
        reason=decider.reason,
    )
    _audit(connection, decider, "reject", rejected)
    return [Refusal(key, error) for key, error in errors.items() if error is not None]


def _standing(
    connection: sa.Connection, found: Iterable[Suggestion], now: datetime
) -> dict[str, Price]:
    """The price in force when each suggestion would begin, by suggestion id."""
    groups: dict[tuple[str, datetime], list[Suggestion]] = {}
    for suggestion in found:
        groups.setdefault((suggestion.zone, _begins(suggestion, now)), []).append(suggestion)
    standing: dict[str, Price] = {}
    for (zone, begins), members in groups.items():
        current = Ledger(connection).current([s.item_id for s in members], zone, begins)
        standing.update((s.id, current[s.item_id]) for s in members if s.item_id in current)
    return standing


def _not_approvable(
    suggestion: Suggestion, decider: Decider, standing: Price | None
) -> ShopwrightError | None:
    if error := _wrong_status(suggestion, "approve"):
        return error
    if decider.actor in (suggestion.proposed_by, suggestion.edited_by):
        return Forbidden(
            "whoever proposed or edited a price may not approve it", hint="Ask a colleague"
        )
    if standing is None or standing.price_id != suggestion.base_price_id:
        return Conflict(
            "another price is in force than the one this suggestion was computed against",
            hint="Run: shopwright prices suggest",
        )
    return None


def _wrong_status(suggestion: Suggestion, action: str) -> Conflict | None:
    if suggestion.status in DECIDABLE[action]:
        return None
    return Conflict(f"cannot {action} a suggestion that is {suggestion.status}")


def _begins(suggestion: Suggestion, now: datetime) -> datetime:
    return max(suggestion.starts_at or suggestion.effective_from, suggestion.effective_from, now)


def _new_price(suggestion: Suggestion, standing: Price, now: datetime) -> NewPrice:
    promotion = suggestion.kind == "promotion"
    return NewPrice(
        item_id=suggestion.item_id,
        zone=suggestion.zone,
        valid_from=_begins(suggestion, now),
        valid_to=suggestion.ends_at if promotion else None,
        list_price_minor=standing.list_price_minor
        if promotion
        else suggestion.suggested_price_minor,
        offer_price_minor=suggestion.suggested_price_minor,
        currency=suggestion.currency,
        source=PriceSource.DESK,
        recorded_at=now,
        suggestion_id=suggestion.id,
    )


def _supersede_live(
    connection: sa.Connection, decider: Decider, taking_over: Sequence[Suggestion]
) -> None:
    """Prices that went live earlier give way; a promotion leaves the regular price beneath it
    live."""
    newer = {(s.item_id, s.zone): s for s in taking_over if s.kind == "regular"}
    earlier = Suggestions(connection).of_items(newer, ["live"])
    _supersede(connection, decider, [s for s in earlier if s.kind == "regular"])


def _supersede_open(
    connection: sa.Connection, decider: Decider, approved: Sequence[Suggestion]
) -> None:
    newer = {(s.item_id, s.zone): s for s in approved}
    waiting = Suggestions(connection).of_items(newer, OPEN)
    _supersede(connection, decider, [s for s in waiting if s.seq < newer[s.item_id, s.zone].seq])


def _supersede(connection: sa.Connection, decider: Decider, found: Sequence[Place]) -> None:
    Suggestions(connection).change([s.id for s in found], decider.now, status="superseded")
    _audit(connection, decider, "supersede", found)


def _audit(
    connection: sa.Connection,
    decider: Decider,
    action: str,
    found: Iterable[Suggestion | Place],
    details: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """One deed per suggestion; `details` by suggestion id."""
    entries = []
    for s in found:
        facts = {
            "item_id": s.item_id,
            "zone": s.zone,
            "reason": decider.reason,
            **(details or {}).get(s.id, {}),
        }
        entries.append(AuditEntry(decider.actor, action, "price_suggestion", s.id, facts))
    AuditLog(connection).append(entries, decider.at)


def _expected_version(
    found: Suggestion | None, suggestion_id: str, version: int | None
) -> Suggestion:
    if found is None:
        raise NotFound(f"no suggestion {suggestion_id!r}", hint="See: GET /v1/price-suggestions")
    if version is not None and version != found.version:
        raise PreconditionFailed(
            f"the suggestion is at version {found.version}, not {version}",
            hint="Read it again, then decide",
        )
    return found
