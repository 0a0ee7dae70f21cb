"""Prices of an import that wait, as suggestions: an approval brings one into the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from features.contracts.money import to_major
from features.database import lock
from features.prices.held_prices import HeldPrice
from serving.database.audit_log import AuditEntry, AuditLog, Decider
from serving.price_desk.lifecycle import supersede_imports
from serving.price_desk.repository import IMPORT, NewSuggestion, Suggestions

RULE = "price list"

ItemNames = Mapping[str, tuple[str | None, str]]  # title and category by item id


def file_held_prices(
    connection: sa.Connection,
    held: Sequence[HeldPrice],
    names: ItemNames,
    *,
    now: datetime,
    at: datetime,
) -> int:
    """File each held price once, however often it is imported; return how many are new.

    `now` is business time, `at` system time. One that replaces no price cannot be computed against
    another one, so it only waits for the options of `shopwright import`.
    """
    lock(connection, "price_desk")
    repository = Suggestions(connection)
    drafts = {
        _make_id(held_price): _draft(held_price, names, now)
        for held_price in held
        if held_price.before is not None
    }
    known = {suggestion.id for suggestion in repository.by_ids(drafts, reasons=False)}
    new = {key: draft for key, draft in drafts.items() if key not in known}
    repository.add(list(new.values()), list(new))
    entries = [
        AuditEntry(
            IMPORT,
            "hold",
            "price_suggestion",
            key,
            {"item_id": draft.item_id, "zone": draft.zone, "reason": draft.details["flags"][0]},
        )
        for key, draft in new.items()
    ]
    AuditLog(connection).append(entries, at)
    return len(new)


def supersede_settled_prices(
    connection: sa.Connection, held: Sequence[HeldPrice], *, now: datetime, at: datetime
) -> None:
    """Supersede the prices that waited and need no decision any more: the price list was corrected,
    or an import entered them. `held` are all that the price list holds now."""
    lock(connection, "price_desk")
    still_held = {_make_id(held_price) for held_price in held}
    supersede_imports(connection, Decider(IMPORT, now, at), still_held)


def _make_id(held_price: HeldPrice) -> str:
    """Return an id of the content: a rejected price is not filed again by the next import."""
    return f"sug_{held_price.price.content_id().removeprefix('price_')[:20]}"


def _draft(held_price: HeldPrice, names: ItemNames, now: datetime) -> NewSuggestion:
    price, before = held_price.price, held_price.before
    if before is None:
        raise ValueError("a price that replaces none cannot be filed")
    is_promotion = price.offer_price_minor < price.list_price_minor
    title, category = names.get(price.item_id, (None, ""))
    return NewSuggestion(
        item_id=price.item_id,
        zone=price.zone,
        status="submitted",
        kind="promotion" if is_promotion else "regular",
        currency=price.currency,
        list_price_minor=before.list_price_minor,
        current_price_minor=before.offer_price_minor,
        suggested_price_minor=price.offer_price_minor,
        run_id=f"import_{now:%Y%m%dT%H%M%S}",
        base_price_id=before.price_id,
        effective_from=max(price.valid_from, now),
        created_at=now,
        proposed_by=IMPORT,
        category=category,
        title=title,
        waterfall=[
            {
                "rule": RULE,
                "before_minor": before.offer_price_minor,
                "after_minor": price.offer_price_minor,
                "hard": False,
                "note": held_price.reason,
            }
        ],
        details={
            "flags": [held_price.reason],
            "listed_from": price.valid_from.isoformat(),
            "listed_price": to_major(price.list_price_minor, price.currency),
        },
        binding_rule=RULE,
        starts_at=price.valid_from if is_promotion else None,
        ends_at=price.valid_to if is_promotion else None,
    )
