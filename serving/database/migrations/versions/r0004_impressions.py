"""Impressions: what placements that explore have shown, with the chance of each item."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "impressions",
        sa.Column("impression_id", sa.Text(), nullable=False),
        sa.Column("recommendation_id", sa.Text(), nullable=False),
        sa.Column("placement", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("propensity", sa.Double(), nullable=False),
        sa.Column("explored", sa.Boolean(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=True),
        sa.Column("model_name", sa.Text(), nullable=True),
        sa.Column("model_version", sa.Text(), nullable=True),
        sa.Column("shown_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "propensity > 0 AND propensity <= 1", name=op.f("ck_impressions_propensity_is_share")
        ),
        sa.CheckConstraint("rank >= 1", name=op.f("ck_impressions_rank_from_one")),
        sa.PrimaryKeyConstraint("impression_id", name=op.f("pk_impressions")),
    )
    op.create_index(
        op.f("ix_impressions_placement_shown_at"),
        "impressions",
        ["placement", "shown_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_impressions_recommendation_id"), "impressions", ["recommendation_id"], unique=False
    )
    op.create_index(op.f("ix_impressions_unit_id"), "impressions", ["unit_id"], unique=False)


def downgrade() -> None:
    op.drop_table("impressions")
