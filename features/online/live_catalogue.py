"""The catalogue and the stock as they are now, beside the item features of the last version.

A server looks at one file before an answer, and reads the tables anew where they changed: it sees
what an import or a write over HTTP stored at the next call. It loads no analytical database.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.settings import Settings
from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array, ObjectArray
from features.contracts.errors import Damaged
from features.contracts.manifest import read_segments, stamp_manifest
from features.contracts.recommendations import ItemFeatures
from features.contracts.tables import ATTRIBUTES, DEFAULT_ZONE, ITEMS, STOCK
from features.facts.stored_columns import read_segment_columns

log = logging.getLogger(__name__)

_DAY = timedelta(days=1)
_COLUMNS_OF_SLATES = (
    "item_id",
    "category",
    "brand",
    "family_id",
    "available_from",
    "stock_on_hand",
    "stock_on_hand_at",
    ATTRIBUTES,
)
_N_KEPT = 8  # alignments, and stock of zones
# Counts of what happened to an item: 0 for one that has just come.
_COUNTS = ("units_", "orders_", "buyers", "views_", "promotion_reach_")


@dataclass(frozen=True)
class StockCount:
    """Units on hand, and when they were counted."""

    on_hand: float
    at: datetime


class LiveItems:
    """The rows of the catalogue as of one write; columns are read when somebody needs them."""

    def __init__(self, folder: Path = Path(), segments: Sequence[str] = ()) -> None:
        self._folder, self.segments = folder, tuple(segments)
        self._columns: dict[str, ObjectArray] = {}
        self._aligned: list[tuple[ObjectArray, Int64Array]] = []

    @cached_property
    def index(self) -> Mapping[str, int]:
        """The row of each item."""
        return {item_id: row for row, item_id in enumerate(self.column("item_id"))}

    @cached_property
    def attributes(self) -> Sequence[Mapping[str, str]]:
        """The attributes of each row, texts by name."""
        return [json.loads(text) if text else {} for text in self.column(ATTRIBUTES)]

    @cached_property
    def attribute_names(self) -> frozenset[str]:
        """The names of all attributes."""
        return frozenset(name for attributes in self.attributes for name in attributes)

    @cached_property
    def families(self) -> Mapping[str, Sequence[str]]:
        """The items of each family, by id."""
        families: dict[str, list[str]] = {}
        for item_id, family in zip(self.column("item_id"), self.column("family_id"), strict=True):
            if family:
                families.setdefault(family, []).append(item_id)
        return {family: sorted(members) for family, members in families.items()}

    def attribute(self, name: str) -> ObjectArray:
        """Return an attribute of each row, or a column of texts; None where it is empty."""
        if name in ITEMS.arrow.names:
            return self.column(name)
        values = np.empty(len(self.attributes), object)
        values[:] = [attributes.get(name) for attributes in self.attributes]
        return values

    def column(self, name: str) -> ObjectArray:
        """Return a stored column, None where it is empty."""
        values = self._columns.get(name)
        if values is None:
            table = read_segment_columns(self._folder, ITEMS, (name,), self.segments)
            values = np.empty(len(table), object)
            values[:] = table[name].to_pylist()
            self._columns[name] = values
        return values

    def align(self, item_ids: ObjectArray) -> Int64Array:
        """Return the row of each of these ids, -1 without one; kept for the same array."""
        for known, known_rows in self._aligned:
            if known is item_ids:
                return known_rows
        ids = pa.array(item_ids, pa.string())
        found = pc.index_in(ids, value_set=pa.array(self.column("item_id"), pa.string()))
        rows: Int64Array = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        self._aligned = [(item_ids, rows), *self._aligned][:_N_KEPT]
        return rows

    def texts(self, name: str, item_ids: ObjectArray, missing: ObjectArray) -> ObjectArray:
        """Return a column of texts by item, "" where it is empty; those of `missing` for items
        that the catalogue does not have."""
        rows = self.align(item_ids)
        known = rows >= 0
        values = missing.copy()
        values[known] = [value or "" for value in self.column(name)[rows[known]]]
        return values


@dataclass(frozen=True)
class LiveState:
    """The catalogue and the latest count of each item by zone, as of one write."""

    items: LiveItems = field(default_factory=LiveItems)
    counts: Mapping[str, Mapping[str, StockCount]] = field(default_factory=dict)

    def find_stock(self, item_ids: ObjectArray, zone: str | None) -> Float64Array:
        """Return the units on hand of each item, NaN where they are unknown; of all zones
        together without a zone.

        The rule of features.pipelines: the latest count, else the number of the catalogue. Over
        all zones a newer number of the catalogue replaces the counts; so it does in the default
        zone, and in another one it limits them.
        """
        rows = self.items.align(item_ids)
        stated, stated_at = (
            self.items.column(name) for name in ("stock_on_hand", "stock_on_hand_at")
        )
        counts = self._sum_counts() if zone is None else self.counts.get(zone, {})
        limits = zone is not None and zone != DEFAULT_ZONE
        stock = np.full(len(item_ids), np.nan)
        for position, (item_id, row) in enumerate(zip(item_ids, rows.tolist(), strict=True)):
            if row < 0:  # no item of the catalogue
                continue
            number, at, count = stated[row], stated_at[row], counts.get(item_id)
            if count is None:
                units = number
            elif at is None or at <= count.at or number is None:
                units = count.on_hand
            else:
                units = min(number, count.on_hand) if limits else number
            if units is not None:
                stock[position] = units
        return stock

    def _sum_counts(self) -> Mapping[str, StockCount]:
        """Return the counts of all zones together, as of the latest of them."""
        total: dict[str, StockCount] = {}
        for counts in self.counts.values():
            for item_id, count in counts.items():
                known = total.get(item_id)
                if known is not None:
                    count = StockCount(known.on_hand + count.on_hand, max(known.at, count.at))
                total[item_id] = count
        return total


class LiveCatalogue:
    """Reads the tables of one state folder. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.home / "tables"
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._stock_segments: tuple[str, ...] = ()
        self._state = LiveState()
        self._stock: list[tuple[LiveState, ObjectArray, str | None, Float64Array]] = []

    def read(self) -> LiveState:
        """Return the rows of now; the same object while nothing has changed."""
        stamp = stamp_manifest(self._folder)
        if stamp == self._stamp:
            return self._state
        with self._lock:
            if stamp != self._stamp:
                self._reload(read_segments(self._folder))
                self._stamp = stamp
            return self._state

    def warm(self) -> None:
        """Read what every slate needs, unless it was read already. Raises Damaged."""
        items = self.read().items
        for name in _COLUMNS_OF_SLATES:
            items.column(name)

    def find_stock(self, item_ids: ObjectArray, zone: str | None) -> Float64Array:
        """Return the stock of now by item, see LiveState; kept until something changes."""
        state = self.read()
        for known, ids, of_zone, stock in self._stock:
            if known is state and ids is item_ids and of_zone == zone:
                return stock
        stock = state.find_stock(item_ids, zone)
        self._stock = [(state, item_ids, zone, stock), *self._stock][:_N_KEPT]
        return stock

    def extend(self, items: ItemFeatures, now: datetime) -> ItemFeatures:
        """Return the item features with the texts of now, and with the items that came since.

        What such an item has sold is 0, and what nobody knows is NaN. Items whose
        `available_from` has not come are left out.
        """
        live = self.read().items
        is_new = self._find_new(live, items, now)
        new_ids = live.column("item_id")[is_new]
        item_ids = items.item_ids
        if len(new_ids):
            item_ids = np.concatenate([item_ids, new_ids])
            order = np.argsort(item_ids.astype(str), kind="stable")
            columns = {
                name: np.concatenate([values, _guess(name, live, is_new, now)])[order]
                for name, values in items.columns.items()
            }
            empty = np.full(len(new_ids), "", object)
            items = replace(
                items,
                item_ids=item_ids[order],
                columns=columns,
                category=np.concatenate([items.category, empty])[order],
                brand=np.concatenate([items.brand, empty])[order],
            )
        none = np.full(len(items.item_ids), "", object)
        return replace(
            items,
            category=live.texts("category", items.item_ids, items.category),
            brand=live.texts("brand", items.item_ids, items.brand),
            family=live.texts("family_id", items.item_ids, none),
            title=live.texts("title", items.item_ids, none),
        )

    def find_next_arrival(self, now: datetime) -> datetime | None:
        """Return when the next item of the catalogue becomes available."""
        times = self.read().items.column("available_from")
        return min((at for at in times if at is not None and at > now), default=None)

    def _find_new(self, live: LiveItems, items: ItemFeatures, now: datetime) -> BoolArray:
        """Return which rows of the catalogue are available and not among the items."""
        is_known = np.zeros(len(live.column("item_id")), bool)
        rows = live.align(items.item_ids)
        is_known[rows[rows >= 0]] = True
        is_new = ~is_known
        available_from = live.column("available_from")
        for row in np.flatnonzero(is_new).tolist():
            is_new[row] = available_from[row] is None or available_from[row] <= now
        return is_new

    def _reload(self, segments: Mapping[str, Sequence[str]]) -> None:
        items, stock = tuple(segments.get(ITEMS.name, ())), tuple(segments.get(STOCK.name, ()))
        state = self._state
        if items != state.items.segments:
            state = replace(state, items=LiveItems(self._folder, items))
        if stock != self._stock_segments:
            try:
                counts = _merge_counts([_read_counts(self._folder, segment) for segment in stock])
            except Damaged as error:  # the counts of before are better than no slates
                log.warning("%s; the counts read before stay", error)
            else:
                state = replace(state, counts=counts)
            self._stock_segments = stock
        self._state = state


def _guess(name: str, live: LiveItems, is_new: BoolArray, now: datetime) -> Float32Array:
    """Return a column of item features for items that have just come."""
    if name == "age_days":
        since = live.column("available_from")[is_new]
        ages = [np.nan if at is None else (now - at) / _DAY for at in since]
        return np.array(ages, np.float32)
    value = 0.0 if name.startswith(_COUNTS) else np.nan
    return np.full(int(is_new.sum()), value, np.float32)


# A segment is named by its content, so that what was read of it once is true for good.
@lru_cache(maxsize=64)
def _read_counts(folder: Path, segment: str) -> Mapping[tuple[str, str], StockCount]:
    """Return the latest count of each zone and item in a segment."""
    table = read_segment_columns(folder, STOCK, ("zone", "item_id", "at", "on_hand"), (segment,))
    latest = table.sort_by("at")
    columns = (latest[name].to_pylist() for name in ("zone", "item_id", "at", "on_hand"))
    return {
        (zone or DEFAULT_ZONE, item_id): StockCount(on_hand, at)
        for zone, item_id, at, on_hand in zip(*columns, strict=True)
    }


def _merge_counts(
    parts: Sequence[Mapping[tuple[str, str], StockCount]],
) -> Mapping[str, Mapping[str, StockCount]]:
    """Return the latest count of each item, by zone."""
    counts: dict[str, dict[str, StockCount]] = {}
    for part in parts:
        for (zone, item_id), count in part.items():
            of_zone = counts.setdefault(zone, {})
            known = of_zone.get(item_id)
            if known is None or known.at <= count.at:
                of_zone[item_id] = count
    return counts
