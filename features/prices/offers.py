"""The current offer prices of each zone in memory, for filters by price.

The ledger stays the source: a new last number means that a price was appended, and a price may
begin or end at the next known change. Only the items concerned are read again.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import sqlalchemy as sa

from features.contracts.arrays import Float64Array, ObjectArray
from features.contracts.errors import Unavailable
from features.database import reading
from features.prices.ledger import Ledger

# Concurrent threads have read the clock a moment apart, and come in any order.
_CLOCK_SPREAD = timedelta(seconds=1)


@dataclass
class _ZoneOffers:
    """The offers of a zone, as read at `at` from the rows up to number `seq`.

    No price begins or ends before `until`. `aligned` has the offers in the order of `item_ids`, the
    array of the last call.
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
        self._zones: dict[str, _ZoneOffers] = {}

    def read(self, item_ids: ObjectArray, zone: str, at: datetime) -> Float64Array:
        """Return the offer price of each item at `at`, minor units; NaN without one.

        The array is shared: do not write to it. While the database does not answer, these are the
        offers read last; raises Unavailable where there are none.
        """
        with self._lock:
            cached = self._read_current(zone, at)
            if cached.aligned is None or cached.item_ids is not item_ids:
                offers = cached.offers
                cached.aligned = np.array(
                    [offers.get(item_id, np.nan) for item_id in item_ids], np.float64
                )
                cached.item_ids = item_ids
            return cached.aligned

    def _read_current(self, zone: str, at: datetime) -> _ZoneOffers:
        try:
            with reading(self._engine) as connection:
                return self._refresh(Ledger(connection), zone, at)
        except Unavailable:
            if zone not in self._zones:
                raise
            return self._zones[zone]

    def _refresh(self, ledger: Ledger, zone: str, at: datetime) -> _ZoneOffers:
        seq, cached = ledger.read_last_seq(), self._zones.get(zone)
        if cached is None or at < cached.at - _CLOCK_SPREAD:
            cached = _ZoneOffers(
                seq, at, ledger.find_next_change(zone, at), ledger.read_offers(zone, at)
            )
            self._zones[zone] = cached
            return cached
        at = max(at, cached.at)
        due = cached.until is not None and cached.until <= at
        if seq == cached.seq and not due:
            return cached
        changed = ledger.list_changed_items(
            zone, after=cached.seq, since=cached.at if due else at, until=at
        )
        if changed:
            current = ledger.find_current(changed, zone, at)
            for item_id in changed:
                price = current.get(item_id)
                if price is None:
                    cached.offers.pop(item_id, None)
                else:
                    cached.offers[item_id] = price.offer_price_minor
            cached.aligned = None
        if changed or due:
            cached.until = ledger.find_next_change(zone, at)
        cached.seq, cached.at = seq, at
        return cached
