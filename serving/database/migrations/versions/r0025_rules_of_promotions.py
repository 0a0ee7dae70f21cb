"""The pricing rules that whoever filed a promotion confirmed to break."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("confirmed_rules", sa.JSON(), nullable=False, server_default="[]")
    op.add_column("promotions", column)


def downgrade() -> None:
    with op.batch_alter_table("promotions") as table:
        table.drop_column("confirmed_rules")
