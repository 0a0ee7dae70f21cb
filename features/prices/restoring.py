"""The rows of the ledger that restore the prices before a change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from features.prices.ledger import NewPrice, Price, PriceSource
from features.prices.timeline import drop_undone, find_last_price, find_price_at


def find_prices_before(
    history: Sequence[Price], at: datetime, until: datetime | None, change: Price | None = None
) -> list[Price]:
    """Return the prices that are valid one after the other from `at` until `until` (None: for
    ever) without what begins later: a promotion, then the price beneath it.

    With `change`, as if neither it nor any rollback had been; each price with the end that it has
    then. Where all prices end, the last list price goes on; empty where no price came before.
    """
    begun = [row for row in history if row.valid_from <= at]
    ends = {row.valid_to for row in begun if row.valid_to is not None and row.valid_to > at}
    prices: list[Price] = []
    known = begun if change is None else drop_undone(history, begun_by=at, without=change)
    for since in sorted({at, *ends}):
        if until is not None and since >= until:
            return prices
        price = find_price_at(known, since)
        if prices and (price is None or price.price_id != prices[-1].price_id):
            prices[-1] = replace(prices[-1], valid_to=since)
        if price is None:
            last = prices[-1] if prices else find_last_price(known, since)
            return prices if last is None else [*prices, last.continue_expired()]
        if not prices or price.price_id != prices[-1].price_id:
            prices.append(price)
    return prices


def build_restoring_rows(
    history: Sequence[Price],
    change: Price,
    before: Sequence[Price],
    begins_at: datetime,
    recorded_at: datetime,
) -> list[NewPrice]:
    """Return the rows that restore the prices before a change, in the order of appending.

    All begin together, and of those that are valid the last one counts: what is valid for ever
    comes first, and the price that is valid at `begins_at` last. That one reverts the change. A row
    of the history is never repeated, as the ledger keeps one of a kind: it is reverted by its
    successor.
    """
    known = {row.price_id for row in history}
    rows: list[NewPrice] = []
    for price in reversed(before):
        ends = [end for end in (price.valid_to, change.valid_to) if end is not None]
        row = NewPrice(
            item_id=change.item_id,
            zone=change.zone,
            valid_from=begins_at,
            valid_to=min(ends, default=None),
            list_price_minor=price.list_price_minor,
            offer_price_minor=price.offer_price_minor,
            currency=price.currency,
            source=PriceSource.ROLLBACK,
            recorded_at=recorded_at,
            promotion_id=price.promotion_id,
            suggestion_id=change.suggestion_id,
        )
        if price is before[0]:
            row = replace(row, reverts_price_id=change.price_id)
        while row.content_id() in known:
            row = replace(row, reverts_price_id=row.content_id())
        rows.append(row)
    return rows
