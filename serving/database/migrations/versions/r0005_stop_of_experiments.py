"""The business time at which an experiment was stopped by hand."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True)
    op.add_column("experiment_states", column)


def downgrade() -> None:
    op.drop_column("experiment_states", "stopped_at")
