"""The visitor as whom an exposed user came, so that both count as one unit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("exposures", sa.Column("visitor_id", sa.Text, nullable=True))


def downgrade() -> None:
    op.drop_column("exposures", "visitor_id")
