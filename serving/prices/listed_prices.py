"""The rows of the shop's price list as prices of the ledger: which are new, and which wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from typing import NamedTuple, TypedDict

import pyarrow as pa

from configs.settings import Settings
from features.contracts.tables import DEFAULT_ZONE, PRICE_HISTORY
from features.facts.facts import Facts
from features.prices.corrections import find_corrections
from features.prices.held_prices import (
    HeldPrice,
    ImportGuards,
    RowKey,
    find_held_prices,
    find_listed_at,
    is_opening,
    row_key,
)
from features.prices.ledger import Ledger, NewPrice, Price, PriceSource
from features.prices.timeline import find_price_at, number_rows
from serving.prices.list_ends import (
    ListedItem,
    find_ending_rows,
    find_left_out,
    group_by_item,
)

_PART = 2_000  # items
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class ShortenedPrice:
    """A row of the price list that ends before `goes_on`, the row of the ledger that is served
    after its end: it was approved on the price desk, nothing is valid beneath, or the list only
    leaves it out."""

    price: NewPrice
    goes_on: Price


@dataclass
class PriceList:
    """The rows of a price list, with those of earlier files.

    given   the rows of the file that is imported
    held    the rows that wait, as last looked at
    """

    rows: Sequence[NewPrice]
    given: Sequence[NewPrice]
    now: datetime
    guards: ImportGuards
    held: list[HeldPrice] = field(default_factory=list)

    def select_entered(self, ledger: Ledger) -> list[NewPrice]:
        """Return the rows that the ledger lacks and that need not wait."""
        changed: list[NewPrice] = []
        given = {row_key(row) for row in self.given}
        origins: dict[NewPrice, NewPrice] = {}
        for rows, histories in _read_parts(ledger, self.rows):
            known = KnownPrices(histories)
            changed += known.select_changed(rows, given)
            origins |= {
                later: row
                for row, later in _continue_past_openings(rows, histories, self.now)
                if later.content_id() not in known.ids
            }
        changed.sort(key=lambda row: (row.valid_from, row.item_id, row.zone))
        entered = [*changed, *origins]
        self.held = find_held_prices(ledger, entered, self.now, self.guards, origins)
        waiting = {row_key(held.price) for held in self.held}
        return [row for row in entered if row_key(origins.get(row, row)) not in waiting]

    def select_ending(self, ledger: Ledger) -> list[NewPrice]:
        """Return the rows that end what the file no longer announces, or bring it back, and that
        correct copies of these prices."""
        waiting = {row_key(held.price) for held in self.held}
        rows: list[NewPrice] = []
        for item, history in self._read_given(ledger, self.given):
            ending = find_ending_rows(item, history, self.now, waiting)
            rows += [*ending, *find_corrections(number_rows(history, ending), self.now)]
        return rows

    def _read_given(
        self, ledger: Ledger, chosen: Iterable[NewPrice]
    ) -> Iterator[tuple[ListedItem, Sequence[Price]]]:
        """Yield the items of these rows of the file, each with what the ledger has of it."""
        listed = group_by_item(self.rows)
        for rows, histories in _read_parts(ledger, chosen):
            for (item_id, zone), given in group_by_item(rows).items():
                yield ListedItem(listed[item_id, zone], given), histories.get(item_id, [])

    def find_shortened(self, ledger: Ledger) -> Iterator[ShortenedPrice]:
        """Yield the rows that were entered and end before the ledger's row of their beginning, if
        that one is served from their end (or now) on; and promotions that the file leaves out."""
        n_given = Counter((row.item_id, row.zone) for row in self.given)
        n_listed = Counter((row.item_id, row.zone) for row in self.rows)
        shorter = {item for item, number in n_given.items() if number < n_listed[item]}
        chosen = [row for row in self.given if (row.item_id, row.zone) in shorter]
        for item, history in self._read_given(ledger, chosen):
            for row, served in find_left_out(item, history, self.now):
                yield ShortenedPrice(row, served)
        for rows, histories in _read_parts(ledger, self.rows):
            for row in KnownPrices(histories).select_shorter(rows, self.now):
                if row.valid_to is not None:
                    at = max(row.valid_to, self.now)
                    goes_on = find_price_at(histories[row.item_id], at)
                    if goes_on is not None and row_key(goes_on) == row_key(row):
                        yield ShortenedPrice(row, goes_on)


def _read_parts(
    ledger: Ledger, listed: Iterable[NewPrice]
) -> Iterator[tuple[list[NewPrice], dict[str, list[Price]]]]:
    """Yield the listed rows of some items of a zone at a time, and what the ledger has of these.

    So memory holds the rows of a part, and never the ledger.
    """
    by_zone: dict[str, dict[str, list[NewPrice]]] = {}
    for row in listed:
        by_zone.setdefault(row.zone, {}).setdefault(row.item_id, []).append(row)
    for zone, by_item in sorted(by_zone.items()):
        item_ids = sorted(by_item)
        for start in range(0, len(item_ids), _PART):
            part = item_ids[start : start + _PART]
            rows = [row for item_id in part for row in by_item[item_id]]
            yield rows, ledger.read_histories(part, zone)


class PriceListRows(NamedTuple):
    """The rows of the price list, and those among them of the file that is imported."""

    listed: list[NewPrice]
    given: list[NewPrice]


class _ListedRow(TypedDict):
    """A row of the table price_history."""

    item_id: str
    zone: str
    valid_from: datetime
    valid_to: datetime | None
    list_price_minor: int
    offer_price_minor: int
    promotion_id: str | None


def read_price_list(facts: Facts, settings: Settings, now: datetime) -> PriceListRows:
    """Return the rows of the price list, each in the zones in which it is valid."""
    zones = [] if DEFAULT_ZONE in settings.zones else list_own_currency_zones(settings)
    table = facts.read_imported("price_history").order_by(["valid_from", "item_id", "zone"])
    rows: list[_ListedRow] = [row for row in table.to_pyarrow().to_pylist() if is_storable(row)]
    keys = {(row["item_id"], row["zone"]) for row in rows}
    in_file = _list_keys(facts.given.get(PRICE_HISTORY.name))
    listed, given = [], []
    for row in rows:
        others = zones if row["zone"] == DEFAULT_ZONE else ()
        valid_in = [row["zone"], *(zone for zone in others if (row["item_id"], zone) not in keys)]
        prices = [_build_listed_price(row, zone, settings, now) for zone in valid_in]
        listed += prices
        if (row["item_id"], row["zone"], row["valid_from"]) in in_file:
            given += prices
    return PriceListRows(listed, given)


def _list_keys(rows: pa.Table | None) -> set[RowKey]:
    if rows is None:
        return set()
    columns = [rows[name].to_pylist() for name in PRICE_HISTORY.key]
    return set(zip(*columns, strict=True))


def _build_listed_price(row: _ListedRow, zone: str, settings: Settings, now: datetime) -> NewPrice:
    offer = row["offer_price_minor"]
    return NewPrice(
        item_id=row["item_id"],
        zone=zone,
        valid_from=row["valid_from"],
        valid_to=row["valid_to"],
        list_price_minor=max(row["list_price_minor"], offer),
        offer_price_minor=offer,
        currency=settings.zone(zone).currency,
        source=PriceSource.IMPORTED,
        recorded_at=now,
        promotion_id=row["promotion_id"],
    )


class KnownPrices:
    """Rows of the ledger: the last of each beginning, and the ids of all."""

    def __init__(self, histories: Mapping[str, Sequence[Price]]) -> None:
        self.ids: set[str] = set()
        self._last: dict[RowKey, Price] = {}
        self._last_listed: dict[RowKey, Price] = {}
        self._longest: dict[RowKey, Price] = {}
        self._reverting: dict[str, str] = {}
        for price in chain.from_iterable(histories.values()):
            self.ids.add(price.price_id)
            if price.reverts_price_id is not None:
                self._reverting[price.reverts_price_id] = price.price_id
            longest = self._longest.setdefault(row_key(price), price)
            if _ends_before(longest, price):
                self._longest[row_key(price)] = price
            self._last[row_key(price)] = price
            if price.source is PriceSource.IMPORTED:
                self._last_listed[row_key(price)] = price

    def select_changed(self, listed: Iterable[NewPrice], given: Set[RowKey]) -> Iterator[NewPrice]:
        """Yield the listed rows that differ from the last row of the ledger with their beginning.

        A row that equals the last one of the price list, or the last one of any source, is no
        change, nor is what an earlier file said (a row that is not `given`) and the ledger has.
        What returns to an earlier price undoes the correction made in between
        (`reverts_price_id`).
        """
        for row in listed:
            before = self._last_listed.get(row_key(row))
            if _is_same(before, row) or _is_same(self._last.get(row_key(row)), row):
                continue
            is_known = row.content_id() in self.ids
            if is_known and row_key(row) not in given:
                continue
            if before is not None and is_known:
                row = replace(row, reverts_price_id=self._find_last_reverting(before.price_id))
            yield row

    def _find_last_reverting(self, price_id: str) -> str:
        """Return what reverts a row, what reverts that and so on: the last, which nothing does.

        One row of the ledger reverts another.
        """
        while price_id in self._reverting:
            price_id = self._reverting[price_id]
        return price_id

    def select_shorter(self, listed: Iterable[NewPrice], now: datetime) -> Iterator[NewPrice]:
        """Yield the listed rows that are the last of their beginning in the ledger, where another
        one ends later, and after `now`."""
        for row in listed:
            longest = self._longest.get(row_key(row))
            if longest is None or (longest.valid_to or _NEVER) <= now:
                continue
            if _ends_before(row, longest) and _is_same(self._last.get(row_key(row)), row):
                yield row


def _ends_before(price: NewPrice, other: NewPrice) -> bool:
    return (price.valid_to or _NEVER) < (other.valid_to or _NEVER)


def _is_same(price: Price | None, row: NewPrice) -> bool:
    return price is not None and _terms(price) == _terms(row)


def _continue_past_openings(
    listed: Iterable[NewPrice], histories: Mapping[str, Sequence[Price]], now: datetime
) -> Iterator[tuple[NewPrice, NewPrice]]:
    """Yield listed prices that began before an item's ledger opened without them, and these prices
    as they go on from then.

    An opening balance begins later than the price list that is imported after it, and would hide
    it. What lies beneath a promotion goes on from the end of that.
    """
    by_item: dict[str, list[NewPrice]] = {}
    for row in listed:
        by_item.setdefault(row.item_id, []).append(row)
    for item_id, rows in by_item.items():
        first = next(iter(histories.get(item_id, ())), None)
        if first is None or not is_opening(first):
            continue
        since = first.valid_from
        ends = {row.valid_to for row in rows if row.valid_to is not None and row.valid_to > since}
        gone_on: set[NewPrice] = set()
        for begins_at in sorted({since, *ends}):
            valid = find_listed_at(rows, begins_at)
            if valid is not None and valid.valid_from < since and valid not in gone_on:
                gone_on.add(valid)
                yield valid, replace(valid, valid_from=begins_at, recorded_at=now)


def _terms(price: NewPrice) -> tuple[object, ...]:
    """Return what a row says of the time from its beginning on."""
    return (
        price.valid_to,
        price.list_price_minor,
        price.offer_price_minor,
        price.currency,
        price.promotion_id,
    )


def list_own_currency_zones(settings: Settings) -> list[str]:
    """Return the configured zones with the shop's own currency; the default zone without any."""
    zones = settings.zones or (DEFAULT_ZONE,)
    return [zone for zone in zones if settings.zone(zone).currency == settings.currency]


def is_storable(row: Mapping[str, object]) -> bool:
    """Return whether the ledger keeps the row: imports of earlier versions let NUL through."""
    return not any("\x00" in value for value in row.values() if isinstance(value, str))
