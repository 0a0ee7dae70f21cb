"""Experiments as versions with drafts and decisions; placements as versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None
_STATES = "experiment_states"
_STATUS = "ck_experiment_states_known_status"
_VERSIONS = ("experiment_versions", "placement_versions")


def upgrade() -> None:
    for name in _VERSIONS:
        op.create_table(
            name,
            sa.Column("name", sa.Text(), nullable=False),
            sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("values", sa.JSON(), nullable=False),
            sa.Column("author", sa.Text(), nullable=False),
            sa.Column("comment", sa.Text(), nullable=False),
            sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
            sa.Column("restored_from", sa.Integer(), nullable=True),
            sa.PrimaryKeyConstraint("name", "number", name=op.f(f"pk_{name}")),
        )
    with op.batch_alter_table(_STATES) as table:
        table.add_column(sa.Column("started_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("stop_reason", sa.Text(), nullable=True))
        table.add_column(sa.Column("decision", sa.JSON(none_as_null=True), nullable=True))
        table.add_column(sa.Column("weights", sa.JSON(none_as_null=True), nullable=True))
        table.add_column(sa.Column("override_secret", sa.Text(), nullable=True))
        table.drop_constraint(op.f(_STATUS), type_="check")
        table.create_check_constraint(
            op.f(_STATUS), "status IN ('draft', 'running', 'stopped', 'decided')"
        )


def downgrade() -> None:
    op.execute(f"DELETE FROM {_STATES} WHERE status = 'draft'")
    op.execute(f"UPDATE {_STATES} SET status = 'stopped' WHERE status = 'decided'")
    with op.batch_alter_table(_STATES) as table:
        table.drop_constraint(op.f(_STATUS), type_="check")
        table.create_check_constraint(op.f(_STATUS), "status IN ('running', 'stopped')")
        for column in ("started_at", "stop_reason", "decision", "weights", "override_secret"):
            table.drop_column(column)
    for name in _VERSIONS:
        op.drop_table(name)
