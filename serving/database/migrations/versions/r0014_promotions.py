"""Promotions of the price desk, and their items."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "promotions",
        sa.Column("seq", NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("mechanic", sa.Text(), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("support", sa.JSON(), nullable=False),
        sa.Column("support_reach", sa.Double(), nullable=False),
        sa.Column("coupon_reach", sa.Double(), nullable=False),
        sa.Column("funding_minor", sa.BigInteger(), nullable=False),
        sa.Column("cost_minor", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("starts_at", TIME, nullable=False),
        sa.Column("ends_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("expected", sa.JSON(), nullable=True),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('submitted', 'scheduled', 'live', 'rejected', 'expired', 'rolled_back')",
            name=op.f("ck_promotions_known_status"),
        ),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_promotions_ends_after_start")),
        sa.CheckConstraint(
            "status NOT IN ('scheduled', 'live', 'rolled_back') OR decided_at IS NOT NULL",
            name=op.f("ck_promotions_runs_decided"),
        ),
        sa.CheckConstraint(
            "status NOT IN ('scheduled', 'live', 'rolled_back') OR decided_by <> proposed_by",
            name=op.f("ck_promotions_four_eyes"),
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_promotions")),
        sa.UniqueConstraint("id", name=op.f("uq_promotions_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_promotions_zone_starts_at"), "promotions", ["zone", "starts_at"])
    op.create_index(op.f("ix_promotions_status"), "promotions", ["status"])
    op.create_table(
        "promotion_items",
        sa.Column("promotion_id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("list_price_minor", sa.BigInteger(), nullable=False),
        sa.Column("current_price_minor", sa.BigInteger(), nullable=False),
        sa.Column("promotion_price_minor", sa.BigInteger(), nullable=True),
        sa.Column("depth", sa.Double(), nullable=True),
        sa.Column("price_id", sa.Text(), nullable=True),
        sa.Column("expected", sa.JSON(), nullable=True),
        sa.CheckConstraint(
            "promotion_price_minor >= 0", name=op.f("ck_promotion_items_no_negative_price")
        ),
        sa.ForeignKeyConstraint(
            ["promotion_id"],
            ["promotions.id"],
            name=op.f("fk_promotion_items_promotion_id_promotions"),
        ),
        sa.ForeignKeyConstraint(
            ["price_id"],
            ["price_ledger.price_id"],
            name=op.f("fk_promotion_items_price_id_price_ledger"),
        ),
        sa.PrimaryKeyConstraint("promotion_id", "item_id", name=op.f("pk_promotion_items")),
        sa.UniqueConstraint("price_id", name=op.f("uq_promotion_items_price_id")),
    )
    op.create_index(op.f("ix_promotion_items_item_id"), "promotion_items", ["item_id"])


def downgrade() -> None:
    for table in ("promotion_items", "promotions"):
        op.drop_table(table)
