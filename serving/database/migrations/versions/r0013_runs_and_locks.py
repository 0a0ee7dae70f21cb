"""Runs of suggestions with the outcome of each item, and locks of prices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "pricing_runs",
        sa.Column("seq", ROW_NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("objective", sa.Text(), nullable=False),
        sa.Column("horizon_weeks", sa.Integer(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("recorded_at", TIME, nullable=False),
        sa.Column("totals", sa.JSON(), nullable=False),
        sa.Column("kept", sa.JSON(), nullable=False),
        sa.Column("held", sa.JSON(), nullable=False),
        sa.Column("broken_rules", sa.JSON(), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_pricing_runs")),
        sa.UniqueConstraint("id", name=op.f("uq_pricing_runs_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_pricing_runs_zone_seq"), "pricing_runs", ["zone", "seq"])
    op.create_table(
        "pricing_run_items",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("current_price_minor", sa.BigInteger(), nullable=True),
        sa.Column("suggested_price_minor", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('suggested', 'kept')", name=op.f("ck_pricing_run_items_known_outcome")
        ),
        sa.CheckConstraint(
            "outcome = 'suggested' OR reason IS NOT NULL",
            name=op.f("ck_pricing_run_items_kept_has_reason"),
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["pricing_runs.id"], name=op.f("fk_pricing_run_items_run_id_pricing_runs")
        ),
        sa.PrimaryKeyConstraint("run_id", "item_id", name=op.f("pk_pricing_run_items")),
    )
    op.create_index(op.f("ix_pricing_run_items_item_id"), "pricing_run_items", ["item_id"])
    op.create_table(
        "price_locks",
        sa.Column("seq", ROW_NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("locked_by", sa.Text(), nullable=False),
        sa.Column("begins_at", TIME, nullable=False),
        sa.Column("ends_at", TIME, nullable=False),
        sa.Column("unlocked_by", sa.Text(), nullable=True),
        sa.CheckConstraint("ends_at >= begins_at", name=op.f("ck_price_locks_ends_after_start")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_price_locks")),
        sa.UniqueConstraint("id", name=op.f("uq_price_locks_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_price_locks_ends_at"), "price_locks", ["ends_at"])
    op.create_index(op.f("ix_price_locks_item_id"), "price_locks", ["item_id"])


def downgrade() -> None:
    for table in ("price_locks", "pricing_run_items", "pricing_runs"):
        op.drop_table(table)
