"""Digests of the ids of people who were erased."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from features.database_tables import Instant

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "erased_ids",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("secret_mark", sa.Text(), nullable=False),
        sa.Column("erased_at", Instant(), nullable=False),
        sa.Column("finished_at", Instant()),
        sa.Column("returned_at", Instant()),
        sa.CheckConstraint(
            "kind IN ('user', 'visitor', 'session')", name=op.f("ck_erased_ids_known_kind")
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_erased_ids")),
    )


def downgrade() -> None:
    op.drop_table("erased_ids")
