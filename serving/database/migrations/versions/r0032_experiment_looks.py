"""Looks at running experiments: whichever process comes first looks for all."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from features.database_tables import Instant

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "experiment_looks",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("looked_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_experiment_looks")),
    )


def downgrade() -> None:
    op.drop_table("experiment_looks")
