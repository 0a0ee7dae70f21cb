"""The moves of suggestions as a rule of the database; the stop of activations; approval rules.

The moves are those of serving/price_desk/states.py at this revision.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
_FILED = ("suggested", "submitted")
_MOVES = {
    "suggested": ("expired", "rejected", "submitted", "superseded"),
    "submitted": ("approved", "expired", "live", "rejected", "scheduled", "superseded"),
    "approved": ("expired", "live", "rejected", "scheduled", "submitted"),
    "scheduled": ("approved", "expired", "live", "rolled_back", "submitted"),
    "live": ("expired", "rolled_back", "superseded"),
    "superseded": ("live", "scheduled"),
    "expired": ("approved", "live", "scheduled", "submitted", "suggested"),
    "rolled_back": ("live", "scheduled"),
}
_TABLE = "price_suggestions"


def upgrade() -> None:
    op.add_column(_TABLE, sa.Column("returned_reason", sa.Text, nullable=True))
    op.create_table(
        "activation_stops",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("stopped_by", sa.Text(), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_activation_stops_only_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activation_stops")),
    )
    op.create_table(
        "approval_rules",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("max_change", sa.Double(), nullable=False),
        sa.Column("min_evidence", sa.Text(), nullable=False),
        sa.Column("min_profit_p10", sa.Double(), nullable=False),
        sa.Column("categories", sa.JSON(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "max_change > 0 AND max_change <= 0.5", name=op.f("ck_approval_rules_small_change")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_approval_rules")),
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {_TABLE}_moves BEFORE UPDATE OF status ON {_TABLE} "
            f"WHEN NEW.status <> OLD.status AND NOT ({_allow_moves()}) "
            f"BEGIN SELECT RAISE(ABORT, 'a suggestion cannot move between these statuses'); END"
        )
        op.execute(
            f"CREATE TRIGGER {_TABLE}_filed BEFORE INSERT ON {_TABLE} "
            f"WHEN NEW.status NOT IN {_FILED} "
            f"BEGIN SELECT RAISE(ABORT, 'a suggestion is filed as suggested or submitted'); END"
        )
        return
    op.execute(
        f"CREATE FUNCTION {_TABLE}_refuse_move() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'a suggestion cannot come to the status %', NEW.status "
        "USING ERRCODE = 'check_violation'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {_TABLE}_moves BEFORE UPDATE OF status ON {_TABLE} FOR EACH ROW "
        f"WHEN (NEW.status <> OLD.status AND NOT ({_allow_moves()})) "
        f"EXECUTE FUNCTION {_TABLE}_refuse_move()"
    )
    op.execute(
        f"CREATE TRIGGER {_TABLE}_filed BEFORE INSERT ON {_TABLE} FOR EACH ROW "
        f"WHEN (NEW.status NOT IN {_FILED}) EXECUTE FUNCTION {_TABLE}_refuse_move()"
    )


def downgrade() -> None:
    suffix = "" if op.get_bind().dialect.name == "sqlite" else f" ON {_TABLE}"
    for name in ("moves", "filed"):
        op.execute(f"DROP TRIGGER {_TABLE}_{name}{suffix}")
    if suffix:
        op.execute(f"DROP FUNCTION {_TABLE}_refuse_move()")
    op.drop_table("approval_rules")
    op.drop_table("activation_stops")
    op.drop_column(_TABLE, "returned_reason")


def _allow_moves() -> str:
    """Return the condition of an allowed move."""
    return " OR ".join(
        f"(OLD.status = '{before}' AND NEW.status IN ({', '.join(map(repr, after))}))"
        for before, after in _MOVES.items()
    )
