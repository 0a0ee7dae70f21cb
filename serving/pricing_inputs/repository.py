"""The one query about suggestions that pricing needs: which prices were turned down lately."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from features.database_tables import price_ledger
from serving.database.desk_tables import price_suggestions


def find_rejections(
    connection: sa.Connection, zone: str, since: datetime
) -> dict[tuple[str, str], str]:
    """Return what was decided after `since` against another price: "rejected" or "rolled back".

    By item and the id of the price that was kept or restored: as long as that price is valid,
    somebody has just decided for it. Of the rejections of an item the last one counts.
    """
    table, ledger = price_suggestions.c, price_ledger.c
    turned_down = sa.select(table.item_id, table.base_price_id, table.status).where(
        table.zone == zone,
        sa.or_(
            sa.and_(table.status == "rejected", table.decided_at > since),
            sa.and_(table.status == "rolled_back", table.updated_at > since),
        ),
    )
    last = {
        item_id: (price_id, status.replace("_", " "))
        for item_id, price_id, status in connection.execute(
            turned_down.order_by(table.decided_at, table.seq)
        )
    }
    decided = {(item_id, price_id): what for item_id, (price_id, what) in last.items()}
    restored = sa.select(ledger.item_id, ledger.price_id).where(
        ledger.zone == zone, ledger.source == "rollback", ledger.recorded_at > since
    )
    for item_id, price_id in connection.execute(restored):
        decided[item_id, price_id] = "rolled back"
    return decided
