"""The price ledger as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

import sqlalchemy as sa

from features.contracts.money import to_major
from features.prices.ledger import Ledger, Price, PriceSource
from serving.database.audit_log import read_actor_names
from serving.prices.repository import ChangeOrigin, RollbackOrigin, read_origins, read_rollbacks
from serving.spreadsheets import Cell, Sheet

_PAGE = 1_000
_COLUMNS = (
    "seq",
    "item_id",
    "title",
    "category",
    "zone",
    "currency",
    "list_price",
    "offer_price",
    "valid_from",
    "valid_to",
    "source",
    "promotion_id",
    "proposed_by",
    "decided_by",
    "reason",
    "recorded_at",
    "suggestion_id",
    "price_id",
    "reverts",
)


def tabulate_changes(connection: sa.Connection, after: int, zone: str | None) -> Sheet:
    """Return the rows of the ledger after number `after` in order, read page by page.

    Title, category and names are known of rows that came from a suggestion.
    """
    return Sheet(_COLUMNS, _read_rows(connection, after, zone))


def _read_rows(connection: sa.Connection, after: int, zone: str | None) -> Iterator[list[Cell]]:
    names = read_actor_names(connection)
    while page := Ledger(connection).list_after(after, _PAGE, zone):
        after = page[-1].seq
        ids = [price.suggestion_id for price in page if price.suggestion_id is not None]
        undone = [price.reverts_price_id for price in page if price.reverts_price_id is not None]
        origins, rollbacks = read_origins(connection, ids), read_rollbacks(connection, undone)
        for price in page:
            origin = origins.get(price.suggestion_id or "")
            rollback = rollbacks.get(price.reverts_price_id or "")
            yield _make_row(price, origin, rollback, names)


def _make_row(
    price: Price,
    origin: ChangeOrigin | None,
    rollback: RollbackOrigin | None,
    names: Mapping[str, str],
) -> list[Cell]:
    """Return the cells of a row; who rolled it back decided about it, not who approved before."""
    is_rollback = price.source is PriceSource.ROLLBACK
    proposer = origin.proposed_by if origin and not is_rollback else None
    decision = rollback if is_rollback else origin
    decider = decision.decided_by if decision else None
    return [
        price.seq,
        price.item_id,
        origin.title if origin else None,
        origin.category if origin else None,
        price.zone,
        price.currency,
        Decimal(to_major(price.list_price_minor, price.currency)),
        Decimal(to_major(price.offer_price_minor, price.currency)),
        price.valid_from,
        price.valid_to,
        str(price.source),
        price.promotion_id,
        names.get(proposer, proposer) if proposer else None,
        names.get(decider, decider) if decider else None,
        decision.reason if decision else None,
        price.recorded_at,
        price.suggestion_id,
        price.price_id,
        price.reverts_price_id,
    ]
