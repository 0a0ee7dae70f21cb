"""The price ledger: append-only, keyed by item, zone and time, and the only place a served price
comes from.

A row holds from `valid_from` until `valid_to` (open when None). Of the rows that hold at an instant
the one that began last is in force, and of those that began together the one appended last. So a
promotion with an end gives way to the price before it, and a correction is a later row with the
same beginning. Nothing is ever rewritten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.tables import PRICE_HISTORY, TIMESTAMP
from features.database import engine, has_table, insert_new, lock, price_ledger, reading

_CHUNK = 2_000
_FETCH = 50_000


class PriceSource(StrEnum):
    """Where a price came from."""

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

    def content_id(self) -> str:
        """Named after what it says, not when it was recorded: appending the same price twice keeps
        it once."""
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
    """A price of the ledger. `seq` grows in the order of appending."""

    seq: int
    price_id: str


class Ledger:
    """The repository of prices, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def append(self, rows: Sequence[NewPrice]) -> int:
        """Appends prices in the given order and returns how many were new."""
        if not rows:
            return 0
        lock(self._connection, "price_ledger")
        values = [{**vars(row), "price_id": row.content_id()} for row in rows]
        return insert_new(self._connection, price_ledger, "price_id", values)

    def current(self, item_ids: Iterable[str], zone: str, at: datetime) -> dict[str, Price]:
        """The price in force at `at`, by item; items without one are absent."""
        table = price_ledger.c
        latest = sa.func.row_number().over(
            partition_by=table.item_id, order_by=(table.valid_from.desc(), table.seq.desc())
        )
        found: dict[str, Price] = {}
        for chunk in _chunks(item_ids):
            ranked = (
                sa.select(price_ledger, latest.label("place"))
                .where(table.item_id.in_(chunk), table.zone == zone, *_holds(at))
                .subquery()
            )
            rows = self._connection.execute(sa.select(ranked).where(ranked.c.place == 1))
            found.update((row.item_id, _price(row)) for row in rows)
        return found

    def offers(self, zone: str, at: datetime) -> dict[str, int]:
        """The offer price in force at `at` of every item of a zone that has one, minor units."""
        table = price_ledger.c
        query = sa.select(table.item_id, table.offer_price_minor).where(
            table.zone == zone, *_holds(at)
        )
        # The last to be put in is the one in force.
        rows = self._connection.execute(query.order_by(table.valid_from, table.seq))
        return {row.item_id: row.offer_price_minor for row in rows}

    def last_seq(self) -> int:
        """The number of the row appended last, 0 in an empty ledger."""
        return (
            self._connection.execute(sa.select(sa.func.max(price_ledger.c.seq))).scalar_one() or 0
        )

    def next_change(self, zone: str, at: datetime) -> datetime | None:
        """When after `at` the next price of a zone begins or ends, as far as the ledger knows."""
        table = price_ledger.c
        times = [
            self._connection.execute(
                sa.select(sa.func.min(time)).where(table.zone == zone, time > at)
            ).scalar_one()
            for time in (table.valid_from, table.valid_to)
        ]
        return min((time for time in times if time is not None), default=None)

    def touched(self, zone: str, *, after: int, since: datetime, until: datetime) -> list[str]:
        """Items of a zone with a row appended after number `after`, or one that began or ended
        after `since`.

        Up to and with `until`.
        """
        table = price_ledger.c
        touches = [table.seq > after]
        if since < until:
            touches += [
                sa.and_(time > since, time <= until) for time in (table.valid_from, table.valid_to)
            ]
        query = sa.select(table.item_id).where(table.zone == zone, sa.or_(*touches)).distinct()
        return list(self._connection.execute(query).scalars())

    def history(self, item_id: str, zone: str) -> list[Price]:
        """Every row of an item, in the order of appending."""
        return self.histories([item_id], zone).get(item_id, [])

    def histories(self, item_ids: Iterable[str], zone: str) -> dict[str, list[Price]]:
        """`history` of many items; those without a price are absent."""
        found: dict[str, list[Price]] = {}
        for chunk in _chunks(item_ids):
            query = (
                sa.select(price_ledger)
                .where(price_ledger.c.item_id.in_(chunk), price_ledger.c.zone == zone)
                .order_by(price_ledger.c.seq)
            )
            for row in self._connection.execute(query):
                found.setdefault(row.item_id, []).append(_price(row))
        return found

    def list_reduced_imports(self, zone: str) -> list[str]:
        """Return the items of a zone whose price list ever announced a reduction, sorted."""
        table = price_ledger.c
        query = sa.select(table.item_id).where(
            table.zone == zone,
            table.source == str(PriceSource.IMPORTED),
            table.offer_price_minor < table.list_price_minor,
        )
        return list(self._connection.execute(query.distinct().order_by(table.item_id)).scalars())

    def by_id(self, price_id: str) -> Price | None:
        """The row with this price_id."""
        query = sa.select(price_ledger).where(price_ledger.c.price_id == price_id)
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _price(row)

    def after(self, seq: int, limit: int, zone: str | None = None) -> list[Price]:
        """The rows appended after number `seq`, in order: the feed a shop system follows without
        missing any."""
        query = (
            sa.select(price_ledger)
            .where(price_ledger.c.seq > seq)
            .order_by(price_ledger.c.seq)
            .limit(limit)
        )
        if zone is not None:
            query = query.where(price_ledger.c.zone == zone)
        return [_price(row) for row in self._connection.execute(query)]

    def is_empty(self, zone: str | None = None) -> bool:
        """Whether no price was ever appended (in the zone)."""
        query = sa.select(price_ledger.c.seq).limit(1)
        if zone is not None:
            query = query.where(price_ledger.c.zone == zone)
        return self._connection.execute(query).first() is None

    def zones(self) -> list[str]:
        """The zones that ever had a price, sorted."""
        query = sa.select(price_ledger.c.zone).distinct().order_by(price_ledger.c.zone)
        return list(self._connection.execute(query).scalars())

    def everything(self) -> Iterator[Price]:
        """Every row, in the order of appending."""
        query = (
            sa.select(price_ledger).order_by(price_ledger.c.seq).execution_options(yield_per=_FETCH)
        )
        return (_price(row) for row in self._connection.execute(query))

    def openings(self) -> list[Price]:
        """The opening balances: first rows of an item and zone that were recorded as they began."""
        table = price_ledger.c
        first = sa.select(sa.func.min(table.seq)).group_by(table.item_id, table.zone)
        opened = table.source.in_([str(PriceSource.IMPORTED), str(PriceSource.OBSERVED)])
        query = sa.select(price_ledger).where(
            table.seq.in_(first), table.valid_from == table.recorded_at, opened
        )
        return [_price(row) for row in self._connection.execute(query)]

    def priced(self) -> set[tuple[str, str]]:
        """Every (item, zone) that ever had a price."""
        query = sa.select(price_ledger.c.item_id, price_ledger.c.zone).distinct()
        return {(row.item_id, row.zone) for row in self._connection.execute(query)}

    def as_arrow(self, sources: Iterable[PriceSource] = tuple(PriceSource)) -> pa.Table:
        """The ledger in the stored schema of PRICE_HISTORY followed by seq, price_id, source,
        recorded_at; by seq.

        Leave out OBSERVED where demand is learnt: those prices were read off sales.
        """
        columns = [name for name in _ARROW.names if name != "attributes"]
        query = (
            sa.select(*(price_ledger.c[name] for name in columns))
            .where(price_ledger.c.source.in_([str(source) for source in sources]))
            .order_by(price_ledger.c.seq)
        )
        result = self._connection.execute(query.execution_options(stream_results=True))
        batches = [_batch(columns, rows) for rows in result.partitions(_FETCH)]
        return pa.Table.from_batches(batches, _ARROW)


def known_prices(settings: Settings, at: datetime | None = None) -> pa.Table | None:
    """The ledger's prices that were not read off sales, in the stored schema of PRICE_HISTORY, each
    key once.

    With `at`, without the decisions (desk and rollback) recorded from then on, business time:
    nobody knew of them. None when the settings' database has no ledger yet.
    """
    if settings.database_url is None and not (settings.home / "shopwright.db").exists():
        return None
    opened = engine(settings)
    try:
        if not has_table(opened, price_ledger.name):
            return None
        with reading(opened) as connection:
            rows = Ledger(connection).as_arrow(
                [each for each in PriceSource if each is not PriceSource.OBSERVED]
            )
    finally:
        opened.dispose()
    if at is not None:
        decided = pc.is_in(rows["source"], value_set=pa.array([str(each) for each in DECIDED]))
        rows = rows.filter(
            pc.or_(pc.invert(decided), pc.less(rows["recorded_at"], pa.scalar(at, TIMESTAMP)))
        )
    # Of the rows that begin together the one appended last is in force.
    last = rows.group_by(PRICE_HISTORY.key).aggregate([("seq", "max")])["seq_max"]
    kept = rows.filter(pc.is_in(rows["seq"], value_set=last.combine_chunks()))
    return kept.select(PRICE_HISTORY.arrow.names)


def mean_offer(history: Sequence[Price], start: datetime, end: datetime) -> float | None:
    """The mean offer price from `start` until `end`, minor units, over the time in which a price is
    in force.

    None when none is. The same mean that `features.pipelines.demand.weekly_prices` takes of a week.
    """
    times = {
        time for price in history for time in (price.valid_from, price.valid_to) if time is not None
    }
    steps = [start, *sorted(time for time in times if start < time < end), end]
    held = [
        (find_price_at(history, since), (until - since).total_seconds())
        for since, until in pairwise(steps)
    ]
    known = [(price.offer_price_minor, seconds) for price, seconds in held if price is not None]
    if not known:
        return None
    return sum(offer * seconds for offer, seconds in known) / sum(seconds for _, seconds in known)


def opening_list_price(history: Sequence[Price], at: datetime) -> int | None:
    """The latest list price up to `at` that the desk did not set, minor units: the shop's own list,
    or the opening."""
    own = [p for p in history if p.source not in DECIDED and p.valid_from <= at]
    latest = max(own, key=lambda price: (price.valid_from, price.seq), default=None)
    return None if latest is None else latest.list_price_minor


def stands(history: Sequence[Price], change: Price, at: datetime) -> bool:
    """Whether `change` decides the price at `at`: by itself, or because whatever came after it was
    rolled back."""
    if find_price_at(history, at) == change:
        return True
    return change.reverts_price_id is None and find_price_at(_effective(history), at) == change


def price_without(history: Sequence[Price], change: Price, at: datetime) -> Price | None:
    """The price that would be in force at `at` had `change` not been made."""
    return find_price_at(_effective(history, without=change), at)


def _effective(history: Sequence[Price], without: Price | None = None) -> list[Price]:
    """What is left when each rollback is taken out together with the change that it undid."""
    numbers = {row.price_id: row.seq for row in history}
    undone = set() if without is None else {without.seq}
    for row in sorted(history, key=lambda price: -price.seq):
        if row.reverts_price_id is not None and row.seq not in undone:
            undone.add(numbers[row.reverts_price_id])
    return [row for row in history if row.seq not in undone and row.reverts_price_id is None]


def find_price_at(history: Iterable[Price], at: datetime) -> Price | None:
    """Return the price of a history that is valid at `at`, None where none is."""
    valid = (
        price
        for price in history
        if price.valid_from <= at and (price.valid_to is None or at < price.valid_to)
    )
    return max(valid, key=_precedence, default=None)


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


def _holds(at: datetime) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    table = price_ledger.c
    return table.valid_from <= at, sa.or_(table.valid_to.is_(None), table.valid_to > at)


def _chunks(item_ids: Iterable[str]) -> Iterable[list[str]]:
    distinct = list(dict.fromkeys(item_ids))
    return (distinct[start : start + _CHUNK] for start in range(0, len(distinct), _CHUNK))


def _price(row: sa.Row[Any]) -> Price:
    values = dict(row._mapping)
    values.pop("place", None)
    return Price(**{**values, "source": PriceSource(values["source"])})


_ARROW = pa.schema(
    [
        *PRICE_HISTORY.arrow,
        pa.field("seq", pa.int64()),
        pa.field("price_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("recorded_at", TIMESTAMP),
    ]
)


def _batch(columns: Sequence[str], rows: Iterable[sa.Row[Any]]) -> pa.RecordBatch:
    values = dict(zip(columns, zip(*rows, strict=True), strict=True))
    length = len(next(iter(values.values())))
    arrays = [
        pa.array(values[field.name], field.type)
        if field.name in values
        else pa.nulls(length, field.type)
        for field in _ARROW
    ]
    return pa.record_batch(arrays, schema=_ARROW)
