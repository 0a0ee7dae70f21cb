"""The one query about suggestions that pricing needs: which prices were rejected lately."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from serving.database.tables import price_suggestions


def find_rejections(connection: sa.Connection, zone: str, since: datetime) -> dict[str, str]:
    """Return, by item id, the price id that the last suggestion rejected after `since` was for."""
    table = price_suggestions.c
    query = sa.select(table.item_id, table.base_price_id).where(
        table.zone == zone, table.status == "rejected", table.decided_at > since
    )
    rows = connection.execute(query.order_by(table.decided_at, table.seq))
    return {row.item_id: row.base_price_id for row in rows}
