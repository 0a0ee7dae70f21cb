"""Prices under other rules, computed before anything is filed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "price_scenarios",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("outcome", sa.JSON(), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("begun_at", TIME, nullable=False),
        sa.Column("filed_by", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('running', 'done', 'failed', 'filed')",
            name=op.f("ck_price_scenarios_known_status"),
        ),
        sa.CheckConstraint(
            "(status = 'filed') = (run_id IS NOT NULL)",
            name=op.f("ck_price_scenarios_filed_has_run"),
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_price_scenarios")),
        sa.UniqueConstraint("id", name=op.f("uq_price_scenarios_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_price_scenarios_zone_seq"), "price_scenarios", ["zone", "seq"])


def downgrade() -> None:
    op.drop_table("price_scenarios")
