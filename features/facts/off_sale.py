"""Which items are off sale: the one predicate, for slates, prices, forecasts and order lists.

An item is on sale unless the catalogue or `shopwright items retire` says otherwise. Everything
that shows, prices, orders or adds up items asks here: `find_off_sale(settings, now)` returns the
ids to leave out, and an `OffSaleItems` does so before every answer of a server.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from configs.settings import Settings
from features.contracts.manifest import read_segments, stamp_manifest
from features.contracts.tables import ITEMS, RETIRED_ITEMS, ItemStatus
from features.facts.stored_columns import read_stored_columns

_NEVER = datetime.max.replace(tzinfo=UTC)
_ALWAYS = datetime.min.replace(tzinfo=UTC)


class SaleTerms(NamedTuple):
    """What the catalogue says of the sale of an item, each None where it says nothing."""

    status: str | None
    published: bool | None
    available_to: datetime | None


def is_on_sale(terms: SaleTerms, now: datetime) -> bool:
    """Return whether an item of these terms is on sale at `now`.

    It is, unless its status is draft or archived, `published` is false, or `available_to` has come.
    A later `available_from` takes nothing off sale: an item that will arrive is priced and ordered
    before.
    """
    is_active = terms.status is None or terms.status.lower() == ItemStatus.ACTIVE
    has_ended = terms.available_to is not None and terms.available_to <= now
    return is_active and terms.published is not False and not has_ended


def find_off_sale(settings: Settings, now: datetime) -> frozenset[str]:
    """Return the ids of the items that are off sale at `now`, by catalogue or by hand."""
    return OffSaleItems(settings).find(now)


class OffSaleItems:
    """The items off sale, read anew after an import or `shopwright items`.

    Until something changes `find` returns the same object, and costs one look at a file. Safe to
    share between threads. It reads the Parquet files themselves: a server that answers nothing but
    slates does not load the analytical database.
    """

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.home / "tables"
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._segments: list[list[str]] = []
        self._terms: dict[str, SaleTerms] = {}
        self._retired: frozenset[str] = frozenset()
        self._off_sale: frozenset[str] = frozenset()
        self._valid_from, self._valid_to = _NEVER, _ALWAYS

    def find(self, now: datetime) -> frozenset[str]:
        """Return the ids of the items that are off sale at `now`."""
        stamp = stamp_manifest(self._folder)
        with self._lock:
            is_current = stamp == self._stamp or not self._reload(stamp)
            if is_current and self._valid_from <= now < self._valid_to:
                return self._off_sale
            ended = {key for key, terms in self._terms.items() if not is_on_sale(terms, now)}
            if self._retired | ended != self._off_sale:
                self._off_sale = self._retired | ended
            ends = [terms.available_to for terms in self._terms.values() if terms.available_to]
            self._valid_from = max((end for end in ends if end <= now), default=_ALWAYS)
            self._valid_to = min((end for end in ends if end > now), default=_NEVER)
            return self._off_sale

    def _reload(self, stamp: tuple[int, int]) -> bool:
        """Read the terms of now; return False where the tables that hold them are the same."""
        manifest = read_segments(self._folder)
        segments = [manifest.get(table.name, []) for table in (ITEMS, RETIRED_ITEMS)]
        is_changed = segments != self._segments
        if is_changed:
            self._terms, self._retired = _read_terms(self._folder)
        self._stamp, self._segments = stamp, segments
        return is_changed


def find_ended(settings: Settings, item_ids: Sequence[str], now: datetime) -> list[str]:
    """Return which of the items the catalogue itself takes off sale at `now`, in their order."""
    terms, _ = _read_terms(settings.home / "tables")
    limited = [item_id for item_id in item_ids if item_id in terms]
    return [item_id for item_id in limited if not is_on_sale(terms[item_id], now)]


def read_retired(settings: Settings) -> frozenset[str]:
    """Return the ids of the items that were retired by hand and not restored since."""
    _, retired = _read_terms(settings.home / "tables")
    return retired


def _read_terms(folder: Path) -> tuple[dict[str, SaleTerms], frozenset[str]]:
    """Return the terms of the items that are off sale or will be, by id, and the retired items."""
    rows = read_stored_columns(folder, ITEMS, ("item_id", *SaleTerms._fields)).to_pylist()
    terms = {row.pop("item_id"): SaleTerms(**row) for row in rows}
    terms = {item_id: term for item_id, term in terms.items() if not is_on_sale(term, _NEVER)}
    decisions = read_stored_columns(folder, RETIRED_ITEMS, ("item_id", "retired")).to_pylist()
    return terms, frozenset(row["item_id"] for row in decisions if row["retired"])
