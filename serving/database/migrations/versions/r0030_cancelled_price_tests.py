"""Price tests can be cancelled."""

from __future__ import annotations

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None
_STATE = "ck_price_tests_known_state"


def upgrade() -> None:
    _replace_states("'planned', 'filed', 'running', 'finished', 'cancelled'")


def downgrade() -> None:
    op.execute("DELETE FROM price_tests WHERE state = 'cancelled'")
    _replace_states("'planned', 'filed', 'running', 'finished'")


def _replace_states(states: str) -> None:
    with op.batch_alter_table("price_tests") as table:
        table.drop_constraint(op.f(_STATE), type_="check")
        table.create_check_constraint(op.f(_STATE), f"state IN ({states})")
