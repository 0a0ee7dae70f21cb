"""The secret of a webhook before the present one, which signs too until a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("previous_secret", sa.Text()))
    op.add_column("webhooks", sa.Column("previous_until", sa.DateTime(timezone=True)))


def downgrade() -> None:
    with op.batch_alter_table("webhooks") as table:
        table.drop_column("previous_until")
        table.drop_column("previous_secret")
