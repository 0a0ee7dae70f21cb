"""The currency of each zone, kept with its amounts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from features.contracts.money import minor_digits

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    table = op.create_table(
        "zone_currencies",
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("digits", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("zone", name=op.f("pk_zone_currencies")),
    )
    # Of a zone that was priced in several currencies the last one is valid.
    rows = op.get_bind().execute(
        sa.text(
            "SELECT zone, currency FROM price_ledger "
            "WHERE seq IN (SELECT max(seq) FROM price_ledger GROUP BY zone)"
        )
    )
    kept = [
        {"zone": row.zone, "currency": row.currency, "digits": minor_digits(row.currency)}
        for row in rows
    ]
    op.bulk_insert(table, kept)


def downgrade() -> None:
    op.drop_table("zone_currencies")
