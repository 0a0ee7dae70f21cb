"""Purchases of visitors and sessions, found without reading all that they looked at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BOUGHT = sa.text("event_type IN ('purchase', 'refund')")
_WHO = ("visitor", "session")


def upgrade() -> None:
    for who in _WHO:
        columns = [f"{who}_id", "occurred_at"]
        op.create_index(
            f"ix_events_{who}_bought",
            "events",
            columns,
            sqlite_where=_BOUGHT,
            postgresql_where=_BOUGHT,
        )


def downgrade() -> None:
    for who in _WHO:
        op.drop_index(f"ix_events_{who}_bought", table_name="events")
