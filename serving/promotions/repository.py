"""Promotions as rows, each with its items. Which status may follow which stands in lifecycle.py."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from features.database_tables import price_ledger, promotion_items, promotions
from features.one_of import one_of
from serving.database.desk_tables import price_locks
from serving.database.price_locks import EVERY_ZONE


@dataclass(frozen=True)
class PromotionItem:
    """An item of a promotion; money in minor units.

    current_price_minor     what everybody pays without the promotion when it begins
    promotion_price_minor   what everybody pays for the item under it; None where the mechanic
                            leaves the price of the item as it is
    depth           share of the list price taken off; None where that depends on the order
    price_id        the ledger row that the promotion became
    expected        the item's part of the what-if as it was filed
    """

    item_id: str
    title: str | None
    category: str
    list_price_minor: int
    current_price_minor: int
    promotion_price_minor: int | None
    depth: float | None
    price_id: str | None = None
    expected: Mapping[str, object] | None = None


@dataclass(frozen=True)
class NewPromotion:
    """A promotion to file; times in business time, money in minor units of `currency`.

    terms           what everybody is offered, amounts as decimals in major units
    support         kinds of promotion that come with it, and the share of visitors they reach
    coupon_reach    share of the demand whose buyers learn of a coupon; everybody may use it
    funding_minor   what suppliers pay towards it
    cost_minor      what it costs beside its discounts: print, displays
    expected        the what-if as it was filed; None where nothing was forecast
    warnings        what whoever approves should know
    confirmed_rules pricing rules that whoever filed it confirmed to break
    """

    name: str
    zone: str
    currency: str
    mechanic: str
    terms: Mapping[str, object]
    starts_at: datetime
    ends_at: datetime
    created_at: datetime
    proposed_by: str
    items: Sequence[PromotionItem]
    support: Sequence[str] = ()
    support_reach: float = 1.0
    coupon_reach: float = 1.0
    funding_minor: int = 0
    cost_minor: int = 0
    expected: Mapping[str, object] | None = None
    warnings: Sequence[str] = ()
    confirmed_rules: Sequence[str] = ()
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Promotion(NewPromotion):
    """A filed promotion. `version` grows with every change: the ETag.

    forecast_set_id   the forecasts that its approval froze; None where none were served
    """

    seq: int
    id: str
    status: str
    version: int
    updated_at: datetime
    ended_at: datetime | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    ended_by: str | None = None
    forecast_set_id: str | None = None
    n_items: int = field(default=0)

    @property
    def runs_until(self) -> datetime:
        """When it ends, or was ended."""
        return self.ended_at or self.ends_at


@dataclass(frozen=True)
class ChangeGroup:
    """Prices of a zone that begin at the same time, apart from those of promotions.

    item_ids   the first of them
    """

    starts_at: datetime
    zone: str
    n_items: int
    item_ids: tuple[str, ...]


_OWN_COLUMNS = tuple(column.name for column in promotions.c)
_ITEM_COLUMNS = tuple(PromotionItem.__dataclass_fields__)


class Promotions:
    """The repository of promotions, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, draft: NewPromotion) -> str:
        """File a promotion with its items and return its id."""
        promotion_id = f"promo_{secrets.token_hex(10)}"
        values = {name: value for name, value in vars(draft).items() if name in _OWN_COLUMNS}
        for name in ("support", "warnings", "confirmed_rules"):
            values[name] = list(values[name])
        own = {"id": promotion_id, "status": "submitted", "version": 1}
        if values["expected"] is None:
            values["expected"] = sa.null()
        row = {**values, **own, "updated_at": draft.created_at}
        self._connection.execute(promotions.insert().values(row))
        items = [
            {**vars(item), "promotion_id": promotion_id, "expected": item.expected}
            for item in draft.items
        ]
        self._connection.execute(promotion_items.insert(), items)
        return promotion_id

    def get(self, promotion_id: str) -> Promotion | None:
        """Return a promotion with its items."""
        query = sa.select(promotions).where(promotions.c.id == promotion_id)
        row = self._connection.execute(query).mappings().one_or_none()
        if row is None:
            return None
        items = self._read_items(promotion_id)
        return Promotion(**{**row, "items": items, "n_items": len(items)})

    def list_between(
        self, starts_at: datetime, ends_at: datetime, zone: str | None = None
    ) -> list[Promotion]:
        """Return the promotions that were to run in any part of a time, without their items and
        expected effects, by beginning and number."""
        table = promotions.c
        query = _select_lean().where(table.starts_at < ends_at, table.ends_at > starts_at)
        if zone is not None:
            query = query.where(table.zone == zone)
        return self._read_lean(query.order_by(table.starts_at, table.seq))

    def list_due(self, now: datetime) -> list[str]:
        """Return the ids of promotions whose status must change by now, oldest first."""
        table = promotions.c
        due = sa.or_(
            sa.and_(table.status == "scheduled", table.starts_at <= now),
            sa.and_(table.status.in_(("submitted", "live")), table.ends_at <= now),
        )
        query = sa.select(table.id).where(due).order_by(table.seq)
        return list(self._connection.execute(query).scalars())

    def list_scheduled(self) -> list[str]:
        """Return the ids of approved promotions that have not begun, oldest first."""
        table = promotions.c
        query = sa.select(table.id).where(table.status == "scheduled").order_by(table.seq)
        return list(self._connection.execute(query).scalars())

    def change(self, promotion_id: str, now: datetime, **values: object) -> None:
        """Set values of a promotion and increase its version."""
        self._connection.execute(
            promotions.update()
            .where(promotions.c.id == promotion_id)
            .values(version=promotions.c.version + 1, updated_at=now, **values)
        )

    def link_prices(self, promotion_id: str, price_ids: Mapping[str, str]) -> None:
        """Set the ledger rows that the items of a promotion became, by item id."""
        table = promotion_items.c
        statement = (
            promotion_items.update()
            .where(table.promotion_id == promotion_id, table.item_id == sa.bindparam("linked_item"))
            .values(price_id=sa.bindparam("linked_price"))
        )
        links = [{"linked_item": key, "linked_price": value} for key, value in price_ids.items()]
        if links:
            self._connection.execute(statement, links)

    def list_price_changes(
        self, starts_at: datetime, ends_at: datetime, zone: str | None = None, shown: int = 20
    ) -> list[ChangeGroup]:
        """Return the prices of the ledger that begin in a time and were not rolled back, grouped by
        beginning and zone; those of promotions of the desk are left out."""
        table, undone, items = price_ledger.c, price_ledger.alias("undone"), promotion_items
        of_promotion = sa.exists().where(items.c.price_id == table.price_id)
        is_undone = sa.exists().where(undone.c.reverts_price_id == table.price_id)
        chosen = [
            table.valid_from >= starts_at,
            table.valid_from < ends_at,
            table.source != "rollback",
            ~of_promotion,
            ~is_undone,
        ]
        if zone is not None:
            chosen.append(table.zone == zone)
        distinct = sa.select(table.valid_from, table.zone, table.item_id).where(*chosen).distinct()
        rows = distinct.subquery()
        position = sa.func.row_number().over(
            partition_by=(rows.c.valid_from, rows.c.zone), order_by=rows.c.item_id
        )
        number = sa.func.count().over(partition_by=(rows.c.valid_from, rows.c.zone))
        ranked = sa.select(rows, position.label("position"), number.label("number")).subquery()
        query = sa.select(ranked).where(ranked.c.position <= shown)
        query = query.order_by(ranked.c.valid_from, ranked.c.zone, ranked.c.position)
        groups: dict[tuple[datetime, str], tuple[int, list[str]]] = {}
        for row in self._connection.execute(query):
            key = row.valid_from, row.zone
            groups.setdefault(key, (row.number, []))[1].append(row.item_id)
        return [
            ChangeGroup(*key, n_items=number, item_ids=tuple(item_ids))
            for key, (number, item_ids) in groups.items()
        ]

    def _read_items(self, promotion_id: str) -> tuple[PromotionItem, ...]:
        table = promotion_items.c
        columns = (table[name] for name in _ITEM_COLUMNS)
        query = sa.select(*columns).where(table.promotion_id == promotion_id)
        rows = self._connection.execute(query.order_by(table.item_id))
        return tuple(PromotionItem(*row) for row in rows)

    def _read_lean(self, query: sa.Select[tuple[object, ...]]) -> list[Promotion]:
        rows = self._connection.execute(query).mappings()
        return [Promotion(**row, items=(), expected=None) for row in rows]


def find_waiting(
    connection: sa.Connection, promotion: NewPromotion, item_ids: Sequence[str]
) -> list[str]:
    """Return the names of submitted promotions of any of the items at the same time, sorted."""
    table, items = promotions.c, promotion_items.c
    query = (
        sa.select(table.name)
        .join(promotion_items, items.promotion_id == table.id)
        .where(
            table.status == "submitted",
            table.zone == promotion.zone,
            table.starts_at < promotion.ends_at,
            table.ends_at > promotion.starts_at,
            one_of(items.item_id, set(item_ids)),
        )
        .distinct()
    )
    return sorted(connection.execute(query).scalars())


def find_locks(
    connection: sa.Connection,
    item_ids: Sequence[str],
    zone: str,
    starts_at: datetime,
    ends_at: datetime,
) -> dict[str, str]:
    """Return why prices are locked in any part of a time, by item."""
    table = price_locks.c
    query = sa.select(table.item_id, table.reason).where(
        table.item_id.in_(item_ids),
        table.zone.in_((zone, EVERY_ZONE)),
        table.begins_at < ends_at,
        table.ends_at > starts_at,
    )
    return {row.item_id: row.reason for row in connection.execute(query.order_by(table.seq))}


def _select_lean() -> sa.Select[tuple[object, ...]]:
    """Return a query of promotions with the number of their items, without expected effects."""
    columns = (column for column in promotions.c if column.name != "expected")
    number = (
        sa.select(sa.func.count())
        .where(promotion_items.c.promotion_id == promotions.c.id)
        .scalar_subquery()
    )
    return sa.select(*columns, number.label("n_items"))
