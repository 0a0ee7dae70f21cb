"""The shop's own reasons for rejections, and comments on suggestions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reject_policies",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("required", sa.Boolean(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_reject_policies_only_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reject_policies")),
    )
    op.create_table(
        "suggestion_comments",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("suggestion_id", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("text <> ''", name=op.f("ck_suggestion_comments_some_text")),
        sa.ForeignKeyConstraint(
            ["suggestion_id"],
            ["price_suggestions.id"],
            name=op.f("fk_suggestion_comments_suggestion_id_price_suggestions"),
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_suggestion_comments")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_suggestion_comments_suggestion_id_seq"),
        "suggestion_comments",
        ["suggestion_id", "seq"],
    )


def downgrade() -> None:
    op.drop_table("suggestion_comments")
    op.drop_table("reject_policies")
