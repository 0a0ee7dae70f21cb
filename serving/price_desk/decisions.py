"""Submission, approval, rejection and edit of suggestions, one by one or in bulk.

Each decision works on the connection of one transaction: the status, the ledger row and the audit
row are committed together or not at all. Decisions wait for each other (a lock), so of two at once
exactly one succeeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import sqlalchemy as sa

from features.contracts.errors import (
    BadInput,
    Conflict,
    NotFound,
    PreconditionFailed,
    ShopwrightError,
)
from features.contracts.money import to_major
from features.database import lock
from features.prices.guards import MAX_JUMP, parse_price
from serving.database.audit_log import Decider
from serving.price_desk.activation import settle_due
from serving.price_desk.approvals import (
    Beginnings,
    Refusal,
    check_decidable,
    enact_approvals,
    find_suggestion_jump,
    plan_approvals,
    refuse_broken,
)
from serving.price_desk.broken_rules import CONFIRMED, find_broken_rules
from serving.price_desk.controls_repository import Controls
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.lifecycle import log_changes
from serving.price_desk.repository import Suggestion, Suggestions, share_change

_ACTED_ON = {"submit": ("suggested",)}  # by an action on a filter without status; else submitted


@dataclass(frozen=True)
class PriceEdit:
    """Another price for a suggestion, in major units.

    effective_from   None keeps the time of the suggestion
    confirmed        a change of the current price by more than MAX_JUMP is meant
    """

    price: str
    effective_from: datetime | None = None
    confirmed: bool = False


@dataclass(frozen=True)
class BulkResult:
    """The number of suggestions that matched, the ids of those that changed, and the refused."""

    matched: int
    changed: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = field(default=())


Decide = Callable[[sa.Connection, Decider, Sequence[Suggestion]], list[Refusal]]


def approve(
    connection: sa.Connection,
    decider: Decider,
    suggestion_id: str,
    version: int | None = None,
    begins: Beginnings | None = None,
) -> Suggestion:
    """Append a submitted suggestion's price to the ledger; with `begins` it begins then.

    Raises NotFound, PreconditionFailed (another version), Forbidden (one's own proposal or edit,
    or outside the decider's areas) and Conflict (not submitted any more, another price is valid
    than the one it was computed against, or the law forbids it).
    """
    decide = partial(_approve_all, begins=begins, many=False)
    return _decide_one(connection, decider, suggestion_id, version, decide)


def submit(
    connection: sa.Connection, decider: Decider, suggestion_id: str, version: int | None = None
) -> Suggestion:
    """Submit a suggestion that a run held back. Raises NotFound, PreconditionFailed, Conflict."""
    return _decide_one(connection, decider, suggestion_id, version, _submit_all)


def reject(
    connection: sa.Connection, decider: Decider, suggestion_id: str, version: int | None = None
) -> Suggestion:
    """Reject a suggestion. Raises NotFound, PreconditionFailed and Conflict, and BadInput without a
    reason where the shop wants one."""
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
    an impossible price, or for one that moves the current price by more than MAX_JUMP without
    confirmation: a slipped decimal point.
    """
    suggestion = _prepare(connection, decider, suggestion_id, version)
    for refusal in edit_all(connection, decider, [(suggestion, change)]):
        raise refusal.error
    return Suggestions(connection).by_ids([suggestion.id])[0]


def edit_all(
    connection: sa.Connection, decider: Decider, edits: Sequence[tuple[Suggestion, PriceEdit]]
) -> list[Refusal]:
    """Replace the prices of different suggestions where that is possible, and return the others.

    The desk is locked, and what is due has taken effect. The rules of today, and what they read of
    the items, are read once.
    """
    errors: dict[str, ShopwrightError | None] = {}
    edited: list[Suggestion] = []
    for suggestion, change in edits:
        try:
            price_minor = _check_edit(suggestion, decider, change)
            edited.append(replace(suggestion, suggested_price_minor=price_minor))
        except ShopwrightError as error:
            errors[suggestion.id] = error
    # Another price is another decision: what was confirmed of the last one counts no more.
    broken = find_broken_rules(connection, decider, edited, with_confirmed=True)
    prices = {suggestion.id: suggestion.suggested_price_minor for suggestion in edited}
    changed: list[Suggestion] = []
    for suggestion, change in edits:
        rules = broken.get(suggestion.id, {})
        if suggestion.id in errors:
            continue
        if rules and not change.confirmed:
            errors[suggestion.id] = BadInput(
                f"{change.price} breaks {'; '.join(rules.values())}",
                where="suggested_price",
                hint="If that is meant, send confirm_large_change: true",
            )
            continue
        _store_edit(connection, decider, suggestion, prices[suggestion.id], change, list(rules))
        changed.append(suggestion)
    logged = {
        suggestion.id: {
            "from": to_major(suggestion.suggested_price_minor, suggestion.currency),
            "to": to_major(prices[suggestion.id], suggestion.currency),
        }
        for suggestion in changed
    }
    log_changes(connection, decider, "edit", changed, logged)
    return _list_refusals(errors)


def decide_many(
    connection: sa.Connection,
    decider: Decider,
    action: str,
    *,
    ids: Sequence[str] | None = None,
    criteria: SuggestionFilter | None = None,
    expected_matched: int | None = None,
    begins: Beginnings | None = None,
    many: bool | None = None,
) -> BulkResult:
    """Submit, approve or reject suggestions by `ids` or by filter; those that cannot be decided
    are refused, one by one.

    `many`: whether nobody looked at each price; None: as the number of ids says. A filter without
    status means the submitted ones, or for `submit` the suggested ones. Raises Conflict when
    `expected_matched` differs from the number that match.
    """
    actions: dict[str, Decide] = {
        "submit": _submit_all,
        "approve": partial(
            _approve_all, begins=begins, many=are_many(ids) if many is None else many
        ),
        "reject": _reject_all,
    }
    if action not in actions:
        raise BadInput(
            f"{action!r} is no bulk action", where="action", hint="Use submit, approve or reject"
        )
    if (ids is None) == (criteria is None):
        raise BadInput("give either filter or ids")
    lock(connection, "price_desk")
    settle_due(connection, decider)
    suggestions = select_many(connection, action, ids=ids, criteria=criteria)
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


def are_many(ids: Sequence[str] | None) -> bool:
    """Return whether a decision on `ids`, or on a filter (None), is one at which nobody looks at
    each price."""
    return ids is None or len(set(ids)) > 1


def select_many(
    connection: sa.Connection,
    action: str,
    *,
    ids: Sequence[str] | None,
    criteria: SuggestionFilter | None,
    reasons: bool = False,
) -> list[Suggestion]:
    """Return the suggestions on which an action on `ids` or on a filter decides, oldest first."""
    repository = Suggestions(connection)
    if ids is not None:
        return repository.by_ids(ids, reasons=reasons)
    if criteria is None:
        return []
    acted_on = _ACTED_ON.get(action, ("submitted",))
    chosen = criteria if criteria.status else replace(criteria, status=acted_on)
    return repository.matching(chosen, reasons=reasons)


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
    settle_due(connection, decider)
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
    connection: sa.Connection,
    decider: Decider,
    suggestions: Sequence[Suggestion],
    *,
    begins: Beginnings | None,
    many: bool,
) -> list[Refusal]:
    """Approve those that can be approved, and return the others."""
    plan = plan_approvals(connection, decider, suggestions, begins=begins, many=many)
    enact_approvals(connection, decider, plan)
    return list(plan.refused)


def _submit_all(
    connection: sa.Connection, decider: Decider, suggestions: Sequence[Suggestion]
) -> list[Refusal]:
    """Submit those that were held back, and return the others.

    The system stays their proposer, so that whoever submits them may approve them too.
    """
    errors: dict[str, ShopwrightError | None] = {
        s.id: check_decidable(s, decider, "submit") for s in suggestions
    }
    passing = [s for s in suggestions if errors[s.id] is None]
    broken = find_broken_rules(connection, decider, passing)
    errors |= {key: refuse_broken(rules) for key, rules in broken.items()}
    submitted = [s for s in suggestions if errors[s.id] is None]
    ids = [s.id for s in submitted]
    Suggestions(connection).change(ids, decider.now, status="submitted", reason=decider.reason)
    log_changes(connection, decider, "submit", submitted)
    return _list_refusals(errors)


def _reject_all(
    connection: sa.Connection, decider: Decider, suggestions: Sequence[Suggestion]
) -> list[Refusal]:
    """Reject those that can be rejected, and return the others. Raises BadInput without a reason
    where the shop wants one."""
    policy = Controls(connection).find_reject_policy()
    if policy is not None and policy.required and not (decider.reason or "").strip():
        raise BadInput(
            "this shop rejects nothing without a reason",
            where="reason",
            hint="Choose one: GET /v1/price-desk/reject-reasons",
        )
    errors = {s.id: check_decidable(s, decider, "reject") for s in suggestions}
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


def _check_edit(suggestion: Suggestion, decider: Decider, change: PriceEdit) -> int:
    """Return the price of an edit in minor units.

    Raises BadInput for an impossible price, and Forbidden or Conflict where the suggestion cannot
    be edited.
    """
    if error := check_decidable(suggestion, decider, "edit"):
        raise error
    price_minor = parse_price(change.price, suggestion.currency)
    begins = change.effective_from or suggestion.effective_from
    is_same = (price_minor, begins) == (suggestion.suggested_price_minor, suggestion.effective_from)
    if is_same and suggestion.edited_by not in (None, decider.actor):
        # Else whoever set the price could approve it.
        raise Conflict(
            f"{change.price} is what somebody else has set already",
            hint="Approve it, or set another price",
        )
    if suggestion.kind == "promotion" and price_minor > suggestion.list_price_minor:
        raise BadInput("a promotion cannot cost more than the list price", where="suggested_price")
    if abs(find_suggestion_jump(suggestion, price_minor)) > MAX_JUMP and not change.confirmed:
        current = to_major(suggestion.current_price_minor, suggestion.currency)
        share = share_change(price_minor, suggestion.current_price_minor)
        raise BadInput(
            f"{change.price} changes the current price of {current} by {share:+.0%}",
            where="suggested_price",
            hint="If that is meant, send confirm_large_change: true",
        )
    return price_minor


def _store_edit(
    connection: sa.Connection,
    decider: Decider,
    suggestion: Suggestion,
    price_minor: int,
    change: PriceEdit,
    broken: list[str],
) -> None:
    """Replace the price of a suggestion; `broken` are the rules that it is confirmed to break."""
    details = {**suggestion.details, CONFIRMED: broken}
    if not broken:
        del details[CONFIRMED]
    step = {
        "rule": "edit",
        "before_minor": suggestion.suggested_price_minor,
        "after_minor": price_minor,
        "hard": False,
        "note": decider.reason or "set by hand",
    }
    Suggestions(connection).change(
        [suggestion.id],
        decider.now,
        status="submitted",
        suggested_price_minor=price_minor,
        share_change=share_change(price_minor, suggestion.current_price_minor),
        expected=sa.null(),
        gain_minor=None,
        binding_rule="edit",
        waterfall=[*suggestion.waterfall, step],
        details=details,
        edited_by=decider.actor,
        reason=decider.reason,
        effective_from=change.effective_from or suggestion.effective_from,
    )
