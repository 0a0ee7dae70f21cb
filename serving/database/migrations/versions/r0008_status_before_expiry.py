"""The status from which a suggestion expired, so that an expiry by a wrong clock can be undone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("price_suggestions", sa.Column("expired_from", sa.Text, nullable=True))


def downgrade() -> None:
    op.drop_column("price_suggestions", "expired_from")
