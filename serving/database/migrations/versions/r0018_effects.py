"""Forecasts frozen at approvals, and the weekly looks at batches of price changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
_FROZEN_BY = ("price_suggestions", "promotions")


def upgrade() -> None:
    op.create_table(
        "forecast_sets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("demand_version", sa.Text(), nullable=False),
        sa.Column("pricing_version", sa.Text(), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.Column("tax_divisor", sa.Double(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forecast_sets")),
        sa.UniqueConstraint(
            "zone",
            "demand_version",
            "pricing_version",
            name=op.f("uq_forecast_sets_zone_demand_version_pricing_version"),
        ),
    )
    for table in _FROZEN_BY:
        op.add_column(table, sa.Column("forecast_set_id", sa.Text(), nullable=True))
    op.create_table(
        "batch_looks",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("first_week", TIME, nullable=False),
        sa.Column("week", sa.Integer(), nullable=False),
        sa.Column("looked_at", TIME, nullable=False),
        sa.Column("n_changes", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("limit_score", sa.Double(), nullable=False),
        sa.Column("profit", sa.JSON(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("is_alarm", sa.Boolean(), nullable=False),
        sa.Column("proposal_id", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint(
            "run_id", "zone", "first_week", "week", name=op.f("pk_batch_looks")
        ),
    )


def downgrade() -> None:
    op.drop_table("batch_looks")
    for table in _FROZEN_BY:
        op.drop_column(table, "forecast_set_id")
    op.drop_table("forecast_sets")
