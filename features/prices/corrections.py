"""Corrections of restored prices: the ledger keeps a copy of what came before a change.

A rollback, a withdrawal and the early end of a promotion append rows that repeat the price beneath,
as it is known then. What is decided, rolled back or listed later may change that price. So after
every such append the copies are compared with what the decisions and the price lists now say, and a
later row replaces each copy that differs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from features.prices.ledger import NewPrice, Price, PriceSource
from features.prices.timeline import find_decided_price, find_price_at, number_rows


def find_corrections(history: Sequence[Price], now: datetime) -> list[NewPrice]:
    """Return the rows that replace copies of a price which has changed since.

    The served price is compared from `now` on, at every time at which a price of the item begins or
    ends; what was served before stays.
    """
    if not has_copies(history):
        return []
    times = {time for row in history for time in (row.valid_from, row.valid_to) if time}
    known = list(history)
    corrections: list[NewPrice] = []
    for at in [now, *sorted(time for time in times if time > now)]:
        served, decided = find_price_at(known, at), find_decided_price(history, at)
        if served is not None and decided is not None and decided.shown != served.shown:
            # What begins later, or undoes a later beginning, is valid before this one anyway.
            row = _build_correction(decided, at, now, {price.price_id for price in known})
            corrections.append(row)
            known = number_rows(known, [row])
    return corrections


def has_copies(history: Sequence[Price]) -> bool:
    """Return whether a row of the history repeats the price beneath another one."""
    return any(
        row.source is PriceSource.ROLLBACK
        or (row.source is PriceSource.IMPORTED and row.reverts_price_id is not None)
        for row in history
    )


def _build_correction(
    decided: Price, begins_at: datetime, now: datetime, known: Collection[str]
) -> NewPrice:
    row = NewPrice(
        item_id=decided.item_id,
        zone=decided.zone,
        valid_from=begins_at,
        valid_to=decided.valid_to,
        list_price_minor=decided.list_price_minor,
        offer_price_minor=decided.offer_price_minor,
        currency=decided.currency,
        source=PriceSource.ROLLBACK,
        recorded_at=now,
        promotion_id=decided.promotion_id,
    )
    # The ledger keeps one row of a kind: the same correction once more reverts the earlier one.
    while row.content_id() in known:
        row = replace(row, reverts_price_id=row.content_id())
    return row
