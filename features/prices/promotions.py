"""The promotions of the price desk as everybody outside of it sees them: when, of what, on which
terms.

A promotion runs from its beginning until its end, or until somebody ended it early. Where its price
of an item was rolled back, it ends for that item there. How it is filed and decided stands in
serving/promotions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.tables import PROMOTIONS
from features.database import reading_stored
from features.database_tables import price_ledger, promotion_items, promotions
from features.one_of import one_of
from features.prices.reduction_rule import PublicCoupon

COUPON = "coupon"
# The statuses of promotions with a decision, once it was to approve them.
APPROVED = ("scheduled", "live", "expired", "rolled_back")
# The kind of the table `promotions` by mechanic, where it has another name.
_KINDS = {"percent_off": "price", "price_off": "price"}


@dataclass(frozen=True)
class PromotedItem:
    """One item of an approved promotion, and the time in which it runs there.

    terms   what everybody is offered, amounts as decimals in major units
    depth   share of the list price that it takes off; None where that depends on the order
    """

    promotion_id: str
    name: str
    item_id: str
    zone: str
    currency: str
    mechanic: str
    terms: Mapping[str, object]
    depth: float | None
    starts_at: datetime
    ends_at: datetime


def find_promoted(
    connection: sa.Connection,
    zone: str,
    starts_at: datetime,
    ends_at: datetime,
    item_ids: Iterable[str] | None = None,
) -> list[PromotedItem]:
    """Return the promotions that run in any part of a time, by item, beginning and id.

    Of all items without `item_ids`. A time of one instant is that instant.
    """
    runs = _select_runs().subquery()
    query = sa.select(runs).where(
        runs.c.zone == zone,
        runs.c.ends_at > starts_at,
        sa.or_(runs.c.starts_at < ends_at, runs.c.starts_at <= starts_at),
    )
    return _read_items(connection, query, runs, item_ids)


def find_public_coupons(
    connection: sa.Connection, zone: str, item_ids: Iterable[str]
) -> dict[str, tuple[PublicCoupon, ...]]:
    """Return past and planned coupons of the desk by item: everybody may use them, by law a price
    that was asked."""
    runs = _select_runs().subquery()
    query = sa.select(runs).where(runs.c.zone == zone, runs.c.mechanic == COUPON)
    coupons: dict[str, tuple[PublicCoupon, ...]] = {}
    for item in _read_items(connection, query, runs, item_ids):
        if item.depth is not None:
            coupon = PublicCoupon(item.starts_at, item.ends_at, item.depth)
            coupons[item.item_id] = (*coupons.get(item.item_id, ()), coupon)
    return coupons


def find_promoted_category(connection: sa.Connection, price_id: str) -> str | None:
    """Return the category of the item whose promotion put this row into the ledger."""
    query = sa.select(promotion_items.c.category).where(promotion_items.c.price_id == price_id)
    return connection.execute(query).scalar()


def read_promotions(settings: Settings, known_at: datetime | None = None) -> pa.Table | None:
    """Return the approved promotions in the stored schema of PROMOTIONS, None without a database.

    One row per item with the mechanic as its kind, and one per kind of support. With `known_at`
    (business time) as they were planned then.
    """
    with reading_stored(settings, promotions) as connection:
        if connection is None:
            return None
        rows = connection.execute(_select_runs(known_at)).mappings().all()
    listed = [row for promotion in rows for row in _list_rows(promotion)]
    return pa.Table.from_pylist(listed, PROMOTIONS.arrow)


def _select_runs(known_at: datetime | None = None) -> sa.Select[tuple[object, ...]]:
    """Return a query of the items of approved promotions with the time in which each runs."""
    undone = price_ledger.alias("undone")
    table, items = promotions.c, promotion_items.c
    undone_at: sa.ColumnElement[datetime] = undone.c.valid_from
    ended_at: sa.ColumnElement[datetime] = table.ended_at
    conditions: list[sa.ColumnElement[bool]] = [
        table.status.in_(APPROVED),
        table.decided_at.is_not(None),
    ]
    if known_at is not None:
        conditions.append(table.decided_at < known_at)
        undone_at = sa.case((undone.c.recorded_at < known_at, undone_at))
        ended_at = sa.case((ended_at < known_at, ended_at))
    ends_at = sa.func.coalesce(undone_at, ended_at, table.ends_at)
    return (
        sa.select(
            table.id.label("promotion_id"),
            table.name,
            items.item_id,
            table.zone,
            table.currency,
            table.mechanic,
            table.terms,
            table.support,
            table.support_reach,
            table.coupon_reach,
            items.depth,
            table.starts_at,
            sa.type_coerce(ends_at, table.ends_at.type).label("ends_at"),
        )
        .select_from(promotions)
        .join(promotion_items, items.promotion_id == table.id)
        .outerjoin(undone, undone.c.reverts_price_id == items.price_id)
        .where(*conditions, ends_at > table.starts_at)
    )


def _read_items(
    connection: sa.Connection,
    query: sa.Select[tuple[object, ...]],
    runs: sa.Subquery,
    item_ids: Iterable[str] | None,
) -> list[PromotedItem]:
    """Return the rows of a query of `runs`, of some items or of all."""
    ordered = query.order_by(runs.c.item_id, runs.c.starts_at, runs.c.promotion_id)
    if item_ids is not None:
        ordered = ordered.where(one_of(runs.c.item_id, set(item_ids)))
    names = PromotedItem.__dataclass_fields__
    return [
        PromotedItem(**{name: row[name] for name in names})
        for row in connection.execute(ordered).mappings()
    ]


def _list_rows(promotion: sa.RowMapping) -> list[dict[str, object]]:
    """Return the rows of the table `promotions` that one item of a promotion is."""
    mechanic, terms = str(promotion["mechanic"]), promotion["terms"]
    shared = {name: promotion[name] for name in ("item_id", "zone", "starts_at", "ends_at")}
    attributes = {name: terms[name] for name in PROMOTIONS.used_attributes if name in terms}
    own = {
        **shared,
        "promotion_id": promotion["promotion_id"],
        "kind": _KINDS.get(mechanic, mechanic),
        "depth": promotion["depth"],
        "reach": promotion["coupon_reach"] if mechanic == COUPON else 1.0,
        "attributes": json.dumps(attributes) if attributes else None,
    }
    support = [
        {
            **shared,
            "promotion_id": f"{promotion['promotion_id']}:{kind}",
            "kind": kind,
            "reach": promotion["support_reach"],
        }
        for kind in promotion["support"]
    ]
    return [own, *support]
