"""Price tests: their units and prices by period, what was filed, and the result."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from features.database_tables import Instant

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "price_tests",
        sa.Column("test_id", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("begins_at", Instant(), nullable=True),
        sa.Column("ends_at", Instant(), nullable=True),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.CheckConstraint(
            "state IN ('planned', 'filed', 'running', 'finished')",
            name=op.f("ck_price_tests_known_state"),
        ),
        sa.CheckConstraint("ends_at > begins_at", name=op.f("ck_price_tests_ends_after_start")),
        sa.PrimaryKeyConstraint("test_id", name=op.f("pk_price_tests")),
    )


def downgrade() -> None:
    op.drop_table("price_tests")
