"""Experiments started and stopped by hand."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "experiment_states",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('running', 'stopped')", name=op.f("ck_experiment_states_known_status")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_experiment_states")),
    )


def downgrade() -> None:
    op.drop_table("experiment_states")
