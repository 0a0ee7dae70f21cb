"""The offer prices in force, kept in memory per zone: what a filter by price looks at.

The ledger stays the source: its last number tells whether a price was appended, and the next
instant at which a price begins or ends tells when time alone moves one. Only items that either
touches are read again.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import sqlalchemy as sa

from features.contracts.arrays import Float64Array, ObjectArray
from features.database import reading
from features.prices.ledger import Ledger

# Threads that ask at once have read the clock a moment apart, and come in any order.
_APART = timedelta(seconds=1)


@dataclass
class _Zone:
    """`offers` as read at `at` from the rows up to number `seq`; nothing moves before `until` by
    time alone.

    `aligned` holds the same in the order of `item_ids`, the array it was last asked for with.
    """

    seq: int
    at: datetime
    until: datetime | None
    offers: dict[str, int]
    item_ids: ObjectArray | None = None
    aligned: Float64Array | None = None


class OfferPrices:
    """A cache for one process. Safe to share between threads."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._zones: dict[str, _Zone] = {}

    def of(self, item_ids: ObjectArray, zone: str, at: datetime) -> Float64Array:
        """The offer price of each item at `at`, minor units; NaN where it has none. Not to be
        written to."""
        with self._lock:
            with reading(self._engine) as connection:
                held = self._fresh(Ledger(connection), zone, at)
            if held.aligned is None or held.item_ids is not item_ids:
                offers = held.offers
                held.aligned = np.array(
                    [offers.get(item_id, np.nan) for item_id in item_ids], np.float64
                )
                held.item_ids = item_ids
            return held.aligned

    def _fresh(self, ledger: Ledger, zone: str, at: datetime) -> _Zone:
        seq, held = ledger.last_seq(), self._zones.get(zone)
        if held is None or at < held.at - _APART:
            held = _Zone(seq, at, ledger.next_change(zone, at), ledger.offers(zone, at))
            self._zones[zone] = held
            return held
        at = max(at, held.at)
        due = held.until is not None and held.until <= at
        if seq == held.seq and not due:
            return held
        touched = ledger.touched(zone, after=held.seq, since=held.at if due else at, until=at)
        if touched:
            current = ledger.current(touched, zone, at)
            for item_id in touched:
                price = current.get(item_id)
                if price is None:
                    held.offers.pop(item_id, None)
                else:
                    held.offers[item_id] = price.offer_price_minor
            held.aligned = None
        if touched or due:
            held.until = ledger.next_change(zone, at)
        held.seq, held.at = seq, at
        return held
