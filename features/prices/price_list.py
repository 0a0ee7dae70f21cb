"""The price ledger as a price list, which `shopwright import` reads as price_history."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from features.contracts.money import to_major
from features.prices.ledger import Price
from features.prices.timeline import list_steps

COLUMNS = ("item_id", "zone", "valid_from", "valid_to", "list_price", "offer_price", "promotion_id")
# Not columns of the table: an import stores them as attributes.
EXTRA_COLUMNS = ("currency", "source")


def build_price_list(rows: Iterable[Price]) -> Iterator[Price]:
    """Yield the same prices at every instant, with one row per item, zone and beginning.

    Items whose rows begin at different times keep their rows. Others get one row per step of the
    current price, from its beginning to its end: of a corrected price only the time after the
    correction is left.
    """
    ordered = sorted(rows, key=lambda price: (price.item_id, price.zone, price.seq))
    for _, group in groupby(ordered, key=lambda price: (price.item_id, price.zone)):
        history = list(group)
        if len({price.valid_from for price in history}) == len(history):
            yield from sorted(history, key=lambda price: price.valid_from)
        else:
            yield from _split_into_steps(history)


def write_price_list(path: Path, prices: Iterable[Price]) -> int:
    """Write a CSV file and return the number of rows.

    Amounts are in major units, times in RFC 3339.
    """
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((*COLUMNS, *EXTRA_COLUMNS))
        for price in prices:
            writer.writerow(_format_line(price))
            count += 1
    return count


def _split_into_steps(history: Sequence[Price]) -> Iterator[Price]:
    last = max(
        time for price in history for time in (price.valid_from, price.valid_to) if time is not None
    )
    steps = list_steps(history, last)
    ends: list[datetime | None] = [*(since for since, _ in steps[1:]), None]
    for (since, price), end in zip(steps, ends, strict=True):
        if price is not None:
            yield replace(price, valid_from=since, valid_to=end)


def _format_line(price: Price) -> tuple[str, ...]:
    return (
        price.item_id,
        price.zone,
        _format_time(price.valid_from),
        "" if price.valid_to is None else _format_time(price.valid_to),
        to_major(price.list_price_minor, price.currency),
        to_major(price.offer_price_minor, price.currency),
        price.promotion_id or "",
        price.currency,
        str(price.source),
    )


def _format_time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
