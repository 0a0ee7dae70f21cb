"""The price history of one item over time: current price, steps, mean, and undone changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from features.prices.ledger import DECIDED, NewPrice, Price, PriceSource


def number_rows(history: Sequence[Price], rows: Iterable[NewPrice]) -> list[Price]:
    """Return the history of an item as it is once rows are appended."""
    seq = max((price.seq for price in history), default=0)
    added = [
        Price(**vars(row), seq=seq + number, price_id=row.content_id())
        for number, row in enumerate(rows, 1)
    ]
    return [*history, *added]


def compute_mean_offer(history: Sequence[Price], start: datetime, end: datetime) -> float | None:
    """Return the mean offer price from `start` until `end`, minor units, weighted by time.

    Time without a price does not count; None when there is none at all. The same mean as that
    of a week in `features.pipelines.demand.weekly_prices`.
    """
    times = {
        time for price in history for time in (price.valid_from, price.valid_to) if time is not None
    }
    steps = [start, *sorted(time for time in times if start < time < end), end]
    spans = [
        (find_served_price(history, since), (until - since).total_seconds())
        for since, until in pairwise(steps)
    ]
    known = [(price.offer_price_minor, seconds) for price, seconds in spans if price is not None]
    if not known:
        return None
    if len({offer for offer, _ in known}) == 1:  # exact, however long it is valid
        return float(known[0][0])
    return sum(offer * seconds for offer, seconds in known) / sum(seconds for _, seconds in known)


def find_opening_list_price(history: Sequence[Price], at: datetime) -> int | None:
    """Return the latest list price up to `at` that the desk did not set, minor units."""
    own = [price for price in history if price.source not in DECIDED and price.valid_from <= at]
    latest = max(own, key=lambda price: (price.valid_from, price.seq), default=None)
    return None if latest is None else latest.list_price_minor


def is_effective(history: Sequence[Price], change: Price, at: datetime) -> bool:
    """Return whether `change` decides the price at `at`, after all later rollbacks."""
    if find_price_at(history, at) == change:
        return True
    if change.source in (PriceSource.IMPORTED, PriceSource.ROLLBACK) and change.reverts_price_id:
        return False
    return find_price_at(drop_undone(history, begun_by=at), at) == change


def drop_undone(
    history: Sequence[Price], *, begun_by: datetime, without: Price | None = None
) -> list[Price]:
    """Return what has begun by then of the history and decides on the price.

    Those are neither rollbacks, nor what they undid, nor what later price lists replaced, nor the
    change `without`. A rollback of a row of a price list undoes all rows that say the same from the
    same beginning on, whatever their ends.

    Of the rows of price lists that begin together the last one counts, also after its end; a row
    that ends a promotion at another time only repeats what that one says. A price that is approved
    again after its withdrawal counts for itself, whatever its new terms are.
    """
    by_id = {row.price_id: row for row in history}
    undone = set() if without is None else {without.seq}
    begun = [row for row in history if row.valid_from <= begun_by]
    for row in sorted(begun, key=lambda price: -price.seq):
        if row.source is PriceSource.ROLLBACK and row.reverts_price_id and row.seq not in undone:
            reverted = by_id[row.reverts_price_id]
            if reverted.valid_to is None or row.valid_from < reverted.valid_to:
                undone |= {reverted.seq, *_find_restated(begun, reverted)}
    imported = [row for row in begun if row.source is PriceSource.IMPORTED]
    # What returns to an earlier row of the list repeats it; what ends one has its own beginning.
    stated = {_list_content(row) for row in imported if row.reverts_price_id is None}
    listed = [row for row in imported if row.seq not in undone and _list_content(row) in stated]
    last_listed = {row.valid_from: row.seq for row in sorted(listed, key=lambda price: price.seq)}
    decided = {
        row.seq for row in begun if row.source not in (PriceSource.IMPORTED, PriceSource.ROLLBACK)
    }
    kept = decided.union(last_listed.values()) - undone
    return [row for row in begun if row.seq in kept]


def _find_restated(begun: Sequence[Price], row: Price) -> set[int]:
    """Return the numbers of the rows of price lists that say what a row of one says, with another
    end."""
    if row.source is not PriceSource.IMPORTED:
        return set()
    return {
        other.seq
        for other in begun
        if other.source is PriceSource.IMPORTED
        and (other.valid_from, other.shown) == (row.valid_from, row.shown)
    }


def _list_content(row: Price) -> tuple[object, ...]:
    return row.valid_from, row.valid_to, row.shown


def _is_valid(price: Price, at: datetime) -> bool:
    return price.valid_from <= at and (price.valid_to is None or at < price.valid_to)


def find_price_at(history: Sequence[Price], at: datetime) -> Price | None:
    """Return the price of a history that is valid at `at`, None where none is."""
    valid = (price for price in history if _is_valid(price, at))
    return max(valid, key=_precedence, default=None)


def find_served_price(history: Sequence[Price], at: datetime) -> Price | None:
    """Return the price of a history that is served at `at`.

    The valid one; where all prices have ended, the last list price as it goes on.
    """
    price = find_price_at(history, at)
    has_ended = all(row.valid_to is not None and row.valid_to <= at for row in history)
    if price is None and has_ended and (last := find_last_price(history, at)) is not None:
        return last.continue_expired()
    return price


def find_decided_price(history: Sequence[Price], at: datetime) -> Price | None:
    """Return the price at `at` by the decisions and price lists alone, without any copies."""
    return find_served_price(drop_undone(history, begun_by=at), at)


def find_repeated_price(history: Sequence[Price], row: Price, at: datetime) -> Price | None:
    """Return the price that a restored row repeats at `at`; None for a row that decides or undoes.

    Of the rows of a rollback one undoes the change, the others repeat what lies beneath it.
    """
    by_id = {price.price_id: price for price in history}
    root = row
    while root.reverts_price_id is not None:
        root = by_id[root.reverts_price_id]
    return find_decided_price(history, at) if root.source is PriceSource.ROLLBACK else None


def find_last_price(history: Sequence[Price], at: datetime) -> Price | None:
    """Return the price of a history that ended last before `at`, None where none has."""
    ended = [price for price in history if price.valid_to is not None and price.valid_to <= at]
    return max(ended, key=lambda price: (price.valid_to, *_precedence(price)), default=None)


class PriceStep(NamedTuple):
    """The valid price from `since` until the next step; None where none is."""

    since: datetime
    price: Price | None


def list_steps(history: Sequence[Price], at: datetime) -> list[PriceStep]:
    """Return the valid price of every instant up to `at`, step by step."""
    times = {price.valid_from for price in history} | {
        price.valid_to for price in history if price.valid_to
    }
    waiting = sorted(history, key=_precedence, reverse=True)
    # Of the prices that have begun the last is the valid one; what has ended never comes back.
    begun: list[Price] = []
    steps = []
    for time in sorted(time for time in times if time <= at):
        while waiting and waiting[-1].valid_from <= time:
            begun.append(waiting.pop())
        while begun and (end := begun[-1].valid_to) is not None and end <= time:
            begun.pop()
        steps.append(PriceStep(time, begun[-1] if begun else None))
    return steps


def _precedence(price: Price) -> tuple[datetime, int]:
    """Of two valid prices the one with the greater precedence is used."""
    return price.valid_from, price.seq
