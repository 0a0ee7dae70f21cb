"""Slates: one row for each answered slate. The impressions of before become slates."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_BATCH = 500


def upgrade() -> None:
    table = op.create_table(
        "slates",
        sa.Column("recommendation_id", sa.Text(), nullable=False),
        sa.Column("placement", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=True),
        sa.Column("shown_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=True),
        sa.Column("model_version", sa.Text(), nullable=True),
        sa.Column("experiment", sa.Text(), nullable=True),
        sa.Column("variant", sa.Text(), nullable=True),
        sa.Column("fallback", sa.Text(), nullable=True),
        sa.Column("degraded", sa.Boolean(), nullable=False),
        sa.Column("latency_ms", sa.Double(), nullable=True),
        sa.Column("items", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("recommendation_id", name=op.f("pk_slates")),
    )
    _copy_impressions(table)
    op.create_index(op.f("ix_slates_shown_at"), "slates", ["shown_at"], unique=False)
    op.create_index(
        op.f("ix_slates_unit_id_shown_at"), "slates", ["unit_id", "shown_at"], unique=False
    )
    op.drop_table("impressions")


def downgrade() -> None:
    """Make the empty table `impressions`: a placement writes new ones as it answers."""
    op.drop_table("slates")
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
    for columns in (["placement", "shown_at"], ["recommendation_id"], ["unit_id"]):
        name = f"ix_impressions_{'_'.join(columns)}"
        op.create_index(op.f(name), "impressions", columns, unique=False)


def _copy_impressions(table: sa.Table) -> None:
    names = (
        "recommendation_id",
        "placement",
        "item_id",
        "propensity",
        "explored",
        "unit_id",
        "model_name",
        "model_version",
    )
    times = [sa.column(name, sa.DateTime(timezone=True)) for name in ("shown_at", "recorded_at")]
    columns: list[sa.ColumnClause[object]] = [sa.column(name) for name in names]
    query = (
        sa.select(*columns, *times)
        .select_from(sa.table("impressions"))
        .order_by(sa.column("recommendation_id"), sa.column("rank"))
    )
    connection = op.get_bind()
    batch: list[dict[str, object]] = []
    rows = [dict(row) for row in connection.execute(query).mappings()]
    for row in _group_slates(rows):
        batch.append(row)
        if len(batch) == _BATCH:
            connection.execute(table.insert(), batch)
            batch = []
    if batch:
        connection.execute(table.insert(), batch)


def _group_slates(rows: Iterable[dict[str, object]]) -> Iterator[dict[str, object]]:
    """Yield a slate for the rows of one recommendation_id, which are in the order of their ranks.

    The zone was not stored, nor the reason of an item that was not explored."""
    for recommendation_id, group in groupby(rows, key=lambda row: row["recommendation_id"]):
        ranks = list(group)
        lists = {
            "item_id": [row["item_id"] for row in ranks],
            "reason": ["exploration" if row["explored"] else None for row in ranks],
            "propensity": [row["propensity"] for row in ranks],
        }
        first = ranks[0]
        yield {
            "recommendation_id": recommendation_id,
            "zone": "default",
            "degraded": False,
            "items": json.dumps(lists),
        } | {
            name: first[name]
            for name in (
                "placement",
                "unit_id",
                "model_name",
                "model_version",
                "shown_at",
                "recorded_at",
            )
        }
