"""Why a proposed price cannot be filed, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa

from features.contracts.errors import BadInput, Conflict, NotFound, ShopwrightError
from features.contracts.money import to_major
from features.prices.law import explain_objections
from features.prices.ledger import Ledger, NewPrice, Price, PriceSource
from serving.access import find_objection
from serving.database.audit_log import Decider
from serving.database.price_locks import PriceLocks
from serving.price_desk.checked_prices import CheckedPrice, ProposedPrice
from serving.price_desk.repository import NewSuggestion


def refuse_forbidden(
    connection: sa.Connection, decider: Decider, prices: Iterable[CheckedPrice]
) -> list[CheckedPrice]:
    """Return the prices with those refused that nobody can confirm: the decider's areas, an item
    off sale, a lock, the law, and another price in the ledger than the one checked against."""
    prices = list(prices)
    drafts = {
        price.proposed.row: price.draft for price in prices if price.draft and not price.error
    }
    errors: dict[int, ShopwrightError] = {}
    groups: dict[tuple[str, datetime], list[int]] = {}
    for row, draft in drafts.items():
        groups.setdefault((draft.zone, draft.effective_from), []).append(row)
    new_prices: dict[str, NewPrice] = {}
    for (zone, begins_at), rows in groups.items():
        at = max(begins_at, decider.now)
        current = Ledger(connection).find_current([drafts[row].item_id for row in rows], zone, at)
        locks = PriceLocks(connection).at(at)
        for row in rows:
            draft = drafts[row]
            error = _find_refusal(decider, draft, current.get(draft.item_id))
            if error := error or locks.find_objection(draft.item_id, zone):
                errors[row] = error
            else:
                new_prices[str(row)] = _make_new_price(draft, at, decider.now)
    unlawful = explain_objections(Ledger(connection), new_prices, decider.find_rules)
    errors |= {int(row): Conflict(why) for row, why in unlawful.items()}
    return [
        price.refuse(errors[price.proposed.row]) if price.proposed.row in errors else price
        for price in prices
    ]


def _find_refusal(
    decider: Decider, draft: NewSuggestion, current: Price | None
) -> ShopwrightError | None:
    if error := find_objection(decider.areas, draft.category, draft.zone):
        return error
    if draft.item_id in decider.off_sale:
        return Conflict("the item is off sale", hint="Put it on sale again")
    if current is None or current.price_id != draft.base_price_id:
        return Conflict("another price is valid by now")
    return None


def _make_new_price(draft: NewSuggestion, at: datetime, now: datetime) -> NewPrice:
    """Return the row of the ledger that an approval would append."""
    return NewPrice(
        item_id=draft.item_id,
        zone=draft.zone,
        valid_from=at,
        list_price_minor=draft.suggested_price_minor,
        offer_price_minor=draft.suggested_price_minor,
        currency=draft.currency,
        source=PriceSource.DESK,
        recorded_at=now,
    )


def explain_unchanged(price: ProposedPrice, checked: CheckedPrice) -> BadInput:
    """Return the error of a price that is the present one."""
    current = to_major(checked.current_minor or 0, checked.currency)
    if price.percent is None:
        return BadInput(f"it costs {current} already", where="price")
    return BadInput(
        f"{price.percent:+g} % of {current} is no other price with an allowed ending",
        where="percent",
        hint="Give a larger change, or this item by itself",
    )


def explain_broken(checked: CheckedPrice, names: Sequence[str]) -> BadInput:
    """Return the error of a price that breaks rules, with the nearest one that they allow."""
    price = to_major(checked.price_minor or 0, checked.currency)
    nearest = checked.nearest_minor
    offered = ""
    if nearest is not None:
        offered = f"The nearest price that all rules allow is {to_major(nearest, checked.currency)}"
    confirm = f"if {price} is meant, confirm: {', '.join(names)}"
    return BadInput(
        f"{price} breaks {'; '.join(checked.broken[name] for name in names)}",
        where="price",
        hint=f"{offered}; {confirm}" if offered else confirm.capitalize(),
    )


def explain_unpriced(price: ProposedPrice) -> NotFound:
    """Return the error of an item without a price in its zone."""
    return NotFound(
        f"item {price.item_id!r} has no price in zone {price.zone!r}",
        hint="Look at the id: a spreadsheet drops leading zeros. New items get their first price "
        "by an import",
    )


def refuse_twice(prices: Sequence[CheckedPrice]) -> list[CheckedPrice]:
    """Return the prices with the second one of an item and zone refused."""
    first: dict[tuple[str, str], int] = {}
    checked = []
    for price in prices:
        key = price.proposed.item_id, price.proposed.zone
        row = first.setdefault(key, price.proposed.row)
        if row != price.proposed.row:
            price = price.refuse(BadInput(f"row {row} has a price of this item already"))
        checked.append(price)
    return checked
