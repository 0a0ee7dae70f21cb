"""Corrections of restored prices: the ledger keeps a copy of what came before a change.

A rollback, a withdrawal and the early end of a promotion append rows that repeat the price beneath,
as it is known then. What is decided, rolled back or listed later may change that price. So after
every such append the copies are compared with what the decisions and the price lists now say, and a
later row replaces each copy that differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

from features.prices.ledger import NewPrice, Price, PriceSource
from features.prices.timeline import drop_undone, find_price_at, find_served_price


def find_corrections(history: Sequence[Price], now: datetime) -> list[NewPrice]:
    """Return the rows that replace copies of a price which is another one by now.

    The served price is compared from `now` on, at every time at which a price of the item begins or
    ends; what was served before stays.
    """
    if not any(_is_copy(row) for row in history):
        return []
    times = {time for row in history for time in (row.valid_from, row.valid_to) if time}
    steps = [now, *sorted(time for time in times if time > now), None]
    by_id = {row.price_id: row for row in history}
    corrections: list[NewPrice] = []
    for since, until in pairwise(steps):
        assert since is not None  # noqa: S101
        served = find_price_at(history, since)
        meant = find_served_price(drop_undone(history, begun_by=since), since)
        if served is not None and meant is not None and _terms(meant) != _terms(served):
            corrections.append(_build_correction(meant, since, until, now, by_id))
    return corrections


def _is_copy(row: Price) -> bool:
    """Return whether a row repeats the price beneath another one."""
    ends_promotion = row.source is PriceSource.IMPORTED and row.reverts_price_id is not None
    return ends_promotion or row.source is PriceSource.ROLLBACK


def _terms(price: Price) -> tuple[object, ...]:
    """Return what customers see of a price."""
    return price.list_price_minor, price.offer_price_minor, price.promotion_id


def _build_correction(
    meant: Price,
    since: datetime,
    until: datetime | None,
    now: datetime,
    known: Mapping[str, Price],
) -> NewPrice:
    row = NewPrice(
        item_id=meant.item_id,
        zone=meant.zone,
        valid_from=since,
        valid_to=until,
        list_price_minor=meant.list_price_minor,
        offer_price_minor=meant.offer_price_minor,
        currency=meant.currency,
        source=PriceSource.ROLLBACK,
        recorded_at=now,
        promotion_id=meant.promotion_id,
    )
    # The ledger keeps one row of a kind: the same correction once more reverts the earlier one.
    while row.content_id() in known:
        row = replace(row, reverts_price_id=row.content_id())
    return row
