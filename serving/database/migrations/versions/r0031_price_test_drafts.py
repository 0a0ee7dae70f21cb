"""Plans of price tests that are being computed, wait to be kept, or failed."""

from __future__ import annotations

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None
_STATE = "ck_price_tests_known_state"
_KEPT = "'planned', 'filed', 'running', 'finished', 'cancelled'"


def upgrade() -> None:
    _replace_states(f"'planning', 'draft', 'failed', {_KEPT}")


def downgrade() -> None:
    op.execute("DELETE FROM price_tests WHERE state IN ('planning', 'draft', 'failed')")
    _replace_states(_KEPT)


def _replace_states(states: str) -> None:
    with op.batch_alter_table("price_tests") as table:
        table.drop_constraint(op.f(_STATE), type_="check")
        table.create_check_constraint(op.f(_STATE), f"state IN ({states})")
