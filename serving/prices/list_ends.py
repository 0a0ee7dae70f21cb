"""Ends prices in the ledger on the day on which a price list ends them earlier than before.

A file ends a price of an earlier list where it says an earlier end for it (`valid_to`). The ledger
is append-only: a row that begins at the end restores the price beneath, until the price would have
ended before. Where a later list announces the price for longer again, one more row brings it back.
What was decided on the price desk is no price of a list, and stays. A promotion that a file leaves
out goes on, as a file may hold regular prices alone; it is found, to be said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise

from features.prices.held_prices import RowKey, find_listed_at, row_key
from features.prices.ledger import NewPrice, Price, PriceSource
from features.prices.timeline import find_price_at

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class ListedItem:
    """The price list of one item in one zone.

    rows    all rows of the list, those of earlier files too
    given   the rows of the file that is imported
    """

    rows: Sequence[NewPrice]
    given: Sequence[NewPrice]


def find_ending_rows(
    item: ListedItem, history: Sequence[Price], now: datetime, waiting: Collection[RowKey]
) -> list[NewPrice]:
    """Return the rows that end, or bring back, prices of earlier lists from `now` on.

    The history has the rows of the list already; those in `waiting` were not entered.
    """
    roots = _find_roots(history)
    own = {row_key(row): row for row in item.rows}
    ends = [row.valid_to for row in item.rows if row.valid_to is not None]
    times = {time for price in history for time in (price.valid_from, price.valid_to) if time}
    steps = [now, *sorted(time for time in {*times, *ends} if time > now), _NEVER]
    reverting = {p.reverts_price_id: p.price_id for p in history if p.reverts_price_id is not None}
    rows: list[NewPrice] = []
    for since, until in pairwise(steps):
        served = find_price_at(history, since)
        root = None if served is None else roots.get(served.price_id)
        if served is None or root is None or row_key(root) in waiting:
            continue
        others = [price for price in history if roots.get(price.price_id) != root]
        target = _find_target(item, own.get(row_key(root)), root, others, since)
        if target is not None and target.shown != served.shown:
            # One row of the ledger reverts another: the next part goes on from the last one.
            reverted = served.price_id
            while reverted in reverting:
                reverted = reverting[reverted]
            row = _build_row(served, target, since, until, now)
            rows.append(replace(row, reverts_price_id=reverted))
            reverting[reverted] = rows[-1].content_id()
    return rows


def find_left_out(
    item: ListedItem, history: Sequence[Price], now: datetime
) -> Iterator[tuple[NewPrice, Price]]:
    """Yield the promotions of earlier files that the file leaves out, as they would end, each with
    the price that goes on."""
    given = {row_key(row) for row in item.given}
    for row in item.rows:
        at = max(row.valid_from, now)
        if (
            row_key(row) in given
            or (row.valid_to or _NEVER) <= now
            or not _is_left_out(item, row, at)
        ):
            continue
        served = find_price_at(history, at)
        if served is not None and served.shown == row.shown:
            yield replace(row, valid_to=at), served


def _find_roots(history: Iterable[Price]) -> dict[str, Price]:
    """Return for each row that comes from the price list the row of the list that it ends or
    brings back, or is: by price_id."""
    roots: dict[str, Price] = {}
    first: dict[RowKey, Price] = {}
    for price in history:
        if price.source is not PriceSource.IMPORTED:
            continue
        before = roots.get(price.reverts_price_id or "")
        roots[price.price_id] = before or first.setdefault(row_key(price), price)
    return roots


def _find_target(
    item: ListedItem,
    own: NewPrice | None,
    root: Price,
    others: Sequence[Price],
    at: datetime,
) -> NewPrice | None:
    """Return what the list wants to be valid at `at` in place of a row; None where it says nothing.

    own      the row as the list says it now
    others   the ledger without that row
    """
    if own is None:
        return None
    if (own.valid_to or _NEVER) <= at:
        return find_price_at(others, at)
    is_given = any(row_key(row) == row_key(root) for row in item.given)
    return own if is_given else None


def _is_left_out(item: ListedItem, promotion: NewPrice, at: datetime) -> bool:
    """Return whether the file has another price for `at`, which began before a promotion."""
    stated = find_listed_at(item.given, at)
    if stated is None or stated.valid_from >= promotion.valid_from:
        return False
    is_promotion = (
        promotion.offer_price_minor < promotion.list_price_minor
        or promotion.promotion_id is not None
    )
    # The same price from an earlier beginning is still announced.
    return is_promotion and stated.shown != promotion.shown


def _build_row(
    served: Price, target: NewPrice, since: datetime, until: datetime, now: datetime
) -> NewPrice:
    return NewPrice(
        item_id=served.item_id,
        zone=served.zone,
        valid_from=since,
        valid_to=None if until == _NEVER else until,
        list_price_minor=target.list_price_minor,
        offer_price_minor=target.offer_price_minor,
        currency=served.currency,
        source=PriceSource.IMPORTED,
        recorded_at=now,
        promotion_id=target.promotion_id,
    )


def group_by_item(rows: Iterable[NewPrice]) -> Mapping[tuple[str, str], list[NewPrice]]:
    """Return the rows by item and zone."""
    groups: dict[tuple[str, str], list[NewPrice]] = {}
    for row in rows:
        groups.setdefault((row.item_id, row.zone), []).append(row)
    return groups
