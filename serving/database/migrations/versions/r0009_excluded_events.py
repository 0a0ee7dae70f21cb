"""The mark of events that count for nothing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("events", sa.Column("exclude", sa.Boolean, nullable=True))


def downgrade() -> None:
    op.drop_column("events", "exclude")
