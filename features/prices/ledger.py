"""The price ledger: append-only, by item, zone and time; the only source of served prices.

A row is valid from `valid_from` until `valid_to` (no end when None). Of the rows valid at an
instant the one that began last is the current price, and of those that began together the one
appended last. So the end of a promotion restores the price before it, and a correction is a later
row with the same beginning. Nothing is ever rewritten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

import sqlalchemy as sa

from configs.settings import Settings
from features.database import lock, reading_stored
from features.database_tables import price_ledger
from features.many_rows import insert_new_rows
from features.one_of import one_of
from features.prices.currencies import KeptCurrency, keep_currencies

FETCHED_ROWS = 50_000  # at once, of the whole ledger


class PriceSource(StrEnum):
    """The origin of a price."""

    IMPORTED = "imported"  # the shop's own price history
    OBSERVED = (
        "observed"  # the regular price seen in sales: an opening balance, never a feature of demand
    )
    DESK = "desk"  # an approved suggestion
    ROLLBACK = "rollback"  # the price before a change, restored


DECIDED = (PriceSource.DESK, PriceSource.ROLLBACK)


@dataclass(frozen=True)
class NewPrice:
    """A price to append; prices in minor units of `currency`, times in business time."""

    item_id: str
    zone: str
    valid_from: datetime
    list_price_minor: int
    offer_price_minor: int
    currency: str
    source: PriceSource
    recorded_at: datetime
    valid_to: datetime | None = None
    promotion_id: str | None = None
    suggestion_id: str | None = None
    reverts_price_id: str | None = None

    @property
    def shown(self) -> tuple[int, int, str | None]:
        """What customers see of the price: list and offer price, and the promotion."""
        return self.list_price_minor, self.offer_price_minor, self.promotion_id

    def content_id(self) -> str:
        """Return an id of the content without `recorded_at`: the same price is stored once."""
        parts = (
            self.item_id,
            self.zone,
            self.valid_from.astimezone(UTC).isoformat(),
            self.valid_to.astimezone(UTC).isoformat() if self.valid_to else None,
            self.list_price_minor,
            self.offer_price_minor,
            self.currency,
            str(self.source),
            self.promotion_id,
            self.suggestion_id,
            self.reverts_price_id,
        )
        return f"price_{hashlib.sha256(repr(parts).encode()).hexdigest()[:24]}"


@dataclass(frozen=True, kw_only=True)
class Price(NewPrice):
    """A price of the ledger. `seq` grows in the order of appending.

    expired_at   when the price list of the item ended: this is its last list price, which goes on;
                 None for a price that is valid
    """

    seq: int
    price_id: str
    expired_at: datetime | None = None

    def continue_expired(self) -> Price:
        """Return the list price of a row that has ended, as it goes on."""
        if self.valid_to is None:
            return self
        return replace(
            self,
            valid_from=self.valid_to,
            valid_to=None,
            offer_price_minor=self.list_price_minor,
            promotion_id=None,
            expired_at=self.valid_to,
        )


class Ledger:
    """The repository of prices, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def append(self, rows: Sequence[NewPrice]) -> int:
        """Append prices in the given order and return how many were new.

        Raises BadInput for a price in another currency than its zone is kept in.
        """
        if not rows:
            return 0
        lock(self._connection, "price_ledger")
        for zone, currency in sorted({(row.zone, row.currency) for row in rows}):
            keep_currencies(self._connection, {zone: KeptCurrency.of(currency)})
        values = [{**vars(row), "price_id": row.content_id()} for row in rows]
        return insert_new_rows(self._connection, price_ledger, "price_id", values)

    def find_current(self, item_ids: Iterable[str], zone: str, at: datetime) -> dict[str, Price]:
        """Return the current price at `at`, by item; items without one are absent.

        Where all prices of an item have ended its last list price goes on (`expired_at`).
        """
        table = price_ledger.c
        latest = sa.func.row_number().over(
            partition_by=table.item_id, order_by=(table.valid_from.desc(), table.seq.desc())
        )
        distinct = set(item_ids)
        ranked = (
            sa.select(price_ledger, latest.label("recency"))
            .where(one_of(table.item_id, distinct), table.zone == zone, *_is_valid_at(at))
            .subquery()
        )
        rows = self._connection.execute(sa.select(ranked).where(ranked.c.recency == 1)).all()
        prices = {row.item_id: _build_price(row) for row in rows}
        return prices | self._find_expired(distinct - prices.keys(), zone, at)

    def _find_expired(self, item_ids: Collection[str], zone: str, at: datetime) -> dict[str, Price]:
        """Return the last list prices, as they go on, of the items all of whose prices ended."""
        if not item_ids:
            return {}
        table = price_ledger.c
        query = (
            sa.select(table.item_id)
            .where(table.zone == zone, one_of(table.item_id, item_ids))
            .group_by(table.item_id)
            .having(*_have_ended(at))
        )
        ended = self._connection.execute(query).scalars().all()
        last = {
            item_id: max(history, key=lambda price: (price.valid_to, price.valid_from, price.seq))
            for item_id, history in self.read_histories(ended, zone).items()
        }
        return {item_id: price.continue_expired() for item_id, price in last.items()}

    def list_expired(self, zone: str, at: datetime) -> dict[str, datetime]:
        """Return when the price lists of the items of a zone ended that have ended, by item."""
        table = price_ledger.c
        end = sa.func.max(table.valid_to)
        query = sa.select(table.item_id, end).where(table.zone == zone).group_by(table.item_id)
        rows = self._connection.execute(query.having(*_have_ended(at)))
        return {row[0]: row[1] for row in rows}

    def read_offers(self, zone: str, at: datetime) -> dict[str, int]:
        """Return the current offer price at `at` of every item of a zone, minor units.

        As in `find_current`, the last list price of an item goes on.
        """
        table = price_ledger.c
        query = sa.select(table.item_id, table.offer_price_minor).where(
            table.zone == zone, *_is_valid_at(at)
        )
        # Of an item the last row overwrites the others: it is the current price.
        rows = self._connection.execute(query.order_by(table.valid_from, table.seq))
        offers = {row.item_id: row.offer_price_minor for row in rows}
        expired = self._find_expired(self.list_expired(zone, at), zone, at)
        return offers | {item_id: price.offer_price_minor for item_id, price in expired.items()}

    def read_last_seq(self) -> int:
        """Return the number of the row appended last, 0 in an empty ledger."""
        return (
            self._connection.execute(sa.select(sa.func.max(price_ledger.c.seq))).scalar_one() or 0
        )

    def find_next_change(self, zone: str, at: datetime) -> datetime | None:
        """Return when after `at` the next known price of a zone begins or ends."""
        table = price_ledger.c
        times = [
            self._connection.execute(
                sa.select(sa.func.min(time)).where(table.zone == zone, time > at)
            ).scalar_one()
            for time in (table.valid_from, table.valid_to)
        ]
        return min((time for time in times if time is not None), default=None)

    def list_changed_items(
        self, zone: str, *, after: int, since: datetime, until: datetime
    ) -> list[str]:
        """Return the items of a zone whose price may have changed.

        Those with a row appended after number `after`, or one that began or ended after `since`, up
        to and including `until`.
        """
        table = price_ledger.c
        changes = [table.seq > after]
        if since < until:
            changes += [
                sa.and_(time > since, time <= until) for time in (table.valid_from, table.valid_to)
            ]
        query = sa.select(table.item_id).where(table.zone == zone, sa.or_(*changes)).distinct()
        return list(self._connection.execute(query).scalars())

    def read_history(self, item_id: str, zone: str) -> list[Price]:
        """Return every row of an item, in the order of appending."""
        return self.read_histories([item_id], zone).get(item_id, [])

    def read_histories(self, item_ids: Iterable[str], zone: str) -> dict[str, list[Price]]:
        """Return `read_history` of many items; those without a price are absent."""
        histories: dict[str, list[Price]] = {}
        query = (
            sa.select(price_ledger)
            .where(one_of(price_ledger.c.item_id, set(item_ids)), price_ledger.c.zone == zone)
            .order_by(price_ledger.c.seq)
        )
        for row in self._connection.execute(query):
            histories.setdefault(row.item_id, []).append(_build_price(row))
        return histories

    def read_copied_histories(self, item_ids: Iterable[str], zone: str) -> dict[str, list[Price]]:
        """Return `read_histories` of the items that have a row which restores or ends another."""
        table = price_ledger.c
        query = sa.select(table.item_id).where(
            one_of(table.item_id, set(item_ids)),
            table.zone == zone,
            sa.or_(table.source == str(PriceSource.ROLLBACK), table.reverts_price_id.is_not(None)),
        )
        copied = self._connection.execute(query.distinct()).scalars().all()
        return self.read_histories(copied, zone) if copied else {}

    def list_reduced_imports(self, zone: str) -> list[str]:
        """Return the items of a zone whose price list ever announced a reduction, sorted."""
        table = price_ledger.c
        query = sa.select(table.item_id).where(
            table.zone == zone,
            table.source == str(PriceSource.IMPORTED),
            table.offer_price_minor < table.list_price_minor,
        )
        return list(self._connection.execute(query.distinct().order_by(table.item_id)).scalars())

    def list_reduced_after(self, item_ids: Iterable[str], zone: str, at: datetime) -> set[str]:
        """Return those of the items of which an announced reduction begins after `at`."""
        table = price_ledger.c
        query = sa.select(table.item_id).where(
            one_of(table.item_id, set(item_ids)),
            table.zone == zone,
            table.valid_from > at,
            table.offer_price_minor < table.list_price_minor,
        )
        return set(self._connection.execute(query).scalars())

    def find_by_id(self, price_id: str) -> Price | None:
        """Return the row with this price_id, None without one."""
        query = sa.select(price_ledger).where(price_ledger.c.price_id == price_id)
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _build_price(row)

    def find_last_of_suggestions(self, suggestion_ids: Iterable[str]) -> dict[str, Price]:
        """Return the row appended last for each suggestion that has any, by suggestion id."""
        table = price_ledger.c
        query = sa.select(price_ledger).where(one_of(table.suggestion_id, set(suggestion_ids)))
        rows = self._connection.execute(query.order_by(table.seq))
        return {row.suggestion_id: _build_price(row) for row in rows}

    def find_by_ids(self, price_ids: Iterable[str]) -> dict[str, Price]:
        """Return the rows with these ids, by id; unknown ids are left out."""
        query = sa.select(price_ledger).where(one_of(price_ledger.c.price_id, set(price_ids)))
        return {row.price_id: _build_price(row) for row in self._connection.execute(query)}

    def list_after(self, seq: int, limit: int, zone: str | None = None) -> list[Price]:
        """Return the rows appended after number `seq`, in order: the feed of a shop system."""
        query = (
            sa.select(price_ledger)
            .where(price_ledger.c.seq > seq)
            .order_by(price_ledger.c.seq)
            .limit(limit)
        )
        if zone is not None:
            query = query.where(price_ledger.c.zone == zone)
        return [_build_price(row) for row in self._connection.execute(query)]

    def is_empty(self, zone: str | None = None) -> bool:
        """Return whether no price was ever appended (in the zone)."""
        query = sa.select(price_ledger.c.seq).limit(1)
        if zone is not None:
            query = query.where(price_ledger.c.zone == zone)
        return self._connection.execute(query).first() is None

    def list_listed_zones(self) -> set[str]:
        """Return the zones that have prices of a price list, beside opening balances."""
        table = price_ledger.c
        query = sa.select(table.zone).where(
            table.source == str(PriceSource.IMPORTED), table.valid_from != table.recorded_at
        )
        return set(self._connection.execute(query.distinct()).scalars())

    def list_zones(self, *, after: int = 0) -> list[str]:
        """Return the zones that ever had a price, of rows appended after number `after`, sorted."""
        table = price_ledger.c
        query = sa.select(table.zone).where(table.seq > after).distinct().order_by(table.zone)
        return list(self._connection.execute(query).scalars())

    def read_all(self) -> Iterator[Price]:
        """Return every row, in the order of appending."""
        query = (
            sa.select(price_ledger)
            .order_by(price_ledger.c.seq)
            .execution_options(yield_per=FETCHED_ROWS)
        )
        return (_build_price(row) for row in self._connection.execute(query))

    def list_priced(self) -> set[tuple[str, str]]:
        """Return every (item, zone) that ever had a price."""
        query = sa.select(price_ledger.c.item_id, price_ledger.c.zone).distinct()
        return {(row.item_id, row.zone) for row in self._connection.execute(query)}


def read_priced_zones(settings: Settings) -> list[str]:
    """Return the zones that ever had a price; none when the database has no ledger yet."""
    with reading_stored(settings, price_ledger) as connection:
        return [] if connection is None else Ledger(connection).list_zones()


def _is_valid_at(at: datetime) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    table = price_ledger.c
    return table.valid_from <= at, sa.or_(table.valid_to.is_(None), table.valid_to > at)


def _have_ended(at: datetime) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Return the conditions of a group of rows that all have ended."""
    table = price_ledger.c
    return sa.func.count() == sa.func.count(table.valid_to), sa.func.max(table.valid_to) <= at


def _build_price(row: sa.Row) -> Price:
    values = dict(row._mapping)
    values.pop("recency", None)
    values["source"] = PriceSource(values["source"])
    return Price(**values)
